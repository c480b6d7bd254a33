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

    def has(self, name: str) -> bool:
        """Whether it is a person, not disabled, with this permission."""
        return self.user is not None and self.user.is_active and self.user.has_perm(name)


SYSTEM = Actor(ActorKind.SYSTEM, "Countersign")


class NotPermitted(Exception):
    """The actor's role does not allow the action."""


def authorise(actor: Actor, action: Action) -> None:
    if actor.kind == ActorKind.OPERATOR:
        allowed = actor.has(permission(action))
    else:
        allowed = actor.kind == ActorKind.CUSTOMER and action in (Action.CANCEL, Action.ANSWER)
    if not allowed:
        what = "change the address of" if action == Action.CHANGE_ADDRESS else action.replace("_", " ")
        raise NotPermitted(f"{actor.name} may not {what} an order.")
