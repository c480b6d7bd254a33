"""Decisions over the API: by a user, under that user's role, once."""

import json
import uuid
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from orders.models import Event, Order, Outbox
from tests.api.calls import refused
from tests.api.conftest import Caller


@pytest.fixture
def desk(caller: Caller, alice: User) -> Client:
    return caller("decide", name="chat bot", user=alice)


def decide(client: Client, order: Order, verb: str, body: object = None) -> Any:
    sent = "" if body is None else json.dumps(body)
    return client.post(f"/api/v1/orders/{order.pk}/{verb}", sent, content_type="application/json")


@pytest.mark.parametrize(
    ("verb", "body", "status"),
    [
        ("approve", None, "approved"),
        ("approve", {"note": "Called her."}, "approved"),
        ("reject", {"reason": "Not her card."}, "rejected"),
        ("cancel", None, "cancelled"),
        ("cancel", {"reason": "By mistake."}, "cancelled"),
    ],
)
def test_a_decision_counts_as_the_users(
    desk: Client, order_in_review: Order, verb: str, body: Any, status: str
) -> None:
    response = decide(desk, order_in_review, verb, body)

    assert (response.status_code, response.json()["status"]) == (200, status)
    event = Event.objects.get(order=order_in_review, type=verb)
    assert (event.actor, event.payload.get("note")) == ("alice", next(iter(body.values())) if body else None)
    assert Outbox.objects.filter(order=order_in_review, message=verb).count() == 1


def test_the_second_decision_is_told_who_was_first(desk: Client, order_in_review: Order) -> None:
    decide(desk, order_in_review, "approve")

    response = decide(desk, order_in_review, "reject", {"reason": "Late."})

    refused(response, 409)
    assert "alice" in response.json()["detail"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (None, "body"),
        ({}, "reason"),
        ({"reason": ""}, "reason"),
        ({"reason": "  "}, "reason"),
        ({"reason": "a\x00b"}, "reason"),
        ({"reason": "x" * 2_001}, "reason"),
        ({"reason": 5}, "reason"),
        ({"reason": "No.", "note": "x"}, "note"),
    ],
)
def test_a_rejection_without_a_sound_reason_decides_nothing(
    desk: Client, order_in_review: Order, body: object, field: str
) -> None:
    assert refused(decide(desk, order_in_review, "reject", body), 422).keys() == {field}
    order_in_review.refresh_from_db()
    assert order_in_review.status == "in_review"


@pytest.mark.parametrize("verb", ["approve", "reject", "cancel"])
def test_the_users_role_has_the_last_word(caller: Caller, viewer: User, order_in_review: Order, verb: str) -> None:
    response = decide(
        caller("decide", user=viewer), order_in_review, verb, {"reason": "No."} if verb == "reject" else None
    )

    refused(response, 403)
    order_in_review.refresh_from_db()
    assert order_in_review.status == "in_review"


def test_who_has_left_decides_no_more(desk: Client, alice: User, order_in_review: Order) -> None:
    User.objects.filter(pk=alice.pk).update(is_active=False)

    refused(decide(desk, order_in_review, "approve"), 403)


def test_a_token_without_the_scope_decides_nothing(shop: Client, order_in_review: Order) -> None:
    refused(decide(shop, order_in_review, "approve"), 403)


def test_an_order_that_is_not_there_cannot_be_decided(desk: Client) -> None:
    refused(decide(desk, Order(pk=uuid.uuid4()), "approve"), 404)


@pytest.mark.parametrize("body", [None, {"note": "Restocked."}])
def test_an_order_that_waits_for_help_tries_again(desk: Client, short_order: Order, body: Any) -> None:
    response = decide(desk, short_order, "retry", body)

    assert (response.status_code, response.json()["status"]) == (200, "approved")
    event = Event.objects.get(order=short_order, type="retry")
    assert (event.actor, event.payload.get("note")) == ("alice", "Restocked." if body else None)
    assert Outbox.objects.filter(order=short_order, message="retry").count() == 1


def test_an_order_that_waits_for_no_help_is_not_retried(desk: Client, shop: Client, order_in_review: Order) -> None:
    refused(decide(shop, order_in_review, "retry"), 403)
    assert "does not wait for help" in refused_detail(decide(desk, order_in_review, "retry"))


def refused_detail(response: Any) -> str:
    refused(response, 409)
    return str(response.json()["detail"])
