"""What the API can be asked about: one of everything, and tokens of every kind. Made by the same services as always."""

import itertools
from datetime import UTC, datetime
from typing import Any

from django.contrib.auth.models import User

from orders.models import ApiScope, Order, Product, RejectReason
from orders.services import clients, stocking
from orders.services.actors import SYSTEM
from orders.services.placing import Address, NewLine, NewOrder, place_order
from tests.security.world import World

_numbers = itertools.count(1)


class Known:
    """What requests are steered to, so that not all of them are about what is not there."""

    def __init__(self) -> None:
        goods()
        self._world = World(place)
        people = self._world.people
        self.tokens = [
            self._token("all", people["lead"], *ApiScope),  # the one that may do everything
            self._token("reads", None, ApiScope.READ),
            self._token("places", None, ApiScope.PLACE),
            self._token("viewer", people["viewer"], *ApiScope),
            "no-such-token",
        ]
        self.notes = [self._world.notes["lead"].pk]
        self.bulks = [str(bulk.pk) for bulk in self._world.bulks.values()]
        self.orders = list(self._world.orders.values())

    def renew(self) -> None:
        """Orders as at the start, in place of those to which something may have happened."""
        self.orders = [self._world.orders["order"], *self._world.new_orders().values()]

    def _token(self, name: str, user: User | None, *scopes: ApiScope) -> str:
        return clients.create_client(name=name, scopes=list(scopes), user=user, at=self._world.now)


def goods() -> None:
    stocking.stock_products(
        products=[
            Product(sku="LAMP", name="Brass desk lamp", stock=1_000_000),
            Product(sku="RARE", name="First edition", stock=1),
        ]
    )
    RejectReason.objects.get_or_create(code="fraud", defaults={"text": "Looks like fraud"})


def place(**changes: Any) -> Order:
    now = datetime.now(UTC)
    fields: dict[str, Any] = {
        "source": "fuzz",
        "reference": f"fuzz-{next(_numbers)}",
        "customer_name": "Ann Lee",
        "customer_email": "ann.lee@example.com",
        "address": Address("DE", line1="Lindenstr. 4", city="Berlin", postal_code="10969"),
        "currency": "EUR",
        "lines": [NewLine("LAMP", 2, 60_000)],
        "placed_at": now,
    }
    return place_order(new=NewOrder(**fields | changes), actor=SYSTEM, at=now)
