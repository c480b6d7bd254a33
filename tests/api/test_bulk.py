"""Deciding on many orders over the API: look first, begin once, and see what became of each."""

import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client

from orders.models import Bulk, BulkMember, IdempotencyKey, Order
from orders.services import bulk, reviewing
from orders.services.actors import Actor
from tests.api.calls import refused
from tests.api.conftest import Caller
from tests.conftest import PlaceOrder

NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
UNKNOWN = str(uuid.UUID(int=7))

Waiting = Callable[[int], list[Order]]


@pytest.fixture
def desk(caller: Caller, alice: User) -> Client:
    return caller("read", "decide", name="chat bot", user=alice)


@pytest.fixture
def waiting(place: PlaceOrder) -> Waiting:
    def waiting(number: int) -> list[Order]:
        orders = [place() for _ in range(number)]
        for order in orders:
            reviewing.receive_order(order_id=order.pk, at=NOW)
            reviewing.validate_order(order_id=order.pk, at=NOW)
            order.refresh_from_db()
        return orders

    return waiting


def post(client: Client, path: str, body: object, *, key: str = "key-1") -> Any:
    return client.post(
        f"/api/v1/bulk{path}", json.dumps(body), content_type="application/json", headers={"Idempotency-Key": key}
    )


def chosen(*orders: Order) -> list[dict[str, object]]:
    return [{"id": str(order.pk), "version": order.version} for order in orders]


def carry_out_all() -> None:
    while any(bulk.carry_out(bulk_id=bulk_id, at=datetime.now(UTC)) for bulk_id in bulk.unfinished()):
        pass


def test_it_is_looked_at_begun_once_and_told_order_by_order(desk: Client, waiting: Waiting, as_bob: Actor) -> None:
    fit, two, late, rejected = orders = waiting(4)
    two.reviews.update(needs_two=True)
    reviewing.reject(order_id=rejected.pk, actor=as_bob, at=NOW, reason="Fraud")

    looked = post(desk, "/preview", {"action": "approve", "orders": [*(str(order.pk) for order in orders), UNKNOWN]})

    assert looked.status_code == 200
    told = looked.json()
    assert [(each["id"], each["approvals_needed"]) for each in told["fit"]] == [
        (str(fit.pk), 1),
        (str(two.pk), 2),
        (str(late.pk), 1),
    ]
    assert [(each["why"], each["orders"][0]["number"]) for each in told["unfit"]] == [
        ("Already rejected by bob.", rejected.number)
    ]
    assert told["unknown"] == [UNKNOWN]
    assert not Bulk.objects.exists()

    body = {"action": "approve", "orders": [{name: each[name] for name in ("id", "version")} for each in told["fit"]]}
    begun, again = post(desk, "", body), post(desk, "", body)
    assert (begun.status_code, again.status_code) == (201, 200)
    assert begun.json() == again.json()
    assert (begun.json()["size"], begun.json()["results"][0]["result"]) == (3, "waiting")
    reviewing.approve(order_id=late.pk, actor=as_bob, at=NOW)
    carry_out_all()

    over = desk.get(f"/api/v1/bulk/{begun.json()['id']}").json()
    assert [(each["number"], each["result"], each["why"]) for each in over["results"]] == [
        (fit.number, "done", ""),
        (two.number, "endorsed", ""),
        (late.number, "refused", "Already approved by bob."),
    ]
    assert (over["done"], over["endorsed"], over["refused"], over["made_by"]) == (1, 1, 1, "alice")
    assert over["finished_at"]
    other = body | {"orders": body["orders"][:1]}
    assert refused(post(desk, "", other), 409).keys() == {"Idempotency-Key"}


def test_all_that_match_a_filter_are_looked_at(desk: Client, waiting: Waiting) -> None:
    orders = waiting(2)
    Order.objects.filter(pk=orders[0].pk).update(address_country="FR")

    looked = post(desk, "/preview", {"action": "approve", "filter": "country=FR"})

    assert [each["number"] for each in looked.json()["fit"]] == [orders[0].number]


def test_each_action_is_begun_with_what_it_asks_for(desk: Client, waiting: Waiting, lead: User, caller: Caller) -> None:
    first, second, third = waiting(3)

    for order, body in (
        (first, {"action": "reject", "code": "fraud", "reason": "Same card"}),
        (second, {"action": "extend", "more_seconds": 3_600, "reason": "Strike"}),
        (third, {"action": "hand_over", "to": "dana"}),
    ):
        assert post(desk, "", {**body, "orders": chosen(order)}, key=order.number).status_code == 201
    carry_out_all()

    assert set(BulkMember.objects.values_list("result", flat=True)) == {"done"}
    rejected = first.reviews.get()
    assert rejected.reject_reason is not None
    assert (rejected.note, rejected.reject_reason.code) == ("Same card", "fraud")
    assert second.events.get(type="extend").payload["note"] == "Strike"
    assert third.reviews.get().claimed_by == lead


ONE = [{"id": UNKNOWN, "version": 1}]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"orders": ONE}, "action"),
        ({"action": "cancel", "orders": ONE}, "action"),
        ({"action": "approve"}, "orders"),
        ({"action": "approve", "orders": []}, "orders"),
        ({"action": "approve", "orders": ONE * 2}, "orders"),
        ({"action": "approve", "orders": ONE}, "orders"),
        ({"action": "approve", "orders": [{"id": "x", "version": 1}]}, "orders[0].id"),
        ({"action": "approve", "orders": [{"id": UNKNOWN}]}, "orders[0].version"),
        ({"action": "approve", "orders": ONE, "to": "bob"}, "to"),
        ({"action": "reject", "orders": ONE}, "reason"),
        ({"action": "reject", "orders": ONE, "code": "whim"}, "code"),
        ({"action": "extend", "orders": ONE, "reason": "Strike"}, "more_seconds"),
        ({"action": "extend", "orders": ONE, "more_seconds": 60}, "reason"),
        ({"action": "extend", "orders": ONE, "more_seconds": 18_000, "reason": "Strike"}, "more_seconds"),
        ({"action": "hand_over", "orders": ONE}, "to"),
        ({"action": "hand_over", "orders": ONE, "to": "nobody"}, "to"),
        ({"action": "approve", "orders": [{"id": UNKNOWN, "version": 2**31}]}, "orders[0].version"),
    ],
)
def test_what_is_wrong_names_its_field_and_begins_nothing(
    desk: Client, goods: object, body: dict[str, Any], field: str
) -> None:
    assert refused(post(desk, "", body), 422).keys() == {field}
    assert not Bulk.objects.exists()
    assert not IdempotencyKey.objects.exists()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"action": "approve"}, "orders"),
        ({"action": "approve", "orders": [UNKNOWN], "filter": "country=FR"}, "orders"),
        ({"action": "approve", "filter": "amount_to=nothing"}, "filter"),
        ({"action": "approve", "filter": "contry=DE"}, "filter"),
        ({"action": "approve", "filter": "?country=DE"}, "filter"),
        ({"action": "approve", "filter": "country=DE&country=FR"}, "filter"),
        ({"action": "approve", "filter": "assignee=\ud800"}, "filter"),
        ({"action": "approve", "filter": "&" * 2_000}, "filter"),
        ({"action": "approve", "orders": ["x"]}, "orders[0]"),
    ],
)
def test_a_choice_that_makes_no_sense_names_its_field(desk: Client, body: dict[str, Any], field: str) -> None:
    assert refused(post(desk, "/preview", body), 422).keys() == {field}


def test_more_than_it_takes_are_refused(desk: Client, waiting: Waiting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "MOST", 1)
    orders = waiting(2)

    for path, body in (("/preview", [str(order.pk) for order in orders]), ("", chosen(*orders))):
        said = refused(post(desk, path, {"action": "approve", "orders": body}), 422)
        assert said == {"orders": "2 orders were chosen; at most 1 can be decided on at once."}


def test_it_takes_scope_role_and_who_looks_sees_their_own_or_as_a_lead_all(
    desk: Client, caller: Caller, viewer: User, bob: User, lead: User, waiting: Waiting
) -> None:
    body = {"action": "approve", "orders": chosen(*waiting(1))}
    preview = {"action": "approve", "filter": "country=DE"}

    for who in (caller("read", "place"), caller("decide", name="lookout", user=viewer)):
        refused(post(who, "", body), 403)
        refused(post(who, "/preview", preview), 403)
    begun = post(desk, "", body).json()["id"]

    seen_by = {
        user.username: caller("read", name=user.username, user=user).get(f"/api/v1/bulk/{begun}")
        for user in (bob, lead)
    }
    assert seen_by["dana"].status_code == 200
    assert refused(seen_by["bob"], 404).keys() == {"bulk_id"}
    assert refused(desk.get(f"/api/v1/bulk/{UNKNOWN}"), 404).keys() == {"bulk_id"}


def test_at_the_terminal_it_is_looked_at_begun_and_told(waiting: Waiting, lead: User, as_bob: Actor) -> None:
    fit, two, rejected = waiting(3)
    two.reviews.update(needs_two=True)
    reviewing.reject(order_id=rejected.pk, actor=as_bob, at=NOW, reason="Fraud")
    numbers = [order.number for order in (fit, two, rejected)]

    def order(*arguments: str) -> str:
        said = StringIO()
        call_command("order", *arguments, stdout=said)
        return said.getvalue()

    looked = order("bulk", "approve", *numbers, "--as", "dana", "--look")
    assert "Approve 2 orders? Nothing has happened yet." in looked
    assert "Of 1 it is the first approval: one more person has to approve." in looked
    assert f"Not {rejected.number}: Already rejected by bob." in looked
    assert not Bulk.objects.exists()

    begun = json.loads(order("bulk", "approve", *numbers, "--as", "dana", "--json"))
    assert (begun["fit"], begun["unfit"][0]["orders"]) == (numbers[:2], numbers[2:])
    assert order("results", begun["bulk"]).startswith("0 of 2")
    carry_out_all()

    over = order("results", begun["bulk"])
    assert over.startswith("1 approved, 1 endorsed.")
    assert f"{two.number}  endorsed: one more person has to approve" in over
    told = json.loads(order("results", begun["bulk"], "--json"))
    assert [each["result"] for each in told["results"]] == ["done", "endorsed"]
    with pytest.raises(CommandError, match="Say how much time"):
        order("bulk", "extend", two.number, "--as", "dana", "--reason", "Strike")
    with pytest.raises(CommandError, match="There is no bulk"):
        order("results", UNKNOWN)
