"""What the bank says by itself: who is believed, what is understood, and what it does to the order's row.

Each order of arrival is played on the row here; the same with an engine at work is in tests/temporal_workers.
"""

import hashlib
import hmac
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.http import HttpResponse
from django.test import Client
from pytest_django.fixtures import Settings

from orders.models import Order, Payment
from orders.services import attending, fulfilling, paying, reviewing, undoing
from orders.services.actors import Actor
from orders.services.paying import BankNews, Heard
from orders.services.placing import NewLine
from tests.conftest import PlaceOrder
from tests.threads import at_once

SECRET = "a secret between bank and desk"
URL = "/webhooks/payments"


@pytest.fixture(autouse=True)
def _secret(settings: Settings) -> None:
    settings.PAYMENT_WEBHOOK_SECRET = [SECRET]


@pytest.fixture
def order(place: PlaceOrder) -> Order:
    """An order of 200.00 EUR, of whose charge the bank is being asked."""
    order = place(lines=[NewLine("LAMP", 1, 20_000)])
    for step in (reviewing.receive_order, reviewing.validate_order, fulfilling.reserve_stock, paying.begin_charge):
        step(order_id=order.pk, at=datetime.now(UTC))
    return order


@pytest.fixture
def asked(order: Order) -> Order:
    """Its customer is asked to confirm."""
    answer(order, needs_customer=True)
    return order


def answer(order: Order, *, needs_customer: bool = False, declined: str = "", after: timedelta = timedelta(0)) -> None:
    """The bank's answer to our own call."""
    paying.record_charge(
        order_id=order.pk,
        reference="" if declined else "ch_1",
        declined=declined,
        needs_customer=needs_customer,
        at=datetime.now(UTC) + after,
    )


def told(order: Order, **changes: Any) -> dict[str, Any]:
    return {
        "id": "evt_1",
        "type": "succeeded",
        "key": f"order-{order.pk}:charge",
        "reference": "ch_1",
        "amount": 20_000,
        "currency": "EUR",
        "created": 1_767_225_600,
    } | changes


def signed(body: bytes, *, secret: str = SECRET, age: float = 0) -> str:
    at = int(time.time() - age)
    return f"t={at},v1={hmac.new(secret.encode(), f'{at}.'.encode() + body, hashlib.sha256).hexdigest()}"


def send(body: Any, **changes: Any) -> Any:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Payment-Signature": changes.pop("signature", signed(raw))}
    return Client().post(URL, data=raw, content_type=changes.pop("content_type", "application/json"), headers=headers)


def outcome(response: HttpResponse) -> str:
    assert response.status_code == 200, response.content
    return str(json.loads(response.content)["outcome"])


def wrong(response: HttpResponse, status: int) -> dict[str, str]:
    """Its problem, which must have that status, as field and message."""
    assert response.status_code == status, response.content
    assert response.headers["Content-Type"] == "application/problem+json"
    return {error["field"]: error["message"] for error in json.loads(response.content)["errors"]}


def events_of(order: Order) -> list[str]:
    return list(order.events.order_by("sequence").values_list("type", flat=True))


def standing(order: Order) -> tuple[str, str]:
    order.refresh_from_db()
    return order.status, order.payments.get(kind="charge").status


# Who is believed


def test_signed_news_is_recorded_and_the_engine_is_told_to_look(asked: Order) -> None:
    assert outcome(send(told(asked))) == "recorded"

    assert standing(asked) == ("charged", "succeeded")
    assert asked.events.latest("sequence").actor == "the bank"
    assert asked.outbox.latest("id").message == "payment_news"


def test_neither_session_nor_form_token_is_asked_for(asked: Order) -> None:
    raw = json.dumps(told(asked)).encode()

    response = Client(enforce_csrf_checks=True).post(
        URL, data=raw, content_type="application/json", headers={"Payment-Signature": signed(raw)}
    )

    assert json.loads(response.content) == {"outcome": "recorded"}
    assert response.cookies == {}


@pytest.mark.parametrize(
    "signature",
    [
        "",
        "nonsense",
        "t=1,v1=",
        "v1=" + "0" * 64,
        "t=999999999999999999999,v1=" + "0" * 64,
        "t=-5,v1=" + "0" * 64,
        "t=١٢٣,v1=" + "0" * 64,
        "t=NOW,t=NOW,v1=" + "0" * 64,
        "t=NOW,v1=" + "é" * 64,
        "t=NOW",
        "t=NOW,v1=" + "0" * 64,
        "t=NOW,v0=" + "0" * 64,
    ],
)
def test_a_signature_that_is_none_is_refused(asked: Order, signature: str) -> None:
    signature = signature.replace("NOW", str(int(time.time())))  # only here: a test's name stays what it is

    assert "Payment-Signature" in wrong(send(told(asked), signature=signature), 401)
    assert standing(asked) == ("awaiting_customer", "requires_action")


def test_a_body_that_was_changed_is_refused(asked: Order) -> None:
    of_another = signed(json.dumps(told(asked)).encode())

    assert "Payment-Signature" in wrong(send(told(asked, amount=1), signature=of_another), 401)


@pytest.mark.parametrize("age", [400, -400])
def test_a_signature_of_another_time_is_refused(asked: Order, age: float) -> None:
    raw = json.dumps(told(asked)).encode()

    assert wrong(send(raw, signature=signed(raw, age=age)), 401) == {
        "Payment-Signature": "is not of the last five minutes"
    }


@pytest.mark.parametrize("age", [200, -200])
def test_clocks_may_differ_by_some_minutes(asked: Order, age: float) -> None:
    raw = json.dumps(told(asked)).encode()

    assert outcome(send(raw, signature=signed(raw, age=age))) == "recorded"


def test_the_secret_of_somebody_else_is_refused(asked: Order) -> None:
    raw = json.dumps(told(asked)).encode()

    assert "Payment-Signature" in wrong(send(raw, signature=signed(raw, secret="mallory's")), 401)


@pytest.mark.parametrize("secret", ["the old one", "the new one"])
def test_two_secrets_count_while_it_is_being_changed(asked: Order, settings: Settings, secret: str) -> None:
    settings.PAYMENT_WEBHOOK_SECRET = ["the new one", "the old one"]
    raw = json.dumps(told(asked)).encode()

    assert outcome(send(raw, signature=signed(raw, secret=secret))) == "recorded"


def test_without_a_secret_all_is_refused(asked: Order, settings: Settings) -> None:
    settings.PAYMENT_WEBHOOK_SECRET = []
    raw = json.dumps(told(asked)).encode()

    assert wrong(send(raw, signature=signed(raw, secret="")), 401) == {
        "Payment-Signature": "cannot be checked: this desk has no PAYMENT_WEBHOOK_SECRET"
    }


# What is understood


@pytest.mark.parametrize("method", ["get", "put", "delete", "patch"])
def test_only_post_is_possible(client: Client, method: str) -> None:
    response = getattr(client, method)(URL)

    assert wrong(response, 405) == {}
    assert response.headers["Allow"] == "POST"


def test_only_json_is_taken(asked: Order) -> None:
    assert "Content-Type" in wrong(send(told(asked), content_type="text/plain"), 415)


@pytest.mark.parametrize("size", [64 * 1024 + 1, 3_000_000])
def test_more_than_64_kb_is_refused(db: None, size: int) -> None:
    assert "body" in wrong(send(b" " * size), 413)


@pytest.mark.parametrize(
    "body", [b" ", b"{", b"\xff\xfe", b'{"amount": NaN}', b"[" * 60_000, b"1" * 5_000, b"[]", b'""']
)
def test_what_is_no_json_object_is_refused(db: None, body: bytes) -> None:
    assert "body" in wrong(send(body), 400)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", ""),
        ("id", 5),
        ("id", "x" * 81),
        ("id", "evt\x00"),
        ("key", "order\x00"),
        ("key", "\ud800"),
        ("key", None),
        ("type", "refunded"),
        ("type", ["succeeded"]),
        ("reference", ""),
        ("reference", "ch\n1"),
        ("amount", "20000"),
        ("amount", 200.0),
        ("amount", True),
        ("amount", -1),
        ("amount", 10**30),
        ("currency", "eur"),
        ("currency", "EURO"),
        ("created", -1),
        ("created", "yesterday"),
        ("reason", 7),
        ("reason", "\x00"),
        ("reason", "x" * 301),
    ],
)
def test_a_field_that_is_not_as_it_should_be_is_named(asked: Order, field: str, value: object) -> None:
    assert set(wrong(send(told(asked, **{field: value})), 422)) == {field}

    assert standing(asked) == ("awaiting_customer", "requires_action")


def test_every_missing_field_is_named(db: None) -> None:
    found = wrong(send({}), 422)

    assert found == dict.fromkeys(["id", "type", "key", "reference", "amount", "currency", "created"], "is missing")


def test_fields_that_nobody_knows_are_let_pass(asked: Order) -> None:
    assert outcome(send(told(asked, livemode=False))) == "recorded"


def test_an_unknown_charge_is_answered_with_success_so_that_it_is_not_sent_again(asked: Order) -> None:
    assert outcome(send(told(asked, key="order-of-somebody-else:charge"))) == "unknown"


def test_the_key_of_a_refund_is_no_charge(asked: Order, as_alice: Actor) -> None:
    undoing.cancel(order_id=asked.pk, actor=as_alice, at=datetime.now(UTC), reason="")
    undoing.begin_refund(order_id=asked.pk, at=datetime.now(UTC))

    assert outcome(send(told(asked, key=f"order-{asked.pk}:refund"))) == "unknown"


# What is not believed


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"amount": 19_999}, "it is about €199.99, and the charge is €200.00"),
        ({"currency": "USD"}, "it is about $200.00, and the charge is €200.00"),
        ({"reference": "ch_2"}, "it is about another charge, ch_2"),
    ],
)
def test_news_that_contradicts_our_row_changes_nothing_and_is_told_once(
    asked: Order, changes: dict[str, Any], said: str
) -> None:
    assert [outcome(send(told(asked, **changes))) for _ in range(3)] == ["refused"] * 3

    assert standing(asked) == ("awaiting_customer", "requires_action")
    assert events_of(asked).count("payment_news_refused") == 1
    assert asked.events.latest("sequence").payload["reason"] == said
    assert not asked.outbox.filter(message="payment_news").exists()


def test_a_charge_that_nobody_has_asked_for_cannot_have_succeeded(place: PlaceOrder) -> None:
    order = place(lines=[NewLine("LAMP", 1, 20_000)])
    for step in (reviewing.receive_order, reviewing.validate_order, fulfilling.reserve_stock):
        step(order_id=order.pk, at=datetime.now(UTC))

    assert outcome(send(told(order))) == "refused"

    assert standing(order) == ("reserved", "created")


@pytest.mark.parametrize(
    ("first", "then"),
    [({"declined": "no funds"}, "succeeded"), ({}, "failed")],
)
def test_what_is_settled_stays_settled_whatever_the_bank_says_later(
    order: Order, first: dict[str, Any], then: str
) -> None:
    answer(order, **first)
    before = standing(order)

    assert outcome(send(told(order, type=then))) == "refused"

    assert standing(order) == before
    assert events_of(order)[-1] == "payment_news_refused"


# Whenever it arrives


def test_before_our_own_answer_is_recorded(order: Order) -> None:
    assert outcome(send(told(order))) == "recorded"
    assert standing(order) == ("charged", "succeeded")

    answer(order)

    assert events_of(order).count("charge") == 1


def test_the_customer_being_asked_before_our_own_answer_is_recorded(order: Order) -> None:
    assert outcome(send(told(order, type="requires_action"))) == "recorded"
    assert standing(order) == ("awaiting_customer", "requires_action")

    answer(order, needs_customer=True)

    assert events_of(order).count("ask_customer") == 1


def test_after_our_own_answer_is_recorded(order: Order) -> None:
    answer(order)

    assert outcome(send(told(order))) == "known"

    assert events_of(order)[-1] == "charge"


@pytest.mark.parametrize("type_", ["succeeded", "failed"])
def test_the_question_after_its_answer(asked: Order, type_: str) -> None:
    send(told(asked, type=type_))

    assert outcome(send(told(asked, id="evt_0", type="requires_action"))) == "known"


def test_a_refusal_of_the_customer_fails_the_order(asked: Order) -> None:
    assert outcome(send(told(asked, type="failed", reason="refused by the customer"))) == "recorded"

    assert standing(asked) == ("compensating", "failed")
    assert asked.outcome == "The payment was declined: refused by the customer"


def test_after_a_cancel_the_money_is_noted_and_the_order_stays_cancelled(asked: Order, as_alice: Actor) -> None:
    undoing.cancel(order_id=asked.pk, actor=as_alice, at=datetime.now(UTC), reason="")

    assert outcome(send(told(asked))) == "recorded"

    assert standing(asked) == ("cancelling", "succeeded")
    assert events_of(asked)[-1] == "charge_arrived"


def test_a_refusal_while_the_charge_is_being_voided_leaves_nothing_to_refund(asked: Order, as_alice: Actor) -> None:
    undoing.cancel(order_id=asked.pk, actor=as_alice, at=datetime.now(UTC), reason="")
    assert undoing.begin_refund(order_id=asked.pk, at=datetime.now(UTC)).key

    assert outcome(send(told(asked, type="failed"))) == "recorded"
    undoing.record_refund(order_id=asked.pk, reference="", at=datetime.now(UTC))

    assert dict(asked.payments.values_list("kind", "status")) == {"charge": "failed", "refund": "cancelled"}


def test_a_confirmation_while_the_charge_is_being_refunded_is_the_charge_that_is_refunded(
    asked: Order, as_alice: Actor
) -> None:
    undoing.cancel(order_id=asked.pk, actor=as_alice, at=datetime.now(UTC), reason="")
    undoing.begin_refund(order_id=asked.pk, at=datetime.now(UTC))

    assert outcome(send(told(asked))) == "recorded"
    undoing.record_refund(order_id=asked.pk, reference="re_1", at=datetime.now(UTC))

    assert dict(asked.payments.values_list("kind", "status")) == {"charge": "succeeded", "refund": "succeeded"}


@pytest.mark.parametrize(
    ("type_", "heard"), [("failed", "known"), ("requires_action", "known"), ("succeeded", "refused")]
)
def test_about_a_charge_that_was_voided(asked: Order, as_alice: Actor, type_: str, heard: str) -> None:
    undoing.cancel(order_id=asked.pk, actor=as_alice, at=datetime.now(UTC), reason="")
    undoing.begin_refund(order_id=asked.pk, at=datetime.now(UTC))
    undoing.record_refund(order_id=asked.pk, reference="", at=datetime.now(UTC))

    assert outcome(send(told(asked, type=type_))) == heard

    assert standing(asked) == ("cancelling", "cancelled")


class TestUnconfirmed:
    @pytest.fixture
    def unconfirmed(self, asked: Order) -> Order:
        answer(asked, needs_customer=True, after=timedelta(hours=2))
        assert standing(asked) == ("unconfirmed", "requires_action")
        return asked

    @pytest.mark.parametrize(("type_", "status"), [("succeeded", "charged"), ("failed", "compensating")])
    def test_the_customers_late_word_settles_the_review(self, unconfirmed: Order, type_: str, status: str) -> None:
        assert outcome(send(told(unconfirmed, type=type_))) == "recorded"

        assert standing(unconfirmed)[0] == status
        review = unconfirmed.reviews.get()
        assert (review.decision, review.decided_by) == ("settled", None)
        assert review.decided_at is not None

    def test_who_retries_after_it_is_told_who_was_first(self, unconfirmed: Order, as_alice: Actor) -> None:
        send(told(unconfirmed))

        with pytest.raises(reviewing.AlreadyDecided, match="Already settled by the customer"):
            attending.retry(order_id=unconfirmed.pk, actor=as_alice, at=datetime.now(UTC))

    def test_after_a_retry_it_charges(self, unconfirmed: Order, as_alice: Actor) -> None:
        attending.retry(order_id=unconfirmed.pk, actor=as_alice, at=datetime.now(UTC))

        assert outcome(send(told(unconfirmed))) == "recorded"

        assert standing(unconfirmed) == ("charged", "succeeded")


# At the same instant


@pytest.mark.django_db(transaction=True)
class TestAtOnce:
    def test_ten_times_the_same_is_recorded_once(self, asked: Order) -> None:
        found = at_once(*[lambda: outcome(send(told(asked)))] * 10)

        assert sorted(map(str, found)) == ["known"] * 9 + ["recorded"]
        assert events_of(asked).count("charge") == 1
        assert asked.outbox.filter(message="payment_news").count() == 1

    def test_ten_times_the_same_contradiction_is_told_once(self, asked: Order) -> None:
        found = at_once(*[lambda: outcome(send(told(asked, amount=1)))] * 10)

        assert found == ["refused"] * 10
        assert events_of(asked).count("payment_news_refused") == 1

    def test_the_news_and_our_own_answer(self, order: Order) -> None:
        at_once(lambda: outcome(send(told(order))), lambda: answer(order))

        assert standing(order) == ("charged", "succeeded")
        assert events_of(order).count("charge") == 1

    @pytest.mark.parametrize("round_", range(5))
    def test_a_confirmation_and_the_deadline(self, asked: Order, round_: int) -> None:
        late = timedelta(hours=2)
        at_once(lambda: outcome(send(told(asked))), lambda: answer(asked, needs_customer=True, after=late))

        assert standing(asked) == ("charged", "succeeded")
        assert [review.decision for review in asked.reviews.all()] in ([], ["settled"])

    @pytest.mark.parametrize("round_", range(5))
    def test_a_confirmation_and_a_cancel(self, asked: Order, as_alice: Actor, round_: int) -> None:
        def cancel() -> None:
            undoing.cancel(order_id=asked.pk, actor=as_alice, at=datetime.now(UTC), reason="")

        assert at_once(lambda: outcome(send(told(asked))), cancel) == ["recorded", None]

        assert standing(asked) == ("cancelling", "succeeded")
        assert len({"charge", "charge_arrived"} & set(events_of(asked))) == 1


@pytest.mark.django_db(transaction=True)
def test_an_order_that_somebody_else_works_on_is_to_be_told_again(asked: Order) -> None:
    somebody = connection.copy()
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '50ms'")
    try:
        with somebody.cursor() as cursor:
            cursor.execute("BEGIN; SELECT FROM orders_order WHERE id = %s FOR UPDATE", [asked.pk])

        assert wrong(send(told(asked)), 503) == {}
    finally:
        somebody.close()
        connection.close()


def test_news_keeps_its_reason_within_the_row(asked: Order) -> None:
    news = BankNews("e", Payment.State.FAILED, f"order-{asked.pk}:charge", "ch_1", 20_000, "EUR", "x" * 300)

    assert paying.hear_bank(news=news, at=datetime.now(UTC)) == Heard.RECORDED
