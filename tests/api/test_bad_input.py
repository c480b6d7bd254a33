"""What may not come in: each names its field, leaves no row behind, and starts nothing."""

import json
from typing import Any

import pytest
from django.test import Client

from orders.models import Order
from tests.api.calls import nothing_is_left, refused, send
from tests.api.conftest import Body

LINE = {"sku": "LAMP", "quantity": 2, "unit_price_minor": 60_000}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        *(({"lines": [LINE | {"quantity": many}]}, "lines[0].quantity") for many in (0, -1, 1.5, 2.0, "2", True, None)),
        ({"lines": [LINE, LINE | {"quantity": 10**400}]}, "lines[1].quantity"),
        ({"lines": [LINE | {"unit_price_minor": -1}]}, "lines[0].unit_price_minor"),
        ({"lines": [LINE | {"quantity": 2**31 - 1, "unit_price_minor": 2**62}]}, "total"),
        ({"lines": [LINE | {"sku": "NO-SUCH"}]}, "lines"),
        ({"lines": [LINE | {"sku": "LA\x00MP"}]}, "lines[0].sku"),
        ({"lines": [LINE] * 1_001}, "lines"),
        ({"lines": []}, "lines"),
        ({"lines": {}}, "lines"),
        ({"lines": [5]}, "lines[0]"),
        ({"lines": [LINE | {"gift": True}]}, "lines[0].gift"),
        ({"currency": "QQQ"}, "currency"),
        ({"currency": "eur"}, "currency"),
        ({"currency": 978}, "currency"),
        ({"customer_name": ""}, "customer_name"),
        ({"customer_name": "n" * 201}, "customer_name"),
        ({"customer_name": "Ann\x00Lee"}, "customer_name"),
        ({"customer_name": "Ann\x1bLee"}, "customer_name"),
        ({"customer_name": "Ann\ud800"}, "customer_name"),
        ({"customer_email": "nobody"}, "customer_email"),
        ({"address": {"line1": "Lindenstr. 4"}}, "address.country"),
        ({"address": {"country": ""}}, "address.country"),
        ({"address": {"country": "XX"}}, "address.country"),
        ({"address": {"country": "DE", "planet": "Mars"}}, "address.planet"),
        ({"address": {"country": "DE", "city": "Ber\nlin"}}, "address.city"),
        ({"decide_within_seconds": 0}, "decide_within_seconds"),
        ({"decide_within_seconds": -60}, "decide_within_seconds"),
        ({"decide_within_seconds": 367 * 86_400}, "decide_within_seconds"),
        ({"decide_within_seconds": 10**30}, "decide_within_seconds"),
        ({"reference": "r" * 81}, "reference"),
        ({"total_minor": 1}, "total_minor"),
    ],
    ids=repr,
)
def test_a_bad_field_is_named(shop: Client, body: Body, change: dict[str, Any], field: str) -> None:
    assert refused(send(shop, body | change), 422).keys() == {field}
    assert nothing_is_left()


@pytest.mark.parametrize("missing", ["customer_name", "address", "currency", "lines"])
def test_a_missing_field_is_named(shop: Client, body: Body, missing: str) -> None:
    del body[missing]

    assert refused(send(shop, body), 422) == {missing: "is missing"}
    assert nothing_is_left()


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("{", "body"),
        ("nonsense", "body"),
        ('{"currency": NaN}', "body"),
        ('{"currency": -Infinity}', "body"),
        ('{"currency": "EUR", "currency": "USD"}', "currency"),
        ('{"lines": [{"sku": "LAMP", "sku": "RUG"}]}', "sku"),
        ('{"currency": ' + "9" * 5_000 + "}", "body"),
        ("[" * 100_000, "body"),
        (b'{"currency": "\xff"}', "body"),
        (b"\xef\xbb\xbf{}", "body"),
        (json.dumps({}).encode("utf-16"), "body"),
        ('{"\\ud800": 1}', "body"),
        ('{"lines": [{"\\udc00": 1}]}', "body"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_what_is_not_sound_json_is_refused_whole(shop: Client, text: str | bytes, field: str) -> None:
    assert refused(send(shop, text), 400).keys() == {field}
    assert nothing_is_left()


@pytest.mark.parametrize("text", ["", "null", "[]", "5", '"order"', "true"])
def test_what_is_no_object_is_refused(shop: Client, text: str) -> None:
    assert refused(send(shop, text), 422).keys() == {"body"}
    assert nothing_is_left()


def test_a_number_beyond_every_float_is_refused(shop: Client, body: Body) -> None:
    text = json.dumps(body).replace('"quantity": 2', '"quantity": 1e400')

    assert refused(send(shop, text), 422).keys() == {"lines[0].quantity"}
    assert nothing_is_left()


@pytest.mark.parametrize("megabytes", [1, 2, 10])
def test_a_body_of_more_than_a_megabyte_is_413(shop: Client, body: Body, megabytes: int) -> None:
    text = json.dumps(body | {"customer_name": "n" * megabytes * 1_000_000})

    assert refused(send(shop, text), 413).keys() == {"body"}
    assert nothing_is_left()


@pytest.mark.parametrize(
    "name",
    [
        "\u0645\u0631\u064a\u0645 \u0627\u0644\u0639\u0644\u064a",
        "\U0001f469\u200d\U0001f680 Ripley",
        "O'Brien; --",
        "<b>Ann</b>",
    ],
)
def test_every_name_that_people_have_is_stored_exactly(shop: Client, body: Body, name: str) -> None:
    response = send(shop, body | {"customer_name": name})

    assert response.status_code == 201
    assert response.json()["customer_name"] == Order.objects.get().customer_name == name


def test_a_thousand_lines_are_an_order(shop: Client, body: Body) -> None:
    response = send(shop, body | {"lines": [LINE | {"unit_price_minor": 1}] * 1_000})

    assert response.status_code == 201
    assert len(response.json()["lines"]) == 1_000
