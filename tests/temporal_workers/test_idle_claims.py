"""A worker that is running writes down the end of claims of people who do nothing."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from pytest_django import Settings

from orders.models import Order
from orders.services import claiming
from orders.services.actors import Actor
from temporal_workers.idle_claims import end_idle_claims
from tests.temporal_workers.conftest import events_of, wait_until
from tests.threads import closing


@pytest.mark.django_db(transaction=True)
def test_a_claim_that_is_over_is_told_to_be_without_anybody_asking(
    order_in_review: Order, as_bob: Actor, settings: Settings
) -> None:
    claiming.claim(order_id=order_in_review.pk, actor=as_bob, at=datetime.now(UTC) - settings.CLAIM_IDLE)

    async def work() -> None:
        task = asyncio.create_task(end_idle_claims())
        await asyncio.to_thread(closing(lambda: wait_until(lambda: "claim_expired" in events_of(order_in_review))))
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    asyncio.run(work())

    assert order_in_review.reviews.get().claimed_by is None
