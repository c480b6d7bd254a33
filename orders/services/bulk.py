"""One decision on many orders: what would come of it, its record, and carrying it out batch by batch.

Each order is decided by `reviewing`, with its rules and its writing: here is no second set of either. A member is
marked in the transaction that decides its order, so whoever carries on after a crash finds what is left to do.
"""

import logging
import uuid
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from orders import outage
from orders.models import Bulk, BulkMember, Order, Review
from orders.services import claiming, holding, reviewing
from orders.services.actors import Actor, NotPermitted, authorise
from orders.services.transitions import ActionRefused
from orders.states import Action, Status

logger = logging.getLogger(__name__)

MOST = 5_000  # orders in one bulk
BATCH = 250  # orders decided in one transaction, whose rows nobody else can change meanwhile

LEFT_OUT = "Something is wrong with this order: decide on it by itself."


class TooMany(ActionRefused):
    """More orders were chosen than one bulk takes. The message is for the operator."""

    def __init__(self, number: int) -> None:
        super().__init__(f"{number:,} orders were chosen; at most {MOST:,} can be decided on at once.")


class UnknownOrder(ActionRefused):
    """One of the chosen orders is none. The message is for whoever chose."""

    def __init__(self, order_id: uuid.UUID) -> None:
        super().__init__(f"There is no order {order_id}.")


@dataclass(frozen=True)
class Forecast:
    """What a decision would do now: the orders that it fits, in the sequence given, and the others by why not."""

    fit: Sequence[Order]
    unfit: Mapping[str, Sequence[Order]]
    reviews: Mapping[uuid.UUID, Sequence[Review]]  # of each of the orders, the latest first


def forecast(
    *,
    order_ids: Collection[uuid.UUID],
    action: Action,
    actor: Actor,
    at: datetime,
    seen: Mapping[uuid.UUID, int] | None = None,
) -> Forecast:
    """Look at each order as `begin` and the worker will; nothing is changed. `seen` are the versions looked at before.

    Raises NotPermitted, TooMany.
    """
    authorise(actor, action)
    if len(order_ids) > MOST:
        raise TooMany(len(order_ids))
    found = Order.objects.in_bulk(order_ids)
    orders = [found[order_id] for order_id in dict.fromkeys(order_ids) if order_id in found]
    looked_at = [(order, (seen or {}).get(order.pk, order.version)) for order in orders]
    reviews, refusals = _look(looked_at, action, actor=actor, at=at)
    fit, unfit = [], defaultdict(list)
    for order in orders:
        if refusal := refusals.get(order.pk):
            unfit[str(refusal)].append(order)
        else:
            fit.append(order)
    return Forecast(fit, unfit, reviews)


Refusals = dict[uuid.UUID, ActionRefused | NotPermitted]


def _look(
    seen: Collection[tuple[Order, int]], action: Action, *, actor: Actor, at: datetime
) -> tuple[Mapping[uuid.UUID, Sequence[Review]], Refusals]:
    """The orders' reviews, and why this actor may not do this to some of them, in the version that was seen."""
    orders = [order for order, _ in seen]
    reviews, changed_by = reviewing.reviews_of(orders), reviewing.who_changed(orders)
    refusals: Refusals = dict(holding.stale(seen, action))
    for order in orders:
        changed = changed_by[order.pk]
        # Who was first says more than that there was somebody.
        if refusal := reviewing.why_not(order, reviews[order.pk], action, actor=actor, at=at, changed_by=changed):
            refusals[order.pk] = refusal
    return reviews, refusals


def begin(
    *,
    bulk_id: uuid.UUID,
    action: Action,
    chosen: Mapping[uuid.UUID, int],
    actor: Actor,
    at: datetime,
    note: str = "",
    code: str = "",
    more: timedelta | None = None,
    to: str = "",
) -> Bulk:
    """Record the decision on the `chosen` orders, each with the version that was seen, for a worker to carry out.

    A rejection has a `code`, a note or both. `more` is how much time an extension gives each order, from its own
    deadline or, where that has passed, from the instant of carrying out. `to` names whom they are handed over to.
    Unlike one extension, many put none of the orders into anybody's hands: nobody is at work on that many at once.
    Asked a second time under the same id by the same person, it answers with what was begun.

    Raises NotPermitted, TooMany, UnknownOrder, UnknownReason, NotAColleague, DeadlineRefused, and ActionRefused where
    no order was chosen, note or time are not fit, or something is there that this action does not take.
    """
    authorise(actor, action)
    if actor.user is None:
        raise NotPermitted(f"{actor.name} is nobody who decides.")
    if len(chosen) > MOST:
        raise TooMany(len(chosen))
    _check_one_thing(action, more=more, to=to, code=code)
    named = reviewing.reason_in_use(code) if action == Action.REJECT and code else None
    note = reviewing.checked_note(action, note, needed=named is None)
    if action == Action.EXTEND and not (more and timedelta(0) < more <= reviewing.LONGEST_REVIEW):
        raise ActionRefused(f"Say how much time, at most {reviewing.LONGEST_REVIEW.days} days.")
    if more and (refusal := reviewing.too_much_time(more, actor=actor)):
        raise refusal
    task = {
        "action": action,
        "note": note,
        "reject_reason": named,
        "more": more,
        "colleague": claiming.colleague_named(to) if action == Action.HAND_OVER else None,
    }
    with transaction.atomic():
        if not chosen:
            raise ActionRefused("Choose at least one order.")
        known = set(Order.objects.filter(pk__in=chosen).values_list("pk", flat=True))
        if unknown := next((order_id for order_id in chosen if order_id not in known), None):
            raise UnknownOrder(unknown)
        bulk, is_new = Bulk.objects.get_or_create(
            id=bulk_id, defaults={**task, "size": len(chosen), "made_by": actor.user, "made_at": at}
        )
        if is_new:
            BulkMember.objects.bulk_create(
                BulkMember(bulk=bulk, position=position, order_id=order_id, seen=chosen[order_id])
                for position, order_id in enumerate(chosen, start=1)
            )
    if bulk.made_by_id != actor.user.pk:
        raise NotPermitted("Somebody else has begun this one.")
    return bulk


def _check_one_thing(action: Action, *, more: timedelta | None, to: str, code: str) -> None:
    """What is of another action would have it carried out as that one, and told as this."""
    for given, of, refusal in (
        (more, Action.EXTEND, "Only an extension takes a time."),
        (to, Action.HAND_OVER, "Only what is handed over goes to a colleague."),
        (code, Action.REJECT, "Only a rejection takes a code."),
    ):
        if given and action != of:
            raise ActionRefused(refusal)


# Carrying out


def unfinished() -> Sequence[uuid.UUID]:
    """The bulks that have something left to do, the oldest first."""
    return list(Bulk.objects.filter(finished_at=None).order_by("made_at", "id").values_list("pk", flat=True))


def carry_out(*, bulk_id: uuid.UUID, at: datetime, most: int | None = None) -> bool:
    """Do the next orders of this bulk, `most` of them (`BATCH`), in one transaction; and close it when none is left.

    Orders whose rows somebody holds are left for another time, so many workers can do this side by side and none
    waits. Those who decided may have lost the right to since: then the rest is refused. An order that cannot be
    written is refused too, and holds up none of the others.

    Answers whether there was anything to do.
    """
    most = most or BATCH
    tried: list[int] = []
    try:
        return _carry_out(bulk_id, at=at, most=most, tried=tried)
    except outage.AWAY:
        raise  # the database is away: no order is to blame
    except Exception:
        if not tried:
            raise
        logger.exception("Bulk %s: %s", bulk_id, "tried one by one" if most > 1 else "one order is left out")
    if most == 1:
        return _leave_out(tried, at=at)
    return sum(carry_out(bulk_id=bulk_id, at=at, most=1) for _ in range(most)) > 0


def _carry_out(bulk_id: uuid.UUID, *, at: datetime, most: int, tried: list[int]) -> bool:
    """`tried` is filled with the keys of the members that it takes on, which is known even if that fails."""
    with transaction.atomic():
        bulk = Bulk.objects.select_related("made_by", "colleague", "reject_reason").get(pk=bulk_id)
        if members := _next(bulk.members.all(), most):
            tried += [member.pk for member in members]
            _do(bulk, members, at=at)
            return True
        if bulk.members.filter(result="").exists():
            return False
        became = {result: bulk.members.filter(result=result).count() for result in BulkMember.Result}
        finished = Bulk.objects.filter(pk=bulk_id, finished_at=None).update(
            finished_at=at,
            refused=became[BulkMember.Result.REFUSED],
            endorsed=became[BulkMember.Result.ENDORSED],
        )
    if finished:
        logger.info("Bulk %s is done: %s of %s orders", bulk.pk, bulk.action, bulk.size)
    return finished == 1


def _next(members: QuerySet[BulkMember], most: int) -> list[BulkMember]:
    """Those that wait, with their orders, all locked."""
    waiting = members.filter(result="").select_related("order").order_by("position")
    return list(waiting.select_for_update(of=("self", "order"), skip_locked=True, no_key=True)[:most])


def _leave_out(tried: Sequence[int], *, at: datetime) -> bool:
    """Refuse what failed, unless another worker has it meanwhile; whatever comes next is not to blame."""
    with transaction.atomic():
        members = _next(BulkMember.objects.filter(pk__in=tried), len(tried))
        _mark(members, BulkMember.Result.REFUSED, why=LEFT_OUT, at=at)
    return bool(members)


def _do(bulk: Bulk, members: Sequence[BulkMember], *, at: datetime) -> None:
    """Decide on the orders of locked members, and mark each with what became of it."""
    action, actor = Action(bulk.action), Actor.operator(bulk.made_by)
    reviews, refusals = _look([(member.order, member.seen) for member in members], action, actor=actor, at=at)
    waits = [(member.order, reviews[member.order_id][0]) for member in members if member.order_id not in refusals]
    seen = {member.order_id: member.seen for member in members}
    refusals |= _refused_so(bulk, waits, seen, actor=actor, at=at)
    _write(bulk, [(order, review) for order, review in waits if order.pk not in refusals], actor=actor, at=at)
    became: defaultdict[tuple[BulkMember.Result, str], list[BulkMember]] = defaultdict(list)
    for member in members:
        became[_result(action, member.order, refusals.get(member.order_id))].append(member)
    for (result, why), those in became.items():
        _mark(those, result, why=why, at=at)


def _refused_so(
    bulk: Bulk, waits: Sequence[tuple[Order, Review]], seen: Mapping[uuid.UUID, int], *, actor: Actor, at: datetime
) -> Refusals:
    """Why some of the orders cannot have what this bulk is about, or nothing can be done any more by who began it."""
    try:
        authorise(actor, Action(bulk.action))
    except NotPermitted as refusal:
        return {order.pk: refusal for order, _ in waits}
    found: dict[uuid.UUID, ActionRefused | None] = {}
    for order, review in waits:
        if bulk.more:
            due_at = _later(bulk.more, review, at)
            found[order.pk] = reviewing.wrong_with_deadline(review, due_at, actor=actor, at=at)
        if bulk.colleague:
            found[order.pk] = claiming.wrong_with_colleague(review, bulk.colleague)
    if bulk.colleague:
        ours = (None, actor.user, bulk.colleague)
        others = [(order, seen[order.pk]) for order, review in waits if holding.holder(review, at=at) not in ours]
        found |= holding.stale(others, Action.HAND_OVER, holding.LEAVES_IN_HAND)
    return {order_id: refusal for order_id, refusal in found.items() if refusal}


def _write(bulk: Bulk, waits: Sequence[tuple[Order, Review]], *, actor: Actor, at: datetime) -> None:
    told: dict[str, Any] = {"bulk": str(bulk.pk), "bulk_size": bulk.size}
    if bulk.more:
        prolonged = [(order, review, _later(bulk.more, review, at)) for order, review in waits]
        reviewing.extend_all(prolonged, actor=actor, at=at, note=bulk.note, **told)
    elif bulk.colleague:
        claiming.hand_over_all(waits, bulk.colleague, actor=actor, at=at, **told)
    else:
        orders, named = [order for order, _ in waits], bulk.reject_reason
        reviewing.decide_all(orders, Action(bulk.action), actor=actor, at=at, note=bulk.note, named=named, **told)


def _result(action: Action, order: Order, refusal: Exception | None) -> tuple[BulkMember.Result, str]:
    if refusal:
        return BulkMember.Result.REFUSED, str(refusal)[:300]
    if action == Action.APPROVE and order.status_now != Status.APPROVED:
        return BulkMember.Result.ENDORSED, ""
    return BulkMember.Result.DONE, ""


def _later(more: timedelta, review: Review, at: datetime) -> datetime:
    return max(at, review.due_at) + more


def _mark(members: Sequence[BulkMember], result: BulkMember.Result, *, at: datetime, why: str = "") -> None:
    BulkMember.objects.filter(pk__in=[member.pk for member in members]).update(result=result, why=why, at=at)
