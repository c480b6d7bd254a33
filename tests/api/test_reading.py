"""Listing orders, seeing where one stands, and the document that describes it all."""

import json
import re
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from orders.models import Order
from orders.states import PUTTING_OFF
from tests.api.calls import refused
from tests.conftest import PlaceOrder


def test_it_lists_orders_newest_first_page_by_page(shop: Client, place: PlaceOrder) -> None:
    placed = [place() for _ in range(53)]

    first = shop.get("/api/v1/orders").json()
    second = shop.get("/api/v1/orders", {"cursor": first["next"]}).json()

    listed = [order["number"] for order in [*first["orders"], *second["orders"]]]
    assert listed == [order.number for order in reversed(placed)]
    assert (len(first["orders"]), second["next"]) == (50, None)


@pytest.mark.parametrize("many", [2, 12])
def test_more_orders_take_no_more_queries(
    shop: Client, place: PlaceOrder, many: int, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for _ in range(many):
        place()

    with django_assert_max_num_queries(4):
        assert len(shop.get("/api/v1/orders").json()["orders"]) == many


def test_it_lists_those_of_a_status_and_those_that_are_searched_for(
    shop: Client, place: PlaceOrder, order_in_review: Order
) -> None:
    mina = place(customer_name="Mina Park")

    def numbers(**query: str) -> list[str]:
        return [order["number"] for order in shop.get("/api/v1/orders", query).json()["orders"]]

    assert numbers(status="in_review") == [order_in_review.number]
    assert numbers(search="mina") == [mina.number]
    assert numbers(search="\x00") == []


@pytest.mark.parametrize("query", [{"cursor": "x"}, {"cursor": "9~\x00"}, {"status": "lost"}])
def test_a_bad_question_names_its_field(shop: Client, query: dict[str, str]) -> None:
    assert refused(shop.get("/api/v1/orders", query), 422).keys() == query.keys()


def test_it_says_where_an_order_stands_and_until_when_it_waits(shop: Client, order_in_review: Order) -> None:
    told = shop.get(f"/api/v1/orders/{order_in_review.pk}/live").json()

    assert (told["status"], told["step"], told["outcome"], told["has_ended"]) == ("in_review", "In review", "", False)
    assert told["deadline"] > told["since"]


def test_it_says_why_an_order_has_ended(shop: Client, expired_order: Order) -> None:
    told = shop.get(f"/api/v1/orders/{expired_order.pk}/live").json()

    assert (told["status"], told["deadline"], told["has_ended"]) == ("expired", None, True)
    assert told["outcome"] == expired_order.outcome != ""


def test_the_document_is_openapi_3_1_and_its_examples_are_valid(client: Client) -> None:
    document = client.get("/api/v1/openapi.json").json()

    assert document["openapi"].startswith("3.1.")
    assert {path.removeprefix("/api/v1/orders") for path in document["paths"]} == {
        "/api/v1/bulk",
        "/api/v1/bulk/preview",
        "/api/v1/bulk/{bulk_id}",
        "/{order_id}/notes",
        "/{order_id}/notes/{note_id}",
        "",
        "/{order_id}",
        *(
            f"/{{order_id}}/{verb}"
            for verb in (
                "approve",
                "reject",
                "extend",
                "retry",
                "address",
                "cancel",
                "refund",
                "live",
                "wait",
                *PUTTING_OFF,
            )
        ),
    }
    schemas = document["components"]["schemas"]
    for name, examples in examples_in(document).items():
        for example in examples:
            jsonschema.validate(example, {"$ref": f"#/components/schemas/{name}", **document})
            assert example.keys() <= schemas[name]["properties"].keys()
    refusals = document["paths"]["/api/v1/orders"]["post"]["responses"]["422"]["content"]
    assert refusals.keys() == {"application/problem+json"}


def test_every_operation_shows_an_example_of_each_body_and_names_its_scope(client: Client) -> None:
    document = client.get("/api/v1/openapi.json").json()
    shown = examples_in(document)

    operations = [
        (path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]

    assert len(operations) > 8
    for path, method, operation in operations:
        bodies = [*operation["responses"].values(), *([operation["requestBody"]] if "requestBody" in operation else [])]
        named = {name for body in bodies for name in re.findall(r"#/components/schemas/(\w+)", json.dumps(body))}
        assert len(named) >= 2  # an answer and a problem
        assert named <= shown.keys(), f"{method} {path} has no example of {named - shown.keys()}"
        needs = "read" if method == "get" else "place" if path == "/api/v1/orders" else "decide"
        assert operation["security"] == [{"Token": [needs]}]


def examples_in(document: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    schemas = document["components"]["schemas"]
    return {name: schema["examples"] for name, schema in schemas.items() if "examples" in schema}
