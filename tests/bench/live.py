"""From a click to every other operator's stream: 500 of them at one web process, while others decide."""

import asyncio
import re
import time
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import accumulate
from statistics import median, quantiles
from uuid import UUID

from orders.accounts import create_bench_operator
from orders.services import reviewing
from orders.services.actors import Actor
from tests.bench.lifecycle import place
from tests.bench.servers import Servers, computed
from tests.bench.table import Found, explained, within
from tests.bench.web import Web, cookie_of, running_web

WITHIN_MS = 100.0  # at the 95th percentile
CHANGE = re.compile(rb'event: change\ndata: {"order":"([0-9a-f-]+)".*\n\n')
TO_ARRIVE = 30.0  # seconds after the last click


class Operator(asyncio.Protocol):
    """One open page. Only keeps what comes and when, so that 500 of them take little from the web process."""

    def __init__(self, cookie: str) -> None:
        self.is_live = asyncio.Event()
        self.changes = 0
        self._cookie = cookie
        self._heard: list[tuple[float, bytes]] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        transport.write(f"GET /live/ HTTP/1.1\r\nHost: localhost\r\nCookie: {self._cookie}\r\n\r\n".encode())

    def data_received(self, data: bytes) -> None:
        self._heard.append((time.monotonic(), data))
        self.changes += data.count(b"event: change\n")
        if b"event: " in data:
            self.is_live.set()

    def told(self) -> Mapping[str, float]:
        """When the first change of each order was here, whole."""
        ends = list(accumulate(len(data) for _, data in self._heard))
        heard = b"".join(data for _, data in self._heard)
        found: dict[str, float] = {}
        for change in CHANGE.finditer(heard):
            at, _ = self._heard[bisect_left(ends, change.end())]
            found.setdefault(change[1].decode(), at)
        return found


@dataclass(frozen=True)
class Run:
    """When each decision was clicked and what each operator was told; the CPU seconds of it."""

    clicked: Mapping[str, float]
    told: Sequence[Mapping[str, float]]
    web_cpu: float
    own_cpu: float


def measure(servers: Servers, tell: Callable[[str], None], *, operators: int, per_second: float, clicks: int) -> Found:
    user = create_bench_operator()
    cookies = [cookie_of(user) for _ in range(operators)]
    orders = place(clicks, waiting=True)
    with running_web(servers) as web:
        run = asyncio.run(_run(web, cookies, orders, Actor.operator(user), per_second))
    took = [1_000 * (told[order] - at) for told in run.told for order, at in run.clicked.items() if order in told]
    missing = operators * clicks - len(took)
    cuts = quantiles(took, n=20)
    tell(
        f"{operators} operators, {clicks} decisions at {per_second:g} a second: p50 {cuts[9]:.0f} ms, "
        f"p95 {cuts[18]:.0f} ms, {missing} of {operators * clicks} never told"
    )
    if missing:
        raise RuntimeError(f"{missing} were never told")
    row = within(WITHIN_MS, what=f"p95 from a click to the streams of {operators} operators", took=cuts[18])
    lines = {
        "from the click to the first operator, p50 ms": [median(_first_and_last(run, 0))],
        "from the click to the last operator, p50 ms": [median(_first_and_last(run, -1))],
        "CPU of the web process, ms": [1_000 * run.web_cpu / clicks],
        "CPU of those who listen, ms": [1_000 * run.own_cpu / clicks],
    }
    return Found([row], explained(f"Where a decision's time goes with {operators} operators", ["each"], lines, ""))


def _first_and_last(run: Run, which: int) -> list[float]:
    return [1_000 * (sorted(told[order] for told in run.told)[which] - at) for order, at in run.clicked.items()]


async def _run(web: Web, cookies: Sequence[str], orders: Sequence[UUID], actor: Actor, per_second: float) -> Run:
    loop = asyncio.get_running_loop()
    listening = []
    for cookie in cookies:  # people come one after the other
        _, one = await loop.create_connection(partial(Operator, cookie), "127.0.0.1", web.port)
        await asyncio.wait_for(one.is_live.wait(), TO_ARRIVE)
        listening.append(one)
    clicked: dict[str, float] = {}
    spent, own, began = computed(web.process), time.process_time(), loop.time()
    for number, order in enumerate(orders):
        await asyncio.sleep(max(0.0, began + number / per_second - loop.time()))
        clicked[str(order)] = time.monotonic()
        await asyncio.to_thread(reviewing.approve, order_id=order, actor=actor, at=datetime.now(UTC))
    until = loop.time() + TO_ARRIVE
    while loop.time() < until and any(one.changes < len(orders) for one in listening):  # noqa: ASYNC110
        await asyncio.sleep(0.1)
    return Run(
        clicked,
        [one.told() for one in listening],
        web_cpu=computed(web.process) - spent,
        own_cpu=time.process_time() - own,
    )
