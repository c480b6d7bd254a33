"""Whoever calls, wherever and however: what is not a success is a problem in JSON."""

import uuid

import pytest
from django.test import Client

from orders.models import Order
from tests.api.calls import refused, send
from tests.api.conftest import Body, Caller


def test_it_gets_an_order(shop: Client, body: Body) -> None:
    placed = send(shop, body).json()

    response = shop.get(f"/api/v1/orders/{placed['id']}")

    assert response.status_code == 200
    assert response.json() == placed


def test_an_order_that_is_not_there_is_404(shop: Client) -> None:
    assert refused(shop.get(f"/api/v1/orders/{uuid.uuid4()}"), 404).keys() == {"order_id"}


def test_an_id_that_is_none_is_named(shop: Client) -> None:
    assert refused(shop.get("/api/v1/orders/CS-1"), 422).keys() == {"order_id"}


@pytest.mark.parametrize("address", ["/api/v1/", "/api/v1/nothing", "/api/v1/orders/", "/api/", "/api/v2/orders"])
def test_an_unknown_address_is_404_for_everybody(client: Client, address: str) -> None:
    refused(client.get(address), 404)
    refused(client.post(address), 404)


def test_an_unknown_address_is_the_same_while_developing(client: Client, settings: object) -> None:
    settings.DEBUG = True  # type: ignore[attr-defined]

    refused(client.get("/api/v1/nothing"), 404)


def test_a_wrong_method_is_405_and_says_which_are_right(shop: Client) -> None:
    response = shop.delete("/api/v1/orders")

    refused(response, 405)
    assert "POST" in response.headers["Allow"]


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer wrong", "Basic YTpi", "Bearer \u00e4"])
def test_without_a_token_that_counts_it_is_401(goods: object, body: Body, header: str | None) -> None:
    stranger = Client(headers={"Authorization": header} if header is not None else {})

    response = send(stranger, body)

    refused(response, 401)
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert not Order.objects.exists()


def test_signing_in_at_the_desk_is_no_token(at_desk: Client) -> None:
    refused(at_desk.get(f"/api/v1/orders/{uuid.uuid4()}"), 401)


@pytest.mark.parametrize("scope", ["read"])
def test_a_token_without_the_scope_is_403(caller: Caller, goods: object, body: Body, scope: str) -> None:
    refused(send(caller(scope), body), 403)
    assert not Order.objects.exists()


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "application/xml", ""])
def test_what_is_not_said_to_be_json_is_415(shop: Client, body: Body, content_type: str) -> None:
    assert refused(send(shop, body, content_type=content_type), 415).keys() == {"Content-Type"}
    assert not Order.objects.exists()


def test_a_failure_of_our_own_is_told_without_its_cause(
    shop: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("the inside of the machine")

    monkeypatch.setattr("orders.selectors.order_detail", fail)

    response = shop.get(f"/api/v1/orders/{uuid.uuid4()}")

    refused(response, 500)
    assert b"machine" not in response.content
    assert "the inside of the machine" in caplog.text
