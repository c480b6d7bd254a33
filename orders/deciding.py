"""The forms on the desk's pages. Each changes an order through one service; `decision` is what they have in common.

A decision comes as a plain form or through htmx, and is answered in kind: a redirect or a whole page, or the one
fragment that asked (`HX-Target` names it).
"""

import functools
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Protocol

from django.contrib import messages
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.forms import Form
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

from orders import selectors, timeline, wording
from orders.forms import (
    AddressForm,
    AskForm,
    CancelForm,
    ExtendForm,
    HandOverForm,
    NoteForm,
    RefundForm,
    Refusal,
    RejectForm,
    RetryForm,
    SnoozeForm,
    WaitForm,
)
from orders.models import Decision, Event, Note, Order
from orders.roles import WRITE_NOTES, permission
from orders.services import (
    addressing,
    asking,
    attending,
    claiming,
    holding,
    noting,
    refunding,
    reviewing,
    transitions,
    undoing,
)
from orders.services.actors import Actor, NotPermitted
from orders.services.placing import address_of
from orders.states import Action, Status, on_main_road
from orders.templatetags.desk import clock, decided, money
from orders.views import address_changes, asking_fragment, order_page, row_or_404

NOT_PERMITTED = "You can view orders but not decide on them. Ask a lead if you need to."


class MakeForm(Protocol):
    def __call__(self, data: QueryDict, *, order: Order) -> Form: ...


@dataclass(frozen=True)
class Asked:
    """One decision as it was sent: which one, of which order, with what typed."""

    name: str
    request: HttpRequest
    row: selectors.Row
    form: Form

    @property
    def order(self) -> Order:
        return self.row.order

    @property
    def actor(self) -> Actor:
        return Actor.operator(self.request.user)

    @property
    def reason(self) -> str:
        return self.request.POST.get("reason", "")

    @property
    def seen(self) -> int | None:
        """The version of the order that was on the page.

        Raises Wrong for what is none.
        """
        text = self.request.POST.get("version", "")
        if not re.fullmatch(r"[0-9]{0,9}", text, re.ASCII):
            raise Wrong({"version": "This page is out of date. Reload it, then try again."})
        return int(text) if text else None

    @property
    def retries(self) -> bool:
        """Whether the order tries again with the address that was typed."""
        return self.name == "change_address" and self.request.POST.get("then") == "retry"

    def refuse(self, message: str, *, status: int = 409, errors: Mapping[str, str] | None = None) -> HttpResponse:
        panel = self.name if self.form.fields and status != 403 else ""
        fields = {name: self.request.POST.get(name, "") for name in self.form.fields}
        shown = [fields[field.name] for field in self.form.visible_fields()]
        said = next((fields[name] for name in ("reason", "question") if name in fields), None)
        typed = "\n".join(text for text in shown if text) if said is None else said
        refusal = Refusal(message, typed, panel, fields, errors or {})
        if self.request.headers.get("HX-Request"):
            return asking_fragment(self.request, self.order.pk, refusal=refusal, status=status)
        if status == 403:
            raise PermissionDenied(message)
        return order_page(self.request, self.order.pk, refusal=refusal, status=status)

    def done(self, said: str) -> HttpResponse:
        if self.request.headers.get("HX-Request"):
            return asking_fragment(self.request, self.order.pk)
        messages.success(self.request, said)
        wanted = self.request.POST.get("next", "")
        if url_has_allowed_host_and_scheme(wanted, {self.request.get_host()}, require_https=self.request.is_secure()):
            return redirect(wanted)
        return redirect(self.order)


class Wrong(Exception):
    """Some fields are not as they have to be. `errors` says what is wrong with each."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        super().__init__(" ".join(errors.values()))
        self.errors = errors


Change = Callable[[Asked], str]  # carries it out, and answers what is to be said of it
View = Callable[[HttpRequest, uuid.UUID], HttpResponse]


def permits(action: Action) -> Callable[[User], bool]:
    return lambda user: user.has_perm(permission(action))


def decision(allowed: Callable[[User], bool], make_form: MakeForm) -> Callable[[Change], View]:
    """A view of what a form asks for: refused with what was typed where it cannot be, else done, in a word."""

    def wrap(change: Change) -> View:
        @require_POST
        @functools.wraps(change)
        def view(request: HttpRequest, order_id: uuid.UUID) -> HttpResponse:
            row = row_or_404(order_id)
            asked = Asked(change.__name__, request, row, make_form(request.POST, order=row.order))
            if not isinstance(request.user, User) or not allowed(request.user):
                return asked.refuse(NOT_PERMITTED, status=403)
            try:
                _check(asked)
                return asked.done(change(asked))
            except Wrong as wrong:
                return asked.refuse(str(wrong), status=422, errors=wrong.errors)
            except transitions.ActionRefused as refusal:
                if _did_it_before(asked, refusal):
                    return asked.done(f"{asked.order.number}: that was done already.")
                return asked.refuse(_told(asked, refusal))
            except NotPermitted:
                return asked.refuse(NOT_PERMITTED, status=403)

        return view

    return wrap


@decision(permits(Action.APPROVE), lambda data, order: Form(data))
def approve(asked: Asked) -> str:
    order = reviewing.approve(order_id=asked.order.pk, actor=asked.actor, at=timezone.now(), seen=asked.seen)
    if order.status_now == Status.IN_REVIEW:
        return f"{order.number} endorsed: a second person must approve it."
    return f"{order.number} approved."


@decision(permits(Action.REJECT), lambda data, order: RejectForm(data))
def reject(asked: Asked) -> str:
    code = asked.form.cleaned_data["code"]
    try:
        reviewing.reject(
            order_id=asked.order.pk,
            actor=asked.actor,
            at=timezone.now(),
            reason=asked.reason,
            code=code,
            seen=asked.seen,
        )
    except reviewing.UnknownReason:
        raise Wrong({"code": "That reason is no longer in use. Choose another."}) from None
    return f"{asked.order.number} rejected."


@decision(permits(Action.CANCEL), lambda data, order: CancelForm(data))
def cancel(asked: Asked) -> str:
    undoing.cancel(order_id=asked.order.pk, actor=asked.actor, at=timezone.now(), reason=asked.reason, seen=asked.seen)
    return f"{asked.order.number} is being cancelled."


@decision(permits(Action.EXTEND), lambda data, order: ExtendForm(data))
def extend(asked: Asked) -> str:
    now, review = timezone.now(), asked.row.review
    due_at = max(now, review.due_at if review else now) + timedelta(minutes=asked.form.cleaned_data["minutes"])
    reviewing.extend(
        order_id=asked.order.pk, actor=asked.actor, at=now, due_at=due_at, reason=asked.reason, seen=asked.seen
    )
    return f"{asked.order.number} has more time."


@decision(permits(Action.ASK), lambda data, order: AskForm(data))
def ask(asked: Asked) -> str:
    now = timezone.now()
    until, due_at = _wait(asked, now)
    question = asked.form.cleaned_data["question"]
    asking.ask(
        order_id=asked.order.pk,
        actor=asked.actor,
        at=now,
        question=question,
        until=until,
        due_at=due_at,
        seen=asked.seen,
    )
    return f"The customer of {asked.order.number} is asked."


@decision(permits(Action.SNOOZE), lambda data, order: SnoozeForm(data))
def snooze(asked: Asked) -> str:
    now = timezone.now()
    until, due_at = _wait(asked, now)
    asking.snooze(
        order_id=asked.order.pk,
        actor=asked.actor,
        at=now,
        reason=asked.reason,
        until=until,
        due_at=due_at,
        seen=asked.seen,
    )
    return f"{asked.order.number} is put off."


def _wait(asked: Asked, at: datetime) -> tuple[datetime, datetime | None]:
    review = asked.row.review
    if not isinstance(asked.form, WaitForm) or review is None:
        raise reviewing.not_decidable(asked.order)
    return asked.form.times(due_at=review.due_at, at=at)


@decision(permits(Action.RESUME), lambda data, order: Form(data))
def resume(asked: Asked) -> str:
    asking.resume(order_id=asked.order.pk, actor=asked.actor, at=timezone.now(), seen=asked.seen)
    return f"{asked.order.number} is back in the queue."


@decision(permits(Action.RETRY), lambda data, order: RetryForm(data))
def retry(asked: Asked) -> str:
    note = asked.form.cleaned_data["note"]
    attending.retry(order_id=asked.order.pk, actor=asked.actor, at=timezone.now(), note=note, seen=asked.seen)
    return f"{asked.order.number} is tried again."


@decision(permits(Action.CHANGE_ADDRESS), lambda data, order: AddressForm(data))
def change_address(asked: Asked) -> str:
    """Of an order that could not be delivered it has a second button, which also lets the order try again."""
    address, seen, now = AddressForm.address_in(asked.form.cleaned_data), asked.seen, timezone.now()
    if asked.retries:
        attending.correct_and_retry(order_id=asked.order.pk, actor=asked.actor, at=now, address=address, seen=seen)
        return f"{asked.order.number} goes to the new address, and is tried again."
    if not addressing.change_address(order_id=asked.order.pk, actor=asked.actor, at=now, address=address, seen=seen):
        raise transitions.ActionRefused("That is the address it has. Nothing was changed.")
    return f"{asked.order.number} goes to the new address."


@require_POST
def check_address(request: HttpRequest, order_id: uuid.UUID) -> HttpResponse:
    """Say what saving the typed address would change, and what is wrong with it. Changes nothing."""
    order = row_or_404(order_id).order
    if not isinstance(request.user, User) or not permits(Action.CHANGE_ADDRESS)(request.user):
        raise PermissionDenied(NOT_PERMITTED)
    form = AddressForm(request.POST)
    errors = {name: " ".join(str(error) for error in errors) for name, errors in form.errors.items()}
    fields = {name: request.POST.get(name, "") for name in form.fields}
    if request.headers.get("HX-Request"):
        context = {"changes": address_changes(order, fields), "errors": errors}
        return render(request, "orders/_address_check.html", context, status=422 if errors else 200)
    return order_page(request, order_id, refusal=Refusal("", "", "change_address", fields, errors))


@decision(refunding.may_refund, lambda data, order: RefundForm(data, currency=order.currency))
def refund(asked: Asked) -> str:
    wanted = asked.form.cleaned_data
    try:
        payment = refunding.refund(
            order_id=asked.order.pk,
            amount_minor=wanted["amount"],
            reason=asked.reason,
            actor=asked.actor,
            at=timezone.now(),
            number=wanted["number"],
            seen=asked.seen,
        )
    except refunding.AmountRefused as refusal:
        raise Wrong({"amount": str(refusal)}) from None
    return f"{money(payment.amount_minor, payment.currency)} is being refunded."


def writes_notes(user: User) -> bool:
    return user.has_perm(WRITE_NOTES)


@decision(writes_notes, lambda data, order: NoteForm(data))
def note(asked: Asked) -> str:
    try:
        noting.write_note(
            order_id=asked.order.pk, actor=asked.actor, at=timezone.now(), text=asked.form.cleaned_data["text"]
        )
    except noting.NoteRefused as refusal:
        raise Wrong({"text": str(refusal)}) from None
    return f"Your note is on {asked.order.number}."


@decision(writes_notes, lambda data, order: NoteForm(data))
def edit_note(asked: Asked) -> str:
    typed = asked.form.cleaned_data
    try:
        changed = noting.edit_note(
            order_id=asked.order.pk, note_id=typed["note"], actor=asked.actor, at=timezone.now(), text=typed["text"]
        )
    except Note.DoesNotExist:
        raise Http404 from None
    except noting.NoteRefused as refusal:
        raise Wrong({"text": str(refusal)}) from None
    return "Your note is changed." if changed else "Your note reads as before."


@decision(permits(Action.CLAIM), lambda data, order: Form(data))
def claim(asked: Asked) -> str:
    claiming.claim(order_id=asked.order.pk, actor=asked.actor, at=timezone.now())
    return f"You have {asked.order.number} in hand."


@decision(permits(Action.UNCLAIM), lambda data, order: Form(data))
def unclaim(asked: Asked) -> str:
    claiming.unclaim(order_id=asked.order.pk, actor=asked.actor, at=timezone.now())
    return f"{asked.order.number} is free for others."


@decision(permits(Action.HAND_OVER), lambda data, order: HandOverForm(data))
def hand_over(asked: Asked) -> str:
    to = asked.form.cleaned_data["to"]
    try:
        claiming.hand_over(order_id=asked.order.pk, actor=asked.actor, at=timezone.now(), to=to, seen=asked.seen)
    except claiming.NotAColleague as refusal:
        raise Wrong({"to": str(refusal)}) from None
    return f"{asked.order.number} is in the hands of {to}."


@decision(permits(Action.TAKE_OVER), lambda data, order: CancelForm(data))
def take_over(asked: Asked) -> str:
    claiming.take_over(
        order_id=asked.order.pk, actor=asked.actor, at=timezone.now(), reason=asked.reason, seen=asked.seen
    )
    return f"You have {asked.order.number} in hand."


@require_POST
def renew(request: HttpRequest, order_id: uuid.UUID) -> HttpResponse:
    """Of an order in one's own hands: one is still at it. The page asks while somebody types."""
    try:
        mine = claiming.renew(order_id=order_id, actor=Actor.operator(request.user), at=timezone.now())
    except NotPermitted:
        raise PermissionDenied(NOT_PERMITTED) from None
    return HttpResponse(status=204 if mine else 409)


ATTEMPTS = {
    "claim": "claim",
    "unclaim": "release",
    "hand_over": "handing over",
    "take_over": "taking over",
    "approve": "approval",
    "reject": "rejection",
    "extend": "extension",
    "retry": "retry",
    "ask": "question",
    "snooze": "wish to put it off",
    "resume": "taking back",
    "change_address": "correction",
}
DECISIONS = {"approve": Decision.APPROVED, "reject": Decision.REJECTED, "retry": Decision.RETRIED}


def _check(asked: Asked) -> None:
    """Raises Wrong; AlreadyDecided where there is nothing left to fill the form in for."""
    if asked.form.is_valid():
        return
    if asked.name in ("reject", "extend", "ask", "snooze") and asked.row.review and not asked.row.is_open:
        raise reviewing.AlreadyDecided(asked.row.review, asked.order.status_now)
    raise Wrong({name: " ".join(str(error) for error in errors) for name, errors in asked.form.errors.items()})


def _did_it_before(asked: Asked, refusal: transitions.ActionRefused) -> bool:
    """A second click on the same button by the same person is no conflict, unless the order has been undone since."""
    match refusal:
        case holding.PageIsStale() if asked.name in ("hand_over", "take_over", "resume"):
            return False  # a second one after the same is not refused so
        case undoing.AlreadyCancelled():
            return refusal.event.actor == asked.request.user.get_username()
        case asking.AlreadyPutOff(event=event):
            typed = asked.form.cleaned_data.get("question") or asked.form.cleaned_data.get("reason")
            return (event.type, event.actor, event.payload.get("note")) == (
                asked.name,
                asked.request.user.get_username(),
                typed,
            )
        case asking.NotPutOff():
            return True
        case reviewing.AlreadyEndorsed():
            return True
        case holding.PageIsStale(event=event):
            did = (event.type, event.actor) == (asked.name, asked.request.user.get_username())
            return did and _asked_for(asked) == _was_asked_for(event)
        case reviewing.AlreadyDecided() if asked.retries:
            return _decided_so(asked, refusal, Decision.RETRIED) and _goes_there(asked)
        case reviewing.AlreadyDecided():
            return _decided_so(asked, refusal, DECISIONS.get(asked.name))
    return False


def _decided_so(asked: Asked, refusal: reviewing.AlreadyDecided, decision: Decision | None) -> bool:
    return (
        refusal.review.decision == decision
        and refusal.review.decided_by_id == asked.request.user.pk
        and (on_main_road(refusal.status) or refusal.status == Status.REJECTED)
    )


def _goes_there(asked: Asked) -> bool:
    """Whether the order has the address that was typed by now."""
    return AddressForm.address_in(asked.form.cleaned_data).stripped() == address_of(selectors.row(asked.order.pk).order)


def _asked_for(asked: Asked) -> object:
    """What was typed, as `_was_asked_for` tells of what was done."""
    typed = asked.form.cleaned_data
    if isinstance(asked.form, AddressForm):
        return asdict(AddressForm.address_in(typed).stripped())
    return typed.get("note", typed.get("reason", "")), typed.get("minutes")


def _was_asked_for(event: Event) -> object:
    told = event.payload
    if event.type == Action.CHANGE_ADDRESS:
        return told["after"]
    if event.type != Action.EXTEND:
        return told.get("note", ""), None
    due_at, due_before = (datetime.fromisoformat(told[name]) for name in ("due_at", "due_before"))
    return told.get("note", ""), (due_at - max(event.at, due_before)) / timedelta(minutes=1)


def _told(asked: Asked, refusal: transitions.ActionRefused) -> str:
    """Why not, and who was first."""
    attempt = ATTEMPTS.get(asked.name, asked.name)
    match refusal:
        case holding.PageIsStale(event=event):
            told = timeline.tell(event)
            by = f" by {told.who}" if told.who else ""
            return f"{told.title}{by} at {clock(event.at)}, so your {attempt} was not carried out. Look again."
        case holding.InOtherHands(review=review) if review.claimed_by and review.claimed_at:
            who, since = review.claimed_by.get_username(), clock(review.claimed_at)
            return f"{who} has it in hand since {since}, so your {attempt} was not carried out."
        case undoing.AlreadyCancelled():
            return f"{refusal.event.actor} cancelled it at {clock(refusal.event.at)}, so your cancel was not needed."
        case reviewing.AlreadyDecided():
            lasts = refusal.status in (Status.REJECTED, Status.EXPIRED) or on_main_road(refusal.status)
            since = "" if lasts else f" and {wording.STATUS_WORDS[refusal.status].lower()} since"
            return f"{decided(refusal.review)}{since}, so your {attempt} was not carried out."
    return str(refusal)
