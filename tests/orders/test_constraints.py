"""What the database itself refuses, whoever asks: each of these goes round the services on purpose."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import F, ProtectedError

from orders.models import PAYMENT_STEPS, Event, Order, OrderLine, Payment, Product, Reservation, Review, Shipment

NOW = datetime(2026, 3, 4, 12, 30, tzinfo=UTC)


@pytest.fixture
def order(order_in_review: Order) -> Order:
    return order_in_review


def _payment(order: Order, **changes: Any) -> Payment:
    fields: dict[str, Any] = {
        "order": order,
        "idempotency_key": "key",
        "kind": "charge",
        "amount_minor": 100,
        "currency": "EUR",
        "status": "succeeded",
        "created_at": NOW,
    }
    return Payment.objects.create(**fields | changes)


def _refuses(constraint: str, write: Callable[[], object]) -> None:
    with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
        write()


@pytest.mark.parametrize(
    ("changes", "constraint"),
    [
        ({"status": "lost"}, "order_status_known"),
        ({"status": ""}, "order_status_known"),
        ({"status": "Approved"}, "order_status_known"),
        ({"total_minor": -1}, "order_total_not_negative"),
        ({"currency": "eur"}, "order_currency_iso"),
        ({"currency": "EU"}, "order_currency_iso"),
        ({"currency": ""}, "order_currency_iso"),
        ({"address_country": "d3"}, "order_country_iso"),
        ({"address_country": ""}, "order_country_iso"),
        ({"version": -1}, "version"),
        ({"status_at": None}, "status_at"),
    ],
)
def test_an_order_cannot_be_made_to_say_nonsense(order: Order, changes: dict[str, Any], constraint: str) -> None:
    _refuses(constraint, lambda: Order.objects.filter(pk=order.pk).update(**changes))


def test_two_orders_cannot_have_one_number(order: Order, place: Callable[..., Order]) -> None:
    other = place()

    _refuses("number", lambda: Order.objects.filter(pk=other.pk).update(number=order.number))


def test_two_orders_of_a_source_cannot_have_one_reference(order: Order, place: Callable[..., Order]) -> None:
    other = place()

    _refuses(
        "order_reference_once_per_source",
        lambda: Order.objects.filter(pk=other.pk).update(reference=order.reference),
    )


def test_stock_cannot_go_below_zero(goods: dict[str, Product]) -> None:
    _refuses("product_stock_not_negative", lambda: Product.objects.filter(sku="RARE").update(stock=F("stock") - 2))


def test_two_products_cannot_have_one_number(goods: dict[str, Product]) -> None:
    _refuses("sku", lambda: Product.objects.create(sku="LAMP", name="Another lamp"))


@pytest.mark.parametrize(
    ("changes", "constraint"),
    [
        ({"quantity": 0}, "line_quantity_positive"),
        ({"quantity": -1}, "quantity"),
        ({"unit_price_minor": -1}, "line_price_not_negative"),
        ({"position": 1}, "line_position_once_per_order"),
    ],
)
def test_a_line_cannot_be_made_to_say_nonsense(order: Order, changes: dict[str, Any], constraint: str) -> None:
    product = Product.objects.get(sku="RUG")
    fields = {"order": order, "product": product, "position": 2, "quantity": 1, "unit_price_minor": 5}

    _refuses(constraint, lambda: OrderLine.objects.create(**fields | changes))


def test_an_order_cannot_have_two_open_reviews(order: Order) -> None:
    _refuses("review_one_open_per_order", lambda: Review.objects.create(order=order, opened_at=NOW, due_at=NOW))


def test_a_decided_review_makes_room_for_another(order: Order) -> None:
    order.reviews.update(decision="expired", decided_at=NOW)

    assert Review.objects.create(order=order, opened_at=NOW, due_at=NOW).pk


@pytest.mark.parametrize(
    ("changes", "constraint"),
    [
        ({"decision": "perhaps", "decided_at": NOW}, "review_decision_known"),
        ({"decision": "approved"}, "review_decided_entirely_or_not"),
        ({"decided_at": NOW}, "review_decided_entirely_or_not"),
    ],
)
def test_a_review_is_decided_entirely_or_not_at_all(order: Order, changes: dict[str, Any], constraint: str) -> None:
    _refuses(constraint, lambda: order.reviews.update(**changes))


@pytest.mark.parametrize(
    ("changes", "constraint"),
    [
        ({"quantity": 0}, "reservation_quantity_positive"),
        ({"state": "promised"}, "reservation_state_known"),
    ],
)
def test_a_reservation_cannot_be_made_to_say_nonsense(order: Order, changes: dict[str, Any], constraint: str) -> None:
    fields = {"order": order, "product": Product.objects.get(sku="RUG"), "quantity": 1, "state": "held"}

    _refuses(constraint, lambda: Reservation.objects.create(**fields | changes))


def test_an_order_cannot_reserve_a_product_twice(order: Order) -> None:
    fields = {"order": order, "product": Product.objects.get(sku="RUG"), "quantity": 1}
    Reservation.objects.create(**fields)

    _refuses("reservation_once_per_product", lambda: Reservation.objects.create(**fields))


@pytest.mark.parametrize(
    ("changes", "constraint"),
    [
        ({"amount_minor": -1}, "payment_amount_not_negative"),
        ({"kind": "gift"}, "payment_kind_known"),
        ({"status": "perhaps"}, "payment_status_known"),
    ],
)
def test_a_payment_cannot_be_made_to_say_nonsense(order: Order, changes: dict[str, Any], constraint: str) -> None:
    _refuses(constraint, lambda: _payment(order, **changes))


def test_an_order_cannot_be_charged_twice(order: Order) -> None:
    _payment(order)

    _refuses("payment_one_charge_per_order", lambda: _payment(order, idempotency_key="another"))


def test_a_charge_that_failed_and_a_refund_do_not_count_as_charges(order: Order) -> None:
    _payment(order)
    _payment(order, idempotency_key="another", status="failed")
    _payment(order, idempotency_key="back", kind="refund")

    assert order.payments.count() == 3


def test_refunds_cannot_exceed_the_charge(order: Order) -> None:
    _payment(order)
    _payment(order, idempotency_key="part", kind="refund", amount_minor=60)

    _refuses(
        "payment_refunds_within_charge",
        lambda: _payment(order, idempotency_key="more", kind="refund", amount_minor=41, status="processing"),
    )
    _refuses(
        "payment_refunds_within_charge",
        lambda: _payment(order, idempotency_key="other", kind="refund", amount_minor=1, currency="USD"),
    )
    _refuses(
        "payment_refunds_within_charge",
        lambda: Payment.objects.filter(idempotency_key="part").update(amount_minor=101),
    )
    _refuses("payment_refunds_within_charge", lambda: Payment.objects.filter(kind="charge").update(amount_minor=59))
    _refuses("payment_refunds_within_charge", lambda: Payment.objects.filter(kind="charge").delete())
    _payment(order, idempotency_key="rest", kind="refund", amount_minor=40)


@pytest.mark.parametrize(
    ("before", "after"), [(a, b) for a in Payment.State.values for b in Payment.State.values if a != b]
)
def test_a_payment_goes_only_where_its_table_leads(order: Order, before: str, after: str) -> None:
    _payment(order, status=before)

    def go() -> int:
        return Payment.objects.update(status=after)

    if after in PAYMENT_STEPS.get(before, ()):
        assert go() == 1
    else:
        _refuses("payment_step_legal", go)


def test_a_payment_may_stay_where_it_is(order: Order) -> None:
    payment = _payment(order)

    payment.error = "odd"
    payment.save()

    assert Payment.objects.get().error == "odd"


def test_refunds_that_came_to_nothing_leave_room_for_others(order: Order) -> None:
    _payment(order)
    _payment(order, idempotency_key="nothing", kind="refund", status="failed")
    _payment(order, idempotency_key="whole", kind="refund")

    assert order.payments.count() == 3


def test_an_idempotency_key_is_used_once(order: Order) -> None:
    _payment(order, status="failed")

    _refuses("idempotency_key", lambda: _payment(order))


def test_an_order_has_one_shipment_in_a_known_state(order: Order) -> None:
    fields = {"order": order, "idempotency_key": "package", "created_at": NOW}
    _refuses("shipment_status_known", lambda: Shipment.objects.create(**fields, status="flying"))
    Shipment.objects.create(**fields)

    _refuses("order_id", lambda: Shipment.objects.create(**fields | {"idempotency_key": "second"}))


@pytest.mark.parametrize(
    ("changes", "constraint"),
    [
        ({"sequence": 1}, "event_sequence_once_per_order"),
        ({"sequence": 0}, "event_sequence_from_one"),
        ({"actor_kind": "ghost"}, "event_actor_kind_known"),
    ],
)
def test_an_event_cannot_be_made_to_say_nonsense(order: Order, changes: dict[str, Any], constraint: str) -> None:
    fields = {"order": order, "sequence": 99, "type": "x", "actor_kind": "system", "actor": "x", "at": NOW}

    _refuses(constraint, lambda: Event.objects.create(**fields | changes))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE orders_event SET actor = 'somebody else' WHERE order_id = %s",
        "UPDATE orders_event SET sequence = sequence WHERE order_id = %s",
        "DELETE FROM orders_event WHERE order_id = %s",
    ],
)
def test_events_cannot_be_changed_or_deleted_even_by_raw_sql(order: Order, statement: str) -> None:
    before = list(order.events.values())

    with connection.cursor() as cursor:
        _refuses("append-only", lambda: cursor.execute(statement, [order.pk]))

    assert list(order.events.values()) == before


def test_events_cannot_be_changed_through_the_models_either(order: Order) -> None:
    event = order.events.latest("sequence")

    _refuses("append-only", lambda: order.events.update(type="forged"))
    _refuses("append-only", event.save)
    _refuses("append-only", event.delete)


def test_an_order_with_a_past_cannot_be_deleted(order: Order) -> None:
    with pytest.raises(ProtectedError):
        order.delete()


def test_a_product_that_was_ordered_cannot_be_deleted(order: Order) -> None:
    with pytest.raises(ProtectedError):
        Product.objects.get(sku="LAMP").delete()
