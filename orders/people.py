"""Pages about the people of the desk: what is theirs, how the team is doing, and who may do what."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.contrib import messages
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST, require_safe

from orders import charts, conventions, figures, mine, notes, paging, policy, wording
from orders.conventions import Conventions
from orders.live import may_decide
from orders.models import SecondFactor
from orders.roles import EXTEND_FREELY, FIRST_EXTENSION, KEEPS_RECORDS, MAY, REFUND_LIMITS, RIGHTS, SEE_TEAM, Role
from orders.services import preferring, second_factor
from orders.services.preferring import UnknownConvention
from orders.states import Action

MENTIONS = 5
EXAMPLE_MINOR, EXAMPLE_CURRENCY = 123_450, "EUR"


@require_safe
def me(request: HttpRequest) -> HttpResponse:
    """What belongs to whoever is signed in."""
    try:
        before = paging.Cursor.parse(request.GET["before"], key=paging.REVIEW_KEY) if "before" in request.GET else None
    except paging.BadCursor:
        return render(request, "400.html", status=400)
    return show_me(request, before=before)


@require_POST
def prefer(request: HttpRequest) -> HttpResponse:
    """Keep in which zone and locale this person is shown things; what is not sent stays as it is."""
    user, now = _person(request), conventions.in_force()
    wanted = Conventions(request.POST.get("zone", now.zone), request.POST.get("locale", now.locale))
    try:
        preferring.prefer(user=user, zone=wanted.zone, locale=wanted.locale)
    except UnknownConvention as unknown:
        return show_me(request, wrong=unknown, status=422)
    messages.success(request, f"Times are shown in {wanted.zone} now, and amounts as in {_named(wanted.locale)}.")
    back = request.POST.get("next", "")
    if url_has_allowed_host_and_scheme(back, {request.get_host()}, require_https=request.is_secure()):
        return redirect(back)
    return redirect("orders:me")


# How the team is doing


WINDOWS = {1: "Today", 7: "7 days", 30: "30 days"}


@dataclass(frozen=True)
class Slot:
    """An hour of today, or a day; `told` is whole where `label` is short."""

    at: datetime
    label: str
    told: str


@dataclass(frozen=True)
class PersonLine:
    """`cells` are for each slot how many, and how dark from 0 to 4."""

    person: figures.Person
    cells: Sequence[tuple[int, int]]


@require_safe
def team(request: HttpRequest) -> HttpResponse:
    """For leads: what waits, and what was decided by whom, how quickly and how much of it in time."""
    if not _person(request).has_perm(SEE_TEAM):
        raise PermissionDenied("How the team is doing is for leads. What you decided today is under Mine.")
    asked = request.GET.get("days", "1")
    days = int(asked) if asked in map(str, WINDOWS) else 1
    unit, now = "hour" if days == 1 else "day", timezone.now()
    slots = _slots(now, days)
    found = figures.figures([slot.at for slot in slots])
    tallies = list(zip(slots, found.tallies, strict=True))
    most = max((tally.total for person in found.people for tally in person.tallies), default=0)
    timing = found.timing
    ways = [("good", timing.in_time), ("late", timing.late), ("bad", timing.expired)]
    context = {
        "here": "team",
        "now": now,
        "windows": WINDOWS,
        "days": days,
        "unit": unit,
        "slots": slots,
        "waits": figures.waiting(at=now),
        "figures": found,
        "tallies": tallies,
        "busiest": max(tallies, key=lambda each: each[1].total),
        "chart": charts.stacked([(_told(slot, tally), _parts(tally)) for slot, tally in tallies]),
        "people": [PersonLine(person, _cells(person, most)) for person in found.people],
        "in_time": charts.line(ways),
    }
    return render(request, "orders/team.html", context)


def _slots(now: datetime, days: int) -> Sequence[Slot]:
    """The hours of the viewer's today, or the days up to it."""
    midnight = timezone.localtime(now).replace(hour=0, minute=0, second=0, microsecond=0)
    if days == 1:
        # Counted as instants: on some days an hour is there twice, or not at all.
        begins, ends = (each.astimezone(UTC) for each in (midnight, midnight + timedelta(days=1)))
        hours = [begins + timedelta(hours=n) for n in range(round((ends - begins) / timedelta(hours=1)))]
        return [Slot(at, f"{at:%H}", f"{at:%H:%M}") for at in map(timezone.localtime, hours)]
    beginnings = [midnight - timedelta(days=n) for n in reversed(range(days))]
    return [Slot(at, f"{at:%-d}" if days > 7 else f"{at:%a}", f"{at:%a %-d %b}") for at in beginnings]


def _parts(tally: figures.Tally) -> Sequence[tuple[str, int]]:
    return [("good", tally.approved), ("bad", tally.rejected), ("others", tally.others)]


def _told(slot: Slot, tally: figures.Tally) -> str:
    return f"{slot.told}: {tally.approved} approved, {tally.rejected} rejected, {tally.others} others"


def _cells(person: figures.Person, most: int) -> Sequence[tuple[int, int]]:
    numbers = [tally.total for tally in person.tallies]
    return [(number, -(-4 * number // most) if most else 0) for number in numbers]


# Who may do what


@dataclass(frozen=True)
class Cell:
    may: bool
    most: str = ""  # of those who may only up to a limit
    is_mine: bool = False


@dataclass(frozen=True)
class Line:
    """One thing that can be done, and for each role whether: a check, nothing, or up to how much."""

    told: str
    cells: Sequence[Cell]


def rights_table(own: Collection[Role]) -> Mapping[str, Sequence[Line]]:
    """What the code asks, by heading; `own` are the roles to be marked."""

    def line(told: str, roles: Collection[Role]) -> Line:
        return Line(told, [Cell(role in roles, is_mine=role in own) for role in Role])

    def refund(role: Role) -> Cell:
        limit = REFUND_LIMITS.get(role)
        most = "" if role not in REFUND_LIMITS else "in full" if limit is None else f"up to {limit:,}"
        return Cell(role in REFUND_LIMITS, most, role in own)

    def extension(role: Role) -> Cell:
        is_free = role in next(right.roles for right in RIGHTS if right.name == EXTEND_FREELY)
        most = "" if is_free else f"once, {FIRST_EXTENSION // timedelta(hours=1)} h at most"
        return Cell(Action.EXTEND in MAY[role], most if Action.EXTEND in MAY[role] else "", role in own)

    def of(action: Action) -> Line:
        if action == Action.EXTEND:
            return Line(wording.right(action), [extension(role) for role in Role])
        return line(wording.right(action), [role for role in Role if action in MAY[role]])

    people_do = [action for action in Action if any(action in actions for actions in MAY.values())]
    return {
        "With any order": [
            line("See orders and all that happened to them", list(Role)),
            *map(of, people_do),
            Line("Refund an order that has ended, in its own currency", [refund(role) for role in Role]),
        ],
        "Besides": [
            *(line(right.told[0].upper() + right.told[1:], right.roles) for right in RIGHTS),
            line("Keep accounts, goods and API clients, and see the raw records", KEEPS_RECORDS),
        ],
    }


@require_safe
def roles(request: HttpRequest) -> HttpResponse:
    """Who may do what, from the tables that the code asks. Everybody may see it."""
    own = [Role(name) for name in _person(request).groups.values_list("name", flat=True) if name in set(Role)]
    context = {
        "here": "roles",
        "roles": [(role, role in own) for role in Role],
        "mine": own,
        "rights": rights_table(own),
        "two_from": policy.FOUR_EYES_FROM,
        "two_risk": policy.FOUR_EYES_RISK,
    }
    return render(request, "orders/roles.html", context)


def _person(request: HttpRequest) -> User:
    if not isinstance(request.user, User):
        raise PermissionDenied
    return request.user


def _named(locale: str) -> str:
    return conventions.locales()[locale]


def show_me(
    request: HttpRequest,
    *,
    before: paging.Cursor | None = None,
    wrong: UnknownConvention | None = None,
    wrong_code: str = "",
    status: int = 200,
) -> HttpResponse:
    """What belongs to whoever asks, and what is wrong with what they sent."""
    person = _person(request)
    now = timezone.now()
    midnight = timezone.localtime(now).replace(hour=0, minute=0, second=0, microsecond=0)
    context = {
        "here": "me",
        "claimed": mine.claimed(person, at=now),
        "put_off": mine.put_off(person, at=now),
        "decided": mine.decided(person, since=midnight, before=before),
        "is_first": before is None,
        "latest_mentions": notes.mentions_page(person, most=MENTIONS).mentions,
        "decides": may_decide(person),
        "now": now,
        "zones": conventions.zones(),
        "zone_is_listed": any(conventions.in_force().zone in names for names in conventions.zones().values()),
        "locales": conventions.locales(),
        "example_minor": EXAMPLE_MINOR,
        "example_currency": EXAMPLE_CURRENCY,
        "factor": SecondFactor.objects.filter(user=person).first() if second_factor.is_asked_of(person) else None,
        "wrong_code": wrong_code,
        "wrong": {wrong.field: str(wrong)} if wrong else {},
    }
    return render(request, "orders/me.html", context, status=status)
