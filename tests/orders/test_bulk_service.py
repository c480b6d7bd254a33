"""One decision on many orders: what it would do, what it does, and what becomes of it when something comes between."""

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection, transaction
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from orders import live
from orders.models import Bulk, Event, Mail, Order
from orders.services import addressing, bulk, claiming, reviewing
from orders.services.actors import Actor, NotPermitted
from orders.services.placing import Address
from orders.services.transitions import ActionRefused
from orders.states import Action
from tests.conftest import PlaceOrder

NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)

Waiting = Callable[[int], list[Order]]


@pytest.fixture
def waiting(place: PlaceOrder) -> Waiting:
    """So many orders that wait for a decision."""

    def waiting(number: int) -> list[Order]:
        orders = [place() for _ in range(number)]
        now = datetime.now(UTC)
        for order in orders:
            reviewing.receive_order(order_id=order.pk, at=now)
            reviewing.validate_order(order_id=order.pk, at=now)
            order.refresh_from_db()
        return orders

    return waiting


def begin(orders: list[Order], actor: Actor, action: Action = Action.APPROVE, **more: Any) -> Bulk:
    chosen = {order.pk: order.version for order in orders}
    return bulk.begin(bulk_id=uuid.uuid4(), action=action, chosen=chosen, actor=actor, at=NOW, **more)


def carry_out_all(*, most: int = bulk.BATCH) -> None:
    while any(bulk.carry_out(bulk_id=bulk_id, at=datetime.now(UTC), most=most) for bulk_id in bulk.unfinished()):
        pass


def results(bulk: Bulk) -> list[tuple[str, str]]:
    return list(bulk.members.order_by("position").values_list("result", "why"))


def statuses(orders: list[Order]) -> list[str]:
    for order in orders:
        order.refresh_from_db()
    return [order.status for order in orders]


def test_it_leaves_of_each_order_what_one_decision_leaves(
    waiting: Waiting, as_alice: Actor, settings: Settings
) -> None:
    settings.CUSTOMERS_GET_MAIL = True
    alone, *many = waiting(4)
    reviewing.reject(order_id=alone.pk, actor=as_alice, at=NOW, reason="Fraud ring")

    decided = begin(many, as_alice, Action.REJECT, note=" Fraud ring ")
    carry_out_all()

    def left(order: Order) -> tuple[Any, ...]:
        event, review = order.events.last(), order.reviews.get()
        message, sent = order.outbox.last(), Mail.objects.get(order=order)
        assert event is not None
        assert message is not None
        payload = {name: value for name, value in event.payload.items() if name not in ("bulk", "bulk_size")}
        order.refresh_from_db()
        return (
            *(order.status, order.outcome, order.version, event.sequence, event.type, event.actor, payload),
            *(review.decision, review.decided_by, review.note, message.message, message.payload),
            *(sent.kind, sent.sequence, sent.body.replace(order.number, alone.number)),
        )

    for order in many:
        assert left(order) == left(alone)
        assert order.events.filter(payload__bulk=str(decided.pk), payload__bulk_size=3).exists()
    decided.refresh_from_db()
    assert decided.finished_at
    assert results(decided) == [("done", "")] * 3


def test_more_time_is_counted_from_each_orders_own_deadline(waiting: Waiting, lead: User) -> None:
    near, far = waiting(2)
    dana = Actor.operator(lead)
    reviewing.extend(
        order_id=far.pk, actor=dana, at=NOW, due_at=far.reviews.get().due_at + timedelta(days=3), reason="Holiday"
    )
    far.refresh_from_db()
    before = [order.reviews.get().due_at for order in (near, far)]

    begin([near, far], dana, Action.EXTEND, note="Strike", more=timedelta(hours=4))
    carry_out_all()

    assert [order.reviews.get().due_at - due_at for order, due_at in zip((near, far), before, strict=True)] == [
        timedelta(hours=4)
    ] * 2
    assert [order.outbox.filter(message="extend").count() for order in (near, far)] == [1, 2]


def test_the_forecast_says_of_each_order_why_not(
    waiting: Waiting, short_order: Order, place: PlaceOrder, as_alice: Actor, as_bob: Actor
) -> None:
    fit, escalated, decided = waiting(3)
    escalated.reviews.update(level="lead")
    reviewing.approve(order_id=decided.pk, actor=as_bob, at=NOW)
    on_its_way = place()

    looked = bulk.forecast(
        order_ids=[order.pk for order in (fit, escalated, decided, short_order, on_its_way)],
        action=Action.APPROVE,
        actor=as_alice,
        at=NOW,
    )

    assert looked.fit == [fit]
    assert looked.unfit == {
        "It was escalated: a lead has to decide.": [escalated],
        "Already approved by bob.": [decided],
        "It is stock short: it needs help rather than a decision.": [short_order],
        "An order that is placed cannot be decided on.": [on_its_way],
    }
    assert statuses([fit]) == ["in_review"]


def test_the_forecast_leaves_out_what_is_others_to_decide(
    waiting: Waiting, alice: User, as_alice: Actor, as_bob: Actor
) -> None:
    fit, claimed, placed, changed, moved = waiting(5)
    claiming.claim(order_id=claimed.pk, actor=as_bob, at=NOW)
    Order.objects.filter(pk=placed.pk).update(placed_by=alice)
    elsewhere = Address("DE", line1="Torstr. 1", city="Berlin", postal_code="10119")
    addressing.change_address(order_id=changed.pk, actor=as_alice, at=NOW, address=elsewhere)
    addressing.change_address(order_id=moved.pk, actor=as_bob, at=NOW - timedelta(hours=1), address=elsewhere)

    looked = bulk.forecast(
        order_ids=[order.pk for order in (fit, claimed, placed, changed, moved)],
        action=Action.APPROVE,
        actor=as_alice,
        at=NOW,
        seen={moved.pk: moved.version},
    )

    assert looked.fit == [fit]
    assert dict(looked.unfit) == {
        "bob has it in hand since 09:00 UTC.": [claimed],
        "You placed this order: somebody else has to approve it.": [placed],
        "You changed this order: somebody else has to approve it.": [changed],
        "Since you looked: change address by bob. Look again, then decide.": [moved],
    }


def test_what_has_changed_since_the_confirmation_is_not_decided_on(
    waiting: Waiting, as_alice: Actor, as_bob: Actor
) -> None:
    moved, fit = waiting(2)
    decided = begin([moved, fit], as_alice)
    elsewhere = Address("DE", line1="Torstr. 1", city="Berlin", postal_code="10119")
    addressing.change_address(order_id=moved.pk, actor=as_bob, at=NOW - timedelta(hours=1), address=elsewhere)

    carry_out_all()

    assert [result for result, _ in results(decided)] == ["refused", "done"]
    assert "change address by bob" in results(decided)[0][1]


def test_of_those_that_two_have_to_approve_it_is_the_first_approval(
    waiting: Waiting, as_alice: Actor, as_bob: Actor
) -> None:
    orders = waiting(2)
    orders[0].reviews.update(needs_two=True)

    first = begin(orders, as_alice)
    carry_out_all()

    assert results(first) == [("endorsed", ""), ("done", "")]
    first.refresh_from_db()
    assert (first.endorsed, first.refused) == (1, 0)
    assert statuses(orders) == ["in_review", "approved"]
    assert not orders[0].outbox.filter(message="approve").exists()

    again, second = begin(orders[:1], as_alice), begin(orders[:1], as_bob)
    carry_out_all()

    assert [result for result, _ in results(again)] == ["refused"]
    assert results(second) == [("done", "")]
    assert statuses(orders[:1]) == ["approved"]


def test_orders_are_handed_over_to_a_colleague_who_may_decide_on_them(
    waiting: Waiting, bob: User, as_alice: Actor, lead: User
) -> None:
    free, his, hers, escalated = waiting(4)
    claiming.hand_over(order_id=his.pk, actor=as_alice, at=datetime.now(UTC), to="bob")
    claiming.claim(order_id=hers.pk, actor=Actor.operator(lead), at=datetime.now(UTC))
    escalated.reviews.update(level="lead")
    chosen = {order.pk: Order.objects.get(pk=order.pk).version for order in (free, his, hers, escalated)}

    given = bulk.begin(bulk_id=uuid.uuid4(), action=Action.HAND_OVER, chosen=chosen, actor=as_alice, at=NOW, to="bob")
    carry_out_all()

    became = results(given)
    assert became[0] == ("done", "")
    assert [result for result, _ in became] == ["done", "refused", "refused", "refused"]
    assert free.reviews.get().claimed_by == bob
    assert [order.events.filter(type="hand_over").count() for order in (free, his, hers)] == [1, 1, 0]

    by_dana = begin([escalated, hers], Actor.operator(lead), Action.HAND_OVER, to="bob")
    carry_out_all()

    assert results(by_dana) == [("refused", "It was escalated, and bob is no lead."), ("done", "")]


def test_a_lead_takes_none_out_of_hands_that_were_not_seen(
    waiting: Waiting, bob: User, as_alice: Actor, lead: User
) -> None:
    seen, unseen = waiting(2)
    claiming.claim(order_id=seen.pk, actor=as_alice, at=datetime.now(UTC))
    seen.refresh_from_db()
    given = begin([seen, unseen], Actor.operator(lead), Action.HAND_OVER, to="bob")
    claiming.claim(order_id=unseen.pk, actor=as_alice, at=datetime.now(UTC))

    carry_out_all()

    assert results(given) == [("done", ""), ("refused", "Since you looked: claim by alice. Look again, then decide.")]
    assert [order.reviews.get().claimed_by for order in (seen, unseen)] == [bob, as_alice.user]


def test_more_time_for_many_leaves_each_in_the_hands_that_it_is_in(
    waiting: Waiting, lead: User, as_alice: Actor
) -> None:
    free, own = waiting(2)
    claiming.claim(order_id=own.pk, actor=Actor.operator(lead), at=datetime.now(UTC))

    begin([free, own], Actor.operator(lead), Action.EXTEND, note="Strike", more=timedelta(hours=1))
    carry_out_all()

    assert [order.events.filter(type="extend").count() for order in (free, own)] == [1, 1]
    assert [order.reviews.get().claimed_by for order in (free, own)] == [None, lead]


def test_an_order_that_was_decided_on_meanwhile_is_refused_and_the_others_are_done(
    waiting: Waiting, as_alice: Actor, as_bob: Actor
) -> None:
    orders = waiting(3)
    decided = begin(orders, as_alice)
    reviewing.reject(order_id=orders[1].pk, actor=as_bob, at=NOW, reason="Fraud")

    carry_out_all()

    assert results(decided) == [("done", ""), ("refused", "Already rejected by bob."), ("done", "")]
    assert statuses(orders) == ["approved", "rejected", "approved"]


def test_two_bulks_over_the_same_orders_decide_on_each_once(waiting: Waiting, as_alice: Actor, as_bob: Actor) -> None:
    orders = waiting(5)
    first = begin(orders[:4], as_alice)
    second = begin(orders[::-1][:4], as_bob, Action.REJECT, note="Fraud")

    carry_out_all(most=1)  # in turn

    assert [order.events.filter(type__in=["approve", "reject"]).count() for order in orders] == [1] * 5
    assert [order.outbox.filter(message__in=["approve", "reject"]).count() for order in orders] == [1] * 5
    done = [sum(result == "done" for result, _ in results(one)) for one in (first, second)]
    assert done[0] + done[1] == 5
    assert min(done) > 0


@pytest.mark.django_db(transaction=True)
def test_what_is_done_when_it_is_cut_off_is_not_done_again(waiting: Waiting, as_alice: Actor) -> None:
    orders = waiting(5)
    decided = begin(orders, as_alice)
    bulk.carry_out(bulk_id=decided.pk, at=NOW, most=2)

    def lose_the_server_before_the_commit() -> None:
        with transaction.atomic():
            bulk.carry_out(bulk_id=decided.pk, at=NOW, most=2)
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    with pytest.raises(OperationalError):
        lose_the_server_before_the_commit()
    connection.close()

    assert [result for result, _ in results(decided)] == ["done", "done", "", "", ""]
    carry_out_all(most=2)
    assert [order.events.filter(type="approve").count() for order in orders] == [1] * 5
    assert [order.outbox.filter(message="approve").count() for order in orders] == [1] * 5
    decided.refresh_from_db()
    assert decided.finished_at


def test_who_may_no_longer_decide_decides_no_further(waiting: Waiting, alice: User, as_alice: Actor) -> None:
    orders = waiting(3)
    decided = begin(orders, as_alice)
    bulk.carry_out(bulk_id=decided.pk, at=NOW, most=1)

    User.objects.filter(pk=alice.pk).update(is_active=False)
    carry_out_all()

    assert results(decided) == [("done", ""), *[("refused", "alice may not approve an order.")] * 2]
    assert statuses(orders) == ["approved", "in_review", "in_review"]


def test_the_same_form_sent_twice_begins_one(waiting: Waiting, as_alice: Actor, as_bob: Actor) -> None:
    chosen = {order.pk: order.version for order in waiting(2)}
    bulk_id = uuid.uuid4()

    def send(actor: Actor) -> Bulk:
        return bulk.begin(bulk_id=bulk_id, action=Action.APPROVE, chosen=chosen, actor=actor, at=NOW)

    assert send(as_alice) == send(as_alice)
    assert Bulk.objects.get().members.count() == 2
    with pytest.raises(NotPermitted):
        send(as_bob)


def test_it_takes_5000_orders_and_no_more(order_in_review: Order, as_alice: Actor) -> None:
    chosen = {uuid.uuid4(): 1 for _ in range(4_999)} | {order_in_review.pk: order_in_review.version}
    arguments: dict[str, Any] = {"action": Action.APPROVE, "actor": as_alice, "at": NOW}

    assert bulk.forecast(order_ids=chosen, **arguments).fit == [order_in_review]
    chosen[uuid.uuid4()] = 1

    with pytest.raises(bulk.TooMany, match="5,001 orders were chosen; at most 5,000"):
        bulk.forecast(order_ids=chosen, **arguments)
    with pytest.raises(bulk.TooMany):
        bulk.begin(bulk_id=uuid.uuid4(), chosen=chosen, **arguments)
    assert not Bulk.objects.exists()


@pytest.mark.parametrize(
    ("action", "more", "wrong"),
    [
        (Action.REJECT, {}, "Give a reason"),
        (Action.REJECT, {"note": "\0"}, "The reason"),
        (Action.REJECT, {"code": "whim"}, "There is no such reason in use"),
        (Action.HAND_OVER, {"to": "nobody"}, "Name a colleague who may decide"),
        (Action.EXTEND, {"note": "Strike"}, "Say how much time"),
        (Action.EXTEND, {"note": "Strike", "more": timedelta(0)}, "Say how much time"),
        (Action.EXTEND, {"more": timedelta(hours=1)}, "Give a reason"),
        (Action.REJECT, {"note": "Fraud", "more": timedelta(hours=1)}, "Only an extension takes a time"),
        (Action.APPROVE, {"more": timedelta(hours=1)}, "Only an extension takes a time"),
        (Action.APPROVE, {"to": "dana"}, "Only what is handed over"),
        (Action.APPROVE, {"code": "fraud"}, "Only a rejection takes a code"),
    ],
)
def test_it_refuses_what_says_too_little_or_asks_for_two_things_and_keeps_nothing(
    order_in_review: Order, lead: User, action: Action, more: dict[str, Any], wrong: str
) -> None:
    with pytest.raises(ActionRefused, match=wrong):
        begin([order_in_review], Actor.operator(lead), action, **more)

    assert not Bulk.objects.exists()


def test_it_refuses_nothing_at_all_and_whoever_may_not(order_in_review: Order, as_alice: Actor, viewer: User) -> None:
    with pytest.raises(ActionRefused, match="at least one order"):
        begin([], as_alice)
    with pytest.raises(NotPermitted):
        begin([order_in_review], Actor.operator(viewer))
    with pytest.raises(ActionRefused, match="4 h 00 min more at most"):
        begin([order_in_review], as_alice, Action.EXTEND, note="Strike", more=timedelta(hours=5))


def test_an_order_that_cannot_be_written_holds_up_no_other(waiting: Waiting, as_alice: Actor) -> None:
    orders = waiting(3)
    decided = begin(orders, as_alice)
    Event.objects.create(order=orders[1], sequence=orders[1].version + 1, type="note", actor_kind="system", at=NOW)

    carry_out_all()

    assert results(decided) == [("done", ""), ("refused", bulk.LEFT_OUT), ("done", "")]
    assert statuses(orders) == ["approved", "in_review", "approved"]


@pytest.mark.django_db(transaction=True)
def test_the_next_one_is_not_left_out_for_what_another_worker_holds(
    waiting: Waiting, as_alice: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    decided = begin(waiting(2), as_alice)
    first = decided.members.earliest("position")

    hold = "SELECT FROM orders_bulkmember WHERE id = %s FOR UPDATE"  # as soon as the failed attempt has let it go

    def fail(*_: object, **__: object) -> None:
        raise ValueError

    with psycopg.connect(**live.connection_parameters() | {"dbname": connection.settings_dict["NAME"]}) as other:
        monkeypatch.setattr(bulk, "_do", fail)
        monkeypatch.setattr(bulk.logger, "exception", lambda *_: other.execute(hold, [first.pk]))
        bulk.carry_out(bulk_id=decided.pk, at=NOW, most=1)

    assert results(decided) == [("", "")] * 2


@pytest.mark.django_db(transaction=True)
def test_an_order_that_somebody_holds_is_done_once_it_is_free(waiting: Waiting, as_alice: Actor) -> None:
    orders = waiting(3)
    decided = begin(orders, as_alice)

    with psycopg.connect(**live.connection_parameters() | {"dbname": connection.settings_dict["NAME"]}) as other:
        other.execute("SELECT FROM orders_order WHERE id = %s FOR UPDATE", [orders[1].pk])
        carry_out_all()
        assert [result for result, _ in results(decided)] == ["done", "", "done"]

    carry_out_all()
    assert [result for result, _ in results(decided)] == ["done"] * 3


def test_it_asks_the_database_as_often_for_many_as_for_few(
    waiting: Waiting, as_alice: Actor, django_assert_num_queries: Any, settings: Settings
) -> None:
    settings.CUSTOMERS_GET_MAIL = True
    begin(waiting(2), as_alice)
    with CaptureQueriesContext(connection) as few:
        carry_out_all()
    begin(waiting(20), as_alice)

    with django_assert_num_queries(len(few)):
        carry_out_all()
