"""The API's addresses. Each reads through `selectors` and changes through `services`, as the pages do.

One that is to come (a change of address, a refund) is a schema for its body and a function beside `cancel`.
"""

import hashlib
import json
from datetime import timedelta
from typing import Annotated, Any
from uuid import UUID

from django.http import HttpRequest
from django.utils import timezone
from ninja import Header, NinjaAPI, Status
from pydantic import Field

from orders import selectors
from orders.api import problems
from orders.api.reading import StrictJson, Token, caller
from orders.api.schemas import OrderIn, OrderOut, ProblemOut
from orders.models import ApiScope
from orders.services import clients
from orders.services.placing import Address, NewLine, NewOrder

READ, PLACE, DECIDE = (Token(scope) for scope in (ApiScope.READ, ApiScope.PLACE, ApiScope.DECIDE))
REFUSALS: dict[Any, Any] = dict.fromkeys((400, 401, 403, 404, 409, 413, 415, 422), ProblemOut)

api = NinjaAPI(title="Countersign", version="1", docs_url=None, urls_namespace="api", parser=StrictJson())
problems.handle_in(api)


@api.post("/orders", auth=PLACE, response={200: OrderOut, 201: OrderOut, **REFUSALS}, summary="Place an order")
def place(
    request: HttpRequest,
    new: OrderIn,
    key: Annotated[str, Field(min_length=1, max_length=80, pattern=r"^[!-~]+$"), Header(alias="Idempotency-Key")],
) -> Status[OrderOut]:
    """The same key with the same body answers the same order again, with 200; with another body 409."""
    fields = new.model_dump(exclude={"decide_within_seconds", "address", "lines"})
    order, created = clients.place_once(
        client=caller(request),
        key=key,
        body_hash=hashlib.sha256(json.dumps(new.model_dump(), sort_keys=True).encode()).hexdigest(),
        new=NewOrder(
            **fields,
            source=caller(request).name,
            address=Address(**new.address.model_dump()),
            lines=[NewLine(**line.model_dump()) for line in new.lines],
            placed_at=(now := timezone.now()),
            decide_within=timedelta(seconds=new.decide_within_seconds) if new.decide_within_seconds else None,
        ),
        at=now,
    )
    return Status(201 if created else 200, _order(order.pk))


@api.get("/orders/{order_id}", auth=READ, response={200: OrderOut, **REFUSALS}, summary="Get an order")
def order(request: HttpRequest, order_id: UUID) -> OrderOut:
    return _order(order_id)


def _order(order_id: UUID) -> OrderOut:
    detail = selectors.order_detail(order_id)
    return OrderOut.of(detail.order, list(detail.lines))
