"""How the desk says things: statuses, steps and spans of time in an operator's words.

Pure: imports `states` and the standard library.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from orders.states import NEEDS_ATTENTION, TERMINAL, UNDOING, Action, Status, Undo, on_main_road

STATUS_WORDS: dict[Status, str] = {
    Status.PLACED: "Received",
    Status.RECEIVED: "Checking",
    Status.VALIDATED: "Checked",
    Status.IN_REVIEW: "In review",
    Status.APPROVED: "Approved",
    Status.STOCK_SHORT: "Stock short",
    Status.RESERVED: "Stock held",
    Status.AWAITING_CUSTOMER: "Awaiting customer",
    Status.UNCONFIRMED: "Not confirmed",
    Status.CHARGED: "Paid",
    Status.PREPARING: "Packing",
    Status.DISPATCHING: "Handing over",
    Status.UNDELIVERABLE: "Undeliverable",
    Status.DISPATCHED: "With carrier",
    Status.COMPLETED: "Completed",
    Status.INVALID: "Invalid",
    Status.BLOCKED: "Blocked",
    Status.REJECTED: "Rejected",
    Status.EXPIRED: "Expired",
    Status.CANCELLING: "Cancelling",
    Status.CANCELLED: "Cancelled",
    Status.COMPENSATING: "Undoing",
    Status.FAILED: "Failed",
}

# Why orders come before people, by the codes of the policy's reasons and of what stands in an order's way.
REASON_WORDS: dict[str, str] = {
    "high_amount": "High amount",
    "high_risk": "High risk",
    "first_order": "First order",
    "every_order": "Every order is reviewed",
    "stock_short": "Stock short",
    "unconfirmed": "Payment not confirmed",
    "undeliverable": "Carrier does not take it",
}

PAYMENT_WORDS: dict[tuple[str, str], str] = {
    ("charge", "processing"): "being charged",
    ("charge", "created"): "not charged yet",
    ("charge", "requires_action"): "waits for the customer to confirm",
    ("charge", "succeeded"): "charged",
    ("charge", "failed"): "declined",
    ("charge", "cancelled"): "not charged",
    ("refund", "created"): "not refunded yet",
    ("refund", "processing"): "being refunded",
    ("refund", "requires_action"): "waits for the bank",
    ("refund", "succeeded"): "refunded",
    ("refund", "failed"): "not refunded",
    ("refund", "cancelled"): "not needed",
}

ADDRESS_PARTS = {
    "line1": "Street and number",
    "line2": "Flat, floor, company",
    "postal_code": "Postal code",
    "city": "Town",
    "region": "Region",
    "country": "Country",
}


_RIGHT_WORDS: dict[Action, str] = {
    Action.APPROVE: "Approve an order in review",
    Action.REJECT: "Reject an order in review",
    Action.CANCEL: "Cancel an order that has not gone yet",
    Action.EXTEND: "Extend the time to decide or to help",
    Action.RETRY: "Send an order on its way again",
    Action.CHANGE_ADDRESS: "Change where an order goes",
    Action.CLAIM: "Take an order in hand, so that no colleague decides on it",
    Action.UNCLAIM: "Give an order back to all",
    Action.HAND_OVER: "Hand an order over to a colleague",
    Action.TAKE_OVER: "Take an order over from a colleague",
    Action.ASK: "Ask the customer, and put the order off until the answer",
    Action.SNOOZE: "Put an order off",
    Action.RESUME: "Take back an order that was put off",
}


def right(action: Action) -> str:
    """What who may do this may do."""
    return _RIGHT_WORDS.get(action) or f"{action.replace('_', ' ').capitalize()} an order"


class Tone(StrEnum):
    """What kind of news a status is; each has a colour and a shape."""

    WAITING = "waiting"  # for a person's decision
    HELPLESS = "helpless"  # for a person to put something right
    WORKING = "working"
    GOOD = "good"
    BAD = "bad"
    ENDED = "ended"


def tone(status: Status) -> Tone:
    match status:
        case Status.IN_REVIEW:
            return Tone.WAITING
        case _ if status in NEEDS_ATTENTION:
            return Tone.HELPLESS
        case Status.COMPLETED:
            return Tone.GOOD
        case Status.CANCELLED | Status.EXPIRED:
            return Tone.ENDED
        case _:
            return Tone.BAD if status in TERMINAL or status == Status.COMPENSATING else Tone.WORKING


def many(action: str, number: int, *, to: str = "") -> str:
    """A decision on so many orders, as a button says it."""
    orders = f"{number:,} order{'' if number == 1 else 's'}"
    match action:
        case "extend":
            return f"Give {orders} more time"
        case "hand_over":
            return f"Hand {orders} over{f' to {to}' if to else ''}"
    return f"{action.capitalize()} {orders}"


MANY_DONE = {"approve": "approved", "reject": "rejected", "extend": "given more time", "hand_over": "handed over"}


def became(did: str, *, size: int, done: int, endorsed: int = 0, refused: int = 0) -> str:
    """What became of a decision on so many orders; `did` is what was done to those that it was done to."""
    if endorsed:
        counts = ((done, did), (endorsed, "endorsed"), (refused, "refused"))
        return ", ".join(f"{number:,} {word}" for number, word in counts if number)
    if not done:
        return f"None was {did}"
    if refused:
        return f"{done:,} of {size:,} {did}"
    return f"It was {did}" if size == 1 else f"All {size:,} were {did}"


# The step bar

STEPS = ("Received", "Checked", "Review", "Stock", "Payment", "Package", "Carrier", "Done")

_LIVE_STEP: dict[Status, int] = {
    Status.PLACED: 0,
    Status.RECEIVED: 1,
    Status.VALIDATED: 1,
    Status.IN_REVIEW: 2,
    Status.APPROVED: 3,
    Status.STOCK_SHORT: 3,
    Status.RESERVED: 4,
    Status.AWAITING_CUSTOMER: 4,
    Status.UNCONFIRMED: 4,
    Status.CHARGED: 5,
    Status.PREPARING: 5,
    Status.DISPATCHING: 6,
    Status.UNDELIVERABLE: 6,
    Status.DISPATCHED: 7,
    Status.COMPLETED: len(STEPS),
}
_LAST_ON_ROAD: dict[Status, Status] = {
    Status.INVALID: Status.RECEIVED,
    Status.BLOCKED: Status.IN_REVIEW,  # by the rules, which are the first to review
    Status.REJECTED: Status.IN_REVIEW,
    Status.EXPIRED: Status.IN_REVIEW,
}
_REVIEW = STEPS.index("Review")


@dataclass(frozen=True)
class Step:
    """`state` is done, live, held, stopped, skipped or ahead; `told` says it for those who do not see the bar."""

    name: str
    state: str

    @property
    def told(self) -> str:
        return {
            "done": "done",
            "live": "now",
            "held": "waits for help",
            "stopped": "stopped here",
            "skipped": "not needed",
            "ahead": "to come",
        }[self.state]


def steps(status: Status, *, left_from: Status | None, reviewed: bool) -> list[Step]:
    """The way of an order. `left_from` is the last status that it had on the main road."""
    stopped = not on_main_road(status)
    reached = _LIVE_STEP[status if not stopped else _LAST_ON_ROAD.get(status) or left_from or Status.PLACED]
    bar = []
    for index, name in enumerate(STEPS):
        if index == reached:
            state = "stopped" if stopped else "held" if status in NEEDS_ATTENTION else "live"
        elif index > reached:
            state = "ahead"
        else:
            state = "skipped" if index == _REVIEW and not reviewed else "done"
        bar.append(Step(name, state))
    return bar


def all_of(things: Sequence[str]) -> str:
    """The things in one sentence: this, that and another; those after the first begin small."""
    if not things:
        return ""
    first, *others = things
    others = [other[0].lower() + other[1:] for other in others]
    return " and ".join(part for part in (", ".join([first, *others[:-1]]), *others[-1:]))


def sentence(text: str) -> str:
    """The text with a full stop, where it has no end of its own and another sentence may follow."""
    return text if not text or text[-1] in ".!?…" else f"{text}."


def doing(status: Status, *, refunded: str = "", approvals_needed: int = 1, endorsed_by: str = "") -> str:
    """What is going on now, in a sentence; of an order that was stopped, what became of the money.

    Of one in review, how many people have to approve it still, and who has already.
    """
    if status in UNDOING:
        return "What was done is being undone, step by step."
    if not on_main_road(status):
        return f"{refunded} was refunded." if refunded else "Nothing was charged or sent."
    return {
        Status.PLACED: "Waiting to be checked.",
        Status.RECEIVED: "Being checked.",
        Status.VALIDATED: "The rules are being applied.",
        Status.IN_REVIEW: _deciding(approvals_needed, endorsed_by),
        Status.APPROVED: "Checking for fraud and holding stock.",
        Status.STOCK_SHORT: "Waiting for help: restock and retry, or cancel.",
        Status.RESERVED: "Charging the card.",
        Status.AWAITING_CUSTOMER: "Waiting for the customer to confirm the payment with their bank.",
        Status.UNCONFIRMED: "Waiting for help: reach the customer and retry, or cancel.",
        Status.CHARGED: "Asking for the package.",
        Status.PREPARING: "The package is being made ready.",
        Status.DISPATCHING: "Handing the package to the carrier.",
        Status.UNDELIVERABLE: "Waiting for help: correct the address and retry, or cancel with a refund.",
        Status.DISPATCHED: "Closing the order.",
        Status.COMPLETED: "On its way to the customer; nothing is left to do here.",
    }[status]


def _deciding(approvals_needed: int, endorsed_by: str) -> str:
    if endorsed_by:
        return f"Endorsed by {endorsed_by}: one more person has to approve."
    return "Waiting for a decision." if approvals_needed < 2 else "Waiting for a decision: two people have to approve."


def at_deadline(kind: str, then: str, level: str) -> str:
    """What becomes of an open review at its deadline; the arguments are the review's own."""
    match kind, then, level:
        case _, "ask_again", _:
            return "Stays here until somebody helps: the carrier may have it. Leads are asked at the deadline."
        case _, "escalate", "operator":
            return "At the deadline leads are asked."
        case "attention", _, _:
            return "Undone at the deadline, if nobody helps."
    return "Expires at the deadline."


def cancelling(status: Status, total: str) -> str:
    """What a cancel gives back; `total` is the order's amount."""
    match status:
        case Status.CHARGED | Status.PREPARING | Status.UNDELIVERABLE:
            return f"{total} goes back to the customer, and the goods go back to the shelf."
        case Status.AWAITING_CUSTOMER | Status.UNCONFIRMED:
            return "The payment is called off: nothing was taken. The goods go back to the shelf."
        case Status.RESERVED:
            return "The goods go back to the shelf. The card is being charged: what it pays is refunded."
    return "Nothing was charged."


def takes_back_money(status: Status) -> bool:
    """Whether a cancel now is a refund, too."""
    return status in (Status.CHARGED, Status.PREPARING, Status.UNDELIVERABLE)


def why_not(status: Status, action: Action) -> str:
    """Why an order of that status does not allow the action, which the table of transitions says."""
    match status:
        case Status.DISPATCHING:
            reason = "The carrier is being called: past the point of no return."
        case Status.DISPATCHED:
            reason = "The carrier has the package: past the point of no return."
        case _ if status in UNDOING:
            reason = "It is being undone already."
        case _ if status in TERMINAL:
            reason = f"It has ended: {STATUS_WORDS[status].lower()}."
        case _:
            reason = "Not while the order is " + STATUS_WORDS[status].lower() + "."
    return "No deadline is running." if action == Action.EXTEND else reason


def no_refund(*, ended: bool, charged: bool) -> str:
    if not ended:
        return "Still under way: a cancel gives back what was charged."
    return "All that was charged has been refunded." if charged else "Nothing was charged."


# What the timeline can be narrowed to

ABOUT_WORDS: dict[str, str] = {
    "decisions": "Decisions",
    "customer": "Customer",
    "rules": "Rules",
    "payment": "Payment",
    "package": "Package",
    "mails": "Mails",
    "notes": "Notes",
    "work": "Engine",
}


# Tries

# The calls to the outside, by the engine's names for them; its steps in the database are too short to be told of.
ENGINE_STEPS: dict[str, str] = {
    "announce_order": "Telling the shop of the order",
    "check_order": "Asking the shop about the order",
    "check_fraud": "Checking for fraud",
    "charge_payment": "Charging the card",
    "refund_payment": "Giving the money back",
    "prepare_package": "Having the package made ready",
    "dispatch_parcel": "Handing the package to the carrier",
    "withdraw_parcel": "Taking the package back from the carrier",
    "announce_shipment": "Telling the shop of the shipment",
}
DISPATCH_AGAIN = "Offering the package to the carrier again"

UNDO_WORDS: dict[str, str] = {
    Undo.RECALL: "Take the package back",
    Undo.REFUND: "Give the money back",
    Undo.RELEASE: "Put the goods back",
}

_UNDOING: dict[str, str] = {
    Undo.RECALL: "Taking the package back",
    Undo.REFUND: "Giving the money back",
    Undo.RELEASE: "Putting the goods back into stock",
}

RUN_LOST = "Temporal knows no run of this order, so nothing carries it on."
RUN_CUT = "The run of this order was ended in Temporal, so nothing carries it on."
RUN_BROKEN = "The run of this order fails in our own code; the workers' log says why."


def engine_step(name: str) -> str:
    """What the engine is at, in words; empty where we have none for it."""
    return ENGINE_STEPS.get(name, "")


def undoing(entry: str) -> str:
    return _UNDOING.get(entry, "Undoing what was done")


def step_error(kind: str, message: str) -> str:
    """Why a try failed, in words; empty where none has."""
    if kind == "TimeOut":
        return "There was no answer in time."
    if kind in ("OperationalError", "InterfaceError", "DatabaseError"):  # their words are not for people
        full = "No space left on device" in message
        return "The database's disk is full." if full else "The database did not answer."
    return sentence(message) if message else ("It failed without a word." if kind else "")


def trying(doing: str, attempt: int, error: str) -> str:
    """What is being done, which try it is where it is not the first, and why that is so."""
    which = f"{doing}, {ordinal(attempt)} try" if attempt > 1 else doing
    if not error:
        return sentence(which)
    follows = error.startswith(("The ", "There ", "It ", "A ", "No "))
    return f"{which}: {error[0].lower() if follows else error[0]}{sentence(error)[1:]}"


def ordinal(number: int) -> str:
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number:,}{ending}"


def next_try(left: timedelta) -> str:
    return "now" if left <= timedelta(0) else f"in {span(left + timedelta(seconds=0.999))}"


def who_decided(decision: str, *, by: str, at: str) -> str:
    """How a review was closed; `by` is empty where it was no operator."""
    when = f"at\N{NO-BREAK SPACE}{at}"
    match decision:
        case "expired":
            return f"Expired {when}"
        case "cancelled":
            return f"Cancelled by {by or 'the customer'} {when}"
        case "settled":
            return f"Settled by the customer {when}"
    return f"{decision.capitalize()} by {by} {when}"


# Time


def span(length: timedelta) -> str:
    """A length of time in its two largest units; the scripts of the page say it the same way."""
    seconds = max(0, int(length.total_seconds()))
    days, hours, minutes = seconds // 86_400, seconds // 3_600 % 24, seconds // 60 % 60
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes:02} min"
    if minutes:
        return f"{minutes} min"
    return f"{seconds} s"


def ago(length: timedelta) -> str:
    """How long ago, in its largest unit."""
    seconds = int(length.total_seconds())
    if seconds < 5:
        return "just now"
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"


SOON = timedelta(hours=1)


def countdown(left: timedelta) -> str:
    """The time left to decide, to the second in the last hour; past it, how long overdue."""
    if left <= timedelta(0):
        return f"{span(-left)} overdue"
    if left >= SOON:
        return span(left)
    seconds = int(left.total_seconds())
    return f"{seconds // 60}:{seconds % 60:02} min"


def urgency(left: timedelta) -> str:
    if left <= timedelta(0):
        return "overdue"
    return "soon" if left < SOON else "calm"
