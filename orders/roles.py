"""Who may do what. The one table that services, pages and the groups in the database are made from.

Pure: imports nothing but the standard library and `states`.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum

from orders.states import Action


class Role(StrEnum):
    VIEWER = "viewer"  # looks
    OPERATOR = "operator"  # decides
    LEAD = "lead"  # decides, and answers for the rules
    ADMIN = "admin"  # keeps accounts and raw records; decides like a lead


_DECIDE = frozenset(
    {
        Action.APPROVE,
        Action.REJECT,
        Action.CANCEL,
        Action.RETRY,
        Action.CHANGE_ADDRESS,
        Action.EXTEND,
        Action.ASK,
        Action.SNOOZE,
        Action.RESUME,
        Action.CLAIM,
        Action.UNCLAIM,
        Action.HAND_OVER,
    }
)
_LEAD = _DECIDE | {Action.TAKE_OVER}

MAY: dict[Role, frozenset[Action]] = {
    Role.VIEWER: frozenset(),
    Role.OPERATOR: _DECIDE,
    Role.LEAD: _LEAD,
    Role.ADMIN: _LEAD,
}


@dataclass(frozen=True)
class Right:
    """What is no action of its own in the table of transitions, and who may. `told` follows “Can”."""

    name: str  # as Django's `has_perm` takes it; not beginning with `view_`, which everybody may
    told: str
    roles: frozenset[Role]

    @property
    def codename(self) -> str:
        return self.name.partition(".")[2]


_LEADS = frozenset({Role.LEAD, Role.ADMIN})

DECIDE_ESCALATED = "orders.decide_escalated_order"
WRITE_NOTES = "orders.write_note"
SEE_TEAM = "orders.see_team"
EXTEND_FREELY = "orders.extend_freely"
FIRST_EXTENSION = timedelta(hours=4)  # without that right: the most, and once a review
KEEP_REASONS = "orders.keep_reject_reasons"
EXPORT = "orders.export_orders"
SHARE_VIEWS = "orders.share_views"
KEEP_RUNNING = "orders.keep_running"

# The permissions are declared, the groups filled and the page of roles written from this.
RIGHTS = (
    Right(DECIDE_ESCALATED, "decide on an order that was escalated", _LEADS),
    Right(WRITE_NOTES, "write notes on an order", _LEADS | {Role.OPERATOR}),
    Right(EXTEND_FREELY, "give an order more than 4 hours more, or more time once again", _LEADS),
    Right(SEE_TEAM, "see how the team is doing", _LEADS),
    Right(KEEP_REASONS, "keep the reasons for rejecting", _LEADS),
    Right(EXPORT, "take orders away as a file", frozenset({Role.OPERATOR, Role.LEAD, Role.ADMIN})),
    Right(SHARE_VIEWS, "save views of the queue for everybody", _LEADS),
    Right(KEEP_RUNNING, "see whether orders are carried on, and have one that stands still started again", _LEADS),
)

# Who keeps accounts, goods and the programs that call the API, and sees the raw records.
KEEPS_RECORDS = frozenset({Role.ADMIN})


# How much of an order each role may refund in all, as an amount in the order's currency; None: all of it.
REFUND_LIMITS: dict[Role, Decimal | None] = {
    Role.OPERATOR: Decimal(100),
    Role.LEAD: Decimal(1_000),
    Role.ADMIN: None,
}


def permission(action: Action) -> str:
    """Name the permission that guards `action`, as Django's `has_perm` takes it."""
    return f"orders.{action}_order"


def rights_of(role: Role) -> Collection[str]:
    """The permissions of a role's group, besides those to look."""
    return [permission(action) for action in MAY[role]] + [right.name for right in RIGHTS if role in right.roles]
