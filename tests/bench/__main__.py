"""`make bench`: the desk beside what it is made of, measured side by side in one run. See docs/benchmarks.md.

Each part has servers and a process of its own, and replaces what it has found before.
"""

import argparse
import logging
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import django

from tests.bench.page import Page
from tests.bench.servers import ROOT, Servers, servers
from tests.bench.table import Found

PARTS = ("lifecycle", "alone", "live", "screens", "lists", "growth", "memory")


def main() -> int:
    options = options_of(sys.argv[1:])
    given = [argument for argument in sys.argv[1:] if argument not in PARTS]
    if len(options.parts) > 1:
        statuses = [subprocess.call([sys.executable, "-m", "tests.bench", part, *given]) for part in options.parts]
        return 1 if any(statuses) else 0
    (part,) = options.parts
    with TemporaryDirectory(prefix="countersign-bench-") as folder, servers(Path(folder)) as found:
        os.environ |= found.environment
        for command in (["migrate"], ["collectstatic", "--no-input"]):
            subprocess.run([sys.executable, "manage.py", *command, "--verbosity=0"], cwd=ROOT, check=True)
        django.setup()
        logging.getLogger("orders").setLevel(logging.WARNING)  # not a line for each step of each order
        measured = _measure(part, found, options)
    print(*measured.rows, *measured.details, sep="\n")
    if options.write:
        Page(ROOT / "docs").keep(part, measured, options=given, load=os.getloadavg()[0])
    return 1 if any(row.is_met is False for row in measured.rows) else 0


def _measure(part: str, found: Servers, options: argparse.Namespace) -> Found:
    from tests.bench import growth, lifecycle, lists, live, memory, screens

    match part:
        case "lifecycle":
            return lifecycle.throughput(found, tell, count=options.orders, rounds=options.rounds)
        case "alone":
            return lifecycle.alone(found, tell, count=options.alone)
        case "live":
            return live.measure(found, tell, operators=options.operators, per_second=10, clicks=options.clicks)
        case "screens":
            return screens.measure(found, tell, clicks=options.screen_clicks, per_second=20)
        case "lists":
            sizes = options.small, options.large
            return lists.measure(found, tell, sizes=sizes, runs=options.runs, rounds=options.rounds)
        case "growth":
            return growth.measure(found, tell, queue=options.queue)
        case _:
            return memory.measure(found, tell, count=options.memory_orders)


def _part(name: str) -> str:
    # With `choices`, argparse would take the whole default for one of them.
    if name not in PARTS:
        raise argparse.ArgumentTypeError(f"there is no {name!r}")
    return name


def options_of(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    words = f"of {', '.join(PARTS)}; all but memory, which takes half an hour"
    parser.add_argument("parts", nargs="*", type=_part, default=list(PARTS[:-1]), metavar="PART", help=words)
    parser.add_argument("--orders", type=int, default=200, help="of a round, each way")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--alone", type=int, default=20, help="lone orders")
    parser.add_argument("--operators", type=int, default=500, help="who have the desk open")
    parser.add_argument("--clicks", type=int, default=200, help="decisions that they are told of")
    parser.add_argument("--screen-clicks", type=int, default=100, help="decisions that another sees on the screen")
    parser.add_argument("--small", type=int, default=10_000, help="orders of the small desk")
    parser.add_argument("--large", type=int, default=1_000_000, help="and of the large one")
    parser.add_argument("--runs", type=int, default=40, help="of each page")
    parser.add_argument("--queue", type=int, default=40, help="orders that workers find; and ten times as many")
    parser.add_argument("--memory-orders", type=int, default=10_000, help="after which each process is weighed")
    parser.add_argument("--no-write", dest="write", action="store_false", help="print the rows, and keep the page")
    return parser.parse_args(arguments)


def tell(words: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {words}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
