"""Orders approved on arrival, from the first step to completion: how many a second, for how much computing."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from statistics import median
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import psutil
import psycopg
from psycopg import sql
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from devstack.servers import BIN, free_port
from orders.models import Event, Order, Product
from orders.services import placing, reviewing, stocking
from orders.services.actors import SYSTEM
from orders.services.placing import Address, NewLine, NewOrder
from orders.states import Status
from tests.bench.bare import BareWorkflow, Plan, do_nothing
from tests.bench.servers import Servers
from tests.bench.table import Found, Row, at_least, at_most, explained

ACTIVITIES = 17  # of an order that nobody has to decide on: 13 on our rows, 4 outside
ALONE = 7  # ordinary ones, of the workflow that a lone order is held against
WARM = 10  # orders before the clock starts
POLL = 0.1
PATIENCE = 900.0


@dataclass(frozen=True)
class Pace:
    per_second: float
    cpu_ms: Mapping[str, float]  # of an order: both servers, the workers, and whoever places it
    transactions: float  # of an order in PostgreSQL

    @property
    def all_cpu_ms(self) -> float:
        return sum(self.cpu_ms.values())


def place(count: int, *, waiting: bool = False) -> list[UUID]:
    """Orders that nobody has to decide on, or, `waiting`, ones that are in review."""
    if not Product.objects.filter(sku="BENCH").exists():
        stocking.stock_products(products=[Product(sku="BENCH", name="Bench", stock=10_000_000)])
    now = datetime.now(UTC)
    new = NewOrder(
        source="bench",
        customer_name="Ann Lee",
        address=Address("DE", line1="Lindenstr. 4", city="Berlin", postal_code="10969"),
        currency="EUR",
        lines=[NewLine("BENCH", 1, 120_000 if waiting else 4_000)],
        placed_at=now,
    )
    orders = [placing.place_order(new=new, actor=SYSTEM, at=now).pk for _ in range(count)]
    for order in orders if waiting else ():
        reviewing.receive_order(order_id=order, at=now)
        reviewing.validate_order(order_id=order, at=now)
    return orders


def of_the_desk(servers: Servers, count: int, *, workers: int = 1) -> Pace:
    with ExitStack() as stack:
        running = [
            stack.enter_context(servers.running(["manage.py", "runworker"], servers.environment))
            for _ in range(workers)
        ]
        return _pace_of_orders(servers, running, count)


def of_dbos(servers: Servers, count: int) -> Pace:
    """The same steps, by the same code, on the same PostgreSQL."""
    name = f"dbos_{uuid4().hex[:8]}"
    with psycopg.connect(servers.postgres.url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    url = urlsplit(servers.postgres.url)._replace(path=f"/{name}").geturl()
    with servers.running(["-m", "tests.bench.dbos_steps"], servers.environment | {"DBOS_URL": url}) as worker:
        return _pace_of_orders(servers, [worker], count)


def _pace_of_orders(servers: Servers, workers: Sequence[psutil.Process], count: int) -> Pace:
    orders: list[UUID] = []

    def begin(many: int) -> None:
        orders.extend(place(many))

    def done() -> int:
        return Order.objects.filter(pk__in=orders, status=Status.COMPLETED).count()

    return _pace(servers, workers, begin, done, count)


def of_bare_temporal(servers: Servers, count: int) -> Pace:
    """As many activities, which do nothing, on the same server; the SDK's own settings."""
    queue = f"bare-{uuid4().hex[:8]}"
    finished = f"TaskQueue = '{queue}' AND ExecutionStatus = 'Completed'"
    with asyncio.Runner() as runner:
        client = runner.run(Client.connect(servers.temporal.address))

        async def start(many: int) -> None:
            for _ in range(many):
                await client.start_workflow(BareWorkflow.run, Plan(ACTIVITIES), id=uuid4().hex, task_queue=queue)

        def begin(many: int) -> None:
            runner.run(start(many))

        def done() -> int:
            return runner.run(client.count_workflows(finished)).count

        with servers.running(["-m", "tests.bench.bare", queue], servers.environment) as worker:
            return _pace(servers, [worker], begin, done, count)


def _pace(
    servers: Servers,
    workers: Sequence[psutil.Process],
    begin: Callable[[int], None],
    done: Callable[[], int],
    count: int,
) -> Pace:
    """From when the first is placed until the last is done; a few before them have the workers warm.

    Raises TimeoutError.
    """
    warm = WARM * len(workers)
    begin(warm)
    wait_until(done, warm)
    began, computed, committed = time.monotonic(), servers.cpu(workers), servers.committed()
    begin(count)
    wait_until(done, warm + count)
    took = time.monotonic() - began
    since = {name: 1_000 * (now - computed[name]) / count for name, now in servers.cpu(workers).items()}
    return Pace(count / took, since, (servers.committed() - committed) / count)


def wait_until(done: Callable[[], int], count: int) -> None:
    until = time.monotonic() + PATIENCE
    while (number := done()) < count:
        if time.monotonic() > until:
            raise TimeoutError(f"{number} of {count} were done after {PATIENCE:g} s")
        time.sleep(POLL)


def throughput(servers: Servers, tell: Callable[[str], None], *, count: int, rounds: int) -> Found:
    ways = {"the desk": of_the_desk, "bare Temporal": of_bare_temporal, "DBOS": of_dbos}
    paces: dict[str, list[Pace]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, measure in ways.items():
            pace = measure(servers, count)
            paces[way].append(pace)
            tell(f"{way}: {pace.per_second:.1f} orders a second, {pace.all_cpu_ms:.0f} ms of CPU each")
    per_second = {way: median(pace.per_second for pace in found) for way, found in paces.items()}
    cpu = {way: median(pace.all_cpu_ms for pace in found) for way, found in paces.items()}
    against = {
        "bare Temporal": f"bare Temporal, {ACTIVITIES} activities that do nothing",
        "DBOS": "DBOS, the same steps",
    }
    rows = [
        row
        for way, words in against.items()
        for row in (
            at_least(
                1.0,
                what="Orders through their whole life",
                ours=per_second["the desk"],
                against=words,
                theirs=per_second[way],
                unit="/s",
            ),
            Row("CPU of an order, all processes together", cpu["the desk"], words, cpu[way], "ms"),
        )
    ]
    lines = {
        f"{name}, ms of CPU": [median(pace.cpu_ms[name] for pace in paces[way]) for way in ways]
        for name in paces["the desk"][0].cpu_ms
    }
    lines["all processes, ms of CPU"] = list(cpu.values())
    lines["transactions in PostgreSQL"] = [median(pace.transactions for pace in paces[way]) for way in ways]
    return Found(rows, explained("Where an order's CPU goes", list(ways), lines, "of one order"))


def alone(servers: Servers, tell: Callable[[str], None], *, count: int) -> Found:
    """A lone order, each after the one before has ended."""
    with servers.running(["manage.py", "runworker"], servers.environment):
        _machine_time()  # the first waits for the worker to start
        lone = [_machine_time() for _ in range(count)]
    ours = [sum(steps.values()) for steps in lone]
    theirs = asyncio.run(_bare_on_a_stock_server(count))
    tell(f"a lone order: {median(ours):.0f} ms; a bare workflow on a stock server: {median(theirs):.0f} ms")
    row = at_most(
        0.5,
        what="Machine time of a lone order",
        ours=median(ours),
        against=f"bare workflow of {ALONE} activities, stock dev server",
        theirs=median(theirs),
        unit="ms",
    )
    lines = {step: [median(steps[step] for steps in lone)] for step in lone[0]}
    return Found([row], explained("Where a lone order's time goes", ["median"], lines, "ms from the event before"))


def _machine_time() -> dict[str, float]:
    """Milliseconds by event, each from the one before it, by the rows' own clock, to the order's end."""
    (key,) = place(1)
    wait_until(lambda: Order.objects.filter(pk=key, status=Status.COMPLETED).count(), 1)
    events = list(Event.objects.filter(order=key).order_by("sequence").values_list("type", "at"))
    return {
        f"{number}. {name}": (at - before) / timedelta(milliseconds=1)
        for number, ((_, before), (name, at)) in enumerate(pairwise(events), 1)
    }


async def _bare_on_a_stock_server(count: int) -> Sequence[float]:
    with TemporaryDirectory() as folder:
        server = await WorkflowEnvironment.start_local(
            dev_server_existing_path=str(BIN / "temporal"),
            dev_server_database_filename=f"{folder}/stock.db",
            dev_server_log_level="error",
            port=free_port(),
        )
        async with server:
            return await _bare(server.client, count)


async def _bare(client: Client, count: int) -> Sequence[float]:
    took = []
    async with Worker(client, task_queue="bare", workflows=[BareWorkflow], activities=[do_nothing]):
        for _ in range(count + 1):
            began = time.perf_counter()
            await client.execute_workflow(BareWorkflow.run, Plan(ALONE), id=uuid4().hex, task_queue="bare")
            took.append(1_000 * (time.perf_counter() - began))
    return took[1:]
