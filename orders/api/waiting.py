"""Waiting for an order's end without holding a thread or a database connection.

The answer is begun at once and its body sent at the end: a middleware that is not asynchronous would keep a thread
for as long as a view waits, but not for as long as a body is sent.
"""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

from asgiref.sync import sync_to_async
from django.db import close_old_connections, connections
from django.http import StreamingHttpResponse

from orders.api.schemas import LiveOut
from orders.live_state import LiveState, live_state

LOOK_SECONDS = 0.5


def answer_at_the_end(order_id: UUID, *, seconds: int) -> StreamingHttpResponse:
    close_old_connections()  # the request lasts as long as its body; its connection must not
    return StreamingHttpResponse(
        _body(order_id, seconds),
        content_type="application/json",
        headers={"X-Accel-Buffering": "no", "Content-Encoding": "identity"},
    )


async def _body(order_id: UUID, seconds: int) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    look = sync_to_async(_look, thread_sensitive=False)
    state = await look(order_id)
    while not state.has_ended and (left := until - loop.time()) > 0:
        await asyncio.sleep(min(LOOK_SECONDS, left))
        state = await look(order_id)
    yield LiveOut.model_validate(state).model_dump_json().encode()


def _look(order_id: UUID) -> LiveState:
    """Runs in a thread of its own; its connection goes back when done."""
    try:
        return live_state(order_id)
    finally:
        connections.close_all()
