"""The whole desk as it is deployed, made of processes that may be killed, and are started again."""

import os
import secrets
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from devstack.servers import CannotStart, PostgresServer, TemporalServer, free_port
from tests.chaos.disk import disk_in, fill
from tests.chaos.worker import FILE

ROOT = Path(__file__).parents[2]
WORKERS = {"orders-1": "orders", "orders-2": "orders", "shipping-1": "shipping"}
WEBS = ("web-1", "web-2")
# What the world is like, besides the strikes: a bank and a carrier that answer in a twentieth of a second, and now
# and then not, or not although it was done.
WORLD = {
    "SIMULATOR_SECONDS": "0.05",
    "SIMULATOR_ERROR_RATE": "0.02",
    "SIMULATOR_LOST_ANSWER_RATE": "0.02",
    "SIMULATOR_DECLINE_RATE": "0.02",
    "UNDO_RETRY_AFTER": "1s",
    "DISPATCH_RETRY_AFTER": "1s",
    "REVIEW_DEADLINE": "1h",
}


class Service:
    """A process that is started again half a second after its end, as a supervisor would."""

    def __init__(self, name: str, command: list[str], environment: Mapping[str, str], log: Path) -> None:
        self.name = name
        self._command = command
        self._environment = dict(environment)
        self._log = log
        self._process: psutil.Popen | None = None
        self._wanted = threading.Event()
        self._watch = threading.Thread(target=self._keep_it_up, name=name, daemon=True)
        self.starts = 0

    def start(self) -> None:
        self._wanted.set()
        self._begin()
        self._watch.start()

    def _begin(self) -> None:
        with self._log.open("ab") as log:
            self._process = psutil.Popen(
                self._command, cwd=ROOT, env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self.starts += 1

    def _keep_it_up(self) -> None:
        while self._wanted.is_set():
            if self._process is not None:
                self._process.wait()
            time.sleep(0.5)
            if self._wanted.is_set():
                self._begin()

    def signal(self, number: int) -> None:
        """To the process and what it has started: of gunicorn, the process that serves is a child.

        Raises psutil.NoSuchProcess while it is being started again.
        """
        assert self._process is not None
        family = [self._process, *self._process.children(recursive=True)]
        self._process.send_signal(number)
        for member in family[1:]:
            with suppress(psutil.NoSuchProcess):
                member.send_signal(number)

    def stop(self) -> None:
        self._wanted.clear()
        if self._process is not None:
            self._process.terminate()
        self._watch.join(60)


class Desk:
    """Two web processes, two order workers and one of shipping, on servers of their own in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.disk = disk_in(folder) if disk_in(folder).is_mount() else None
        settings = {"max_connections": "120", "min_wal_size": "32MB", "max_wal_size": "96MB"}
        self.postgres = PostgresServer(self.disk or folder, settings)
        self.postgres.log = folder / "postgres.log"
        self.temporal = TemporalServer(folder, free_port())
        self.ports = {name: free_port() for name in WEBS}
        self.services: dict[str, Service] = {}
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("DJANGO_", "MAIL_"))},
            **WORLD,
            **self.temporal.environment,
            "DATABASE_URL": self.postgres.url,
            "DJANGO_SETTINGS_MODULE": "orders_site.settings",
            "DJANGO_DEBUG": "1",  # as for `make up`: no files to collect
            "DJANGO_SECRET_KEY": secrets.token_urlsafe(50),
            "WORKER_STICKY_TIMEOUT": "1s",
            "WORKER_DATABASE_THREADS": "8",
            "PYTHONUNBUFFERED": "1",
        }

    def addresses(self) -> list[str]:
        return [f"http://127.0.0.1:{port}" for port in self.ports.values()]

    def start_services(self) -> None:
        for name, role in WORKERS.items():
            environment = self.environment | {FILE: str(self.dies_at(name))}
            self._start(name, [sys.executable, "-m", "tests.chaos.worker", role], environment)
        for name, port in self.ports.items():
            environment = self.environment | {"WEB_BIND": f"127.0.0.1:{port}"}
            self._start(name, [sys.executable, "-m", "gunicorn"], environment)
        for address in self.addresses():
            until = time.monotonic() + 120
            while not _answers(address):
                if time.monotonic() > until:
                    raise CannotStart(f"{address} does not answer: see {self.folder}")
                time.sleep(0.1)

    def _start(self, name: str, command: list[str], environment: Mapping[str, str]) -> None:
        self.services[name] = Service(name, command, environment, self.folder / f"{name}.log")
        self.services[name].start()

    def dies_at(self, worker: str) -> Path:
        """The file that tells a worker where to die."""
        return self.folder / f"{worker}.dies-at"

    def crash_postgres(self) -> None:
        """`kill -9` of all its processes, and a start that has to recover."""
        postmaster = psutil.Process(self.postgres.pid)
        family = [postmaster, *postmaster.children(recursive=True)]
        for member in family:
            with suppress(psutil.NoSuchProcess):
                member.kill()
        psutil.wait_procs(family, 20)
        self._start_postgres_again()

    def fill_disk(self, seconds: float) -> Iterator[None]:
        """PostgreSQL's; as `fill` has it. Where it has ended for that it is started again, as a supervisor would."""
        assert self.disk is not None
        yield from fill(self.disk, seconds)
        with suppress(psutil.TimeoutExpired):
            psutil.Process(self.postgres.pid).wait(2)  # it takes a moment to find that it cannot recover
            self._start_postgres_again()

    def full_disk_complaints(self) -> int:
        return self.postgres.log.read_text(errors="replace").count("No space left on device")

    def _start_postgres_again(self) -> None:
        self.postgres.stop()
        until = time.monotonic() + 60
        while True:
            try:
                return self.postgres.start()
            except CannotStart:
                if time.monotonic() > until:
                    raise
                time.sleep(0.5)

    def crash_temporal(self, away_seconds: float) -> None:
        self.temporal.kill()
        time.sleep(away_seconds)
        self.temporal.start()


def _answers(address: str) -> bool:
    with suppress(OSError), urllib.request.urlopen(f"{address}/readyz", timeout=2):  # noqa: S310
        return True
    return False


@contextmanager
def servers(folder: Path) -> Iterator[Desk]:
    """A desk whose two servers run; what runs of it at the end is ended."""
    desk = Desk(folder)
    try:
        desk.postgres.start()
        desk.temporal.start()
        yield desk
    finally:
        for service in desk.services.values():
            service.stop()
        desk.temporal.kill()
        desk.postgres.stop()
