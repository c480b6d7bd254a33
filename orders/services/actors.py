"""Who does it, and whether they may."""

from dataclasses import dataclass

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, User

from orders.models import ActorKind
from orders.roles import permission
from orders.states import Action


@dataclass(frozen=True)
class Actor:
    """Who does it: an operator (then `user` is set), a customer, or the system itself."""

    kind: ActorKind
    name: str
    user: User | None = None

    @classmethod
    def operator(cls, user: AbstractBaseUser | AnonymousUser) -> "Actor":
        if not isinstance(user, User):
            raise NotPermitted("Nobody is signed in.")
        return cls(ActorKind.OPERATOR, user.get_username(), user)


SYSTEM = Actor(ActorKind.SYSTEM, "Countersign")


class NotPermitted(Exception):
    """The actor's role does not allow the action."""


def authorise(actor: Actor, action: Action) -> None:
    if actor.kind == ActorKind.OPERATOR:
        allowed = actor.user is not None and actor.user.is_active and actor.user.has_perm(permission(action))
    else:
        allowed = actor.kind == ActorKind.CUSTOMER and action == Action.CANCEL
    if not allowed:
        raise NotPermitted(f"{actor.name} may not {action} an order.")
