"""One order's page: its timeline by kind, what is refused and why, what is undone, and what a refund may be."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from orders import runs, timeline
from orders.models import ActorKind, Event, Order
from orders.services import addressing, fulfilling, noting, paying, reviewing, shipping, undoing
from orders.services.actors import Actor
from orders.services.placing import Address
from orders.states import Status
from orders.timeline import About, Change
from tests.orders.conftest import SignedIn

NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)


def page_of(client: Client, order: Order, **query: str) -> str:
    return client.get(order.get_absolute_url(), query).content.decode()


# The timeline


def test_every_event_is_about_one_thing_and_is_found_by_it(order_in_review: Order) -> None:
    actors = {kind: kind.value for kind in ActorKind}
    types = [*timeline._TITLES, "unheard_of"]
    for sequence, (type_, kind) in enumerate(((t, k) for t in types for k in ActorKind), start=100):
        Event.objects.create(
            order=order_in_review, sequence=sequence, type=type_, actor_kind=kind, actor=actors[kind], at=NOW
        )
    events = Event.objects.filter(order=order_in_review)

    for one in About:
        found = set(events.filter(timeline.that_are_about(one)).values_list("pk", flat=True))
        assert found == {event.pk for event in events if timeline.about(event) == one}, one
    assert timeline.about(events.get(type="unheard_of", actor_kind="operator")) == About.DECISIONS
    assert timeline.about(events.get(type="cancel", actor_kind="customer")) == About.CUSTOMER


def test_it_is_narrowed_by_the_url_and_says_so(at_alices: Client, shipped: Order) -> None:
    page = page_of(at_alices, shipped, show="payment")

    assert "<strong>Card charged</strong>" in page
    assert "<strong>Approved</strong>" not in page
    assert "Only “Payment” is shown." in page
    assert 'data-show="payment"' in page
    assert "<strong>Approved</strong>" in page_of(at_alices, shipped, show="nonsense")


def test_what_lies_far_back_is_found_by_its_kind(
    at_alices: Client, shipped: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orders.selectors.EVENTS_SHOWN", 2)

    assert "<strong>Order came in</strong>" not in page_of(at_alices, shipped)
    assert "<strong>Order came in</strong>" in page_of(at_alices, shipped, show="customer")


def test_htmx_gets_the_timeline_alone_and_the_url_follows_on_the_orders_own_page(
    at_alices: Client, shipped: Order
) -> None:
    url, page = reverse("orders:timeline", args=[shipped.pk]), shipped.get_absolute_url()
    asking = {"HX-Request": "true", "HX-Current-URL": f"http://testserver{page}"}

    alone = at_alices.get(url, {"show": "rules"}, headers=asking)
    beside_the_queue = at_alices.get(
        url, {"show": "rules"}, headers=asking | {"HX-Current-URL": "http://testserver/?order=1"}
    )

    assert alone.content.decode().startswith("<section")
    assert alone.headers["HX-Replace-Url"] == f"{page}?show=rules"
    assert "HX-Replace-Url" not in beside_the_queue.headers
    assert at_alices.get(url, {"show": "rules"}).headers["Location"] == f"{page}?show=rules#timeline-{shipped.pk}"


def test_catching_up_obeys_what_the_timeline_is_narrowed_to(at_alices: Client, shipped: Order) -> None:
    url = reverse("orders:catch_up_order", args=[shipped.pk])

    (order, *_) = at_alices.get(url, {"shown": f"{shipped.pk}.1", "show": "payment"}).json()["fragments"]

    assert "<strong>Card charged</strong>" in order
    assert "<strong>Approved</strong>" not in order


def test_it_says_what_was_before_and_what_is_after(order_in_review: Order, as_alice: Actor, lead: User) -> None:
    lena = Actor.operator(lead)
    to = Address("DE", line1="Lindenstr. 40", city="Berlin", postal_code="10969", region="BE")
    addressing.change_address(order_id=order_in_review.pk, actor=as_alice, at=NOW, address=to)
    due_at = timezone.now() + timedelta(days=3)
    reviewing.extend(order_id=order_in_review.pk, actor=lena, at=timezone.now(), due_at=due_at, reason="They called")
    note = noting.write_note(order_id=order_in_review.pk, actor=as_alice, at=NOW, text="one")
    noting.edit_note(order_id=note.order_id, note_id=note.pk, actor=as_alice, at=NOW, text="two")
    reviewing.approve(order_id=order_in_review.pk, actor=lena, at=NOW)

    told = {event.type: timeline.tell(event) for event in order_in_review.events.all()}

    assert told["change_address"].changes == (
        Change("Street and number", "Lindenstr. 4", "Lindenstr. 40"),
        Change("Region", "", "BE"),
    )
    assert [change.what for change in told["extend"].changes] == ["Deadline"]
    assert told["edit_note"].changes == (Change("Note", "one", "two"),)
    assert told["approve"].moved == Change("Status", "In review", "Approved")
    assert told["extend"].moved is None


# What is refused


@pytest.mark.parametrize(
    ("status", "why"),
    [
        (Status.DISPATCHING, "The carrier is being called: past the point of no return."),
        (Status.DISPATCHED, "The carrier has the package: past the point of no return."),
        (Status.COMPENSATING, "It is being undone already."),
        (Status.REJECTED, "It has ended: rejected."),
    ],
)
def test_what_the_table_does_not_allow_is_shown_with_the_reason(
    at_alices: Client, viewer: User, signed_in: SignedIn, order_in_review: Order, status: Status, why: str
) -> None:
    Order.objects.filter(pk=order_in_review.pk).update(status=status)

    page = page_of(at_alices, order_in_review)

    for name in ("cancel", "address"):
        assert f'aria-describedby="{name}-not-{order_in_review.pk}"' in page
        assert f'id="{name}-not-{order_in_review.pk}">{why}</span>' in page
    assert reverse("orders:cancel", args=[order_in_review.pk]) not in page
    assert "-not-" not in page_of(signed_in(viewer), order_in_review)


def test_what_is_possible_has_no_reason_against_it(at_alices: Client, order_in_review: Order) -> None:
    page = page_of(at_alices, order_in_review)

    assert f'id="cancel-not-{order_in_review.pk}"' not in page
    assert f'id="refund-not-{order_in_review.pk}">Still under way: a cancel gives back what was charged.' in page


def test_what_others_may_names_them(
    at_alices: Client, order_in_review: Order, monkeypatch: pytest.MonkeyPatch, alice: User
) -> None:
    monkeypatch.setattr(User, "has_perm", lambda self, name, obj=None: name != "orders.cancel_order")

    page = page_of(at_alices, order_in_review)

    assert "For operators, leads and admins only." in page


# Undoing


def test_what_is_undone_is_a_list_that_is_worked_off(at_alices: Client, as_bob: Actor, order_in_review: Order) -> None:
    key = order_in_review.pk
    reviewing.approve(order_id=key, actor=as_bob, at=NOW)
    for step in (fulfilling.reserve_stock, paying.begin_charge):
        step(order_id=key, at=NOW)
    paying.record_charge(order_id=key, reference="ch_123", declined="", at=NOW)
    shipping.begin_package(order_id=key, at=NOW)
    shipping.record_package(order_id=key, at=NOW)
    before = page_of(at_alices, order_in_review)
    undoing.cancel(order_id=key, actor=as_bob, at=NOW, reason="")

    def stack() -> list[tuple[str, str]]:
        client = at_alices.get(order_in_review.get_absolute_url())
        return [(step.name, step.state) for step in client.context["live"].undoing]

    assert "If it is stopped: " in before
    assert "Take the package back, give the money back and put the goods back" in before
    names = ["Take the package back", "Give the money back", "Put the goods back"]
    assert stack() == list(zip(names, ["live", "ahead", "ahead"], strict=True))
    shipping.recall_package(order_id=key, at=NOW)
    assert stack() == list(zip(names, ["done", "live", "ahead"], strict=True))
    undoing.begin_refund(order_id=key, at=NOW)
    undoing.record_refund(order_id=key, reference="re_1", at=NOW)
    assert stack() == list(zip(names, ["done", "done", "live"], strict=True))
    undoing.release_stock(order_id=key, at=NOW)
    assert stack() == list(zip(names, ["done", "done", "done"], strict=True))
    assert '<ol class="undo"' in page_of(at_alices, order_in_review)


# Refunds


def test_all_or_a_part_is_refunded_by_a_button_of_its_own(lead: User, signed_in: SignedIn, shipped: Order) -> None:
    at_danas, url = signed_in(lead), reverse("orders:refund", args=[shipped.pk])
    sent = {"number": "1", "reason": "Came late"}

    page = page_of(at_danas, shipped)
    part = at_danas.post(url, sent | {"amount": "200.00"}, follow=True).content.decode()
    # The browser sends the field, left empty, and then the button.
    rest = at_danas.post(url, sent | {"number": "2", "amount": ["", "800.00"]}, follow=True).content.decode()

    assert ">Refund my limit, €1,000.00</button>" in page
    assert "€200.00 has gone back. €1,000.00 of the charge is left." in part
    assert ">Refund my limit, €800.00</button>" in part
    assert [payment.amount_minor for payment in shipped.payments.filter(kind="refund")] == [20_000, 80_000]
    assert "€200.00 of the charge is left. That is more than you may refund: ask a lead." in rest


# Temporal's own history


LINES = [runs.HistoryLine(3, datetime(2026, 11, 21, 9, 0, tzinfo=UTC), "Activity scheduled", "charge_payment")]
TOLD = {"told": runs.History(LINES, more=True)}


def tells(order_id: uuid.UUID) -> runs.History:
    """What Temporal would say; it stands where ORDER_HISTORY points."""
    return TOLD["told"]


def test_the_page_shows_it_and_the_order_only_unfolds_it(
    at_alices: Client, order_in_review: Order, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.ORDER_HISTORY = f"{__name__}.tells"
    settings.TEMPORAL_UI_URL = "http://127.0.0.1:8233"
    client, url = at_alices, reverse("orders:history", args=[order_in_review.pk])

    alone = client.get(url).content.decode()
    folded = client.get(url, headers={"HX-Request": "true"}).content.decode()
    monkeypatch.setitem(TOLD, "told", runs.History(is_away=True))
    away = client.get(url).content.decode()
    page = client.get(order_in_review.get_absolute_url()).content.decode()

    assert "charge_payment" in alone
    assert folded.startswith("<div")
    assert f"workflows/order-{order_in_review.pk}" in folded
    assert "Temporal does not answer now" in away
    assert "Temporal does not answer now" not in page
    assert f'hx-get="{url}"' in page
    assert client.get(reverse("orders:history", args=[uuid.uuid4()])).status_code == 404
