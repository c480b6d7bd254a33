"""The real servers behind the tests; pytest loads this module as a plugin before Django reads its settings.

One throw-away PostgreSQL and one Temporal serve the whole run, all its xdist workers included. A test that
needs a Temporal to itself, to stop it for example, takes `dev_server()`.
"""

import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from playwright.sync_api import sync_playwright

from devstack.servers import (
    BIN,
    FAST_AND_FORGETFUL,
    PostgresServer,
    TemporalServer,
    free_port,
    start_together,
)
from tests.databases import remove_template

# For WorkflowEnvironment.start_time_skipping(test_server_existing_path=...)
TIME_SKIPPING_SERVER = str(BIN / "temporal-test-server")


class CannotTest(Exception):
    """What is missing on this machine, and what to install."""


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None, None, None]:
    if "PYTEST_XDIST_WORKER" not in os.environ:
        # A CI that loses patience sends SIGTERM; the servers are to be stopped then too.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        servers = ExitStack()
        early_config.add_cleanup(servers.close)
        os.environ |= servers.enter_context(environment_of_the_run())
    return (yield)


@pytest.hookimpl(tryfirst=True)  # xdist has one too, and asks it before those of plugins that were there earlier
def pytest_xdist_auto_num_workers() -> int:
    """Tests wait for servers and browsers a third of the time and more."""
    return min(os.cpu_count() or 1, 4) * 3 // 2


@contextmanager
def environment_of_the_run() -> Iterator[dict[str, str]]:
    """Start the servers and say how Django finds them, and nothing of what the developer's shell says."""
    for name in [name for name in os.environ if name.startswith(("DJANGO_", "MAIL_", "TEMPORAL_"))]:
        del os.environ[name]
    with TemporaryDirectory(prefix="countersign-tests-") as folder:
        postgres = PostgresServer(Path(folder), FAST_AND_FORGETFUL)
        temporal = TemporalServer(Path(folder), free_port())
        given = os.environ.get("TEST_DATABASE_URL")
        try:
            start_together([temporal] if given else [temporal, postgres])
            yield {
                "DATABASE_URL": given or postgres.url,
                "TEST_TEMPLATE": f"template_{secrets.token_hex(6)}",
                **temporal.environment,
                "TEST_TEMPORAL_FOLDER": folder,
                "DJANGO_DEBUG": "0",
                "DJANGO_HTTPS": "0",
                "SECOND_FACTOR": "0",
                "RECONCILE_EVERY": "0",
                "DJANGO_SECRET_KEY": secrets.token_urlsafe(50),
                **look_for_chromium(),
            }
        finally:
            if given:
                remove_template()
            temporal.kill()
            postgres.stop()


@contextmanager
def dev_server() -> Iterator[TemporalServer]:
    """A Temporal of one's own: `stop()` or `kill()` it and `start()` it again, on the same port and file."""
    with TemporaryDirectory(prefix="countersign-temporal-") as folder:
        server = TemporalServer(Path(folder), free_port())
        try:
            server.start()
            yield server
        finally:
            server.kill()


def chromium_executable() -> str:
    """The browser for the tests that need one.

    Raises CannotTest where there is none: then those tests fail, and the others still run.
    """
    if "CHROMIUM_EXECUTABLE" not in os.environ:
        raise CannotTest(os.environ["CHROMIUM_MISSING"])
    return os.environ["CHROMIUM_EXECUTABLE"]


def look_for_chromium() -> dict[str, str]:
    """Find or install the browser once, before there are several workers that would all try."""
    try:
        return {"CHROMIUM_EXECUTABLE": os.environ.get("CHROMIUM_EXECUTABLE") or installed_chromium()}
    except CannotTest as missing:
        return {"CHROMIUM_MISSING": str(missing)}


def installed_chromium() -> str:
    found = chromium_of_the_system() or chromium_of_playwright()
    if found is None:
        say("No Chromium here yet: letting Playwright download one")
        run([sys.executable, "-m", "playwright", "install", "chromium"])
        found = chromium_of_playwright()
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        say("Playwright's Chromium does not run here: installing a package")
        run(["apt-get", "update"])
        for package in PACKAGES:
            run(["apt-get", "install", "--yes", "--no-install-recommends", package])
            if found := chromium_of_the_system():
                break
    if found is None:
        raise CannotTest(
            "The browser tests need Chromium: install the package `chromium-headless-shell` or `chromium`, or run "
            "`.venv/bin/playwright install --with-deps chromium`, or set CHROMIUM_EXECUTABLE to one."
        )
    return found


# The shell is the same browser without its own windows, menus and services: a page costs a third of the CPU time.
PACKAGES = ("chromium-headless-shell", "chromium")


def chromium_of_the_system() -> str | None:
    paths = map(shutil.which, [*PACKAGES, "chromium-browser", "google-chrome"])
    return next((path for path in paths if path and runs(path)), None)


def chromium_of_playwright() -> str | None:
    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if runs(path) else None


def runs(browser: str) -> bool:
    """Whether it can be started: some systems have a stub of that name, or lack libraries it needs."""
    return Path(browser).exists() and run([browser, "--version"])


def run(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False, timeout=600).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def say(message: str) -> None:
    print(f"==> {message}", file=sys.__stderr__, flush=True)
