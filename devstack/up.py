"""`make up`: the whole desk on this machine, from its database to its web server, until Ctrl-C.

Servers start before processes and end after them. What goes wrong on the way is one sentence and exit status 1.
"""

import fcntl
import os
import secrets
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import StringIO
from pathlib import Path

from devstack.manage import environment_kept
from devstack.processes import Processes, end_processes, marked
from devstack.servers import CannotStart, PostgresServer, Server, TemporalServer, start_together
from devstack.settings import Settings, check_folder
from devstack.welcome import welcome

STARTED_AT = time.monotonic()
GO_ON = "`make up` goes on where it stood."
PARTS = {
    "postgresql": "PostgreSQL",
    "temporal": "Temporal",
    "web": "The web server",
    "orders": "The orders worker",
    "shipping": "The shipping worker",
    "demo": "What places the demonstration orders",
}
ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main() -> int:
    try:
        run_desk(Settings.read(os.environ), ending=asked_to_end())
    except (CannotStart, OSError) as problem:
        print(problem, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped at once; the next `make up` ends what may be left.", file=sys.stderr)
        return 1
    say("Stopped")
    return 0


def run_desk(settings: Settings, ending: threading.Event) -> None:
    check_folder(settings.data_dir)
    with only_one(settings.data_dir), running_servers(settings) as servers:
        if ending.is_set():
            return
        prepare_database(settings)
        if ending.is_set():
            return
        with environment_kept(settings.data_dir):
            run_processes(settings, servers)


def asked_to_end() -> threading.Event:
    """An event that Ctrl-C, SIGTERM and a closed terminal set while no process runs yet; then honcho sees them.

    They interrupt nothing, which could lose a server that has just been started. A second one does, for who
    cannot wait for a step that hangs.
    """
    ending = threading.Event()

    def end(*_: object) -> None:
        if ending.is_set():
            raise KeyboardInterrupt
        ending.set()

    for ending_signal in ENDING_SIGNALS:
        if ending_signal != signal.SIGHUP or signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
            signal.signal(ending_signal, end)
    return ending


@contextmanager
def only_one(data_dir: Path) -> Iterator[None]:
    """Hold the data against a second `make up`.

    The lock is POSIX's, which ends with this very process: one of flock(2) would be inherited by honcho's
    helpers, and outlive us.
    """
    with (data_dir / "lock").open("a+") as lock:
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            raise CannotStart(
                f"The data in {data_dir} is in use by another `make up` (process {lock.read()}): "
                "stop that, or name another folder with DATA_DIR=."
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


@contextmanager
def running_servers(settings: Settings) -> Iterator[list[Server]]:
    """Run PostgreSQL and Temporal, except where the settings name one that runs already."""
    postgres = PostgresServer(settings.data_dir)
    temporal = TemporalServer(settings.data_dir, settings.temporal_port, settings.temporal_ui_port)
    end_left_over(settings, postgres, temporal)
    settings.check_ports()
    settings.check_given_servers()

    ours: list[Server] = []
    if settings.database_url is None:
        ours.append(postgres)
        os.environ["DATABASE_URL"] = postgres.url
    if settings.temporal_address is None:
        ours.append(temporal)
        os.environ |= temporal.environment | {"TEMPORAL_UI_URL": settings.temporal_ui_url}
    try:
        for server in ours:
            say(f"Starting {server.name}")
        start_together(ours)
        yield ours
    finally:
        for ending_signal in ENDING_SIGNALS:
            signal.signal(ending_signal, signal.SIG_IGN)
        for server in reversed(ours):
            say(f"Stopping {server.name}")
            server.stop()


def end_left_over(settings: Settings, *servers: Server) -> None:
    """Say and then end, which takes seconds, what an earlier `make up` could not end because it was killed."""
    processes = marked(str(settings.data_dir))
    if many := len(processes) + sum(server.is_left_over() for server in servers):
        say(f"Ending what an earlier `make up` had left running ({many} process{'' if many == 1 else 'es'})")
    end_processes(processes)
    for server in servers:
        server.end_left_over()  # removes stale files too


def prepare_database(settings: Settings) -> None:
    """Migrate, and make the roles. Django is loaded only now that the environment says how."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "orders_site.settings")
    os.environ.setdefault("DJANGO_DEBUG", "1")
    os.environ.setdefault("DJANGO_SECRET_KEY", kept_secret(settings.data_dir, "secret_key"))
    os.environ.setdefault("PAYMENT_WEBHOOK_SECRET", kept_secret(settings.data_dir, "webhook_secret"))
    os.environ.setdefault("WEBHOOK_URL", f"{settings.desk_url}webhooks/payments")
    os.environ.setdefault("DESK_URL", settings.desk_url)
    if settings.demo:  # so that it is seen: of some orders the customer has to confirm the payment, and does
        os.environ.setdefault("SIMULATOR_CONFIRM_RATE", "0.05")
        os.environ.setdefault("SIMULATOR_CUSTOMER_SECONDS", "20")
    os.environ.setdefault("MAIL_URL", (settings.data_dir / "mails").as_uri())
    say("Preparing the database")

    import django
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import CommandError, call_command
    from django.db import Error, connections

    try:
        django.setup()
        call_command("migrate", verbosity=0, interactive=False)
        call_command("create_roles", stdout=StringIO())
        connections.close_all()
    except (ImproperlyConfigured, CommandError, Error) as problem:
        raise CannotStart(f"The database could not be prepared: {str(problem).strip()}") from problem


def kept_secret(data_dir: Path, name: str) -> str:
    """Keep one secret, so that nobody is signed out, and no message refused, because of a restart."""
    file = data_dir / name
    file.touch(mode=0o600)
    if not file.read_text():
        file.write_text(secrets.token_urlsafe(50))
    return file.read_text()


def run_processes(settings: Settings, servers: list[Server]) -> None:
    """Run the web server and the workers until somebody ends them.

    Raises CannotStart if one of them ended by itself.
    """
    say("Starting the web server and the workers")
    processes = Processes(mark=str(settings.data_dir))
    for server in servers:
        processes.add(server.name.lower(), [sys.executable, "-m", "devstack.follow", str(server.log), str(server.pid)])
    processes.add("web", [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{settings.port}"])
    processes.add("orders", [sys.executable, "manage.py", "runworker", "orders"])
    processes.add("shipping", [sys.executable, "manage.py", "runworker", "shipping"])
    if settings.demo:
        processes.add("demo", [sys.executable, "manage.py", "demo_orders"])

    threading.Thread(target=welcome, args=[settings], daemon=True).start()
    processes.run()
    if processes.ended_by_itself is not None:
        raise CannotStart(why_it_stopped(*processes.ended_by_itself))


def why_it_stopped(name: str, returncode: int) -> str:
    part = PARTS[name]
    if returncode < 0:
        return f"{part} was killed (signal {-returncode}), so the desk was stopped; {GO_ON}"
    return f"{part} ended with status {returncode}, so the desk was stopped; its lines above may say why. {GO_ON}"


def say(message: str) -> None:
    with suppress(OSError):  # a terminal that is gone keeps nobody from stopping in order
        print(f"{time.monotonic() - STARTED_AT:5.1f} s  {message}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
