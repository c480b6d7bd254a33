"""Who may do what. The one table that services, pages and the groups in the database are made from.

Pure: imports nothing but the standard library and `states`.
"""

from decimal import Decimal
from enum import StrEnum

from orders.states import Action


class Role(StrEnum):
    VIEWER = "viewer"  # looks
    OPERATOR = "operator"  # decides
    LEAD = "lead"  # decides, and answers for the rules
    ADMIN = "admin"  # keeps accounts and raw records; decides like a lead


_DECIDE = frozenset({Action.APPROVE, Action.REJECT, Action.CANCEL, Action.RETRY, Action.CHANGE_ADDRESS})
_LEAD = _DECIDE | {Action.EXTEND}

MAY: dict[Role, frozenset[Action]] = {
    Role.VIEWER: frozenset(),
    Role.OPERATOR: _DECIDE,
    Role.LEAD: _LEAD,
    Role.ADMIN: _LEAD,
}


# What has been escalated is decided by these.
DECIDE_ESCALATED = "orders.decide_escalated_order"
DECIDES_ESCALATED = frozenset({Role.LEAD, Role.ADMIN})


# How much of an order each role may refund in all, as an amount in the order's currency; None: all of it.
REFUND_LIMITS: dict[Role, Decimal | None] = {
    Role.OPERATOR: Decimal(100),
    Role.LEAD: Decimal(1_000),
    Role.ADMIN: None,
}


def permission(action: Action) -> str:
    """Name the permission that guards `action`, as Django's `has_perm` takes it."""
    return f"orders.{action}_order"
