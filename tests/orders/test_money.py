"""Minor units to amounts and back, and the names of countries."""

from decimal import Decimal

import pytest

from orders import money


@pytest.mark.parametrize(
    ("minor", "currency", "amount"),
    [
        (12_345, "EUR", "123.45"),
        (0, "EUR", "0.00"),
        (1, "GBP", "0.01"),
        (12_345, "JPY", "12345"),
        (12_345, "KWD", "12.345"),
        (10**15, "USD", "10000000000000.00"),
    ],
)
def test_minor_units_and_amounts_say_the_same(minor: int, currency: str, amount: str) -> None:
    assert str(money.to_amount(minor, currency)) == amount
    assert money.to_minor(Decimal(amount), currency) == minor


@pytest.mark.parametrize(("amount", "currency"), [("1.005", "EUR"), ("0.5", "JPY"), ("0.0001", "KWD")])
def test_more_decimals_than_the_currency_has_are_refused_and_not_rounded(amount: str, currency: str) -> None:
    with pytest.raises(ValueError, match=f"more decimals than {currency}"):
        money.to_minor(Decimal(amount), currency)


def test_zeros_beyond_the_last_decimal_do_no_harm() -> None:
    assert money.to_minor(Decimal("2.5000"), "EUR") == 250


@pytest.mark.parametrize(
    ("minor", "currency", "shown"),
    [
        (123_456, "EUR", "€1,234.56"),
        (5, "GBP", "£0.05"),
        (0, "USD", "$0.00"),
        (1_200, "JPY", "¥1,200"),
        (123_456, "CHF", "CHF\N{NO-BREAK SPACE}1,234.56"),
        (-950, "CHF", "-CHF\N{NO-BREAK SPACE}9.50"),
        (950, "CAD", "CA$9.50"),
    ],
)
def test_money_is_shown_with_its_currency(minor: int, currency: str, shown: str) -> None:
    assert money.format_money(minor, currency) == shown


@pytest.mark.parametrize("code", ["EUR", "GBP", "USD", "CHF", "JPY"])
def test_currencies_are_known_by_their_code(code: str) -> None:
    assert money.is_currency(code)


@pytest.mark.parametrize("code", ["", "eur", "EURO", "EU", "€", "ZZZ"])
def test_what_is_no_currency_code_is_told_apart(code: str) -> None:
    assert not money.is_currency(code)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("Germany", "DE"),
        (" germany ", "DE"),
        ("DE", "DE"),
        ("de", "DE"),
        ("United Kingdom", "GB"),
        ("Ruritania", ""),
        ("", ""),
        ("EU", ""),
        ("\N{LATIN CAPITAL LETTER O WITH STROKE}", ""),
    ],
)
def test_countries_are_found_by_code_and_by_english_name(name: str, code: str) -> None:
    assert money.country_code(name) == code


def test_a_country_that_nobody_knows_is_shown_by_its_code() -> None:
    assert (money.country_name("CH"), money.country_name("QQ")) == ("Switzerland", "QQ")


def test_no_more_than_the_codes_of_countries_are_offered() -> None:
    assert all(len(code) == 2 and code.isupper() for code in money.countries())
    assert not {"EU", "UN", "ZZ"} & money.countries().keys()


def test_looking_up_names_from_outside_does_not_fill_the_memory() -> None:
    assert money.country_code.cache_info().maxsize is not None
