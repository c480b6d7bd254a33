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
from tests.bench.table import Found, Row, at_most

TARGET = 1.2  # how much longer a page may take at a hundred times the size
WHAT_GROWS = (
    "## What grows with the table",
    "",
    "Counts, until they are capped: of more orders, more have a name and more wait. Hits are counted to 1,000 and then",
    "told as 1,000+, so their part of a page grows until there are as many, and no further. A search that finds one",
    "order at any size asks the index for that one.",
)
ADMINS = "Django admin's list"


def measure(servers: Servers, tell: Callable[[str], None], *, sizes: tuple[int, int], runs: int, rounds: int) -> Found:
    """Both sizes by turns: a machine that others use too is not the same from one minute to the next."""
    for size in sizes:
        tell(f"making {size:,} orders")
        _make(servers, size)
    found: dict[int, list[Mapping[str, float]]] = {size: [] for size in sizes}
    shown: dict[int, Mapping[str, int]] = {}
    for _ in range(rounds):
        for size in sizes:
            pages = json.loads(_run(servers, size, "-m", "tests.bench.pages", str(runs)))
            found[size].append({page: took for page, (took, _) in pages.items()})
            shown[size] = {page: rows for page, (_, rows) in pages.items()}
            tell(f"{size:,} orders: " + ", ".join(f"{page} {took:.0f} ms" for page, took in found[size][-1].items()))
    small, large = (
        {page: median(timings[page] for timings in found[size]) for page in found[size][0]} for size in sizes
    )
    grown = [_row(page, sizes, small[page], large[page], shown) for page in large if page != ADMINS]
    beside = Row("p95 of all orders", large["all orders"], f"{ADMINS}, {sizes[1]:,} orders", large[ADMINS], "ms")
    return Found([*grown, beside], WHAT_GROWS)


def _row(page: str, sizes: tuple[int, int], small: float, large: float, shown: Mapping[int, Mapping[str, int]]) -> Row:
    """With a target where both sizes show as many rows: a row more is drawn, whatever the size of the table."""
    rows = [shown[size][page] for size in sizes]
    what, against = (
        f"{size:,} orders" + (f", {number} rows" if rows[0] != rows[1] else "")
        for size, number in zip(reversed(sizes), reversed(rows), strict=True)
    )
    if rows[0] != rows[1]:
        return Row(f"p95 of {page}, {what}", large, against, small, "ms")
    return at_most(TARGET, what=f"p95 of {page}, {what}", ours=large, against=against, theirs=small, unit="ms")


def _make(servers: Servers, size: int) -> None:
    with psycopg.connect(servers.postgres.url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(_name(size))))
    _run(servers, size, "manage.py", "migrate", "--verbosity=0")
    _run(servers, size, "manage.py", "seed_orders", f"--count={size}", f"--waiting={size // 50}", DJANGO_DEBUG="1")


def _name(size: int) -> str:
    return f"orders_{size}"


def _run(servers: Servers, size: int, *command: str, **settings: str) -> str:
    environment = servers.environment | {
        "DATABASE_URL": urlsplit(servers.postgres.url)._replace(path=f"/{_name(size)}").geturl(),
        **settings,
    }
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout
