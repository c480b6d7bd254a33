"""`manage.py bench_desk`: how long each page takes on the server, at the size that the desk has."""

import os
from argparse import ArgumentParser

from django.core.management.base import BaseCommand, CommandError

from orders import benching
from orders.accounts import create_bench_operator
from orders.roles import Role


class Command(BaseCommand):
    help = (
        "Asks for every list, filter, sort, search and page, and prints how long the answers took. Exit status 1 where"
        f" one takes longer than {benching.WITHIN_MS:g} ms at the 95th percentile."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--runs", type=int, default=20, choices=range(2, 1_001), metavar="RUNS", help="of each (20)"
        )

    def handle(self, *args: object, runs: int, **options: object) -> None:
        late = 0
        self.stdout.write(" p50 ms  p95 ms    best  Python  queries  page")
        for one in benching.measure(create_bench_operator(Role.LEAD), runs=runs):
            late += not one.is_in_time
            mark = "" if one.is_in_time else "  LATE"
            self.stdout.write(
                f"{one.p50:7.1f} {one.p95:7.1f} {one.best:7.1f} {one.computed:7.1f} {one.queries:8}  {one.path}{mark}"
            )
        self.stdout.write(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} with all else that ran there")
        if late:
            raise CommandError(f"{late} took longer than {benching.WITHIN_MS:g} ms.", returncode=1)
