"""One of everything that an address of the desk or the API can name: one's own, and a colleague's."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.auth.models import Group, User
from django.test import Client

from orders.models import Bulk, Note, Order, Review, SavedView, SecondFactor
from orders.roles import Role
from orders.services import asking, fulfilling, holding, paying, reviewing, second_factor, shipping
from orders.services.actors import Actor
from orders.services.placing import NewLine
from tests.conftest import PlaceOrder

HOUR = timedelta(hours=1)
RECOVERY_CODE = "aaaa-bbbb-cccc-dddd"


class World:
    """People, one of each role, and what they have to do with. Of bob are the things that are not theirs."""

    def __init__(self, place: PlaceOrder) -> None:
        self.now, self._place = datetime.now(UTC), place
        self.people = {role.value: self._person(role.value, role) for role in Role}
        self.bob, _ = (self._person(name, Role.OPERATOR) for name in ("bob", "carol"))
        self.orders = self.new_orders()
        owners = {**self.people, "bob": self.bob}
        self.held = {name: self._in_review(held_by=user) for name, user in owners.items()}
        self.views = {name: self._view(user) for name, user in owners.items()}
        self.shared_view = self._view(self.bob, name="For all", is_shared=True)
        self.bulks = {
            name: Bulk.objects.create(action="approve", size=1, made_by=user, made_at=self.now)
            for name, user in owners.items()
        }
        noted = self.orders["order"]
        self.notes = {
            name: Note.objects.create(order=noted, author=user, text="Said", written_at=self.now)
            for name, user in owners.items()
        }

    def sign_in(self, browser: Client, user: User) -> None:
        """With the second factor, if one is asked for."""
        browser.force_login(user)
        if not second_factor.is_asked_of(user):
            return
        hashes = [second_factor._hash(RECOVERY_CODE)]
        factor = SecondFactor(user=user, secret=b"", last_step=0, recovery_hashes=hashes, set_up_at=self.now)
        factor.save()
        session = browser.session
        session[second_factor.SHOWN] = factor.pk
        session.save()

    def new_orders(self) -> dict[str, Order]:
        return {
            "order": self._in_review(),
            "escalated order": self._in_review(level=Review.Level.LEAD),
            "order put off": self._put_off(),
            "short order": self._short_of_stock(),
            "completed order": self._completed(),
        }

    def named(self, of: str, role: str) -> dict[str, Any]:
        """What `of` stands for where somebody of that role asks: the parts of an address that name it."""
        whose = "bob" if "bob's" in of else role if role in self.people else "viewer"
        order: dict[str, Any] = {"order_id": self.orders["order"].pk, "version": self.orders["order"].version}
        match of.removeprefix("own ").removeprefix("bob's "):
            case "":
                return {}
            case "view":
                return {"view_id": self.views[whose].pk}
            case "shared view":
                return {"view_id": self.shared_view.pk}
            case "bulk":
                return order | {"bulk_id": self.bulks[whose].pk}
            case "note":
                return order | {"note_id": self.notes[whose].pk}
            case "order" if "own" in of or whose == "bob":
                return {"order_id": self.held[whose].pk}
            case "question":
                return {"token": asking.link_to(self.question).rstrip("/").rpartition("/")[2]}
            case "no order":
                return {"order_id": uuid.UUID(int=7)}
        return order | {"order_id": self.orders[of].pk}

    @staticmethod
    def _person(name: str, role: Role) -> User:
        user = User.objects.create_user(name, f"{name}@example.com", is_staff=role == Role.ADMIN)
        user.groups.add(Group.objects.get(name=role))
        return user

    def _in_review(self, *, held_by: User | None = None, level: str = Review.Level.OPERATOR) -> Order:
        order = self._place()
        for step in (reviewing.receive_order, reviewing.validate_order):
            step(order_id=order.pk, at=self.now)
        order.reviews.update(level=level)
        if held_by:
            holding.put_in_hand(order.reviews.get(), held_by, since=self.now, until=self.now + timedelta(minutes=5))
        return order

    def _put_off(self) -> Order:
        order, by_bob = self._in_review(), Actor.operator(self.bob)
        told: dict[str, Any] = {"order_id": order.pk, "actor": by_bob, "at": self.now}
        self.question = asking.ask(**told, question="Which?", until=self.now + timedelta(minutes=5))
        return order

    def _short_of_stock(self) -> Order:
        order = self._place(lines=[NewLine("RARE", 2, 5_000)])
        for step in (reviewing.receive_order, reviewing.validate_order, fulfilling.reserve_stock):
            step(order_id=order.pk, at=self.now)
        return order

    def _completed(self) -> Order:
        order = self._place(lines=[NewLine("LAMP", 1, 5_000)])
        told: dict[str, Any] = {"order_id": order.pk, "at": self.now}
        for step in (reviewing.receive_order, reviewing.validate_order, fulfilling.reserve_stock, paying.begin_charge):
            step(**told)
        paying.record_charge(**told, reference="ch_1", declined="")
        for later in (shipping.begin_package, shipping.record_package, shipping.begin_dispatch):
            later(**told)
        shipping.record_dispatch(**told, carrier="Meridian", tracking_number="MP1")
        fulfilling.complete_order(**told)
        return order

    def _view(self, owner: User, *, name: str = "Germany", is_shared: bool = False) -> SavedView:
        return SavedView.objects.create(
            owner=owner, name=name, query="country=DE", is_shared=is_shared, created_at=self.now
        )
