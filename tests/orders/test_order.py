"""GET /orders/<id>/: one order with all that belongs to it."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries, Settings

from orders.models import Event, Order, Payment
from orders.services import fulfilling, paying, relaying, reviewing, undoing
from orders.services.actors import Actor
from tests.conftest import PlaceOrder
from tests.orders.conftest import SignedIn

NOW = datetime.now(UTC)


def test_it_shows_the_whole_order(at_alices: Client, shipped: Order) -> None:
    page = at_alices.get(shipped.get_absolute_url()).content.decode()

    for said in (
        shipped.number,
        "Completed",
        "Brass desk lamp",
        "LAMP",
        "Lindenstr. 4",
        "10969 Berlin",
        "€1,200.00, charged",
        "ch_123",
        "Meridian",
        "MP1",
        "Approved by bob",
        "Card charged",
        "The carrier has the package",
    ):
        assert said in page
    assert "/approve/" not in page
    assert "/cancel/" not in page


@pytest.fixture
def asked(order_in_review: Order, as_bob: Actor) -> Order:
    """An order whose customer is asked to confirm the payment."""
    key = order_in_review.pk
    reviewing.approve(order_id=key, actor=as_bob, at=NOW)
    fulfilling.reserve_stock(order_id=key, at=NOW)
    paying.begin_charge(order_id=key, at=NOW)
    paying.record_charge(order_id=key, reference="ch_123", declined="", needs_customer=True, at=NOW)
    order_in_review.refresh_from_db()
    return order_in_review


def test_it_tells_of_a_payment_that_waits_for_the_customer(at_alices: Client, asked: Order) -> None:
    page = at_alices.get(asked.get_absolute_url()).content.decode()

    for said in (
        "€1,200.00, waits for the customer to confirm",
        "Confirm by",
        "The bank asks the customer to confirm the payment",
        "Waiting for the customer to confirm the payment with their bank.",
    ):
        assert said in page
    assert "requires_action" not in page
    assert "ask_customer" not in page


def test_it_tells_of_what_the_bank_said_and_was_not_believed(at_alices: Client, asked: Order) -> None:
    news = paying.BankNews("evt_1", Payment.State.SUCCEEDED, paying.charge_key(asked.pk), "ch_123", 1, "EUR")
    paying.hear_bank(news=news, at=NOW)

    page = at_alices.get(asked.get_absolute_url()).content.decode()

    assert "Message from the bank not believed" in page
    assert "it is about €0.01, and the charge is €1,200.00" in page


@pytest.mark.parametrize("begun", [False, True])
def test_it_tells_of_a_charge_that_was_never_made(
    at_alices: Client, order_in_review: Order, as_bob: Actor, begun: bool
) -> None:
    key = order_in_review.pk
    reviewing.approve(order_id=key, actor=as_bob, at=NOW)
    fulfilling.reserve_stock(order_id=key, at=NOW)
    assert "not charged yet" in at_alices.get(order_in_review.get_absolute_url()).content.decode()
    if begun:
        paying.begin_charge(order_id=key, at=NOW)
    undoing.cancel(order_id=key, actor=as_bob, at=NOW, reason="")
    if undoing.begin_refund(order_id=key, at=NOW).key:
        undoing.record_refund(order_id=key, reference="", at=NOW)

    page = at_alices.get(order_in_review.get_absolute_url()).content.decode()

    assert "€1,200.00, not charged" in page
    assert ("The charge was voided" if begun else "The charge was cancelled before the bank was asked") in page


def test_it_can_be_decided_on_there(at_alices: Client, order_in_review: Order) -> None:
    page = at_alices.get(order_in_review.get_absolute_url()).content.decode()

    for action in ("approve", "reject", "cancel"):
        assert reverse(f"orders:{action}", args=[order_in_review.pk]) in page


def test_a_viewer_sees_it_without_the_buttons(viewer: User, signed_in: SignedIn, order_in_review: Order) -> None:
    page = signed_in(viewer).get(order_in_review.get_absolute_url()).content.decode()

    for action in ("approve", "reject", "cancel"):
        assert reverse(f"orders:{action}", args=[order_in_review.pk]) not in page


def test_how_it_ended_is_told(at_alices: Client, expired_order: Order) -> None:
    page = at_alices.get(expired_order.get_absolute_url()).content.decode()

    assert "Nobody decided before the deadline." in page
    assert 'Review<span class="unseen">, stopped here' in page


def test_an_order_on_its_way_has_yet_to_be_charged_and_packed(at_alices: Client, order_in_review: Order) -> None:
    page = at_alices.get(order_in_review.get_absolute_url()).content.decode()

    assert "Not charged yet." in page
    assert "Not packed yet." in page


def test_of_an_order_that_was_stopped_it_says_that_nothing_was_done(at_alices: Client, expired_order: Order) -> None:
    page = at_alices.get(expired_order.get_absolute_url()).content.decode()

    for said in ("Nothing was charged or sent.", "Nothing was charged.", "Nothing was packed."):
        assert said in page


def test_a_cancelled_order_says_what_became_of_the_money(
    at_alices: Client, order_in_review: Order, as_bob: Actor
) -> None:
    key = order_in_review.pk
    reviewing.approve(order_id=key, actor=as_bob, at=NOW)
    fulfilling.reserve_stock(order_id=key, at=NOW)
    paying.begin_charge(order_id=key, at=NOW)
    paying.record_charge(order_id=key, reference="ch_123", declined="", at=NOW)
    undoing.cancel(order_id=key, actor=as_bob, at=NOW, reason="")

    undoing_page = at_alices.get(order_in_review.get_absolute_url()).content.decode()
    undoing.begin_refund(order_id=key, at=NOW)
    undoing.record_refund(order_id=key, reference="re_123", at=NOW)
    undoing.release_stock(order_id=key, at=NOW)
    undoing.finish_undo(order_id=key, at=NOW)
    page = at_alices.get(order_in_review.get_absolute_url()).content.decode()

    assert "Cancelled." not in undoing_page
    assert "being undone" in undoing_page
    assert 'Cancelled. <span class="quiet">€1,200.00 was refunded.</span>' in page


def test_it_says_when_it_was_ordered_and_when_it_came_in(at_alices: Client, place: PlaceOrder) -> None:
    order = place(placed_at=datetime(2026, 3, 4, 9, 30, 12, tzinfo=UTC))

    page = at_alices.get(order.get_absolute_url()).content.decode()

    assert "placed 4 Mar 2026, 09:30:12 UTC" in page
    assert '<strong>Order came in</strong> <span class="quiet">from test' in page


def test_the_raw_record_is_for_staff(
    alice: User, signed_in: SignedIn, order_in_review: Order, admin_user: User
) -> None:
    raw = reverse("admin:orders_order_change", args=[order_in_review.pk])

    assert raw not in signed_in(alice).get(order_in_review.get_absolute_url()).content.decode()
    assert raw in signed_in(admin_user).get(order_in_review.get_absolute_url()).content.decode()


def test_it_links_to_its_run_where_temporal_has_pages(
    at_alices: Client, order_in_review: Order, settings: Settings
) -> None:
    settings.TEMPORAL_UI_URL = "http://127.0.0.1:8233/"

    page = at_alices.get(order_in_review.get_absolute_url()).content.decode()

    assert f"http://127.0.0.1:8233/namespaces/default/workflows/order-{order_in_review.pk}" in page


def test_an_event_of_a_kind_that_nobody_foresaw_is_shown(at_alices: Client, order_in_review: Order) -> None:
    Event.objects.create(
        order=order_in_review,
        sequence=order_in_review.version + 1,
        type="loyalty_points_given",
        actor_kind="system",
        actor="Countersign",
        payload={"points": 120},
        at=NOW,
    )

    page = at_alices.get(order_in_review.get_absolute_url()).content.decode()

    assert "Loyalty points given" in page
    assert "points 120" in page


def test_a_long_history_is_cut_and_says_so(
    at_alices: Client, order_in_review: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orders.selectors.EVENTS_SHOWN", 2)

    page = at_alices.get(order_in_review.get_absolute_url()).content.decode()

    assert f"{order_in_review.version - 2} earlier" in page


def test_an_order_that_is_not_there_gets_our_page(at_alices: Client) -> None:
    answer = at_alices.get(reverse("orders:order", args=[uuid.uuid4()]))

    assert answer.status_code == 404
    assert "There is nothing here" in answer.content.decode()


def test_a_stranger_is_sent_to_the_sign_in(client: Client, order_in_review: Order) -> None:
    assert client.get(order_in_review.get_absolute_url()).status_code == 302


def test_it_asks_the_database_a_fixed_number_of_times(
    at_alices: Client, shipped: Order, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    # session, person, preferences, rights (2), roles (2), order, events, reviews, lines, payments, shipment,
    # related orders, notes, questions, counts (3), engine (2)
    with django_assert_max_num_queries(21):
        at_alices.get(shipped.get_absolute_url())


def test_catching_up_brings_the_order_only_if_it_changed(at_alices: Client, order_in_review: Order) -> None:
    url = reverse("orders:catch_up_order", args=[order_in_review.pk])

    same = at_alices.get(url, {"shown": f"{order_in_review.pk}.{order_in_review.version}"}).json()
    older = at_alices.get(url, {"shown": f"{order_in_review.pk}.1"}).json()

    assert len(same["fragments"]) == 4  # the engine, the counts and the mentions
    assert f'<article id="order-{order_in_review.pk}"' in older["fragments"][0]


def test_catching_up_with_what_is_not_there_is_not_found(at_alices: Client) -> None:
    assert at_alices.get(reverse("orders:catch_up_order", args=[uuid.uuid4()])).status_code == 404


def beat(*, seen: timedelta, temporal: timedelta | None) -> None:
    now = datetime.now(UTC)
    relaying.record_heartbeat(
        worker="w",
        queues="orders, shipping",
        started_at=now,
        temporal_seen_at=None if temporal is None else now - temporal,
        at=now - seen,
    )


@pytest.mark.parametrize(
    ("seen", "temporal", "said"),
    [
        (timedelta(seconds=60), timedelta(seconds=60), "No worker is running"),
        (timedelta(0), timedelta(seconds=60), "Temporal is away since"),
        (timedelta(0), None, "Temporal is away."),
    ],
)
def test_every_page_says_when_decisions_are_not_carried_out(
    at_alices: Client, order_in_review: Order, seen: timedelta, temporal: timedelta | None, said: str
) -> None:
    beat(seen=seen, temporal=temporal)

    for path in ("/", "/orders/", order_in_review.get_absolute_url(), "/nothing-here/"):
        page = at_alices.get(path).content.decode()
        assert said in page
        assert "1 waits" in page


def test_a_desk_that_runs_says_nothing_of_it(at_alices: Client) -> None:
    beat(seen=timedelta(0), temporal=timedelta(0))

    page = at_alices.get("/").content.decode()

    assert "No worker" not in page
    assert "Temporal is away" not in page
