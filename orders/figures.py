"""How the team is doing, in figures. Reads only; no query grows with the tables.

What waits is counted up to a cap. What was decided is read from an index by when, and no further back than the newest
`DECISIONS` of the time asked for: where there are more, the figures are those of the newest, and say so.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db import connection, models

from orders import finding, selectors
from orders.models import Decision, Review
from orders.paging import COUNT_UP_TO, Count
from orders.wording import SOON

DECISIONS = 20_000
PEOPLE = 100


@dataclass(frozen=True)
class Tally:
    """What was decided, by how. `others` were helped on their way again, or cancelled by somebody of the desk."""

    approved: int = 0
    rejected: int = 0
    others: int = 0

    @property
    def total(self) -> int:
        return self.approved + self.rejected + self.others

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(self.approved + other.approved, self.rejected + other.rejected, self.others + other.others)


@dataclass(frozen=True)
class Waiting:
    """Reviews in the queue; the two are of the most urgent ones, as many as are counted. `put_off` are besides."""

    all: Count
    put_off: Count
    overdue: Count
    soon: Count  # due within the hour


@dataclass(frozen=True)
class Timing:
    """How long decisions took, and how many came in time; `median` is empty where there are none."""

    median: timedelta | None = None
    in_time: int = 0
    of: int = 0
    expired: int = 0  # of these, so many were never decided

    @property
    def late(self) -> int:
        return self.of - self.in_time - self.expired

    @property
    def share(self) -> float | None:
        """In time, of all that had to be decided: 0 to 1."""
        return self.in_time / self.of if self.of else None


@dataclass(frozen=True)
class Person:
    name: str
    tallies: Sequence[Tally]  # one for each slot
    all: Tally
    timing: Timing


@dataclass(frozen=True)
class Figures:
    """What came of the reviews since an instant. `reaches_back` is set where there were more than are counted."""

    people: Sequence[Person]  # the busiest first, `PEOPLE` at most
    others: int  # how many more people decided
    tallies: Sequence[Tally]
    all: Tally
    timing: Timing
    reaches_back: datetime | None


def waiting(*, at: datetime) -> Waiting:
    """In three queries of the indexes of open reviews, each counting up to a cap."""
    due = Review.objects.filter(finding.in_queue(at=at), due_at__lt=at + SOON).order_by("due_at", "id")[
        : COUNT_UP_TO + 1
    ]
    counted = due.aggregate(all=models.Count("pk"), overdue=models.Count("pk", filter=models.Q(due_at__lt=at)))
    put_off = Review.objects.filter(finding.put_off(at=at)).order_by()[: COUNT_UP_TO + 1].count()
    overdue, soon = counted["overdue"], counted["all"] - counted["overdue"]
    return Waiting(
        all=selectors.waiting_counts()[0],
        put_off=Count(min(put_off, COUNT_UP_TO), put_off > COUNT_UP_TO),
        overdue=Count(min(overdue, COUNT_UP_TO), overdue > COUNT_UP_TO),
        soon=Count(soon, overdue <= COUNT_UP_TO < counted["all"]),
    )


# One pass over an index that holds all the columns. An order is in time that was decided by those who were asked first,
# before its deadline: not one that went to leads, nor one that expired.
_DECIDED = """
WITH decided AS MATERIALIZED (
    SELECT decided_at, decided_by_id, decision, extract(epoch FROM decided_at - opened_at)::real AS took,
           decision <> %(expired)s AND level = %(operator)s AND decided_at <= due_at AS in_time
      FROM orders_review
     WHERE decided_at >= %(since)s AND (decided_by_id IS NOT NULL OR decision = %(expired)s)
     ORDER BY decided_at DESC
     LIMIT %(most)s
)
SELECT decided_by_id, width_bucket(decided_at, %(slots)s::timestamptz[]) - 1,
       count(*) FILTER (WHERE decision = %(approved)s),
       count(*) FILTER (WHERE decision = %(rejected)s),
       count(*) FILTER (WHERE decision NOT IN (%(approved)s, %(rejected)s)),
       count(*) FILTER (WHERE in_time),
       min(decided_at), NULL
  FROM decided GROUP BY 1, 2
UNION ALL
SELECT decided_by_id, NULL, 0, 0, 0, 0, NULL, percentile_cont(0.5) WITHIN GROUP (ORDER BY took)
  FROM decided WHERE decided_by_id IS NOT NULL GROUP BY GROUPING SETS ((), (decided_by_id))
"""


def figures(slots: Sequence[datetime]) -> Figures:
    """What was decided since the first of these instants, by person and by the slot that each of them begins."""
    with connection.cursor() as cursor:
        # raw SQL: gaps and percentiles by person and slot in one pass, which the ORM cannot say
        cursor.execute(
            _DECIDED,
            {
                "since": slots[0],
                "slots": list(slots),
                "most": DECISIONS,
                "operator": Review.Level.OPERATOR.value,
                **{decision.value: decision.value for decision in Decision},
            },
        )
        found = cursor.fetchall()
    medians = {row[0]: timedelta(seconds=row[7] or 0) for row in found if row[1] is None}
    rows = [row for row in found if row[1] is not None]
    of_people = [row for row in rows if row[0] is not None]
    expired = sum(row[4] for row in rows if row[0] is None)
    counted = sum(sum(row[2:5]) for row in rows)
    tallies = _by_slot(of_people, len(slots))
    theirs: defaultdict[int, list[Any]] = defaultdict(list)
    for row in of_people:
        theirs[row[0]].append(row)
    names = dict(User.objects.filter(pk__in=theirs).values_list("pk", "username"))
    people = [_person(name, theirs[key], medians[key], len(slots)) for key, name in names.items()]
    return Figures(
        people=sorted(people, key=lambda person: (-person.all.total, person.name))[:PEOPLE],
        others=max(0, len(people) - PEOPLE),
        tallies=tallies,
        all=sum(tallies, Tally()),
        timing=Timing(medians[None] if of_people else None, sum(row[5] for row in rows), counted, expired),
        reaches_back=min(row[6] for row in rows) if counted == DECISIONS else None,
    )


def _person(name: str, rows: Sequence[Any], median: timedelta, slots: int) -> Person:
    tallies = _by_slot(rows, slots)
    everything = sum(tallies, Tally())
    return Person(name, tallies, everything, Timing(median, sum(row[5] for row in rows), everything.total))


def _by_slot(rows: Sequence[Any], slots: int) -> Sequence[Tally]:
    tallies = [Tally()] * slots
    for _, slot, *counts in rows:
        tallies[slot] += Tally(*counts[:3])
    return tallies
