"""The life of an order: every status, every action, and the one table of what may follow what.

Pure: imports nothing but the standard library, so that workflows, services and templates can all ask it.
"""

from enum import StrEnum


class Status(StrEnum):
    PLACED = "placed"  # accepted and stored; the engine has not looked at it yet
    RECEIVED = "received"  # the engine has taken it up
    VALIDATED = "validated"  # complete and consistent; the policy comes next
    IN_REVIEW = "in_review"  # waits for a person, with a deadline
    APPROVED = "approved"  # a person, or the policy, said yes
    RESERVED = "reserved"  # stock is held; the card may be charged at any moment
    CHARGED = "charged"  # the money is ours
    PREPARING = "preparing"  # the package is being made ready
    DISPATCHING = "dispatching"  # the carrier is being called: the point of no return
    DISPATCHED = "dispatched"  # the carrier has it
    COMPLETED = "completed"
    INVALID = "invalid"  # something is missing or contradicts itself
    BLOCKED = "blocked"  # the policy forbids it
    REJECTED = "rejected"  # a person said no
    EXPIRED = "expired"  # nobody decided in time
    CANCELLING = "cancelling"  # cancelled while work was under way, which is being undone
    CANCELLED = "cancelled"
    COMPENSATING = "compensating"  # a step failed for good; what was done is being undone
    FAILED = "failed"


class Action(StrEnum):
    RECEIVE = "receive"
    VALIDATE = "validate"
    INVALIDATE = "invalidate"
    BLOCK = "block"
    CLEAR = "clear"  # the policy sees no need for a person
    OPEN_REVIEW = "open_review"
    APPROVE = "approve"
    REJECT = "reject"
    EXTEND = "extend"  # more time to decide
    REMIND = "remind"  # most of the time to decide has passed
    ESCALATE = "escalate"  # nobody decided in time: leads are asked, with a deadline of their own
    EXPIRE = "expire"
    CANCEL = "cancel"
    RESERVE = "reserve"
    CHARGE = "charge"
    PREPARE = "prepare"
    DISPATCH = "dispatch"
    CONFIRM_DISPATCH = "confirm_dispatch"
    COMPLETE = "complete"
    FAIL = "fail"
    FINISH_UNDO = "finish_undo"


TRANSITIONS: dict[tuple[Status, Action], Status] = {
    (Status.PLACED, Action.RECEIVE): Status.RECEIVED,
    (Status.RECEIVED, Action.VALIDATE): Status.VALIDATED,
    (Status.RECEIVED, Action.INVALIDATE): Status.INVALID,
    (Status.VALIDATED, Action.BLOCK): Status.BLOCKED,
    (Status.VALIDATED, Action.CLEAR): Status.APPROVED,
    (Status.VALIDATED, Action.OPEN_REVIEW): Status.IN_REVIEW,
    (Status.IN_REVIEW, Action.APPROVE): Status.APPROVED,
    (Status.IN_REVIEW, Action.REJECT): Status.REJECTED,
    (Status.IN_REVIEW, Action.EXTEND): Status.IN_REVIEW,
    (Status.IN_REVIEW, Action.REMIND): Status.IN_REVIEW,
    (Status.IN_REVIEW, Action.ESCALATE): Status.IN_REVIEW,
    (Status.IN_REVIEW, Action.EXPIRE): Status.EXPIRED,
    (Status.APPROVED, Action.RESERVE): Status.RESERVED,
    (Status.RESERVED, Action.CHARGE): Status.CHARGED,
    (Status.CHARGED, Action.PREPARE): Status.PREPARING,
    (Status.PREPARING, Action.DISPATCH): Status.DISPATCHING,
    (Status.DISPATCHING, Action.CONFIRM_DISPATCH): Status.DISPATCHED,
    (Status.DISPATCHED, Action.COMPLETE): Status.COMPLETED,
    # Nothing has been taken or charged yet: cancelling is immediate.
    (Status.PLACED, Action.CANCEL): Status.CANCELLED,
    (Status.RECEIVED, Action.CANCEL): Status.CANCELLED,
    (Status.VALIDATED, Action.CANCEL): Status.CANCELLED,
    (Status.IN_REVIEW, Action.CANCEL): Status.CANCELLED,
    (Status.APPROVED, Action.CANCEL): Status.CANCELLED,
    # From here on there is something to undo first.
    (Status.RESERVED, Action.CANCEL): Status.CANCELLING,
    (Status.CHARGED, Action.CANCEL): Status.CANCELLING,
    (Status.PREPARING, Action.CANCEL): Status.CANCELLING,
    (Status.APPROVED, Action.FAIL): Status.COMPENSATING,
    (Status.RESERVED, Action.FAIL): Status.COMPENSATING,
    (Status.CHARGED, Action.FAIL): Status.COMPENSATING,
    (Status.PREPARING, Action.FAIL): Status.COMPENSATING,
    (Status.DISPATCHING, Action.FAIL): Status.COMPENSATING,
    (Status.CANCELLING, Action.FINISH_UNDO): Status.CANCELLED,
    (Status.COMPENSATING, Action.FINISH_UNDO): Status.FAILED,
}

TERMINAL = frozenset(Status) - {before for before, _ in TRANSITIONS}

UNDOING = frozenset({Status.CANCELLING, Status.COMPENSATING})

HUMAN_ACTIONS = (Action.APPROVE, Action.REJECT, Action.CANCEL, Action.EXTEND)

MAIN_ROAD = (
    Status.PLACED,
    Status.RECEIVED,
    Status.VALIDATED,
    Status.IN_REVIEW,
    Status.APPROVED,
    Status.RESERVED,
    Status.CHARGED,
    Status.PREPARING,
    Status.DISPATCHING,
    Status.DISPATCHED,
    Status.COMPLETED,
)


class IllegalTransition(Exception):
    """The action does not follow from the status."""

    def __init__(self, status: Status, action: Action) -> None:
        super().__init__(f"An order that is {status} cannot {action}.")
        self.status = status
        self.action = action


def next_status(status: Status, action: Action) -> Status:
    """Say where `action` leads from `status`.

    Raises IllegalTransition where the table has no such step.
    """
    try:
        return TRANSITIONS[status, action]
    except KeyError:
        raise IllegalTransition(status, action) from None


def on_main_road(status: Status) -> bool:
    """Whether the order is still on its way to `completed`, or has arrived."""
    return status in MAIN_ROAD


def may(status: Status, action: Action) -> bool:
    return (status, action) in TRANSITIONS
