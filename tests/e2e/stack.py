"""The whole desk as a user has it: web server, worker, Temporal and a database of its own, on free ports."""

import json
import os
import re
import secrets
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
from playwright.sync_api import Browser, BrowserContext, Page, Response, sync_playwright

from devstack.servers import free_port
from tests.databases import database
from tests.servers import chromium_executable

BASE = Path(__file__).resolve().parent.parent.parent
PASSWORD = "correct horse battery"
CHROMIUM_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage"]


class Service:
    """One process of the desk, its output in a file."""

    def __init__(self, name: str, command: list[str], environment: dict[str, str], folder: Path) -> None:
        self.command = command
        self.log = folder / f"{name}.log"
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command, cwd=BASE, env=self._environment, stdout=log, stderr=log, start_new_session=True
            )

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(60)
            self._process = None


class Stack:
    """A running desk. `hands` does in its database what customers, other people and time would do."""

    def __init__(self, database_url: str, folder: Path, **settings: str) -> None:
        self.database_url = database_url
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        suffix = secrets.token_hex(4)
        self.environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.e2e.settings",
            "DJANGO_DEBUG": "1",
            "DJANGO_SECRET_KEY": secrets.token_urlsafe(50),
            "DATABASE_URL": database_url,
            "TEMPORAL_ORDERS_QUEUE": f"orders-{suffix}",
            "TEMPORAL_SHIPPING_QUEUE": f"shipping-{suffix}",
            "SIMULATOR_SECONDS": "0.05",
            "WEB_BIND": f"127.0.0.1:{self.port}",
            "DESK_URL": self.url,
            "MAIL_URL": (folder / "mails").as_uri(),
            "PYTHONUNBUFFERED": "1",
            **settings,
        }
        self.environment.pop("DATABASE_POOL", None)
        self.web = Service("web", [sys.executable, "-m", "gunicorn"], self.environment, folder)
        self.worker = Service("worker", [sys.executable, "manage.py", "runworker"], self.environment, folder)
        self.signed_in: dict[str, Any] = {}  # the cookies of whoever has been here
        self._hands: subprocess.Popen[str] | None = None

    def prepare(self) -> None:
        self._hands = subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.hands"],
            cwd=BASE,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.hands("people", password=PASSWORD)
        if self.environment["DJANGO_DEBUG"] == "0":
            self.hands("collect_static_files")

    def manage(self, *arguments: str) -> str:
        command = [sys.executable, "manage.py", *arguments]
        done = subprocess.run(command, cwd=BASE, env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def hands(self, do: str, **arguments: object) -> Any:
        assert self._hands is not None
        assert self._hands.stdin is not None
        assert self._hands.stdout is not None
        self._hands.stdin.write(json.dumps({"do": do, "with": arguments}) + "\n")
        self._hands.stdin.flush()
        return json.loads(self._hands.stdout.readline())

    def start_web(self) -> None:
        self.web.start()
        until = time.monotonic() + 60
        while True:
            with suppress(OSError), urllib.request.urlopen(f"{self.url}/healthz", timeout=1):  # noqa: S310
                return
            assert time.monotonic() < until, self.web.log.read_text()
            time.sleep(0.05)

    def end_listeners(self) -> int:
        """Cut the web server's LISTEN connection, as a restart of the database would; say how many there were."""
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            cut = connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name = 'countersign live'"
            ).fetchall()
        return len(cut)

    def stop(self) -> None:
        if self._hands:
            self._hands.communicate(timeout=30)
        self.web.stop()
        self.worker.stop()


@contextmanager
def running(folder: Path, *, worker: bool = True, **settings: str) -> Iterator[Stack]:
    """A desk on a new database of the run's server; both are gone afterwards."""
    with database("e2e") as url:
        stack = Stack(url, folder, **settings)
        try:
            stack.prepare()
            if worker:
                stack.worker.start()
            stack.start_web()
            yield stack
        finally:
            stack.stop()


@contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_executable(), args=CHROMIUM_FLAGS)
        try:
            yield browser
        finally:
            browser.close()


def sign_in(page: Page, stack: Stack, name: str) -> None:
    page.goto(f"{stack.url}/sign-in/")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{stack.url}/")


class Visitors:
    """Browsers with people in them: each has cookies of its own. Remembers what their consoles complain of."""

    def __init__(self, browser: Browser, stack: Stack) -> None:
        self._browser = browser
        self._stack = stack
        self._contexts: list[BrowserContext] = []
        self.complaints: list[str] = []
        self.on_answer: Callable[[Response], None] = lambda _: None

    def browser_of(self, name: str, **options: Any) -> BrowserContext:
        """A browser in which `name` is signed in."""
        if name not in self._stack.signed_in:
            with self._browser.new_context() as context:
                sign_in(context.new_page(), self._stack, name)
                self._stack.signed_in[name] = context.storage_state()
        return self.browser(storage_state=self._stack.signed_in[name], **options)

    def browser(self, **options: Any) -> BrowserContext:
        """A browser in which nobody is signed in."""
        context = self._browser.new_context(base_url=self._stack.url, **options)
        context.on("console", lambda message: self._hear(message.type, message.text))
        context.on("weberror", lambda error: self.complaints.append(str(error.error)))
        context.on("response", lambda answer: self.on_answer(answer))
        self._contexts.append(context)
        return context

    def _hear(self, kind: str, text: str) -> None:
        # That an answer was an error, or that there was none, is told by the page itself.
        no_answer = r"Failed to load resource|net::ERR_|^htmx:(sendError|sendAbort|afterRequest)|^Response Status"
        if kind in {"error", "warning"} and not re.search(no_answer, text):
            self.complaints.append(text)

    def leave(self) -> None:
        for context in self._contexts:
            context.close()
        self._contexts.clear()
