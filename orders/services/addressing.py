"""Changing where an order goes, until the carrier is called.

The row's address is the only one there is: dispatching copies it in the transaction that passes the point of no
return, so that a change comes before that and counts, or after it and is refused.
"""

import uuid
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime

from django.db import transaction

from orders.addresses import wrong_for_country
from orders.models import Decision, Order
from orders.roles import DECIDE_ESCALATED
from orders.services import holding
from orders.services.actors import Actor, authorise
from orders.services.placing import Address, address_of, wrong_with_address
from orders.services.reviewing import NotThisPerson
from orders.services.transitions import ActionRefused, lock, tell_engine, transition, words
from orders.states import Action, may


class InvalidAddress(Exception):
    """The address cannot be one. `errors` names each field, such as `address.country`, and what is wrong with it."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{name}: {wrong}" for name, wrong in errors.items()))
        self.errors = dict(errors)


def change_address(
    *, order_id: uuid.UUID, actor: Actor, at: datetime, address: Address, seen: int | None = None
) -> bool:
    """Let the order go to `address`; says whether that is another one than before. The same one changes nothing.

    An approval of the former address, where a second one is still wanted, counts no longer. Once two people have
    approved an order, where it goes is changed by a lead who is neither of them.

    `seen` is the version of the order that the actor acts on, so that nobody undoes a change without knowing.

    It has to keep the rules of its country, at every door: who changes an address can put it right. What is placed or
    imported need not, since nobody is there to ask; such an order comes to people where the carrier refuses it.

    Raises NotPermitted, InvalidAddress naming each bad field, PageIsStale, InOtherHands, NotThisPerson, and
    ActionRefused once the carrier has been called or the order has ended.
    """
    authorise(actor, Action.CHANGE_ADDRESS)
    if errors := wrong_with_new_address(address):
        raise InvalidAddress(errors)
    address = address.stripped()
    with transaction.atomic():
        order = lock(order_id)
        if not may(order.status_now, Action.CHANGE_ADDRESS):
            raise ActionRefused(f"The address of an order that is {words(order.status_now)} can no longer be changed.")
        before = address_of(order)
        if address == before:
            return False
        if refusal := _why_not_after_two(order, actor):
            raise refusal
        review = holding.act(order, Action.CHANGE_ADDRESS, actor=actor, at=at, seen=seen)
        after = asdict(address)
        Order.objects.filter(pk=order.pk).update(**{f"address_{name}": value for name, value in after.items()})
        endorsed_by = holding.forget_endorsement(review) if review else ""
        transition(
            order,
            Action.CHANGE_ADDRESS,
            actor=actor,
            at=at,
            before=asdict(before),
            after=after,
            endorsed_by=endorsed_by,
        )
        tell_engine(order, Action.CHANGE_ADDRESS, at=at, actor=actor.name)
    return True


def wrong_with_new_address(address: Address) -> dict[str, str]:
    """What is wrong with each field, by names such as `address.country`, the rules of its country included."""
    by_country = {f"address.{part}": wrong for part, wrong in wrong_for_country(asdict(address.stripped())).items()}
    return by_country | wrong_with_address(address)


def _why_not_after_two(order: Order, actor: Actor) -> NotThisPerson | None:
    """Why this actor may not change what two people have approved."""
    approved = order.reviews.filter(needs_two=True, decision=Decision.APPROVED).first()
    if approved is None or actor.user is None:
        return None
    if actor.user.pk in (approved.endorsed_by_id, approved.decided_by_id):
        return NotThisPerson("You approved this order: somebody else has to change where it goes.")
    if not actor.has(DECIDE_ESCALATED):
        return NotThisPerson("Two people approved this order: a lead has to change where it goes.")
    return None
