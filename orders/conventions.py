"""How somebody is shown instants and amounts: in which time zone, and written as in which locale.

The conventions in force are the viewer's while a page or a fragment of one is made for them, and the desk's own
wherever something is written down or sent out.
"""

import zoneinfo
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache

from babel import Locale, localedata
from babel.core import UnknownLocaleError
from babel.languages import get_official_languages
from django.conf import settings
from django.utils import timezone

from orders.money import format_money

_CONTINENTS = frozenset(
    "Africa America Antarctica Arctic Asia Atlantic Australia Europe Indian Pacific".split()  # noqa: SIM905
)
DESK_LOCALE = "en"


@dataclass(frozen=True)
class Conventions:
    """A time zone's IANA name, and a locale's CLDR name. `chosen` tells a person's choice from the desk's custom."""

    zone: str
    locale: str
    chosen: bool = field(default=True, compare=False)


_in_force: ContextVar[Conventions | None] = ContextVar("conventions", default=None)


def of_the_desk() -> Conventions:
    return Conventions(settings.TIME_ZONE, DESK_LOCALE, chosen=False)


def in_force() -> Conventions:
    return _in_force.get() or of_the_desk()


def put_in_force(conventions: Conventions) -> None:
    """For the rest of this request; see `end`."""
    _in_force.set(conventions)
    timezone.activate(zoneinfo.ZoneInfo(conventions.zone))


def end() -> None:
    _in_force.set(None)
    timezone.deactivate()


@contextmanager
def by(conventions: Conventions) -> Iterator[None]:
    """What is written within is written by these, whatever is in force around."""
    token = _in_force.set(conventions)
    try:
        with timezone.override(zoneinfo.ZoneInfo(conventions.zone)):
            yield
    finally:
        _in_force.reset(token)


@cache
def zones() -> dict[str, list[str]]:
    """The time zones to choose from, by continent; UTC stands for itself."""
    by_continent: dict[str, list[str]] = {}
    for name in sorted(zoneinfo.available_timezones()):
        continent, _, place = name.partition("/")
        if continent in _CONTINENTS and place:
            by_continent.setdefault(continent, []).append(name)
    return {"World": ["UTC"]} | by_continent


def is_zone(name: str) -> bool:
    return name in zoneinfo.available_timezones()


@cache
def locales() -> dict[str, str]:
    """The locales to choose from, with their English names: each language where it is an official one."""
    found = {DESK_LOCALE: "English"}
    for name in localedata.locale_identifiers():
        locale = Locale.parse(name)
        if (
            locale.territory
            and locale.territory.isalpha()
            and not locale.script
            and not locale.variant
            and locale.language in get_official_languages(locale.territory, de_facto=True)
        ):
            found[name] = locale.get_display_name(DESK_LOCALE) or name
    return dict(sorted(found.items(), key=lambda each: each[1]))


@cache
def parsed(locale: str) -> Locale:
    """Babel's locale of that name; the desk's where Babel does not know it any more."""
    try:
        return Locale.parse(locale)
    except (UnknownLocaleError, ValueError):
        return Locale.parse(DESK_LOCALE)


def amount(minor: int, currency: str) -> str:
    """Minor units of a currency by the conventions in force."""
    return format_money(minor, currency, locale=parsed(in_force().locale))
