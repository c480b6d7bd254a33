"""The page of whoever is on call, and what its buttons do."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import Settings

from devstack.servers import free_port
from orders import stuck
from orders.models import Order
from orders.services import attending, drifting, relaying
from orders.services.actors import Actor, NotPermitted
from orders.stuck import Why
from temporal_workers import describing
from tests.orders.conftest import SignedIn

NOW = datetime.now(UTC)


@pytest.fixture
def at_leads(lead: User, signed_in: SignedIn, settings: Settings) -> Client:
    settings.TEMPORAL_ORDERS_QUEUE = "on-call"  # which no other test has
    return signed_in(lead)


def shown(browser: Client) -> str:
    answer = browser.get("/health/")
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def test_it_says_who_carries_orders_on_and_what_the_queues_of_temporal_hold(at_leads: Client) -> None:
    now = datetime.now(UTC)
    told: dict[str, Any] = {"started_at": now, "temporal_seen_at": now, "build": "r-42"}
    relaying.record_heartbeat(worker="here:1", queues="on-call, shipping", at=now, **told)
    relaying.record_heartbeat(worker="gone:2", queues="shipping", at=now - timedelta(hours=1), **told)

    page = shown(at_leads)

    assert '<th scope="row">here:1</th><td>on-call, shipping</td><td>r-42</td>' in page
    assert page.count("<strong>silent</strong> since") == 1
    assert '<th scope="row">on-call</th><td class="c-amount">1</td><td class="c-amount">0</td>' in page
    assert "Temporal gives no answer" not in page


def test_with_temporal_away_it_says_so_and_shows_the_rest(
    at_leads: Client, monkeypatch: pytest.MonkeyPatch, order_in_review: Order
) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", f"127.0.0.1:{free_port()}")
    away = describing._Thread()
    monkeypatch.setattr(describing, "thread", lambda: away)

    page, again = shown(at_leads), shown(at_leads)
    away.end()

    for told in (page, again):
        assert "Temporal gives no answer" in told
        assert '<th scope="row">on-call</th><td class="c-amount"><strong>none</strong></td>' in told
        assert "<dt>Waiting for people</dt><dd>1</dd>" in told


def test_an_order_without_a_run_can_be_started_again_or_cancelled(at_leads: Client, order_in_review: Order) -> None:
    number, key = order_in_review.number, order_in_review.pk
    lost = stuck.stuck(order_in_review, Why.LOST, "Its run is lost.", NOW)
    drifting.record(found=[lost], at=NOW)
    page = shown(at_leads)
    assert "Its run is lost." in page
    assert f'aria-label="Cancel {number}…"' in page

    answer = at_leads.post(f"/orders/{key}/start_again/", follow=True)

    assert answer.redirect_chain == [("/health/", 302)]
    assert f"{number} is carried on as soon as" in answer.content.decode()
    assert "Its run is lost." not in answer.content.decode()
    assert order_in_review.outbox.filter(message="start_again").count() == 1
    order_in_review.refresh_from_db()
    sent = {"version": order_in_review.version, "next": "/health/", "reason": "Beyond help"}
    assert at_leads.post(f"/orders/{key}/cancel/", sent).headers["Location"] == "/health/"
    order_in_review.refresh_from_db()
    assert order_in_review.status == "cancelled"
    assert "there is nothing to carry on" in at_leads.post(f"/orders/{key}/start_again/", follow=True).content.decode()


def test_what_the_reconciler_found_and_when_is_told(at_leads: Client, settings: Settings) -> None:
    assert "nobody looks" in shown(at_leads)
    settings.RECONCILE_EVERY = timedelta(minutes=10)
    assert "not looked yet" in shown(at_leads)

    drifting.record(found=[], at=NOW - timedelta(minutes=30))

    assert '<div class="alarming"><dt>Drift</dt><dd>0</dd>' in shown(at_leads)


def test_only_leads_and_admins_see_it_and_start_orders_again(
    alice: User, signed_in: SignedIn, order_in_review: Order
) -> None:
    assert signed_in(alice).get("/health/").status_code == 403

    with pytest.raises(NotPermitted):
        attending.start_again(order_id=order_in_review.pk, actor=Actor.operator(alice), at=NOW)
