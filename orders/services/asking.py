"""Putting a review off: until the customer has answered what they are asked by mail, or until a time.

It leaves the queue, and is back on the answer, when its time has come, or when somebody takes it back. Its deadline
goes on running, and is the latest that it can be back.

The customer's page is reached by a signed link, and by nothing else. It knows one question, and takes one answer for
as long as the review is open, late ones too.
"""

import uuid
from datetime import datetime, timedelta

from django.conf import settings
from django.core import signing
from django.db import transaction
from django.urls import reverse

from orders.models import ActorKind, Event, InfoRequest, Order, Review
from orders.services import holding, mailing
from orders.services.actors import Actor, NotPermitted, authorise
from orders.services.reviewing import extend, reviews_of, take_back, why_not
from orders.services.texts import wrong_with_note
from orders.services.transitions import ActionRefused, lock, tell_engine, transition
from orders.states import Action

LINK_LASTS = timedelta(days=30)
_SALT = "orders.asking"


class CannotWait(ActionRefused):
    """The time to wait until is over already, or after the deadline. The message is for the operator."""


class AlreadyPutOff(ActionRefused):
    """Somebody has put it off already; `event` says who, how and why."""

    def __init__(self, event: Event) -> None:
        did = "asked the customer" if event.type == Action.ASK else "put it off"
        super().__init__(f"{event.actor} has {did} already: take it back first.")
        self.event = event


class NotPutOff(ActionRefused):
    """It is in the queue already. The message is for the operator."""


class NoSuchQuestion(Exception):
    """The link was never given out, or has been tampered with."""


class QuestionClosed(Exception):
    """The question cannot be answered any more. The message is for the customer."""


class AnswerRefused(Exception):
    """The answer is empty, too long or no text. The message is for the customer."""


def ask(
    *,
    order_id: uuid.UUID,
    actor: Actor,
    at: datetime,
    question: str,
    until: datetime,
    due_at: datetime | None = None,
    seen: int | None = None,
) -> InfoRequest:
    """Ask the customer by mail, and put the review off until they answer, or until `until`.

    `due_at` is a new deadline, where it is extended with it, under the rules of `reviewing.extend`.

    Raises NotPermitted, AlreadyDecided, AlreadyPutOff, CannotWait, DeadlineRefused, PageIsStale, InOtherHands, and
    ActionRefused where there is no review or no question, or mail does not reach the customer.
    """
    authorise(actor, Action.ASK)
    if actor.user is None:
        raise NotPermitted("Only a person asks.")
    question = _sound(question, "question", "Write your question: the customer gets it as it stands.")
    with transaction.atomic():
        order, review = _put_off(
            order_id, Action.ASK, actor, at=at, until=until, due_at=due_at, said=question, seen=seen
        )
        if wrong := why_not_by_mail(order):
            raise ActionRefused(wrong)
        asked = InfoRequest.objects.create(
            review=review, question=question, asked_by=actor.user, asked_at=at, answer_by=until
        )
        mailing.ask_customer(order, question=question, link=link_to(asked), answer_by=until, at=at)
    return asked


def snooze(
    *,
    order_id: uuid.UUID,
    actor: Actor,
    at: datetime,
    reason: str,
    until: datetime,
    due_at: datetime | None = None,
    seen: int | None = None,
) -> Order:
    """Put the review off until `until`; `reason` is required. `due_at` as in `ask`.

    Raises NotPermitted, AlreadyDecided, AlreadyPutOff, CannotWait, DeadlineRefused, and ActionRefused where there is
    no review or no reason.
    """
    authorise(actor, Action.SNOOZE)
    reason = _sound(reason, "reason", "Give a reason: your colleagues will want to know why.")
    with transaction.atomic():
        order, _ = _put_off(order_id, Action.SNOOZE, actor, at=at, until=until, due_at=due_at, said=reason, seen=seen)
    return order


def resume(*, order_id: uuid.UUID, actor: Actor, at: datetime, seen: int | None = None) -> Order:
    """Take back what was put off, before its time. The customer can answer all the same.

    Raises NotPermitted, AlreadyDecided, NotPutOff, PageIsStale, and ActionRefused where there is no review.
    """
    authorise(actor, Action.RESUME)
    with transaction.atomic():
        order = lock(order_id)
        review = _open_to(order, Action.RESUME, actor, at)
        if review.back_at is None:
            raise NotPutOff("It is back already.")
        holding.check_seen(order, Action.RESUME, seen=seen)
        take_back(order, Action.RESUME, actor=actor, at=at)
    return order


def answer(*, token: str, text: str, at: datetime) -> InfoRequest:
    """Keep the customer's answer to the question that `token` names, and take the review back if it was put off.

    Raises NoSuchQuestion, QuestionClosed where it was answered or decided on or the link is older than `LINK_LASTS`,
    and AnswerRefused.
    """
    asked = find(token)
    text = text.strip()
    with transaction.atomic():
        order = lock(asked.review.order_id)
        asked = find(token)
        if closed := why_closed(asked, at=at):
            raise QuestionClosed(closed)
        if not text:
            raise AnswerRefused("Write your answer first.")
        if wrong := wrong_with_note(text):
            raise AnswerRefused(f"Your answer {wrong}.")
        customer = Actor(ActorKind.CUSTOMER, order.customer_name[:150])
        authorise(customer, Action.ANSWER)
        asked.answer, asked.answered_at = text, at
        asked.save(update_fields=["answer", "answered_at"])
        take_back(order, Action.ANSWER, actor=customer, at=at, note=text)
    return asked


def why_not_by_mail(order: Order) -> str:
    """Why the customer cannot be asked by mail; empty where they can."""
    if not order.customer_email:
        return "The customer has no e-mail address: ask by other means, and put the order off meanwhile."
    if not settings.DESK_URL:
        return "The desk has no address that customers reach (DESK_URL), so it cannot ask them by mail."
    return "" if mailing.reaches(order) else "The desk sends no mail to this customer."


def link_to(asked: InfoRequest) -> str:
    """The address of the page where the customer answers."""
    token = signing.Signer(salt=_SALT).sign(str(asked.pk))
    return settings.DESK_URL.rstrip("/") + reverse("orders:answer", args=[token])


def find(token: str) -> InfoRequest:
    """The question that `token` names, with its review and order.

    Raises NoSuchQuestion.
    """
    try:
        pk = int(signing.Signer(salt=_SALT).unsign(token))
        return InfoRequest.objects.select_related("review__order").get(pk=pk)
    except (signing.BadSignature, ValueError, InfoRequest.DoesNotExist):
        raise NoSuchQuestion from None


def why_closed(asked: InfoRequest, *, at: datetime) -> str:
    """Why the question takes no answer; empty where it does."""
    if asked.answered_at:
        return "You have answered this already. Thank you."
    if asked.review.decision:
        return "This has been settled meanwhile, so your answer is not needed any more."
    if at - asked.asked_at > LINK_LASTS:
        return "This link is too old to be used. Please write to us instead."
    return ""


def _put_off(
    order_id: uuid.UUID,
    action: Action,
    actor: Actor,
    *,
    at: datetime,
    until: datetime,
    due_at: datetime | None,
    said: str,
    seen: int | None,
) -> tuple[Order, Review]:
    order = lock(order_id)
    review = _open_to(order, action, actor, at)
    if review.back_at and review.back_at > at:
        earlier = order.events.filter(type__in=[Action.ASK, Action.SNOOZE])
        raise AlreadyPutOff(earlier.latest("sequence"))
    holding.check_seen(order, action, seen=seen)
    if due_at:
        order = extend(order_id=order_id, actor=actor, at=at, due_at=due_at, reason=said)
    if not at < until <= (due_at or review.due_at):
        raise CannotWait("It can wait until its deadline at the latest: for longer the deadline has to move, too.")
    order.reviews.filter(pk=review.pk).update(
        back_at=until, waits_for=said, put_off_by=actor.user, **holding.IN_NO_HANDS
    )
    transition(order, action, actor=actor, at=at, back_at=until.isoformat(), note=said)
    tell_engine(order, Action.EXTEND, at=at, actor=actor.name)  # its word for: ask the row anew when it is due
    return order, review


def _open_to(order: Order, action: Action, actor: Actor, at: datetime) -> Review:
    """The order's open review, which this person may decide on."""
    reviews = reviews_of([order])[order.pk]
    if refusal := why_not(order, reviews, action, actor=actor, at=at):
        raise refusal
    return reviews[0]


def _sound(text: str, what: str, missing: str) -> str:
    text = text.strip()
    if not text:
        raise ActionRefused(missing)
    if wrong := wrong_with_note(text):
        raise ActionRefused(f"The {what} {wrong}.")
    return text
