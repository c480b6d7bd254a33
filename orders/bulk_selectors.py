"""What the pages of bulk decisions read. Nothing here writes."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.contrib.auth.models import User
from django.db.models import Count

from orders.filters import Filter
from orders.finding import queue_that_fits
from orders.models import Bulk, BulkMember
from orders.paging import ORDER_KEY, PAGE, Cursor
from orders.roles import SEE_TEAM

MEMBERS_SHOWN = 100
SAMPLE = 20  # orders named for each reason
KEY = ORDER_KEY  # both are UUIDs


@dataclass(frozen=True)
class Progress:
    """How far a bulk has come."""

    bulk: Bulk
    done: int
    endorsed: int  # approved by the first of two
    refused: int

    @property
    def is_over(self) -> bool:
        return self.bulk.finished_at is not None

    @property
    def behind(self) -> int:
        """How many orders have a result."""
        return self.done + self.endorsed + self.refused

    @property
    def version(self) -> int:
        """Grows with each result, and once more at the end."""
        return self.behind + self.is_over


@dataclass(frozen=True)
class Refused:
    """Why some of the orders were refused, how many, and the first of them."""

    why: str
    number: int
    members: Sequence[BulkMember]

    @property
    def others(self) -> int:
        return self.number - len(self.members)


@dataclass(frozen=True)
class BulkPage:
    progress: Progress
    refused: Sequence[Refused]
    members: Sequence[BulkMember]
    next: int | None  # the position to go on after


def progress(found: Sequence[Bulk]) -> list[Progress]:
    """Of what is over the record itself says it; only what is under way has to be counted."""
    under_way = [bulk.pk for bulk in found if bulk.finished_at is None]
    counted = BulkMember.objects.filter(bulk__in=under_way).exclude(result="").order_by()
    numbers = {
        (of, result): number for of, result, number in counted.values_list("bulk", "result").annotate(Count("pk"))
    }
    return [
        Progress(bulk, *(numbers.get((bulk.pk, result), 0) for result in ("done", "endorsed", "refused")))
        if bulk.finished_at is None
        else Progress(bulk, bulk.size - bulk.endorsed - bulk.refused, bulk.endorsed, bulk.refused)
        for bulk in found
    ]


def bulk_seen_by(user: User, bulk_id: uuid.UUID) -> Bulk:
    """Everybody may see what they began themselves, and who sees the team all of them.

    Raises Bulk.DoesNotExist.
    """
    bulks = Bulk.objects.select_related("made_by", "colleague", "reject_reason")
    return (bulks if user.has_perm(SEE_TEAM) else bulks.filter(made_by=user)).get(pk=bulk_id)


def bulk_page(bulk: Bulk, *, after: int = 0) -> BulkPage:
    """How far it has come, why orders were refused, and the results from a position on."""
    found = list(
        bulk.members.filter(position__gt=after).select_related("order").order_by("position")[: MEMBERS_SHOWN + 1]
    )
    refused = bulk.members.filter(result=BulkMember.Result.REFUSED)
    reasons = refused.values_list("why").annotate(number=Count("pk")).order_by("-number", "why")[:PAGE]
    return BulkPage(
        progress=progress([bulk])[0],
        refused=[
            Refused(
                why,
                number,
                list(refused.filter(why=why).select_related("order").order_by("position")[:SAMPLE]),
            )
            for why, number in reasons
        ],
        members=found[:MEMBERS_SHOWN],
        next=found[MEMBERS_SHOWN - 1].position if len(found) > MEMBERS_SHOWN else None,
    )


def bulks_page(*, of: User | None = None, older_than: Cursor | None = None) -> tuple[list[Progress], Cursor | None]:
    """Bulks, the newest first, of one person or of all; and where to go on."""
    bulks = Bulk.objects.select_related("made_by", "colleague", "reject_reason").order_by("-made_at", "-id")
    if of:
        bulks = bulks.filter(made_by=of)
    if older_than and isinstance(older_than.at, datetime):
        bulks = bulks.filter(made_at__lte=older_than.at).exclude(made_at=older_than.at, id__gte=older_than.key)
    found = list(bulks[: PAGE + 1])
    shown = found[:PAGE]
    following = Cursor(shown[-1].made_at, str(shown[-1].pk)) if len(found) > PAGE else None
    return progress(shown), following


def waiting_orders(*, wanted: Filter, viewer: User, at: datetime, most: int) -> list[uuid.UUID]:
    """The orders that wait for people and fit the filter, the most urgent first."""
    fitting = queue_that_fits(wanted, at=at, viewer=viewer).order_by("due_at", "id")
    return list(fitting.values_list("order_id", flat=True)[:most])
