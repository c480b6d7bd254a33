"""`make chaos`: the whole desk under orders, decisions and faults, and a judgement. See docs/chaos.md."""

import argparse
import asyncio
import os
import secrets
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from statistics import quantiles
from tempfile import mkdtemp
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

from tests.chaos.desk import Desk, servers
from tests.chaos.disk import start_again_with_a_disk
from tests.chaos.strikes import FILL, Strike, Striker, schedule
from tests.chaos.traffic import SKU, Book, Door, Traffic

PEOPLE = ("alice", "bob", "carol", "dana")
STOCK = 1_000_000
CALM_WITHIN = 240.0  # seconds without any change, after which the rest is given up


@dataclass
class Verdict:
    violations: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    summary: str = ""  # in one line


def main() -> int:
    options = _options()
    folder = Path(options.folder or mkdtemp(prefix="countersign-chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    if options.seeds > 1:
        return run_in_a_row(options, folder)
    start_again_with_a_disk(folder, _arguments(options, options.seed, folder))
    strikes = schedule(options.seed, seconds=options.seconds, many=options.strikes)
    tell(f"seed {options.seed}: {options.seconds:g} s, {len(strikes)} strikes; logs in {folder}")
    with servers(folder) as desk:
        if desk.disk is None:
            many = len(strikes)
            strikes = [strike for strike in strikes if strike.kind != FILL]
            tell(f"{many - len(strikes)} strikes of a full disk are left out: this system gives us no disk to fill")
        verdict = run(desk, strikes, seed=options.seed, seconds=options.seconds, rate=options.rate)
    for line in verdict.lines:
        tell(line)
    for violation in verdict.violations:
        tell(f"VIOLATION {violation}")
    if verdict.violations and desk.disk is not None:
        tell(f"PostgreSQL's files are kept in {shutil.copytree(desk.disk, folder / 'as-left')}")
    tell(f"seed {options.seed}: {verdict.summary}")
    return 1 if verdict.violations else 0


def run_in_a_row(options: argparse.Namespace, folder: Path) -> int:
    """Each seed in a process of its own; at the end a line for each."""
    said = {}
    for seed in range(options.seed, options.seed + options.seeds):
        own = folder / str(seed)
        command = [sys.executable, "-m", "tests.chaos", *_arguments(options, seed, own)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as one:
            last = ""
            for line in one.stdout or ():
                sys.stdout.write(line)
                sys.stdout.flush()
                last = line
        said[seed] = one.returncode, last.partition(" ")[2].strip()
    for seed, (status, summary) in said.items():
        tell(summary if summary.startswith(f"seed {seed}: ") else f"seed {seed}: ended early, with status {status}")
    return 1 if any(status for status, _ in said.values()) else 0


def _arguments(options: argparse.Namespace, seed: int, folder: Path) -> list[str]:
    numbers = {"seconds": options.seconds, "strikes": options.strikes, "rate": options.rate}
    return [f"--seed={seed}", f"--folder={folder}", *(f"--{name}={number}" for name, number in numbers.items())]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=None, help="what strikes when, and who decides what; random")
    parser.add_argument("--seeds", type=int, default=1, help="so many in a row, from --seed on")
    parser.add_argument("--seconds", type=float, default=600, help="how long orders come in and faults strike")
    parser.add_argument("--strikes", type=int, default=75)
    parser.add_argument("--rate", type=float, default=3.6, help="orders a second")
    parser.add_argument("--folder", help="where data and logs go; a new one")
    options = parser.parse_args()
    if options.seed is None:
        options.seed = secrets.randbelow(1_000_000)
    return options


def run(desk: Desk, strikes: list[Strike], *, seed: int, seconds: float, rate: float) -> Verdict:
    tokens, session = prepare(desk)
    desk.start_services()
    book = Book()
    traffic = Traffic(Door(desk.addresses(), book), book, tokens, session, seed=seed, rate=rate)
    striker = Striker(desk, tell, lambda: asyncio.run(repeat_news(desk, list(traffic.open), seed)))
    flow = threading.Thread(target=traffic.flow, args=[seconds])
    flow.start()
    striker.strike_all(strikes)
    flow.join()
    tell("all is struck and decided; waiting for calm")
    calm = wait_for_calm()
    return judge(desk, book, striker, calm)


def tell(words: str) -> None:
    sys.stdout.write(f"{datetime.now(UTC):%H:%M:%S} {words}\n")
    sys.stdout.flush()


def prepare(desk: Desk) -> tuple[dict[str, str], str]:
    """Make the database, the people, the goods; return a token for each of the people and for the shop, and the
    session in which one of them looks at pages.
    """
    os.environ |= desk.environment
    import django

    django.setup()
    from django.contrib.auth.models import Group, User
    from django.core.management import call_command
    from django.db import connection
    from django.test import Client
    from django.utils import timezone

    from orders import accounts
    from orders.models import ApiScope, Product
    from orders.services import clients, stocking

    call_command("migrate", verbosity=0)
    accounts.create_roles()
    stocking.stock_products(products=[Product(sku=SKU, name="Brass desk lamp", stock=STOCK)])
    now = timezone.now()
    tokens = {"shop": clients.create_client(name="shop", scopes=[ApiScope.PLACE], user=None, at=now)}
    for name in PEOPLE:
        user = User.objects.create_user(name)
        user.groups.add(Group.objects.get(name="lead"))
        tokens[name] = clients.create_client(name=name, scopes=[ApiScope.READ, ApiScope.DECIDE], user=user, at=now)
    browser = Client()
    browser.force_login(User.objects.get(username=PEOPLE[0]))
    connection.close()  # none of the strikes is meant for it
    return tokens, browser.cookies["session"].value


async def repeat_news(desk: Desk, orders: list[str], seed: int) -> int:
    """Send messages that were delivered before once more, thrice each and in disorder; say how many came."""
    from temporalio.client import Client
    from temporalio.service import RPCError

    from temporal_workers.contracts import SIGNALS, News, order_workflow_id

    chance = Random(seed)  # noqa: S311 - to be the same again
    client = await Client.connect(desk.temporal.address)
    async with await AsyncConnection.connect(desk.postgres.url) as database:
        found = await database.execute(
            "SELECT order_id, message, payload->>'actor', id FROM orders_outbox"
            " WHERE order_id = ANY(%s) AND message = ANY(%s)",
            [[UUID(order) for order in orders], list(SIGNALS)],
        )
        sent = [(order_workflow_id(order), name, News(by or "", row)) async for order, name, by, row in found] * 3
    chance.shuffle(sent)
    many = 0
    for workflow_id, name, news in sent:
        with suppress(RPCError):  # it has ended, or Temporal is away
            await client.get_workflow_handle(workflow_id).signal(name, news)
            many += 1
    return many


def wait_for_calm() -> float:
    """Wait until nothing is under way any more; return the seconds that it took."""
    from orders.models import Order, Outbox, Payment
    from orders.states import TERMINAL, WAITS_FOR_PEOPLE

    begun = moved_at = time.monotonic()
    stood = None
    while time.monotonic() - moved_at < CALM_WITHIN:
        under_way = Order.objects.exclude(status__in=TERMINAL | WAITS_FOR_PEOPLE).count()
        stands = (
            under_way,
            Outbox.objects.filter(delivered_at=None).count(),
            Payment.objects.filter(status=Payment.State.PROCESSING).count(),
        )
        if not any(stands):
            return time.monotonic() - begun
        if stands != stood:
            stood, moved_at = stands, time.monotonic()
        time.sleep(0.5)
    return time.monotonic() - begun


def judge(desk: Desk, book: Book, striker: Striker, calm: float) -> Verdict:
    import psycopg
    from django.db import connection, transaction

    from orders.models import Event, Order
    from tests.chaos.verdict import broken_words
    from tests.judge import read_books, unfinished, unsafe

    with psycopg.connect(desk.postgres.url) as ledgers, transaction.atomic():
        with connection.cursor() as cursor:
            # Claims end by themselves, even now.
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        books = read_books(lambda query: ledgers.execute(query.encode()))
    verdict = Verdict()
    verdict.violations += unsafe(books, {SKU: STOCK}) + unfinished(books)
    verdict.violations += list(broken_words(book)) + book.wrong
    verdict.violations += [f"the harness could not strike: {error}" for error in striker.errors]
    verdict.violations += list(asyncio.run(failed_workflows(desk)))
    statuses = Counter(order.status for order in books.orders)
    answers = Counter((answer.action, answer.told) for answer in book.answers)
    starts = {name: service.starts for name, service in desk.services.items()}
    orders = Order.objects.count()
    planned = len(striker.struck) + len(striker.missed) + len(striker.errors)
    struck = Counter(strike.sort for strike in striker.struck)
    struck.update({strike.sort: 0 for strike in striker.missed})
    verdict.lines += [
        f"struck: {_listed(struck)}",
        f"did not strike: {_listed(Counter(strike.sort for strike in striker.missed)) or 'none'}",
        f"starts: {_listed(starts)}",
        f"{orders:,} orders, {Event.objects.count():,} events: {_listed(statuses)}",
        f"told: {_listed({f'{action} {told}': many for (action, told), many in answers.items()})}",
        f"API: {_listed(book.statuses)}; pages: {_listed(book.pages)}",
        f"calm after {calm:.0f} s",
    ]
    verdict.summary = (
        f"{orders:,} orders, {len(striker.struck)} of {planned} strikes struck, calm after {calm:.0f} s, "
        f"{len(verdict.violations)} violations"
    )
    if desk.disk is not None:
        there = shutil.disk_usage(desk.disk)
        verdict.lines.append(f"PostgreSQL's disk: {there.used >> 20} of {there.total >> 20} MB in use")
    if len(book.decided_seconds) > 1:
        cuts = quantiles(book.decided_seconds, n=100)
        verdict.lines.append(f"decisions answered within {cuts[49]:.2f} s (p50), {cuts[98]:.2f} s (p99)")
    return verdict


def _listed(counts: Mapping[Any, int]) -> str:
    return ", ".join(
        f"{many:,} {what}" for what, many in sorted(counts.items(), key=lambda item: (-item[1], str(item)))
    )


async def failed_workflows(desk: Desk) -> "list[str]":
    """Runs that failed, or fail in our own code."""
    from temporalio.client import Client

    client = await Client.connect(desk.temporal.address)
    found = []
    for query in ("ExecutionStatus = 'Failed'", "TemporalReportedProblems IS NOT NULL AND ExecutionStatus = 'Running'"):
        found += [f"the run {run.id} is where {query}" async for run in client.list_workflows(query)]
    return found


if __name__ == "__main__":
    sys.exit(main())
