"""GET /: the orders that wait for a decision."""

import re
from datetime import timedelta
from pathlib import Path

import brotli
import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from orders import paging, selectors
from orders.models import Order
from orders.services import asking, reviewing
from orders.services.actors import Actor
from tests.conftest import PlaceOrder
from tests.orders.conftest import SignedIn


@pytest.fixture
def review(place: PlaceOrder) -> PlaceOrder:
    """Place an order that waits for a decision."""

    def review(**changes: object) -> Order:
        order = place(**changes)
        now = timezone.now()
        reviewing.receive_order(order_id=order.pk, at=now)
        reviewing.validate_order(order_id=order.pk, at=now)
        return order

    return review


def test_it_shows_who_what_and_why(at_alices: Client, order_in_review: Order) -> None:
    page = at_alices.get("/").content.decode()

    for said in (
        order_in_review.number,
        "Ann Lee",
        "Germany",
        "€1,000 or more",
        "€1,200.00",
        "Approve",
        "Reject…",
    ):
        assert said in page


def test_what_needs_help_is_told_from_what_needs_a_decision(
    at_alices: Client, order_in_review: Order, short_order: Order, undeliverable_order: Order
) -> None:
    page = at_alices.get("/").content.decode()

    row = {
        order.pk: page.partition(f'<tr id="queue-{order.pk}"')[2].partition("</tr>")[0] for order in Order.objects.all()
    }
    assert "/approve/" in row[order_in_review.pk]
    assert "/retry/" not in row[order_in_review.pk]
    for helpless, said in ((short_order, "Stock short"), (undeliverable_order, "Undeliverable")):
        assert f'<span class="status helpless">{said}</span>' in row[helpless.pk]
        assert "/retry/" in row[helpless.pk]
        assert f"{helpless.get_absolute_url()}#cancel-order-{helpless.pk}" in row[helpless.pk]
        assert "/approve/" not in row[helpless.pk]
    assert "Correct address…" not in row[short_order.pk]
    assert f"{undeliverable_order.get_absolute_url()}#address-{undeliverable_order.pk}" in row[undeliverable_order.pk]


def test_it_counts_what_waits_and_what_of_it_needs_help(
    at_alices: Client, order_in_review: Order, short_order: Order
) -> None:
    page = at_alices.get("/").content.decode()

    assert "2 wait, " in page
    assert "1 of them for help" in page
    assert '<span class="count helpless" title="1 of them needs help">1' in page


def test_the_most_urgent_comes_first(at_alices: Client, review: PlaceOrder) -> None:
    calm, urgent = review(), review(decide_within=timedelta(minutes=5))

    page = at_alices.get("/").content.decode()

    assert page.index(urgent.number) < page.index(calm.number)


def test_what_is_overdue_says_so_in_words(at_alices: Client, order_in_review: Order) -> None:
    order_in_review.reviews.update(due_at=timezone.now() - timedelta(minutes=3, seconds=10))

    assert "3 min overdue" in at_alices.get("/").content.decode()


def test_an_empty_queue_says_what_would_be_here(at_alices: Client) -> None:
    page = at_alices.get("/").content.decode()

    assert "Nothing to do" in page
    assert "Most urgent first" not in page


def test_a_queue_that_was_worked_off_says_so(at_alices: Client, expired_order: Order) -> None:
    assert "All done" in at_alices.get("/").content.decode()


def test_a_viewer_sees_the_queue_without_the_buttons(viewer: User, signed_in: SignedIn, order_in_review: Order) -> None:
    page = signed_in(viewer).get("/").content.decode()

    assert order_in_review.number in page
    assert "/approve/" not in page
    assert "/reject/" not in page
    assert "c-actions" not in page


def test_a_viewer_is_told_who_decided(viewer: User, signed_in: SignedIn, order_in_review: Order, as_bob: Actor) -> None:
    reviewing.approve(order_id=order_in_review.pk, actor=as_bob, at=timezone.now())

    told = signed_in(viewer).get("/live/queue/", {"shown": f"{order_in_review.pk}.1"}).json()

    assert "Approved by bob" in told["fragments"][0]
    assert "c-actions" not in told["fragments"][0]


def test_a_stranger_is_sent_to_the_sign_in(client: Client) -> None:
    assert client.get("/").headers["Location"] == "/sign-in/?next=/"


def test_it_is_kept_out_of_caches(at_alices: Client) -> None:
    assert at_alices.get("/").headers["Cache-Control"] == "no-store"


def test_pages_go_on_where_the_last_one_ended(
    at_alices: Client, review: PlaceOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paging, "PAGE", 2)
    due = timezone.now() + timedelta(hours=1)
    orders = [review() for _ in range(5)]
    for order in orders:
        order.reviews.update(due_at=due)  # ties are told apart by the key

    seen: list[str] = []
    after = None
    while True:
        page = selectors.queue_page(at=timezone.now(), after=after)
        seen += [row.order.number for row in page.rows]
        if page.next is None:
            break
        after = paging.Cursor.parse(str(page.next), key=paging.REVIEW_KEY)

    assert seen == [order.number for order in orders]
    assert "Next 2" in at_alices.get("/").content.decode()


@pytest.mark.parametrize("after", ["nonsense", "1~x", "1~1~1", "99999999999999999999~1", "-1~1", "\uff11~1"])
def test_a_place_that_we_never_gave_out_is_a_bad_request(at_alices: Client, after: str) -> None:
    answer = at_alices.get("/", {"after": after})

    assert answer.status_code == 400
    assert "does not make sense" in answer.content.decode()


def test_it_asks_the_database_as_often_for_many_as_for_one(
    at_alices: Client, review: PlaceOrder, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for _ in range(6):
        review()

    # session, person, preferences, rights (2), queue, newest, counts, engine, mentions, reasons
    with django_assert_max_num_queries(17):
        at_alices.get("/")


def test_catching_up_brings_what_changed_and_what_is_new(at_alices: Client, as_bob: Actor, review: PlaceOrder) -> None:
    same, decided = review(), review()
    newest = selectors.queue_page(at=timezone.now()).newest_review
    reviewing.approve(order_id=decided.pk, actor=as_bob, at=timezone.now())
    new = review()
    same.refresh_from_db()

    told = at_alices.get(
        "/live/queue/", {"shown": f"{same.pk}.{same.version}_{decided.pk}.4", "since": str(newest)}
    ).json()

    rows = [fragment for fragment in told["fragments"] if "queue-" in fragment]
    assert len(rows) == 1
    assert f'id="queue-{decided.pk}"' in rows[0]
    assert "Approved by bob" in rows[0]
    assert told["new"] == [str(new.pk)]


def test_catching_up_tells_of_what_came_back_and_of_nothing_that_waited(
    at_alices: Client, as_bob: Actor, review: PlaceOrder, settings: Settings
) -> None:
    settings.CUSTOMERS_GET_MAIL, settings.DESK_URL = True, "https://desk.example"
    back, earlier, answered, still_away, _ = (review() for _ in range(5))
    now = timezone.now()
    until = now + timedelta(hours=1)
    for order in (back, earlier, still_away):
        asking.snooze(order_id=order.pk, actor=as_bob, at=now, reason="She calls back", until=until)
    asking.resume(order_id=earlier.pk, actor=as_bob, at=now)
    asked = asking.ask(order_id=answered.pk, actor=as_bob, at=now, question="Which flat?", until=until)
    page = at_alices.get("/").context["page"]

    asking.resume(order_id=back.pk, actor=as_bob, at=now)
    asking.answer(token=asking.link_to(asked).rstrip("/").rpartition("/")[2], text="The second", at=now)

    seen = {"since": str(page.newest_review), "back": str(page.newest_return)}
    assert set(at_alices.get("/live/queue/", seen).json()["new"]) == {str(back.pk), str(answered.pk)}
    assert at_alices.get("/live/queue/", seen | {"country": "FR"}).json()["new"] == []


def test_catching_up_keeps_to_what_is_still_open_of_what_was_new(
    at_alices: Client, as_bob: Actor, review: PlaceOrder
) -> None:
    heard, gone = review(), review()
    newest = selectors.queue_page(at=timezone.now()).newest_review
    reviewing.approve(order_id=gone.pk, actor=as_bob, at=timezone.now())

    told = at_alices.get("/live/queue/", {"since": str(newest), "new": f"{heard.pk}.0_{gone.pk}.0"}).json()

    assert told["new"] == [str(heard.pk)]


def test_catching_up_tells_of_what_fits_the_filter(at_alices: Client, order_in_review: Order) -> None:
    asked = {"since": "0", "new": f"{order_in_review.pk}.0"}

    fits = at_alices.get("/live/queue/", {**asked, "country": "DE"}).json()
    does_not = at_alices.get("/live/queue/", {**asked, "country": "FR"}).json()

    assert fits["new"] == [str(order_in_review.pk)]
    assert does_not["new"] == []


def test_catching_up_without_a_session_is_refused_without_a_redirect(client: Client) -> None:
    assert client.get("/live/queue/", headers={"HX-Request": "true"}).status_code == 401


def test_the_page_is_light(at_alices: Client, review: PlaceOrder, settings: Settings, tmp_path: Path) -> None:
    settings.STORAGES = {"staticfiles": {"BACKEND": "orders_site.storage.DeskStaticFiles"}}
    call_command("collectstatic", "--noinput", "--ignore=admin", "--ignore=*-4*", verbosity=0)
    for n in range(paging.PAGE):
        review(customer_name=f"Customer the {n}th", customer_email=f"customer{n}@example.com")

    page = at_alices.get("/", headers={"Accept-Encoding": "gzip, br"})

    assets = re.findall(rb'(?:href|src)="/static/([^"]+)"', brotli.decompress(page.content))
    sizes = {name.decode(): _compressed(tmp_path / name.decode()) for name in assets}
    asked_for = [name for name in sizes if not name.startswith("favicon")]  # the icon is the browser's own affair
    assert len(asked_for) <= 4, "with the page itself these are five requests"
    assert len(page.content) + sum(sizes.values()) < 45_000, (len(page.content), sizes)


def test_an_order_stands_beside_the_queue_where_the_url_names_it(at_alices: Client, order_in_review: Order) -> None:
    page = at_alices.get("/", {"order": str(order_in_review.pk)}).content.decode()
    fragment = at_alices.get("/", {"order": str(order_in_review.pk)}, headers={"HX-Target": "opened"})

    assert f"<title>{order_in_review.number} · Review" in page
    assert f'<a href="{order_in_review.get_absolute_url()}">{order_in_review.number} on its own page</a>' in page
    assert f'<article id="order-{order_in_review.pk}"' not in page, "it is asked for once the page is there"
    assert fragment.content.decode().startswith(f'<article id="order-{order_in_review.pk}"')
    assert fragment.headers["Vary"].startswith("HX-Target")


def test_an_order_that_there_is_not_is_told(at_alices: Client) -> None:
    assert at_alices.get("/", {"order": "nonsense"}).status_code == 400
    assert at_alices.get("/", {"order": "00000000-0000-0000-0000-000000000000"}).status_code == 404


def test_catching_up_brings_the_order_that_is_open_too(
    at_alices: Client, order_in_review: Order, as_bob: Actor
) -> None:
    seen = f"{order_in_review.pk}.{order_in_review.version}"
    reviewing.approve(order_id=order_in_review.pk, actor=as_bob, at=timezone.now())

    told = at_alices.get("/live/queue/", {"open": seen}).json()
    gone = at_alices.get("/live/queue/", {"open": "00000000-0000-0000-0000-000000000000.1"}).json()

    assert f'<article id="order-{order_in_review.pk}"' in told["fragments"][0]
    assert "Approved by bob" in told["fragments"][0]
    assert not any("<article" in fragment for fragment in gone["fragments"])


def _compressed(path: Path) -> int:
    """As browsers ask for it over https, and on this machine."""
    best = path.with_name(path.name + ".br")
    return (best if best.exists() else path).stat().st_size


@pytest.mark.parametrize(
    "asked", [{"since": "x" * 30}, {"since": "9" * 18}, {"shown": "a_b.c__"}, {"shown": "x" * 3000}]
)
def test_catching_up_with_nonsense_brings_nothing(at_alices: Client, asked: dict[str, str]) -> None:
    told = at_alices.get("/live/queue/", asked).json()

    assert told["new"] == []
    assert len(told["fragments"]) == 4  # the engine, the counts and the mentions
