"""`make bench`: the desk beside what it is made of, measured side by side in one run. See docs/benchmarks.md."""

import argparse
import logging
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import django

from tests.bench.servers import ROOT, servers
from tests.bench.table import Row, document

PAGE = ROOT / "docs" / "benchmarks.md"


def main() -> int:
    options = _options()
    with TemporaryDirectory(prefix="countersign-bench-") as folder, servers(Path(folder)) as found:
        os.environ |= found.environment
        subprocess.run([sys.executable, "manage.py", "migrate", "--verbosity=0"], cwd=ROOT, check=True)
        django.setup()
        logging.getLogger("orders").setLevel(logging.WARNING)  # not a line for each step of each order
        from tests.bench import lifecycle, lists, live

        rows: list[Row] = []
        if "lifecycle" in options.parts:
            rows += lifecycle.throughput(found, tell, count=options.orders, rounds=options.rounds)
        if "alone" in options.parts:
            rows += lifecycle.alone(found, tell, count=options.alone)
        if "live" in options.parts:
            rows += live.measure(found, tell, operators=options.operators, per_second=10, clicks=options.clicks)
        if "lists" in options.parts:
            sizes = options.small, options.large
            rows += lists.measure(found, tell, sizes=sizes, runs=options.runs, rounds=options.rounds)
    missed = [row for row in rows if row.is_met is False]
    page = document(rows, [f"Load of the machine at the end: {os.getloadavg()[0]:.1f}."], command=_command())
    print(page)
    if options.write:
        PAGE.write_text(page)
    return 1 if missed else 0


PARTS = ("lifecycle", "alone", "live", "lists")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("parts", nargs="*", default=list(PARTS), metavar="PART", help=f"of {', '.join(PARTS)}; all")
    parser.add_argument("--orders", type=int, default=400, help="of a round, each way")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--alone", type=int, default=20, help="lone orders")
    parser.add_argument("--operators", type=int, default=500, help="who have the desk open")
    parser.add_argument("--clicks", type=int, default=200, help="decisions that they are told of")
    parser.add_argument("--small", type=int, default=10_000, help="orders of the small desk")
    parser.add_argument("--large", type=int, default=1_000_000, help="and of the large one")
    parser.add_argument("--runs", type=int, default=40, help="of each page")
    parser.add_argument("--no-write", dest="write", action="store_false", help="print the table, and keep the page")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    return options


def _command() -> str:
    return "make bench" + (f' ARGS="{" ".join(sys.argv[1:])}"' if sys.argv[1:] else "")


def tell(words: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {words}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
