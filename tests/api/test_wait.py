"""Waiting over the API for an order's end."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connection
from django.test import AsyncClient, Client

from orders.models import Order
from orders.services import reviewing
from orders.services.actors import Actor
from tests.api.calls import refused

pytestmark = pytest.mark.django_db(transaction=True)


async def wait(shop: Client, order: Order, seconds: int) -> Any:
    response = await AsyncClient().get(
        f"/api/v1/orders/{order.pk}/wait",
        {"seconds": seconds},
        headers={"Authorization": shop.defaults["HTTP_AUTHORIZATION"]},
    )
    assert response.status_code == 200
    return response


async def read(response: Any) -> Any:
    return json.loads(b"".join([part async for part in response]))


async def test_it_answers_when_the_order_has_ended(shop: Client, order_in_review: Order, as_alice: Actor) -> None:
    response = await wait(shop, order_in_review, 25)
    answer = asyncio.create_task(read(response))

    await sync_to_async(reviewing.reject)(
        order_id=order_in_review.pk, actor=as_alice, at=datetime.now(UTC), reason="No."
    )

    told = await answer
    assert (told["status"], told["has_ended"], told["outcome"]) == ("rejected", True, "Rejected: No.")


async def test_it_answers_where_the_order_stands_when_the_time_is_up(shop: Client, order_in_review: Order) -> None:
    told = await read(await wait(shop, order_in_review, 1))

    assert (told["status"], told["has_ended"]) == ("in_review", False)


async def test_it_holds_no_connection_while_it_waits(shop: Client, order_in_review: Order) -> None:
    response = await wait(shop, order_in_review, 1)

    assert await sync_to_async(lambda: connection.connection)() is None
    await read(response)


@pytest.mark.parametrize("seconds", ["0", "26", "-1", "1.5", "NaN", "soon"])
def test_it_waits_no_longer_than_a_proxy_would(shop: Client, order_in_review: Order, seconds: str) -> None:
    response = shop.get(f"/api/v1/orders/{order_in_review.pk}/wait", {"seconds": seconds})

    assert refused(response, 422).keys() == {"seconds"}
