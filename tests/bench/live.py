"""From a click to every other operator's stream: 500 of them at one web process, while others decide."""

import asyncio
import json
import time
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from statistics import quantiles
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client

from devstack.servers import free_port
from orders.accounts import create_bench_operator
from orders.services import reviewing
from orders.services.actors import Actor
from tests.bench.lifecycle import place
from tests.bench.servers import Servers
from tests.bench.table import Row, at_most

WITHIN_MS = 100.0  # at the 95th percentile
TO_ARRIVE = 30.0  # seconds after the last click


@dataclass
class Operator:
    """One open page: when it was told of each order."""

    told: dict[str, float] = field(default_factory=dict)
    is_live: asyncio.Event = field(default_factory=asyncio.Event)

    async def listen(self, port: int, cookie: str) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
        writer.write(f"GET /live/ HTTP/1.1\r\nHost: localhost\r\nCookie: {cookie}\r\n\r\n".encode())
        status = await reader.readline()
        if b" 200 " not in status:
            raise RuntimeError(f"the stream answers with {status!r}")
        event = b""
        async for line in reader:
            if line.startswith(b"event: "):
                event = line.removeprefix(b"event: ").strip()
                self.is_live.set()
            elif line.startswith(b"data: ") and event == b"change":
                at = time.monotonic()
                self.told.setdefault(json.loads(line.removeprefix(b"data: "))["order"], at)


def measure(
    servers: Servers, tell: Callable[[str], None], *, operators: int, per_second: float, clicks: int
) -> list[Row]:
    user = create_bench_operator()
    cookies = [_cookie(user) for _ in range(operators)]
    orders = place(clicks, waiting=True)
    port = free_port()
    environment = servers.environment | {"WEB_BIND": f"127.0.0.1:{port}", "WEB_CONCURRENCY": "1"}
    with servers.running(["-m", "gunicorn"], environment):
        _await_answer(port)
        clicked, listening = asyncio.run(_run(port, cookies, orders, Actor.operator(user), per_second))
    took = sorted(
        1_000 * (one.told[order] - at) for order, at in clicked.items() for one in listening if order in one.told
    )
    missing = operators * clicks - len(took)
    cuts = quantiles(took, n=20)
    tell(
        f"{operators} operators, {clicks} decisions at {per_second:g} a second: p50 {cuts[9]:.0f} ms, "
        f"p95 {cuts[18]:.0f} ms, {missing} of {operators * clicks} never told"
    )
    if missing:
        raise RuntimeError(f"{missing} were never told")
    return [
        at_most(
            1.0,
            what=f"p95 from a click to the streams of {operators} operators",
            ours=cuts[18],
            against="what it is to take",
            theirs=WITHIN_MS,
            unit="ms",
        )
    ]


async def _run(
    port: int, cookies: Sequence[str], orders: Sequence[UUID], actor: Actor, per_second: float
) -> tuple[dict[str, float], list[Operator]]:
    """When each decision was clicked, and what each operator was told."""
    listening = [Operator() for _ in cookies]
    clicked: dict[str, float] = {}
    streams: list[asyncio.Task[None]] = []
    for one, cookie in zip(listening, cookies, strict=True):  # people come one after the other
        stream = asyncio.create_task(one.listen(port, cookie))
        streams.append(stream)
        await asyncio.wait({stream, asyncio.create_task(one.is_live.wait())}, return_when=asyncio.FIRST_COMPLETED)
        if stream.done():
            stream.result()
    loop = asyncio.get_running_loop()
    began = loop.time()
    for number, order in enumerate(orders):
        await asyncio.sleep(max(0.0, began + number / per_second - loop.time()))
        clicked[str(order)] = time.monotonic()
        await asyncio.to_thread(reviewing.approve, order_id=order, actor=actor, at=datetime.now(UTC))
    until = loop.time() + TO_ARRIVE
    while loop.time() < until and any(len(one.told) < len(orders) for one in listening):  # noqa: ASYNC110
        await asyncio.sleep(0.1)
    for stream in streams:
        stream.cancel()
    await asyncio.gather(*streams, return_exceptions=True)
    return clicked, listening


def _cookie(user: User) -> str:
    """Of somebody's open browser."""
    client = Client()
    client.force_login(user)
    return f"{settings.SESSION_COOKIE_NAME}={client.cookies[settings.SESSION_COOKIE_NAME].value}"


def _await_answer(port: int) -> None:
    until = time.monotonic() + 60
    while True:
        with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=1):
            return
        if time.monotonic() > until:
            raise TimeoutError("the web server does not answer")
        time.sleep(0.1)
