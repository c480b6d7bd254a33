"""People before the desk, as Django's test client has them, and an order that has gone all the way."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import Client
from pytest_django import Settings

from orders.models import Order
from orders.services import fulfilling, paying, reviewing, shipping
from orders.services.actors import Actor

SignedIn = Callable[[User], Client]


@pytest.fixture(autouse=True)
def _static_files_as_they_are(settings: Settings, tmp_path: Path) -> None:
    settings.STATIC_ROOT = tmp_path
    settings.STORAGES = {"staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}


@pytest.fixture(autouse=True)
def _nothing_is_remembered() -> None:
    cache.clear()


@pytest.fixture
def signed_in() -> SignedIn:
    def signed_in(user: User) -> Client:
        client = Client()
        client.force_login(user)
        return client

    return signed_in


@pytest.fixture
def at_alices(alice: User, signed_in: SignedIn) -> Client:
    return signed_in(alice)


@pytest.fixture
def shipped(order_in_review: Order, as_bob: Actor) -> Order:
    """An order of 1,200.00 EUR that has gone all the way."""
    key, now = order_in_review.pk, datetime.now(UTC)
    reviewing.approve(order_id=key, actor=as_bob, at=now)
    fulfilling.reserve_stock(order_id=key, at=now)
    paying.begin_charge(order_id=key, at=now)
    paying.record_charge(order_id=key, reference="ch_123", declined="", at=now)
    shipping.begin_package(order_id=key, at=now)
    shipping.record_package(order_id=key, at=now)
    shipping.begin_dispatch(order_id=key, at=now)
    shipping.record_dispatch(order_id=key, carrier="Meridian", tracking_number="MP1", at=now)
    fulfilling.complete_order(order_id=key, at=now)
    order_in_review.refresh_from_db()
    return order_in_review
