"""An order's events as sentences. Pure but for the names of places and currencies.

Event types are the actions of `states`, and what `services` notes besides; one that this module does not know is
shown all the same.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from orders import money
from orders.models import ActorKind, Event
from orders.states import Action, Status, on_main_road


@dataclass(frozen=True)
class Entry:
    """One line of the timeline. `tone` is empty, good or bad; `kind` says whose hand it was."""

    sequence: int
    title: str
    detail: str
    tone: str
    who: str
    kind: str
    at: datetime


_TITLES: dict[str, str] = {
    "place": "Order came in",
    Action.RECEIVE: "Checking began",
    Action.VALIDATE: "Checked: complete and consistent",
    Action.INVALIDATE: "Found invalid",
    Action.BLOCK: "Blocked by the rules",
    Action.CLEAR: "Passed by the rules, no decision needed",
    Action.OPEN_REVIEW: "Put to review",
    Action.APPROVE: "Approved",
    Action.REJECT: "Rejected",
    Action.EXTEND: "More time to decide",
    Action.REMIND: "Reminder: most of the time to decide has passed",
    Action.ESCALATE: "Escalated: nobody decided in time, so leads are asked",
    Action.EXPIRE: "Expired: nobody decided before the deadline",
    Action.CANCEL: "Cancelled",
    Action.CHANGE_ADDRESS: "Address changed",
    Action.RESERVE: "Stock held",
    "charge_requested": "Charging the card",
    Action.CHARGE: "Card charged",
    "charge_arrived": "The charge arrived after the order had been stopped",
    "charge_declined": "The card was declined",
    Action.PREPARE: "Package being made ready",
    "package_ready": "Package ready",
    Action.DISPATCH: "Handing the package to the carrier",
    Action.CONFIRM_DISPATCH: "The carrier has the package",
    Action.COMPLETE: "Completed",
    Action.HALT: "Needs attention",
    Action.RETRY: "Sent on its way again",
    Action.FAIL: "Failed: what was done is being undone",
    "refund_requested": "Refund granted",
    "refund": "Money refunded",
    "refund_failed": "The refund failed",
    "release": "Stock given back",
    "recall": "Package taken back",
    Action.FINISH_UNDO: "Everything undone",
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
    "refund_failed",
}
_SHOWN_ELSEWHERE = {"from", "to", "risk_score", "due_at", "due_before"}


def tell(event: Event) -> Entry:
    title = _TITLES.get(event.type) or event.type.replace("_", " ").capitalize()
    tone = "good" if event.type in _GOOD else "bad" if event.type in _BAD else ""
    # The customer ordered it earlier, in the shop: this event is how it came here.
    who = "" if event.actor_kind == ActorKind.SYSTEM or event.type == "place" else event.actor
    detail = (_moved if event.type == Action.CHANGE_ADDRESS else partial(_detail, event.type))(event.payload)
    return Entry(event.sequence, title, detail, tone, who, event.actor_kind, event.at)


def _detail(type_: str, payload: dict[str, Any]) -> str:
    match type_, payload:
        case "charge_requested" | Action.CHARGE | "refund", {"amount_minor": int(minor), "currency": str(code)}:
            return _joined(money.format_money(minor, code), _labelled("reference", payload.get("reference")))
        case "refund_requested" | "refund_failed", {"amount_minor": int(minor), "currency": str(code)}:
            note = payload.get("note")
            return _joined(money.format_money(minor, code), f"“{note}”" if note else "")
        case Action.BLOCK | Action.OPEN_REVIEW, {"reasons": list(reasons)}:
            return _joined(*(str(reason.get("text", "")) for reason in reasons))
        case Action.HALT, {"reason": str(reason)}:
            return reason
        case Action.RESERVE | "release", {"units": int(units)}:
            return f"{units:,} {'unit' if units == 1 else 'units'}"
        case Action.CONFIRM_DISPATCH, _:
            return _joined(str(payload.get("carrier", "")), _labelled("tracking", payload.get("tracking_number")))
        case "place", {"source": str(source)}:
            return _joined(f"from {source}", _labelled("reference", payload.get("reference")))
        case _, {"note": str(note)}:
            return f"“{note}”"
    if type_ in _TITLES:
        return _labelled("reference", payload.get("reference"))
    return _joined(*(_labelled(name, value) for name, value in payload.items() if name not in _SHOWN_ELSEWHERE))


def _moved(payload: dict[str, Any]) -> str:
    return f"{_place(payload.get('before', {}))} → {_place(payload.get('after', {}))}"


def _place(address: dict[str, str]) -> str:
    """An address on one line."""
    town = f"{address.get('postal_code', '')} {address.get('city', '')}".strip()
    country = money.country_name(address.get("country", ""))
    parts = [address.get("line1"), address.get("line2"), town, address.get("region"), country]
    return ", ".join(part for part in parts if part)


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
