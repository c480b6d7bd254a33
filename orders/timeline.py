"""An order's events as sentences. Pure but for the names of places and currencies.

Event types are the actions of `states`, and what `services` notes besides; one that this module does not know is
shown all the same.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from django.db.models import Q

from orders import money, wording
from orders.models import ActorKind, Event
from orders.states import CLAIMING, Action, Status, on_main_road
from orders.templatetags import desk
from orders.templatetags.desk import to_the_second


class About(StrEnum):
    """What an event is about: what the timeline can be narrowed to."""

    DECISIONS = "decisions"
    CUSTOMER = "customer"
    RULES = "rules"
    PAYMENT = "payment"
    PACKAGE = "package"
    MAILS = "mails"
    NOTES = "notes"
    WORK = "work"  # how the order goes on, is undone, and is helped along


@dataclass(frozen=True)
class Change:
    """What something was, and what it became."""

    what: str
    before: str
    after: str


@dataclass(frozen=True)
class Entry:
    """One line of the timeline. `tone` is empty, good or bad; `kind` says whose hand it was. `changes` say part by part
    what was before and after, and `beside` what `detail` says besides; `moved` is the change of status, if any.
    """

    sequence: int
    title: str
    detail: str
    tone: str
    who: str
    kind: str
    at: datetime
    about: About = About.WORK
    changes: tuple[Change, ...] = ()
    moved: Change | None = None
    beside: str = ""
    by: str = ""  # who did it, the desk itself included


_TITLES: dict[str, str] = {
    "place": "Order came in",
    Action.RECEIVE: "Checking began",
    Action.VALIDATE: "Checked: complete and consistent",
    Action.INVALIDATE: "Found invalid",
    Action.BLOCK: "Blocked by the rules",
    Action.CLEAR: "Passed by the rules, no decision needed",
    Action.OPEN_REVIEW: "Put to review",
    Action.ENDORSE: "Endorsed",
    Action.APPROVE: "Approved",
    Action.REJECT: "Rejected",
    Action.EXTEND: "More time",
    Action.REMIND: "Reminder: most of the time has passed",
    Action.ASK: "Customer asked",
    Action.SNOOZE: "Put off",
    Action.ANSWER: "The customer answered",
    Action.RESUME: "Back in the queue",
    Action.ESCALATE: "Escalated: nobody was in time, so leads are asked",
    Action.EXPIRE: "Expired: nobody decided before the deadline",
    Action.CANCEL: "Cancelled",
    Action.CHANGE_ADDRESS: "Address changed",
    Action.CLAIM: "Claimed",
    Action.UNCLAIM: "Released",
    Action.HAND_OVER: "Handed over",
    Action.TAKE_OVER: "Taken over",
    "claim_expired": "Claim over: nothing was done",
    "fraud_check": "Checked for fraud",
    "fraud_unanswered": "The fraud check gave no answer; the approval stands",
    Action.RESERVE: "Stock held",
    "charge_requested": "Charging the card",
    Action.ASK_CUSTOMER: "The bank asks the customer to confirm the payment",
    Action.CHARGE: "Card charged",
    "charge_arrived": "The charge arrived after the order had been stopped",
    "charge_declined": "The card was declined",
    "charge_cancelled": "The charge was cancelled before the bank was asked",
    "charge_voided": "The charge was voided: nothing had been taken",
    "payment_news_refused": "Message from the bank not believed",
    Action.PREPARE: "Package being made ready",
    "package_ready": "Package ready",
    Action.DISPATCH: "Handing the package to the carrier",
    Action.CONFIRM_DISPATCH: "The carrier has the package",
    "loyalty_points": "Loyalty points given",
    Action.COMPLETE: "Completed",
    Action.HALT: "Needs attention",
    Action.RETRY: "Sent on its way again",
    Action.FAIL: "Failed: what was done is being undone",
    "refund_requested": "Refund granted",
    "refund": "Money refunded",
    "refund_failed": "The refund failed",
    "release": "Stock given back",
    "recall": "Package taken back",
    "recall_failed": "The carrier could not give the package back",
    "dispatch_failed": "The carrier did not take the package",
    "undo_failed": "Could not be undone yet",
    "signal_refused": "A signal sent by hand was refused",
    Action.FINISH_UNDO: "Everything undone",
    "start_again": "Its run was started again",
    "note": "Note",
    "edit_note": "Note changed",
    "mail_sent": "Customer told by mail",
    "mail_refused": "Mail to the customer refused",
}
_GOOD = {Action.APPROVE, Action.COMPLETE}
_BAD = {
    Action.INVALIDATE,
    Action.BLOCK,
    Action.REJECT,
    Action.EXPIRE,
    Action.HALT,
    Action.FAIL,
    "charge_declined",
    "dispatch_failed",
    "mail_refused",
    "recall_failed",
    "payment_news_refused",
    "refund_failed",
    "signal_refused",
    "undo_failed",
}
_SHOWN_ELSEWHERE = {"from", "to", "risk_score", "due_at", "due_before", "confirm_by", "back_at"}


def tell(event: Event) -> Entry:
    title = _TITLES.get(event.type) or event.type.replace("_", " ").capitalize()
    tone = "good" if event.type in _GOOD else "bad" if event.type in _BAD else ""
    # The customer ordered it earlier, in the shop: this event is how it came here.
    who = "" if event.actor_kind == ActorKind.SYSTEM or event.type == "place" else event.actor
    changes = _CHANGES[event.type](event.payload) if event.type in _CHANGES else ()
    among = _among(event.payload)
    detail = _joined(_detail(event.type, event.payload), among)
    return Entry(
        event.sequence,
        title,
        detail,
        tone,
        who,
        event.actor_kind,
        event.at,
        about(event),
        changes,
        _moved_on(event.payload),
        among if changes and event.type in _TOLD_BY_CHANGES else detail,
        event.actor,
    )


_ABOUT: dict[About, frozenset[str]] = {
    About.DECISIONS: frozenset(
        {
            Action.ENDORSE,
            Action.APPROVE,
            Action.REJECT,
            *CLAIMING,
            "claim_expired",
            Action.EXTEND,
            Action.REMIND,
            Action.ESCALATE,
            Action.EXPIRE,
            Action.CANCEL,
            Action.RETRY,
            Action.HALT,
            Action.CHANGE_ADDRESS,
        }
    ),
    About.CUSTOMER: frozenset({"place", Action.ASK_CUSTOMER}),
    About.RULES: frozenset(
        {
            Action.RECEIVE,
            Action.VALIDATE,
            Action.INVALIDATE,
            Action.BLOCK,
            Action.CLEAR,
            Action.OPEN_REVIEW,
            "fraud_check",
            "fraud_unanswered",
        }
    ),
    About.PAYMENT: frozenset(
        {
            "charge_requested",
            Action.CHARGE,
            "charge_arrived",
            "charge_declined",
            "charge_cancelled",
            "charge_voided",
            "payment_news_refused",
            "refund_requested",
            "refund",
            "refund_failed",
        }
    ),
    About.PACKAGE: frozenset(
        {
            Action.RESERVE,
            Action.PREPARE,
            "package_ready",
            Action.DISPATCH,
            Action.CONFIRM_DISPATCH,
            "release",
            "recall",
            "recall_failed",
            "dispatch_failed",
        }
    ),
    About.MAILS: frozenset({"mail_sent", "mail_refused"}),
    About.NOTES: frozenset({"note", "edit_note"}),
    About.WORK: frozenset(
        {
            Action.COMPLETE,
            Action.FAIL,
            Action.FINISH_UNDO,
            "loyalty_points",
            "undo_failed",
            "signal_refused",
            "start_again",
        }
    ),
}
_KNOWN = frozenset().union(*_ABOUT.values())
_BY_ACTOR = {
    ActorKind.OPERATOR: About.DECISIONS,
    ActorKind.CUSTOMER: About.CUSTOMER,
    ActorKind.SYSTEM: About.WORK,
}


def about(event: Event) -> About:
    """What a customer did is about the customer; of other events the type says it, or whose hand it was."""
    if event.actor_kind != ActorKind.CUSTOMER:
        for one, types in _ABOUT.items():
            if event.type in types:
                return one
    return _BY_ACTOR[ActorKind(event.actor_kind)]


ALL = Q()


def that_are_about(wanted: About) -> Q:
    """The events of which `about` says so."""
    by_type = Q(type__in=_ABOUT[wanted]) & ~Q(actor_kind=ActorKind.CUSTOMER)
    for actor_kind, one in _BY_ACTOR.items():
        if one == wanted and actor_kind == ActorKind.CUSTOMER:
            return by_type | Q(actor_kind=actor_kind)
        if one == wanted:
            return by_type | (Q(actor_kind=actor_kind) & ~Q(type__in=_KNOWN))
    return by_type


def _moved_on(payload: dict[str, Any]) -> Change | None:
    before, after = payload.get("from"), payload.get("to")
    if before == after or before not in set(Status) or after not in set(Status):
        return None
    return Change("Status", wording.STATUS_WORDS[Status(before)], wording.STATUS_WORDS[Status(after)])


def _detail(type_: str, payload: dict[str, Any]) -> str:
    if type_ in _DETAILS:
        return _DETAILS[type_](payload)
    if note := payload.get("note"):
        return f"“{note}”"
    if type_ in _TITLES:
        return _labelled("reference", payload.get("reference"))
    return _joined(*(_labelled(name, value) for name, value in payload.items() if name not in _SHOWN_ELSEWHERE))


def _among(payload: dict[str, Any]) -> str:
    """That it was decided together with others, or took an approval away."""
    size, withdrawn = payload.get("bulk_size"), payload.get("endorsed_by")
    return _joined(
        f"one of {size:,} decided at once" if isinstance(size, int) and size > 1 else "",
        f"the approval by {withdrawn} counts no longer" if withdrawn else "",
    )


def _moved(payload: dict[str, Any]) -> str:
    return f"{_place(payload.get('before', {}))} → {_place(payload.get('after', {}))}"


def _reason_and_note(payload: dict[str, Any]) -> str:
    note = payload.get("note")
    return _joined(payload.get("reason", ""), f"“{note}”" if note else "")


def _hands(payload: dict[str, Any]) -> str:
    former, holder, note = (payload.get(name) for name in ("former", "holder", "note"))
    return _joined(_labelled("from", former), _labelled("to", holder), f"“{note}”" if note else "")


def _put_to_review(payload: dict[str, Any]) -> str:
    return _joined(_reasons(payload), "two people must approve" if payload.get("needs_two") else "")


def address_changes(before: dict[str, str], after: dict[str, str]) -> tuple[Change, ...]:
    """The parts of an address that differ."""

    def shown(part: str, address: dict[str, str]) -> str:
        value = address.get(part, "")
        return money.country_name(value) if part == "country" else value

    return tuple(
        Change(label, shown(part, before), shown(part, after))
        for part, label in wording.ADDRESS_PARTS.items()
        if before.get(part, "") != after.get(part, "")
    )


def _deadline_changes(payload: dict[str, Any]) -> tuple[Change, ...]:
    before, after = (_at("", payload.get(name)).strip() for name in ("due_before", "due_at"))
    return (Change("Deadline", before, after),) if before and after else ()


_TOLD_BY_CHANGES = {Action.CHANGE_ADDRESS, "edit_note"}
_CHANGES: dict[str, Callable[[dict[str, Any]], tuple[Change, ...]]] = {
    Action.CHANGE_ADDRESS: lambda payload: address_changes(payload.get("before", {}), payload.get("after", {})),
    Action.EXTEND: _deadline_changes,
    "edit_note": lambda payload: (Change("Note", payload.get("before", ""), payload.get("after", "")),),
}


def _place(address: dict[str, str]) -> str:
    """An address on one line."""
    town = f"{address.get('postal_code', '')} {address.get('city', '')}".strip()
    country = money.country_name(address.get("country", ""))
    parts = [address.get("line1"), address.get("line2"), town, address.get("region"), country]
    return ", ".join(part for part in parts if part)


def _amount(payload: dict[str, Any]) -> str:
    minor, currency = payload.get("amount_minor"), payload.get("currency")
    return desk.money(minor, currency) if isinstance(minor, int) and isinstance(currency, str) else ""


def _amount_and_reference(payload: dict[str, Any]) -> str:
    return _joined(_amount(payload), _labelled("reference", payload.get("reference")))


def _amount_and_note(payload: dict[str, Any]) -> str:
    note = payload.get("note")
    return _joined(_amount(payload), f"“{note}”" if note else "")


def _note_and_until(payload: dict[str, Any]) -> str:
    return _joined(f"“{payload.get('note', '')}”", _at("until", payload.get("back_at")))


def _reasons(payload: dict[str, Any]) -> str:
    return _joined(*(str(reason.get("text", "")) for reason in payload.get("reasons", [])))


def _units(payload: dict[str, Any]) -> str:
    return _counted(payload.get("units", 0), "unit")


def _counted(number: int, of: str) -> str:
    return f"{number:,} {of if number == 1 else f'{of}s'}"


def _score(payload: dict[str, Any]) -> str:
    return _joined(f"score {payload.get('score', 0):.2f}", payload.get("reason", ""))


def _carrier(payload: dict[str, Any]) -> str:
    return _joined(payload.get("carrier", ""), _labelled("tracking", payload.get("tracking_number")))


def _source(payload: dict[str, Any]) -> str:
    return _joined(f"from {payload.get('source', '')}", _labelled("reference", payload.get("reference")))


def _failed_try(payload: dict[str, Any]) -> str:
    entry, attempt = payload.get("entry"), payload.get("attempt")
    which = f"{wording.ordinal(attempt)} try" if isinstance(attempt, int) else ""
    why = (payload.get(name, "") for name in ("reason", "error"))
    return _joined(wording.undoing(entry) if entry else "", *why, which, _at("next", payload.get("retry_at")))


def _subject(payload: dict[str, Any]) -> str:
    return _joined(f"“{payload.get('subject', '')}”", payload.get("reason", ""))


_DETAILS: dict[str, Callable[[dict[str, Any]], str]] = {
    "place": _source,
    Action.BLOCK: _reasons,
    Action.OPEN_REVIEW: _put_to_review,
    "fraud_check": _score,
    "fraud_unanswered": lambda payload: payload.get("error", ""),
    "loyalty_points": lambda payload: _counted(payload.get("points", 0), "point"),
    Action.RESERVE: _units,
    "release": _units,
    "charge_requested": _amount_and_reference,
    Action.ASK_CUSTOMER: lambda payload: _at("until", payload.get("confirm_by")),
    Action.CHARGE: _amount_and_reference,
    "payment_news_refused": lambda payload: payload.get("reason", ""),
    "refund": _amount_and_reference,
    "refund_requested": _amount_and_note,
    "refund_failed": _amount_and_note,
    Action.CHANGE_ADDRESS: _moved,
    Action.ENDORSE: lambda payload: _joined("a second person must approve", _reason_and_note(payload)),
    Action.REJECT: _reason_and_note,
    Action.HAND_OVER: _hands,
    Action.TAKE_OVER: _hands,
    "claim_expired": _hands,
    Action.ASK: _note_and_until,
    Action.SNOOZE: _note_and_until,
    Action.HALT: lambda payload: payload.get("reason", ""),
    "dispatch_failed": _failed_try,
    "undo_failed": _failed_try,
    Action.CONFIRM_DISPATCH: _carrier,
    "recall_failed": _carrier,
    "note": lambda payload: payload.get("text", ""),
    "edit_note": lambda payload: f"{payload.get('before', '')} → {payload.get('after', '')}",
    "mail_sent": _subject,
    "mail_refused": _subject,
    "signal_refused": lambda payload: _joined(payload.get("action", "").replace("_", " "), payload.get("why", "")),
}


def _at(label: str, instant: object) -> str:
    return f"{label} {to_the_second(datetime.fromisoformat(instant))}" if isinstance(instant, str) else ""


def _labelled(name: str, value: object) -> str:
    return f"{name.replace('_', ' ')} {value}" if value not in (None, "") else ""


def _joined(*parts: str) -> str:
    return " · ".join(part for part in parts if part)


def left_main_road_from(events: Iterable[Event]) -> Status | None:
    """The last status that the order had on its main road, going by its events, newest first."""
    for event in events:
        before = event.payload.get("from")
        if before and on_main_road(Status(before)):
            return Status(before)
    return None
