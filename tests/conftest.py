"""The cast, a shop with goods, and orders placed through the same services as everybody's."""

import gc
import itertools
import os
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection, connections
from django.db.backends.signals import connection_created
from django.test import TransactionTestCase
from pytest_django import DjangoDbBlocker, Settings

from orders import accounts
from orders.models import Order, Product, RejectReason
from orders.services import fulfilling, paying, placing, reviewing, shipping, stocking
from orders.services.actors import SYSTEM, Actor
from orders.services.placing import Address, NewLine, NewOrder
from tests.databases import database
from tests.emptying import empty_what_was_filled, remember_what_migrations_wrote
from tests.threads import Watch

PlaceOrder = Callable[..., Order]

# Processes start by the dozen, and each run of a workflow loads its module anew: what was compiled is kept.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# What takes long per file comes first, so that no process is left with it while the others have nothing to do.
SLOW_FIRST = ("chaos", "e2e", "temporal_workers", "production", "devstack")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {name: place for place, name in enumerate(SLOW_FIRST)}
    items.sort(key=lambda item: places.get(item.path.parent.name, len(places)))


def pytest_collection_finish() -> None:
    """What is there by now stays: to look through it for garbage, again and again, took a fifth of the run."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


@pytest.fixture(autouse=True, scope="session")
def _no_lasting_connections() -> None:
    """Threads end with their tests: a connection they kept would hold up the test database's removal."""
    connections.settings["default"]["CONN_MAX_AGE"] = 0


@pytest.fixture(autouse=True, scope="session")
def _watch() -> Iterator[Watch]:
    watch = Watch()
    connection_created.connect(watch.opened)
    yield watch
    connection_created.disconnect(watch.opened)


@pytest.fixture(autouse=True)
def _threads_close_their_connections(_watch: Watch) -> Iterator[None]:
    yield
    assert _watch.left_open() == []


@pytest.fixture(scope="session")
def django_db_setup(django_test_environment: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """In pytest-django's place: a copy is quicker than migrations."""
    with database("test") as url, django_db_blocker.unblock():
        connection.close()
        connection.settings_dict["NAME"] = urlsplit(url).path.removeprefix("/")
        accounts.create_roles()
        remember_what_migrations_wrote()
        TransactionTestCase._fixture_teardown = lambda _: empty_what_was_filled()  # type: ignore[attr-defined]
        yield
        connection.close()


@pytest.fixture(autouse=True)
def _quick_passwords(settings: Settings) -> None:
    """A good hash takes a quarter of a second, and most tests have people in them."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


def _user(name: str, role: str) -> User:
    user = User.objects.create_user(name, f"{name}@example.com", "correct horse")
    user.groups.add(Group.objects.get(name=role))
    return user


@pytest.fixture
def alice(db: None) -> User:
    return _user("alice", "operator")


@pytest.fixture
def bob(db: None) -> User:
    return _user("bob", "operator")


@pytest.fixture
def lead(db: None) -> User:
    return _user("dana", "lead")


@pytest.fixture
def viewer(db: None) -> User:
    return _user("vera", "viewer")


@pytest.fixture
def goods(db: None) -> dict[str, Product]:
    stocking.stock_products(
        products=[
            Product(sku="LAMP", name="Brass desk lamp", stock=1_000),
            Product(sku="RUG", name="Wool rug", stock=1_000),
            Product(sku="RARE", name="First edition", stock=1),
            Product(sku="KNIFE", name="Switchblade", stock=10, forbidden_reason="weapons may not be sent"),
        ]
    )
    RejectReason.objects.get_or_create(code="fraud", defaults={"text": "Looks like fraud"})
    return {product.sku: product for product in Product.objects.all()}


_references = itertools.count(1)


@pytest.fixture
def place(goods: dict[str, Product]) -> PlaceOrder:
    """Place an order; 1,200.00 EUR of lamps unless told otherwise, which the policy sends to review."""

    def place(**changes: Any) -> Order:
        now = datetime.now(UTC)
        lines = changes.pop("lines", [NewLine("LAMP", 2, 60_000)])
        fields: dict[str, Any] = {
            "source": "test",
            "reference": f"test-{next(_references)}",
            "customer_name": "Ann Lee",
            "customer_email": "ann.lee@example.com",
            "address": Address("DE", line1="Lindenstr. 4", city="Berlin", postal_code="10969"),
            "currency": "EUR",
            "lines": lines,
            "placed_at": now,
        }
        return placing.place_order(new=NewOrder(**fields | changes), actor=SYSTEM, at=now)

    return place


@pytest.fixture
def order_in_review(place: PlaceOrder) -> Order:
    """An order that waits for a decision, with a day to go; no engine has anything to do with it."""
    order = place()
    now = datetime.now(UTC)
    reviewing.receive_order(order_id=order.pk, at=now)
    reviewing.validate_order(order_id=order.pk, at=now)
    order.refresh_from_db()
    assert order.status == "in_review"
    return order


@pytest.fixture
def expired_order(order_in_review: Order) -> Order:
    reviewing.settle_review(order_id=order_in_review.pk, at=datetime.now(UTC) + timedelta(days=2))
    order_in_review.refresh_from_db()
    return order_in_review


@pytest.fixture
def short_order(place: PlaceOrder) -> Order:
    """An order of two where there is one: it waits for help, and nothing was charged."""
    return _as_far_as(place(lines=[NewLine("RARE", 2, 5_000)]), "stock_short")


@pytest.fixture
def unconfirmed_order(place: PlaceOrder) -> Order:
    """An order of 200.00 EUR whose customer was asked to confirm the payment, and did not in time."""
    return _as_far_as(place(lines=[NewLine("LAMP", 1, 20_000)]), "unconfirmed")


@pytest.fixture
def undeliverable_order(place: PlaceOrder) -> Order:
    """A paid order of 200.00 EUR to the South Pole, which the carrier refused."""
    nowhere = Address("AQ", line1="1 Scott Way", city="South Pole")
    return _as_far_as(place(lines=[NewLine("LAMP", 1, 20_000)], address=nowhere), "undeliverable")


def _as_far_as(order: Order, status: str) -> Order:
    """Take the order where it needs help, as the engine would."""
    now = datetime.now(UTC)
    for step in (reviewing.receive_order, reviewing.validate_order, fulfilling.reserve_stock, paying.begin_charge):
        step(order_id=order.pk, at=now)
    if status == "unconfirmed":
        for at in (now, now + timedelta(days=30)):
            paying.record_charge(order_id=order.pk, reference="ch_1", declined="", at=at, needs_customer=True)
    if status == "undeliverable":
        paying.record_charge(order_id=order.pk, reference="ch_1", declined="", at=now)
        for later in (shipping.begin_package, shipping.record_package, shipping.begin_dispatch):
            later(order_id=order.pk, at=now)
        refused = "Meridian Parcel does not deliver there."
        shipping.record_dispatch_failure(order_id=order.pk, key="", tries=0, reason=refused, refused=True, at=now)
    order.refresh_from_db()
    assert order.status == status
    return order


@pytest.fixture
def as_alice(alice: User) -> Actor:
    return Actor.operator(alice)


@pytest.fixture
def as_bob(bob: User) -> Actor:
    return Actor.operator(bob)
