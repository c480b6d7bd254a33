"""Putting a review off: asking the customer, waiting for a time, and how it comes back; as the row has it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core import signing
from django.db import IntegrityError, transaction
from pytest_django import Settings

from orders import finding, selectors
from orders.models import InfoRequest, Order, Outbox
from orders.services import addressing, asking, claiming, reviewing
from orders.services.actors import SYSTEM, Actor, NotPermitted
from orders.services.holding import InOtherHands, PageIsStale
from orders.services.placing import Address
from orders.services.reviewing import AlreadyDecided, DeadlineRefused
from orders.services.transitions import ActionRefused
from tests.conftest import PlaceOrder

HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def _with_mail(settings: Settings) -> None:
    settings.CUSTOMERS_GET_MAIL = True
    settings.DESK_URL = "https://desk.example/"


@pytest.fixture
def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def asked(order_in_review: Order, as_alice: Actor, now: datetime) -> InfoRequest:
    """Alice has asked for the flat; there are four hours to answer."""
    return asking.ask(
        order_id=order_in_review.pk, actor=as_alice, at=now, question="Which flat is it?", until=now + 4 * HOUR
    )


def token_of(asked: InfoRequest) -> str:
    return asking.link_to(asked).rstrip("/").rpartition("/")[2]


def is_in_queue(order: Order, *, at: datetime) -> bool:
    return order.reviews.filter(finding.in_queue(at=at)).exists()


def last_event(order: Order) -> tuple[str, str, str]:
    event = order.events.latest("sequence")
    return event.type, event.actor_kind, event.actor


def test_a_question_leaves_the_queue_with_a_mail_an_event_and_the_timer(asked: InfoRequest, now: datetime) -> None:
    order = asked.review.order

    assert not is_in_queue(order, at=now)
    assert order.reviews.filter(finding.put_off(at=now)).exists()
    mail = order.mails.get(kind="question")
    assert mail.recipient == "ann.lee@example.com"
    assert mail.subject == f"A question about order {order.number}"
    assert "Which flat is it?" in mail.body
    assert asking.link_to(asked) in mail.body
    assert asking.link_to(asked).startswith("https://desk.example/answer/")
    event = order.events.latest("sequence")
    assert (event.type, event.actor, event.payload["note"]) == ("ask", "alice", "Which flat is it?")
    assert datetime.fromisoformat(event.payload["back_at"]) == now + 4 * HOUR
    assert Outbox.objects.filter(order=order, message="extend").count() == 1


def test_the_answer_brings_it_back_from_the_customer(asked: InfoRequest, now: datetime) -> None:
    asking.answer(token=token_of(asked), text=" The second, on the left. ", at=now + HOUR)

    order = asked.review.order
    assert is_in_queue(order, at=now + HOUR)
    assert last_event(order) == ("answer", "customer", "Ann Lee")
    assert order.events.latest("sequence").payload["note"] == "The second, on the left."
    asked.refresh_from_db()
    assert (asked.answer, asked.answered_at) == ("The second, on the left.", now + HOUR)


def test_a_question_is_answered_once(asked: InfoRequest, now: datetime) -> None:
    asking.answer(token=token_of(asked), text="The second", at=now)

    with pytest.raises(asking.QuestionClosed, match="answered this already"):
        asking.answer(token=token_of(asked), text="No, the third", at=now)

    asked.refresh_from_db()
    assert asked.answer == "The second"
    assert asked.review.order.events.filter(type="answer").count() == 1


def test_an_answer_says_something(asked: InfoRequest, now: datetime) -> None:
    for text in (" ", "x" * 2_001, "\x00", "\ud800"):
        with pytest.raises(asking.AnswerRefused):
            asking.answer(token=token_of(asked), text=text, at=now)

    assert not is_in_queue(asked.review.order, at=now)


def test_no_other_link_finds_a_question(asked: InfoRequest) -> None:
    token = token_of(asked)
    for other in ("", "1", f"{asked.pk + 1}{token[token.index(':') :]}", token[:-1], signing.Signer().sign("1")):
        with pytest.raises(asking.NoSuchQuestion):
            asking.find(other)
    with pytest.raises(asking.NoSuchQuestion):
        asking.find(token_of(InfoRequest(pk=asked.pk + 1)))


def test_a_link_is_good_for_thirty_days_of_an_open_review(asked: InfoRequest, lead: User, now: datetime) -> None:
    late = now + timedelta(days=31)
    reviewing.extend(
        order_id=asked.review.order_id,
        actor=Actor.operator(lead),
        at=now,
        due_at=now + timedelta(days=60),
        reason="x",
    )
    with pytest.raises(asking.QuestionClosed, match="too old"):
        asking.answer(token=token_of(asked), text="Late", at=late)

    reviewing.approve(order_id=asked.review.order_id, actor=Actor.operator(lead), at=now)

    with pytest.raises(asking.QuestionClosed, match="settled meanwhile"):
        asking.answer(token=token_of(asked), text="Late", at=now)


def test_an_answer_after_its_time_counts_as_long_as_nobody_has_decided(asked: InfoRequest, now: datetime) -> None:
    reviewing.settle_review(order_id=asked.review.order_id, at=now + 5 * HOUR)

    asking.answer(token=token_of(asked), text="Sorry, I was away", at=now + 6 * HOUR)

    assert last_event(asked.review.order) == ("answer", "customer", "Ann Lee")


def test_its_time_brings_it_back_whether_or_not_anybody_notes_it(asked: InfoRequest, now: datetime) -> None:
    order = asked.review.order
    then = now + 4 * HOUR
    assert not is_in_queue(order, at=then - timedelta(seconds=1))
    assert is_in_queue(order, at=then)

    standing = reviewing.settle_review(order_id=order.pk, at=now)
    assert standing.remind_at == then
    reviewing.settle_review(order_id=order.pk, at=then)
    reviewing.settle_review(order_id=order.pk, at=then)

    assert last_event(order) == ("resume", "system", "Countersign")
    assert order.events.filter(type="resume").count() == 1
    assert order.reviews.get().back_at is None


def test_the_timer_wakes_for_whichever_is_first_reminder_or_return(
    order_in_review: Order, as_alice: Actor, now: datetime
) -> None:
    review = order_in_review.reviews.get()
    until = review.due_at - HOUR
    asking.snooze(order_id=order_in_review.pk, actor=as_alice, at=now, reason="She is on a plane", until=until)

    first = reviewing.settle_review(order_id=order_in_review.pk, at=now)
    second = reviewing.settle_review(order_id=order_in_review.pk, at=first.remind_at or now)

    assert (first.remind_at, second.remind_at) == (review.remind_at, until)


def test_a_colleague_takes_it_back_by_hand(asked: InfoRequest, as_bob: Actor, now: datetime) -> None:
    asking.resume(order_id=asked.review.order_id, actor=as_bob, at=now)

    assert is_in_queue(asked.review.order, at=now)
    assert last_event(asked.review.order) == ("resume", "operator", "bob")
    with pytest.raises(asking.NotPutOff):
        asking.resume(order_id=asked.review.order_id, actor=as_bob, at=now)


def test_without_a_mailbox_it_is_put_off_with_a_reason(place: PlaceOrder, as_alice: Actor, now: datetime) -> None:
    order = place(customer_email="")
    reviewing.receive_order(order_id=order.pk, at=now)
    reviewing.validate_order(order_id=order.pk, at=now)

    with pytest.raises(ActionRefused, match="no e-mail address"):
        asking.ask(order_id=order.pk, actor=as_alice, at=now, question="Which flat?", until=now + HOUR)
    asking.snooze(order_id=order.pk, actor=as_alice, at=now, reason="Called, she calls back", until=now + HOUR)

    assert not is_in_queue(order, at=now)
    assert last_event(order) == ("snooze", "operator", "alice")
    assert not order.mails.filter(kind="question").exists()
    assert InfoRequest.objects.count() == 0


def test_a_desk_that_customers_do_not_reach_asks_nothing(
    order_in_review: Order, as_alice: Actor, now: datetime, settings: Settings
) -> None:
    for setting, value, why in (("DESK_URL", "", "DESK_URL"), ("CUSTOMERS_GET_MAIL", False, "no mail")):
        before = getattr(settings, setting)
        setattr(settings, setting, value)
        with pytest.raises(ActionRefused, match=why):
            asking.ask(order_id=order_in_review.pk, actor=as_alice, at=now, question="Which?", until=now + HOUR)
        setattr(settings, setting, before)

    assert is_in_queue(order_in_review, at=now)


def test_it_waits_neither_beyond_its_deadline_nor_for_the_past_nor_for_nothing(
    order_in_review: Order, as_alice: Actor, now: datetime
) -> None:
    due_at = order_in_review.reviews.get().due_at
    for until in (now, now - HOUR, due_at + timedelta(seconds=1)):
        with pytest.raises(asking.CannotWait):
            asking.ask(order_id=order_in_review.pk, actor=as_alice, at=now, question="Which?", until=until)
    for said in ("", " ", "x" * 2_001, "\x00"):
        with pytest.raises(ActionRefused):
            asking.ask(order_id=order_in_review.pk, actor=as_alice, at=now, question=said, until=now + HOUR)
        with pytest.raises(ActionRefused):
            asking.snooze(order_id=order_in_review.pk, actor=as_alice, at=now, reason=said, until=now + HOUR)

    assert order_in_review.reviews.get().back_at is None
    assert (InfoRequest.objects.count(), order_in_review.mails.filter(kind="question").count()) == (0, 0)
    with pytest.raises(IntegrityError), transaction.atomic():
        order_in_review.reviews.update(back_at=due_at + HOUR)


def test_who_asks_may_move_the_deadline_along(order_in_review: Order, as_alice: Actor, now: datetime) -> None:
    due_at = order_in_review.reviews.get().due_at
    with pytest.raises(DeadlineRefused, match="4 h 00 min more at most"):
        asking.snooze(
            order_id=order_in_review.pk,
            actor=as_alice,
            at=now,
            reason="x",
            until=due_at + HOUR,
            due_at=due_at + 5 * HOUR,
        )

    asking.ask(
        order_id=order_in_review.pk,
        actor=as_alice,
        at=now,
        question="Which flat?",
        until=due_at + 2 * HOUR,
        due_at=due_at + 3 * HOUR,
    )

    review = order_in_review.reviews.get()
    assert (review.due_at, review.back_at) == (due_at + 3 * HOUR, due_at + 2 * HOUR)
    assert [e.type for e in order_in_review.events.order_by("sequence")][-2:] == ["extend", "ask"]


def test_two_do_not_put_it_off_at_once(asked: InfoRequest, as_bob: Actor, now: datetime) -> None:
    for again in (asking.AlreadyPutOff,):
        with pytest.raises(again, match="alice has asked the customer already"):
            asking.ask(order_id=asked.review.order_id, actor=as_bob, at=now, question="Which street?", until=now + HOUR)
        with pytest.raises(again):
            asking.snooze(order_id=asked.review.order_id, actor=as_bob, at=now, reason="x", until=now + HOUR)

    assert InfoRequest.objects.count() == 1


def test_what_a_colleague_has_in_hand_or_has_changed_since_is_not_put_off(
    order_in_review: Order, as_alice: Actor, as_bob: Actor, now: datetime
) -> None:
    seen = order_in_review.version
    wanted: dict[str, Any] = {"order_id": order_in_review.pk, "at": now, "reason": "x", "until": now + HOUR}

    claiming.claim(order_id=order_in_review.pk, actor=as_bob, at=now)
    with pytest.raises(InOtherHands, match="bob has it in hand"):
        asking.snooze(**wanted, actor=as_alice)
    addressing.change_address(
        order_id=order_in_review.pk,
        actor=as_bob,
        at=now,
        address=Address("FR", line1="5 rue Cler", city="Paris", postal_code="75007"),
    )
    with pytest.raises(PageIsStale, match="change address by bob"):
        asking.snooze(**wanted, actor=as_bob, seen=seen)
    asking.snooze(**wanted, actor=as_bob)

    assert order_in_review.reviews.get().claimed_by is None


def test_viewers_the_engine_and_the_late_are_refused(
    order_in_review: Order, viewer: User, as_alice: Actor, now: datetime
) -> None:
    for actor in (Actor.operator(viewer), SYSTEM):
        with pytest.raises(NotPermitted):
            asking.ask(order_id=order_in_review.pk, actor=actor, at=now, question="Which?", until=now + HOUR)
        with pytest.raises(NotPermitted):
            asking.snooze(order_id=order_in_review.pk, actor=actor, at=now, reason="x", until=now + HOUR)
        with pytest.raises(NotPermitted):
            asking.resume(order_id=order_in_review.pk, actor=actor, at=now)
    reviewing.approve(order_id=order_in_review.pk, actor=as_alice, at=now)
    with pytest.raises(AlreadyDecided):
        asking.ask(order_id=order_in_review.pk, actor=as_alice, at=now, question="Which?", until=now + HOUR)
    with pytest.raises(AlreadyDecided):
        asking.resume(order_id=order_in_review.pk, actor=as_alice, at=now)


def test_a_decision_and_a_deadline_end_the_wait(asked: InfoRequest, as_bob: Actor, now: datetime) -> None:
    with transaction.atomic():
        reviewing.approve(order_id=asked.review.order_id, actor=as_bob, at=now)
        assert asked.review.order.reviews.get().back_at is None
        transaction.set_rollback(True)

    standing = reviewing.settle_review(order_id=asked.review.order_id, at=asked.review.due_at)

    assert standing.status == "expired"
    assert asked.review.order.reviews.get().back_at is None


def test_an_escalation_brings_it_before_leads(asked: InfoRequest, as_alice: Actor, now: datetime) -> None:
    asked.review.order.reviews.update(at_deadline="escalate", back_at=asked.review.due_at)

    reviewing.settle_review(order_id=asked.review.order_id, at=asked.review.due_at)

    assert is_in_queue(asked.review.order, at=asked.review.due_at)
    with pytest.raises(ActionRefused, match="a lead has to decide"):
        asking.ask(
            order_id=asked.review.order_id,
            actor=as_alice,
            at=asked.review.due_at,
            question="Still there?",
            until=asked.review.due_at + HOUR,
        )


def test_what_needs_help_waits_for_the_customer_too(undeliverable_order: Order, as_alice: Actor, now: datetime) -> None:
    asked = asking.ask(
        order_id=undeliverable_order.pk, actor=as_alice, at=now, question="Where else?", until=now + HOUR
    )
    assert not is_in_queue(undeliverable_order, at=now)

    asking.answer(token=token_of(asked), text="To my sister", at=now)

    undeliverable_order.refresh_from_db()
    assert undeliverable_order.status == "undeliverable"
    assert is_in_queue(undeliverable_order, at=now)


def test_what_came_back_is_found_behind_many_that_came_back_and_wait_no_longer(
    place: PlaceOrder, as_alice: Actor, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selectors, "NEW_UP_TO", 1)
    decided, waits = place(), place()
    for order in (decided, waits):
        reviewing.receive_order(order_id=order.pk, at=now)
        reviewing.validate_order(order_id=order.pk, at=now)
        asking.snooze(order_id=order.pk, actor=as_alice, at=now, until=now + HOUR, reason="Rain")
        asking.resume(order_id=order.pk, actor=as_alice, at=now)
    reviewing.reject(order_id=decided.pk, actor=as_alice, at=now, reason="Fraud")

    assert selectors.came_since(selectors.queue_page(at=now).newest_review, 0, except_orders=[]) == [waits.pk]
