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
    STOCK_SHORT = "stock_short"  # waits for a person: there is less than was ordered
    RESERVED = "reserved"  # stock is held; the card may be charged at any moment
    AWAITING_CUSTOMER = "awaiting_customer"  # the customer has to confirm the payment with the bank
    UNCONFIRMED = "unconfirmed"  # waits for a person: the customer did not confirm in time
    CHARGED = "charged"  # the money is ours
    PREPARING = "preparing"  # the package is being made ready
    DISPATCHING = "dispatching"  # the carrier is being called: the point of no return
    UNDELIVERABLE = "undeliverable"  # waits for a person: the carrier does not take it
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
    ENDORSE = "endorse"  # the first of the two approvals that some orders need
    APPROVE = "approve"
    REJECT = "reject"
    EXTEND = "extend"  # more time to decide
    REMIND = "remind"  # most of the time to decide has passed
    ESCALATE = "escalate"  # nobody decided in time: leads are asked, with a deadline of their own
    ASK = "ask"  # the customer is asked something, and the review is put off until the answer
    SNOOZE = "snooze"  # the review is put off
    ANSWER = "answer"  # the customer has answered, and the review is back
    RESUME = "resume"  # the review is back: somebody took it, or its time has come
    EXPIRE = "expire"
    CANCEL = "cancel"
    CHANGE_ADDRESS = "change_address"
    RESERVE = "reserve"
    ASK_CUSTOMER = "ask_customer"  # the bank wants the customer's word
    CHARGE = "charge"
    PREPARE = "prepare"
    DISPATCH = "dispatch"
    CONFIRM_DISPATCH = "confirm_dispatch"
    COMPLETE = "complete"
    HALT = "halt"  # it cannot go on without a person's help
    RETRY = "retry"  # a person has put right what was in the way
    FAIL = "fail"
    FINISH_UNDO = "finish_undo"
    # Whose hands an order is in while it waits for people.
    CLAIM = "claim"
    UNCLAIM = "unclaim"
    HAND_OVER = "hand_over"
    TAKE_OVER = "take_over"


TRANSITIONS: dict[tuple[Status, Action], Status] = {
    (Status.PLACED, Action.RECEIVE): Status.RECEIVED,
    (Status.RECEIVED, Action.VALIDATE): Status.VALIDATED,
    (Status.RECEIVED, Action.INVALIDATE): Status.INVALID,
    (Status.VALIDATED, Action.BLOCK): Status.BLOCKED,
    (Status.VALIDATED, Action.CLEAR): Status.APPROVED,
    (Status.VALIDATED, Action.OPEN_REVIEW): Status.IN_REVIEW,
    (Status.IN_REVIEW, Action.ENDORSE): Status.IN_REVIEW,
    (Status.IN_REVIEW, Action.APPROVE): Status.APPROVED,
    (Status.IN_REVIEW, Action.REJECT): Status.REJECTED,
    (Status.IN_REVIEW, Action.EXPIRE): Status.EXPIRED,
    (Status.APPROVED, Action.RESERVE): Status.RESERVED,
    (Status.RESERVED, Action.CHARGE): Status.CHARGED,
    (Status.RESERVED, Action.ASK_CUSTOMER): Status.AWAITING_CUSTOMER,
    (Status.AWAITING_CUSTOMER, Action.CHARGE): Status.CHARGED,
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
    (Status.AWAITING_CUSTOMER, Action.CANCEL): Status.CANCELLING,
    (Status.RECEIVED, Action.FAIL): Status.COMPENSATING,
    (Status.APPROVED, Action.FAIL): Status.COMPENSATING,
    (Status.RESERVED, Action.FAIL): Status.COMPENSATING,
    (Status.CHARGED, Action.FAIL): Status.COMPENSATING,
    (Status.PREPARING, Action.FAIL): Status.COMPENSATING,
    (Status.AWAITING_CUSTOMER, Action.FAIL): Status.COMPENSATING,
    # What a person has to help with. Past the point of no return only a person undoes.
    (Status.APPROVED, Action.HALT): Status.STOCK_SHORT,
    (Status.STOCK_SHORT, Action.RETRY): Status.APPROVED,
    (Status.STOCK_SHORT, Action.CANCEL): Status.CANCELLED,
    (Status.STOCK_SHORT, Action.FAIL): Status.COMPENSATING,
    (Status.AWAITING_CUSTOMER, Action.HALT): Status.UNCONFIRMED,
    (Status.UNCONFIRMED, Action.RETRY): Status.RESERVED,
    (Status.UNCONFIRMED, Action.CHARGE): Status.CHARGED,
    (Status.UNCONFIRMED, Action.CANCEL): Status.CANCELLING,
    (Status.UNCONFIRMED, Action.FAIL): Status.COMPENSATING,
    (Status.DISPATCHING, Action.HALT): Status.UNDELIVERABLE,
    (Status.UNDELIVERABLE, Action.RETRY): Status.PREPARING,
    (Status.UNDELIVERABLE, Action.CANCEL): Status.CANCELLING,
    (Status.CANCELLING, Action.FINISH_UNDO): Status.CANCELLED,
    (Status.COMPENSATING, Action.FINISH_UNDO): Status.FAILED,
}

NEEDS_ATTENTION = frozenset({Status.STOCK_SHORT, Status.UNCONFIRMED, Status.UNDELIVERABLE})

WAITS_FOR_PEOPLE = NEEDS_ATTENTION | {Status.IN_REVIEW}

CLAIMING = (Action.CLAIM, Action.UNCLAIM, Action.HAND_OVER, Action.TAKE_OVER)

# A wait that has a deadline can be prolonged, reminded of, put to leads, and put off, which holds no deadline up; and
# somebody can have it in hand.
TRANSITIONS |= {
    (status, action): status
    for status in WAITS_FOR_PEOPLE
    for action in (
        Action.EXTEND,
        Action.REMIND,
        Action.ESCALATE,
        Action.ASK,
        Action.SNOOZE,
        Action.ANSWER,
        Action.RESUME,
        *CLAIMING,
    )
}

# The address can be changed until the carrier is called, and again where the carrier did not take the package.
TRANSITIONS |= {(status, Action.CHANGE_ADDRESS): status for status, action in TRANSITIONS if action == Action.CANCEL}

TERMINAL = frozenset(Status) - {before for before, _ in TRANSITIONS}

# What puts a review off and takes it back. It is between people and the row: there are no signals for it.
PUTTING_OFF = (Action.ASK, Action.SNOOZE, Action.RESUME)
COMES_BACK = (Action.RESUME, Action.ANSWER)

UNDOING = frozenset({Status.CANCELLING, Status.COMPENSATING})


class Undo(StrEnum):
    """What undoes a step, last step first."""

    RECALL = "recall package"
    REFUND = "refund payment"
    RELEASE = "release stock"


# What there can be to undo while an order has this status. Its rows, or its workflow, say what there is.
MAY_BE_UNDONE: dict[Status, tuple[Undo, ...]] = {
    Status.RESERVED: (Undo.REFUND, Undo.RELEASE),
    Status.AWAITING_CUSTOMER: (Undo.REFUND, Undo.RELEASE),
    Status.UNCONFIRMED: (Undo.REFUND, Undo.RELEASE),
    Status.CHARGED: tuple(Undo),  # the package may just be begun
    Status.PREPARING: tuple(Undo),
    Status.DISPATCHING: tuple(Undo),
    Status.UNDELIVERABLE: tuple(Undo),
    Status.CANCELLING: tuple(Undo),
    Status.COMPENSATING: tuple(Undo),
}

# What people do to an order, and the engine is told of.
HUMAN_ACTIONS = (
    Action.APPROVE,
    Action.REJECT,
    Action.CANCEL,
    Action.EXTEND,
    Action.RETRY,
    Action.CHANGE_ADDRESS,
)

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
    """Whether the order is still on its way to `completed`, if only waiting beside it, or has arrived."""
    return status in MAIN_ROAD or status in NEEDS_ATTENTION or status == Status.AWAITING_CUSTOMER


def may(status: Status, action: Action) -> bool:
    return (status, action) in TRANSITIONS
