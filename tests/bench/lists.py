"""The desk's pages at 10,000 and at 1,000,000 orders, beside the list of Django's admin on the same table."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from statistics import median
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from tests.bench.servers import ROOT, Servers
from tests.bench.table import Row, at_most

TARGET = 1.2  # how much longer a page may take at a hundred times the size
ADMINS = "Django admin's list"


def measure(
    servers: Servers, tell: Callable[[str], None], *, sizes: tuple[int, int], runs: int, rounds: int
) -> list[Row]:
    """Both sizes by turns: a machine that others use too is not the same from one minute to the next."""
    for size in sizes:
        tell(f"making {size:,} orders")
        _make(servers, size)
    found: dict[int, list[Mapping[str, float]]] = {size: [] for size in sizes}
    for _ in range(rounds):
        for size in sizes:
            timings = json.loads(_run(servers, size, "-m", "tests.bench.pages", str(runs)))
            found[size].append(timings)
            tell(f"{size:,} orders: " + ", ".join(f"{page} {took:.0f} ms" for page, took in timings.items()))
    small, large = (
        {page: median(timings[page] for timings in found[size]) for page in found[size][0]} for size in sizes
    )
    grown = [
        at_most(
            TARGET,
            what=f"p95 of {page}, {sizes[1]:,} orders",
            ours=large[page],
            against=f"{sizes[0]:,} orders",
            theirs=small[page],
            unit="ms",
        )
        for page in large
        if page != ADMINS
    ]
    beside = Row("p95 of all orders", large["all orders"], f"{ADMINS}, {sizes[1]:,} orders", large[ADMINS], "ms")
    return [*grown, beside]


def _make(servers: Servers, size: int) -> None:
    with psycopg.connect(servers.postgres.url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(_name(size))))
    _run(servers, size, "manage.py", "migrate", "--verbosity=0")
    _run(servers, size, "manage.py", "seed_orders", f"--count={size}", f"--waiting={size // 50}", DJANGO_DEBUG="1")
    _run(servers, size, "manage.py", "collectstatic", "--no-input", "--verbosity=0")


def _name(size: int) -> str:
    return f"orders_{size}"


def _run(servers: Servers, size: int, *command: str, **settings: str) -> str:
    """As deployed, without the second factor that nobody is there to give."""
    environment = servers.environment | {
        "DATABASE_URL": urlsplit(servers.postgres.url)._replace(path=f"/{_name(size)}").geturl(),
        "DJANGO_DEBUG": "0",
        "DJANGO_HTTPS": "0",
        "SECOND_FACTOR": "0",
        **settings,
    }
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout
