"""The one block that `make up` prints when the desk answers: where it is, and who may sign in."""

import json
import os
import shlex
import time
from http.client import HTTPConnection, HTTPException
from io import StringIO
from typing import TypedDict
from urllib.parse import unquote, urlsplit

from devstack.settings import DATA_DIR, Settings

SECONDS_TO_ANSWER = 60


class Member(TypedDict):
    """One of the demo cast; the password is known only to the run that made it."""

    username: str
    role: str
    password: str | None


def welcome(settings: Settings) -> None:
    """Wait for the desk's first answer, then print the block.

    Only then is the cast made: passwords are shown once, and not lost to a start that fails.
    """
    if answers(settings.port):
        print(block(settings, demo_cast()), flush=True)
    else:
        print(f"The desk does not answer at {settings.desk_url}; the lines of `web` may say why.", flush=True)


def answers(port: int) -> bool:
    """Whether the web server answers within its time."""
    deadline = time.monotonic() + SECONDS_TO_ANSWER
    while time.monotonic() < deadline:
        connection = HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/healthz")
            if connection.getresponse().status == 200:
                return True
        except (OSError, HTTPException):
            pass
        finally:
            connection.close()
        time.sleep(0.05)
    return False


def demo_cast() -> list[Member]:
    """Nobody, unless this is a demonstration."""
    from django.conf import settings
    from django.core.management import call_command
    from django.db import connection

    if not settings.DEBUG:
        return []
    output = StringIO()
    call_command("create_demo_cast", json=True, stdout=output)
    connection.close()
    members: list[Member] = json.loads(output.getvalue())
    return members


def block(settings: Settings, cast: list[Member]) -> str:
    lines = [f"The desk      {settings.desk_url}"]
    lines += sign_in_lines(settings, cast)
    if os.environ.get("TEMPORAL_UI_URL"):
        lines.append(f"Temporal      {os.environ['TEMPORAL_UI_URL']}")
    if folder := mail_folder(os.environ.get("MAIL_URL", "")):
        lines.append(f"Mail          to customers stays in {folder}")
    lines.append("To stop       Ctrl-C; orders in flight go on at the next `make up`")
    if settings.demo:
        lines.append("Without demo  make up DEMO=0 DATA_DIR=.data/empty starts with an empty desk")
    return "\n".join(["", *("  " + line for line in lines), ""])


def mail_folder(url: str) -> str:
    """The folder that MAIL_URL names, empty where it names a server or nothing."""
    parts = urlsplit(url)
    return unquote(parts.path) if parts.scheme == "file" else ""


def sign_in_lines(settings: Settings, cast: list[Member]) -> list[str]:
    if not cast:
        return ["Sign in as    whom `createsuperuser` made"]
    people = [f"{member['username']:<8}{member['role']:<10}{member['password'] or ''}".rstrip() for member in cast]
    if any(member["password"] for member in cast):
        note = "demo only; the passwords are shown this once"
    else:
        where = "" if settings.data_dir == DATA_DIR.resolve() else f"DATA_DIR={shlex.quote(str(settings.data_dir))} "
        note = f"demo only; new passwords: {where}.venv/bin/python -m devstack.manage create_demo_cast --reset"
    return [f"Sign in as    {note}", *("              " + person for person in people)]
