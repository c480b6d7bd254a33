"""Money and places: minor units to amounts, and the names that Babel keeps for currencies and countries."""

import re
import unicodedata
from decimal import Decimal
from functools import cache, lru_cache

from babel import Locale
from babel.numbers import format_currency, get_currency_precision

_LOCALE = Locale("en")


def to_amount(minor: int, currency: str) -> Decimal:
    """Minor units (cents) as an amount: 12345 EUR is 123.45, 12345 JPY is 12345."""
    return Decimal(minor).scaleb(-get_currency_precision(currency))


def unusual_decimals() -> dict[int, list[str]]:
    """The currencies that do not have two decimals, by how many they have.

    A column is made of it: where Babel comes to know better, `makemigrations` says so.
    """
    found: dict[int, list[str]] = {}
    for code in sorted(_LOCALE.currencies):
        if (decimals := get_currency_precision(code)) != 2:
            found.setdefault(decimals, []).append(code)
    return dict(sorted(found.items()))


def to_minor(amount: Decimal, currency: str) -> int:
    """An amount as minor units.

    Raises ValueError where the amount has more decimals than the currency.
    """
    minor = amount.scaleb(get_currency_precision(currency))
    if minor != minor.to_integral_value():
        raise ValueError(f"{amount} has more decimals than {currency} knows")
    return int(minor)


@lru_cache(maxsize=10_000)  # lists show the same orders again and again
def format_money(minor: int, currency: str, *, locale: Locale = _LOCALE) -> str:
    """Minor units as people read them, with the currency."""
    shown = format_currency(to_amount(minor, currency), currency, locale=locale)
    # Babel leaves out the space that belongs between letters and figures: CHF 9.50, but €9.50.
    return re.sub(r"(?<=[^\W\d_])(?=\d)", "\N{NO-BREAK SPACE}", shown)


def is_currency(code: str) -> bool:
    return code in _LOCALE.currencies


@cache
def countries() -> dict[str, str]:
    """Country names by ISO 3166-1 alpha-2 code."""
    return {
        code: name
        for code, name in _LOCALE.territories.items()
        if len(code) == 2 and code.isalpha() and code not in {"EU", "EZ", "UN", "XA", "XB", "ZZ", "QO"}
    }


@cache
def countries_by_name() -> tuple[tuple[str, str], ...]:
    """Codes and names, as a list to choose from has them: sorted as a reader expects, Åland beside Albania."""
    return tuple(sorted(countries().items(), key=lambda country: unicodedata.normalize("NFKD", country[1]).casefold()))


def country_name(code: str) -> str:
    return countries().get(code, code)


@lru_cache(maxsize=1_000)  # names come from outside, and there is no end to them
def country_code(name: str) -> str:
    """The code of a country given by code or English name; empty where there is none such."""
    wanted = name.strip().casefold()
    for code, known in countries().items():
        if wanted in (code.casefold(), known.casefold()):
            return code
    return ""
