"""What belongs to one person at the desk: preferences, and the orders that are theirs. Reads only.

Each list is read from an index by whose it is, and goes by key or up to a cap.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.contrib.auth.models import User
from django.db.models import Q

from orders import conventions, finding
from orders.conventions import Conventions
from orders.models import Preferences, Review
from orders.paging import COUNT_UP_TO, PAGE, Count, Cursor


def preferred(user: User) -> Conventions:
    """How this person is shown instants and amounts: as they prefer, else as the desk does."""
    try:
        found = user.preferences
    except Preferences.DoesNotExist:
        return conventions.of_the_desk()
    return Conventions(found.zone, found.locale) if conventions.is_zone(found.zone) else conventions.of_the_desk()


@dataclass(frozen=True)
class Decided:
    """Reviews that somebody closed, the latest first; `count` is of all there are."""

    reviews: Sequence[Review]
    count: Count
    older: Cursor | None


def decided(user: User, *, since: datetime, before: Cursor | None = None) -> Decided:
    """What this person has decided since then, from a place on."""
    theirs = Review.objects.filter(decided_by=user, decided_at__gte=since)
    window = theirs
    if before:
        later = Q(decided_at=before.at) & Q(id__gte=int(before.key))
        window = window.filter(~later, decided_at__lte=before.at)
    found = list(window.select_related("order").order_by("-decided_at", "-id")[: PAGE + 1])
    shown = found[:PAGE]
    last = shown[-1] if len(found) > PAGE else None
    number = theirs.order_by()[: COUNT_UP_TO + 1].count()
    return Decided(
        shown,
        Count(min(number, COUNT_UP_TO), number > COUNT_UP_TO),
        Cursor(last.decided_at, str(last.pk)) if last and last.decided_at else None,
    )


def claimed(user: User, *, at: datetime) -> Sequence[Review]:
    """What this person has in hand, the most urgent first; the first of it."""
    theirs = Review.objects.filter(decision="", claimed_by=user, claimed_until__gt=at)
    return list(theirs.select_related("order").order_by("due_at", "id")[:PAGE])


def put_off(user: User, *, at: datetime) -> Sequence[Review]:
    """What this person has put off and is not back yet, the next to come back first; the first of them."""
    theirs = Review.objects.filter(finding.put_off(at=at), put_off_by=user)
    return list(theirs.select_related("order").order_by("back_at", "id")[:PAGE])
