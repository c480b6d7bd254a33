"""The README's rows for a part alone, run as they stand there, and what is said where something is missing."""

import os
import re
import secrets
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from devstack.servers import BIN, free_port
from tests.production.conftest import SECONDS_TO_ANSWER, Running, copy_of_the_desk
from tests.production.deployment import ROOT, SECRETS

ALL_LINES = re.compile(r"\A[^\n]+\n\Z")


def command(row: str) -> str:
    """What the README's table has a person run, in the row that begins with these words."""
    found = re.search(rf"^\| {re.escape(row)}[^|]* \| `([^`]+)` \|$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert found, f"the README's table has no row {row!r}"
    return found[1]


PREPARE = command("prepare")
SERVE = command("serve the pages")


@dataclass
class Checkout:
    """A copy of the desk in a folder of its own, and what a person exports before the commands."""

    folder: Path
    database_url: str
    port: int = field(default_factory=free_port)

    def environment(self, **changes: str) -> dict[str, str]:
        return {
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "DATABASE_URL": self.database_url,
            "TEMPORAL_ADDRESS": os.environ["TEMPORAL_ADDRESS"],
            "DJANGO_SECRET_KEY": SECRETS["DJANGO_SECRET_KEY"],
            "DJANGO_HTTPS": "0",
            "WEB_BIND": f"127.0.0.1:{self.port}",
            **changes,
        }

    def run(self, line: str, **changes: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["/bin/sh", "-c", line],
            cwd=self.folder,
            env=self.environment(**changes),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def serve(self) -> Running:
        return Running(
            subprocess.Popen(
                ["/bin/sh", "-c", f"exec {SERVE}"],
                cwd=self.folder,
                env=self.environment(),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_of_the_desk(tmp_path_factory.mktemp("alone") / "desk")


@pytest.fixture
def checkout(untouched: Path) -> Checkout:
    """One for all that comes to nothing, so that it leaves nothing."""
    return Checkout(untouched, f"postgresql://desk@127.0.0.1:{free_port()}/desk")


@pytest.fixture
def empty_database() -> Iterator[str]:
    name = f"alone_{secrets.token_hex(4)}"
    server = urlsplit(os.environ["DATABASE_URL"])
    with psycopg.connect(server.geturl(), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
        yield server._replace(path=f"/{name}").geturl()
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def test_the_readmes_commands_lead_to_a_page_that_answers(tmp_path: Path, empty_database: str) -> None:
    checkout = Checkout(copy_of_the_desk(tmp_path / "desk"), empty_database)

    prepared = checkout.run(PREPARE)
    assert prepared.returncode == 0, prepared.stderr
    web = checkout.serve()
    try:
        web.wait_for("Listening at")
        address = f"http://127.0.0.1:{checkout.port}/sign-in/"
        with urllib.request.urlopen(address, timeout=SECONDS_TO_ANSWER) as page:
            status, text = page.status, page.read().decode()
    finally:
        ended = web.stop()

    assert status == 200
    assert re.search(r"/static/desk\.[0-9a-f]{12}\.css", text)
    assert "Traceback" not in web.said
    assert ended == 0


def test_the_web_says_what_to_run_where_the_static_files_were_not_collected(checkout: Checkout) -> None:
    served = checkout.run(SERVE)

    assert served.returncode == 1
    assert "run `python manage.py collectstatic --no-input`" in served.stderr
    assert "Traceback" not in served.stderr
    assert "Listening" not in served.stderr


@pytest.mark.parametrize("debug", ["0", "1"])
def test_the_web_says_in_one_sentence_which_setting_is_missing(checkout: Checkout, debug: str) -> None:
    served = checkout.run(SERVE, DJANGO_SECRET_KEY="", DJANGO_DEBUG=debug)

    assert served.returncode == 1
    assert served.stderr.endswith("\nDJANGO_SECRET_KEY must be set to a long random text.\n")
    assert "Traceback" not in served.stderr


@pytest.mark.parametrize("name", ["migrate", "create_roles", "runworker"])
def test_manage_says_in_one_sentence_which_setting_is_missing(checkout: Checkout, name: str) -> None:
    refused = checkout.run(f"python manage.py {name}", DJANGO_SECRET_KEY="")

    assert refused.returncode == 1
    assert refused.stderr == "DJANGO_SECRET_KEY must be set to a long random text.\n"


@pytest.mark.parametrize("name", ["migrate", "create_roles"])
def test_manage_says_in_one_sentence_that_the_database_is_away(checkout: Checkout, name: str) -> None:
    refused = checkout.run(f"python manage.py {name}")

    assert refused.returncode == 1
    assert ALL_LINES.match(refused.stderr), refused.stderr
    assert "DATABASE_URL" in refused.stderr
    assert "Connection refused" in refused.stderr


@pytest.mark.parametrize("changes", [{"DJANGO_SECRET_KEY": ""}, {}])
def test_manage_shows_where_it_happened_when_asked(checkout: Checkout, changes: dict[str, str]) -> None:
    refused = checkout.run("python manage.py migrate --traceback", **changes)

    assert refused.returncode == 1
    assert "Traceback (most recent call last)" in refused.stderr
