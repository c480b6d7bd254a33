"""The whole desk, started as a person starts it and ended in each way it can be ended.

One test each for what takes several seconds to set up, so these tell longer stories than others do.
"""

import http.client
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from subprocess import PIPE
from typing import IO

import psutil
import pytest

from devstack import up
from devstack.processes import MARK
from devstack.servers import free_port
from devstack.settings import Settings

# Each of these starts the stack, some of them twice; a machine that does other things too is slow at that.
pytestmark = pytest.mark.timeout(300)

UP = [sys.executable, "-m", "devstack.up"]


class Desk:
    """One start of the stack; what it writes is read up to the event that a test waits for."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.output = ""

    def read_until(self, pattern: str) -> re.Match[str]:
        while not (found := re.search(pattern, self.output)):
            line = self._stdout.readline()
            assert line, f"It ended before it said {pattern!r}:\n{self.output}"
            self.output += line
        return found

    def signal_group(self, how: signal.Signals) -> None:
        """Signal as a terminal does: to `make`, to us, and to honcho's helpers at once."""
        os.killpg(self.process.pid, how)

    def wait(self) -> int:
        self.output += self._stdout.read()
        self._stdout.close()
        return self.process.wait()

    @property
    def _stdout(self) -> IO[str]:
        assert self.process.stdout is not None
        return self.process.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("up")


@pytest.fixture
def data_dir(folder: Path) -> Iterator[Path]:
    """One for all: each goes on where the one before stood, which takes half as long as to begin anew."""
    yield folder / "data"
    left = processes_of(folder / "data")
    for process in left:
        process.send_signal(signal.SIGINT)  # by which PostgreSQL ends in order, and can be started again
    _, unwilling = psutil.wait_procs(left, timeout=30)
    for process in unwilling:
        process.kill()


@pytest.fixture
def environment(data_dir: Path) -> dict[str, str]:
    of_the_tests = ("DATABASE_URL", "DJANGO_", "TEMPORAL_", "MAKE", "PYTEST_")
    return {name: value for name, value in os.environ.items() if not name.startswith(of_the_tests)} | {
        "DATA_DIR": str(data_dir),
        "PORT": str(free_port()),
        "TEMPORAL_PORT": str(free_port()),
        "TEMPORAL_UI_PORT": str(free_port()),
    }


@pytest.fixture
def start(environment: dict[str, str]) -> Callable[..., Desk]:
    def start(command: list[str] = UP, **settings: str) -> Desk:
        return Desk(command, environment | settings)

    return start


def processes_of(data_dir: Path) -> list[psutil.Process]:
    """Servers have the folder on their command line, all others in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if str(data_dir) in " ".join(process.cmdline()) or process.environ().get(MARK) == str(data_dir):
                found.append(process)
        except psutil.Error:
            continue
    return found


def status_of(url: str) -> int:
    host, path = url.removeprefix("http://").split("/", 1)
    with closing(http.client.HTTPConnection(host, timeout=10)) as connection:
        connection.request("GET", "/" + path)
        return connection.getresponse().status


def test_make_up_gives_a_desk_that_answers_until_ctrl_c(start: Callable[..., Desk], data_dir: Path) -> None:
    desk = start(["make", "up", f"PYTHON={sys.executable}"])

    url = desk.read_until(r"The desk +(http://\S+/)").group(1)
    desk.read_until(r"alice +operator +\w{8,}")
    desk.read_until(r"To stop +Ctrl-C")
    status = status_of(url + "sign-in/")
    second = start()
    second_status = second.wait()
    desk.signal_group(signal.SIGINT)
    desk.wait()

    assert status == 200
    assert second_status == 1
    assert re.fullmatch(
        r"The data in .* is in use by another `make up` \(process \d+\): .*DATA_DIR=\.\n", second.output
    )
    assert desk.output.splitlines()[-1].endswith("Stopped")
    assert "Traceback" not in desk.output
    assert processes_of(data_dir) == []


def test_it_starts_again_after_a_kill_and_its_processes_do_not_outlive_it(
    start: Callable[..., Desk], data_dir: Path
) -> None:
    first = start(DEMO="0")
    first.read_until(r"To stop +Ctrl-C")

    first.signal_group(signal.SIGKILL)
    first.wait()
    second = start(DEMO="0")
    second.read_until(r"Ending what an earlier `make up` had left running \(\d+ processes\)")
    second.read_until("create_demo_cast --reset")
    second.read_until(r"To stop +Ctrl-C")
    processes = [process for process in processes_of(data_dir) if MARK in process.environ()]
    second.process.kill()
    _, outliving = psutil.wait_procs(processes, timeout=30)
    second.wait()

    assert len(processes) >= 4
    assert outliving == []


def test_it_can_be_stopped_while_it_starts(start: Callable[..., Desk], data_dir: Path) -> None:
    desk = start()
    desk.read_until("Starting Temporal")

    desk.process.terminate()
    status = desk.wait()

    assert status == 0
    assert "Traceback" not in desk.output
    assert processes_of(data_dir) == []


def test_it_says_that_it_ends_what_is_left_before_it_waits_for_that(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data_dir.mkdir(exist_ok=True)
    settings = Settings.read({"DATA_DIR": str(data_dir)})
    said: list[tuple[str, bool]] = []
    with subprocess.Popen(["cat"], env=os.environ | {MARK: str(data_dir)}, stdin=PIPE, stdout=PIPE) as left:
        assert left.stdin
        assert left.stdout
        try:
            # A program that answers is past its exec: until then its environment, and the mark in it, reads as empty.
            left.stdin.write(b"there?\n")
            left.stdin.flush()
            assert left.stdout.readline() == b"there?\n"
            monkeypatch.setattr(up, "say", lambda message: said.append((message, left.poll() is None)))

            up.end_left_over(settings)

            assert said == [("Ending what an earlier `make up` had left running (1 process)", True)]
            assert left.poll() is not None
        finally:
            left.kill()


def test_one_process_that_is_killed_takes_the_desk_with_it(start: Callable[..., Desk], data_dir: Path) -> None:
    desk = start(DEMO="0")
    orders = psutil.Process(int(desk.read_until(r"orders started \(pid=(\d+)\)").group(1)))

    orders.kill()
    status = desk.wait()

    assert status == 1
    assert desk.output.splitlines()[-1] == (
        "The orders worker was killed (signal 9), so the desk was stopped; `make up` goes on where it stood."
    )
    assert processes_of(data_dir) == []


def test_a_database_that_dies_is_named_and_takes_the_desk_with_it(start: Callable[..., Desk], data_dir: Path) -> None:
    desk = start(DEMO="0")
    desk.read_until(r"shipping started \(pid=(\d+)\)")
    postmaster = int((data_dir / "postgres" / "postmaster.pid").read_text().split()[0])

    psutil.Process(postmaster).kill()
    status = desk.wait()

    assert status == 1
    assert desk.output.splitlines()[-1].startswith("PostgreSQL ended with status 1, so the desk was stopped;")
    assert processes_of(data_dir) == []


def test_a_process_that_ends_by_itself_is_named_with_its_status(start: Callable[..., Desk], data_dir: Path) -> None:
    desk = start(DEMO="0", GUNICORN_CMD_ARGS="--worker-class=nonsense")

    status = desk.wait()

    assert status == 1
    assert desk.output.splitlines()[-1] == (
        "The web server ended with status 1, so the desk was stopped; its lines above may say why. "
        "`make up` goes on where it stood."
    )
    assert processes_of(data_dir) == []


def test_a_failure_at_the_start_is_one_sentence_and_status_1(start: Callable[..., Desk], data_dir: Path) -> None:
    desk = start(DATABASE_URL=f"postgresql://nobody@127.0.0.1:{free_port()}/nothing")

    status = desk.wait()

    assert status == 1
    assert desk.output.startswith("The database that DATABASE_URL names cannot be reached")
    assert desk.output.count("\n") == 1
    assert processes_of(data_dir) == []


def test_settings_that_django_refuses_are_one_sentence_too(start: Callable[..., Desk], data_dir: Path) -> None:
    desk = start(REVIEW_DEADLINE="soon")

    status = desk.wait()

    assert status == 1
    assert "REVIEW_DEADLINE must be a span" in desk.output
    assert "Traceback" not in desk.output
    assert processes_of(data_dir) == []
