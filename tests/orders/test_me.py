"""GET /me/: what belongs to whoever is signed in, and nobody else's."""

from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from orders import mine, paging
from orders.models import Order
from orders.services import asking, claiming, noting, preferring, reviewing
from orders.services.actors import Actor
from tests.conftest import PlaceOrder
from tests.orders.conftest import SignedIn

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)


@pytest.fixture
def review(place: PlaceOrder) -> PlaceOrder:
    """Place an order that waits for a decision."""

    def review() -> Order:
        order, at = place(), NOON - timedelta(hours=1)
        reviewing.receive_order(order_id=order.pk, at=at)
        reviewing.validate_order(order_id=order.pk, at=at)
        return order

    return review


def approve(order: Order, actor: Actor, at: datetime = NOON) -> Order:
    return reviewing.approve(order_id=order.pk, actor=actor, at=at)


def test_it_lists_what_one_decided_today_the_latest_first(
    at_alices: Client, as_alice: Actor, as_bob: Actor, review: PlaceOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timezone, "now", lambda: NOON + timedelta(hours=1))
    first, second, of_bob, yesterday = (review() for _ in range(4))
    approve(first, as_alice, NOON)
    reviewing.reject(order_id=second.pk, actor=as_alice, at=NOON + timedelta(minutes=5), reason="Odd address.")
    approve(of_bob, as_bob)
    approve(yesterday, as_alice, NOON - timedelta(hours=12, seconds=1))

    page = at_alices.get("/me/").content.decode()

    assert first.number in page
    assert page.index(second.number) < page.index(first.number)
    assert "Odd address." in page
    assert 'title="1 Jul 2026, 12:05:00 UTC">12:05</time>' in page
    assert of_bob.number not in page
    assert yesterday.number not in page
    assert 'Decided today <span class="count">2</span>' in page


def test_today_begins_at_ones_own_midnight(
    at_alices: Client, alice: User, as_alice: Actor, review: PlaceOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timezone, "now", lambda: NOON)
    late_yesterday_in_utc = approve(review(), as_alice, NOON - timedelta(hours=13))

    assert late_yesterday_in_utc.number not in at_alices.get("/me/").content.decode()
    preferring.prefer(user=alice, zone="Europe/Berlin", locale="en")
    assert late_yesterday_in_utc.number in at_alices.get("/me/").content.decode()


def test_it_goes_on_by_key(alice: User, as_alice: Actor, review: PlaceOrder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mine, "PAGE", 2)
    orders = [approve(review(), as_alice) for _ in range(5)]  # at one instant: ties are told apart by the key

    seen: list[str] = []
    before = None
    while True:
        page = mine.decided(alice, since=NOON, before=before)
        seen += [each.order.number for each in page.reviews]
        if page.older is None:
            break
        before = paging.Cursor.parse(str(page.older), key=paging.REVIEW_KEY)

    assert seen == [order.number for order in reversed(orders)]


@pytest.mark.parametrize("before", ["nonsense", "1~x", "-1~1"])
def test_a_place_that_we_never_gave_out_is_a_bad_request(at_alices: Client, before: str) -> None:
    assert at_alices.get("/me/", {"before": before}).status_code == 400


def test_it_lists_what_one_has_in_hand_and_gives_it_back(
    at_alices: Client, as_alice: Actor, as_bob: Actor, order_in_review: Order, short_order: Order
) -> None:
    now = timezone.now()
    claiming.claim(order_id=order_in_review.pk, actor=as_alice, at=now)
    claiming.claim(order_id=short_order.pk, actor=as_bob, at=now)
    order_in_review.refresh_from_db()

    page = at_alices.get("/me/").content.decode()
    released = at_alices.post(
        f"/orders/{order_in_review.pk}/unclaim/", {"version": order_in_review.version, "next": "/me/"}
    )
    afterwards = at_alices.get("/me/").content.decode()

    assert 'In your hands <span class="count">1</span>' in page
    assert order_in_review.number in page
    assert short_order.number not in page
    assert released.headers["Location"] == "/me/"
    assert f"{order_in_review.number} is free for others." in afterwards
    assert order_in_review.get_absolute_url() not in afterwards


def test_a_claim_that_has_run_out_is_ones_own_no_more(
    alice: User, as_alice: Actor, order_in_review: Order, settings: Settings
) -> None:
    now = timezone.now()
    claiming.claim(order_id=order_in_review.pk, actor=as_alice, at=now)

    assert [review.order for review in mine.claimed(alice, at=now)] == [order_in_review]
    assert mine.claimed(alice, at=now + settings.CLAIM_IDLE) == []


def test_it_lists_what_one_has_put_off_until_it_is_back(
    at_alices: Client, as_alice: Actor, as_bob: Actor, place: PlaceOrder, order_in_review: Order, short_order: Order
) -> None:
    now = timezone.now()
    for order, actor in ((order_in_review, as_alice), (short_order, as_bob)):
        asking.snooze(
            order_id=order.pk, actor=actor, at=now, until=now + timedelta(hours=1), reason="The bank calls back."
        )

    page = at_alices.get("/me/").content.decode()
    approve(order_in_review, as_bob, now)
    afterwards = at_alices.get("/me/").content.decode()

    assert order_in_review.number in page
    assert "The bank calls back." in page
    assert short_order.number not in page
    assert order_in_review.number not in afterwards


def test_it_shows_the_notes_that_mention_one(at_alices: Client, as_bob: Actor, order_in_review: Order) -> None:
    noting.write_note(order_id=order_in_review.pk, actor=as_bob, at=NOON, text="Have you seen this, @alice?")

    page = at_alices.get("/me/").content.decode()

    assert "Have you seen this" in page
    assert order_in_review.number in page


def test_a_viewer_has_settings_and_no_decisions(viewer: User, signed_in: SignedIn) -> None:
    page = signed_in(viewer).get("/me/").content.decode()

    assert "Your settings" in page
    assert "Decided today" not in page


def test_before_the_first_decision_it_says_what_will_be_here(at_alices: Client) -> None:
    assert "Nothing yet." in at_alices.get("/me/").content.decode()


def test_a_stranger_is_sent_to_sign_in(client: Client) -> None:
    assert client.get("/me/").status_code == 302


def test_it_asks_the_database_as_often_for_many_as_for_one(
    at_alices: Client, as_alice: Actor, as_bob: Actor, review: PlaceOrder
) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as asked:
            at_alices.get("/me/")
        return len(asked)

    def once() -> None:
        approve(review(), as_alice, timezone.now())
        noting.write_note(order_id=review().pk, actor=as_bob, at=NOON, text="@alice?")

    once()
    few = queries()
    for _ in range(4):
        once()

    assert queries() == few <= 16


def test_decisions_are_read_from_an_index_by_whose_they_are(alice: User, as_alice: Actor, review: PlaceOrder) -> None:
    approve(review(), as_alice)

    with CaptureQueriesContext(connection) as asked:
        mine.decided(alice, since=NOON)
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_sort = off")
        cursor.execute(f"EXPLAIN {asked[0]['sql']}")
        plan = "\n".join(row[0] for row in cursor.fetchall())

    assert "using review_decided_by" in plan
