"""How tests call the API, and how they read its refusals."""

import json
from typing import Any

from django.http import HttpResponse
from django.test import Client

from orders.models import Event, IdempotencyKey, Order, OrderLine, Outbox


def lamps() -> dict[str, Any]:
    """A new order, as a shop sends it."""
    return {
        "reference": "web-1",
        "customer_name": "Ann Lee",
        "customer_email": "ann.lee@example.com",
        "address": {"country": "DE", "line1": "Lindenstr. 4", "city": "Berlin", "postal_code": "10969"},
        "currency": "EUR",
        "lines": [{"sku": "LAMP", "quantity": 2, "unit_price_minor": 60_000}],
    }


def send(client: Client, body: object, *, key: str = "key-1", **changes: Any) -> Any:
    """Place an order; a body that is text goes out as it is."""
    text = body if isinstance(body, str | bytes) else json.dumps(body)
    content_type = changes.pop("content_type", "application/json")
    headers = {"Idempotency-Key": key} if key else {}
    return client.post("/api/v1/orders", text, content_type=content_type, headers=headers)


def refused(response: Any, status: int) -> dict[str, str]:
    """Check that it is a problem as RFC 9457 has it; answers what is wrong with which field."""
    assert isinstance(response, HttpResponse)
    assert response.status_code == status, response.content
    assert response.headers["Content-Type"] == "application/problem+json"
    problem = json.loads(response.content)
    assert problem["status"] == status
    assert problem["type"] == "about:blank"
    assert problem["title"]
    assert problem["detail"]
    return {error["field"]: error["message"] for error in problem["errors"]}


def nothing_is_left() -> bool:
    """No row of an order, no event, no key, and no word to the engine."""
    return not any(model.objects.exists() for model in (Order, OrderLine, Event, Outbox, IdempotencyKey))
