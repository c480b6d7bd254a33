"""A deployment without an engine: what the image holds, run by compose's own commands on the run's real servers.

What differs from compose is listed in `Deployment.environment`, and nothing else does.
"""

import fcntl
import os
import secrets
import shutil
import signal
import subprocess
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from devstack.servers import BIN, free_port
from tests.production.deployment import (
    ROOT,
    SECRETS,
    environment_of_the_image,
    files_of_the_image,
    instructions,
    service,
)

SECONDS_TO_ANSWER = 30
IN_THE_CONTAINER = "8000"


@dataclass
class Deployment:
    """One desk in production's shape, in a folder that holds what the image holds."""

    folder: Path
    database_url: str
    given: dict[str, str]
    port: int = field(default_factory=free_port)

    def environment(self, name: str, **given: str) -> dict[str, str]:
        """What the service's processes get to see.

        Ours: where the servers are, and an address of this machine in place of the container's.
        """
        return {
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            **environment_of_the_image(),
            **service(name, self.given | given)["environment"],
            "WEB_BIND": f"127.0.0.1:{self.port}",
            "DATABASE_URL": self.database_url,
            **{name: os.environ[name] for name in ("TEMPORAL_ADDRESS", "TEMPORAL_CONFIG_FILE")},
        }

    def command(self, name: str, **given: str) -> list[str]:
        found = service(name, self.given | given)
        return [*found.get("entrypoint", []), *found["command"]]

    def health_check(self, name: str) -> list[str]:
        _, *command = service(name, self.given)["healthcheck"]["test"]
        return [part.replace(f":{IN_THE_CONTAINER}/", f":{self.port}/") for part in command]

    def run(self, name: str, command: list[str], **given: str) -> "subprocess.CompletedProcess[str]":
        """Run a command in a container of the service, so to say, to its end."""
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment(name, **given),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def run_once(self, name: str, **given: str) -> "subprocess.CompletedProcess[str]":
        return self.run(name, self.command(name, **given), **given)

    def is_healthy(self, name: str) -> "subprocess.CompletedProcess[str]":
        return self.run(name, self.health_check(name))

    @contextmanager
    def running(self, name: str, *, says: str) -> Iterator["Running"]:
        """The service's process, from its line `says` on; stopped with SIGTERM as compose does."""
        process = Running(
            subprocess.Popen(
                self.command(name),
                cwd=self.folder,
                env=self.environment(name),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
        try:
            process.wait_for(says)
            yield process
        finally:
            process.stop()

    def connect(self) -> "psycopg.Connection[tuple[Any, ...]]":
        return psycopg.connect(self.database_url, autocommit=True)


class Running:
    """A process whose output is read as it comes, so that it never waits for us."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self._said: list[str] = []
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as output:
            for line in output:
                with self._news:
                    self._said.append(line)
                    self._news.notify_all()
        with self._news:
            self._news.notify_all()

    @property
    def said(self) -> str:
        return "".join(self._said)

    def wait_for(self, text: str) -> None:
        with self._news:
            self._news.wait_for(lambda: text in self.said or not self._reader.is_alive(), SECONDS_TO_ANSWER)
        assert text in self.said, f"it did not say {text!r}:\n{self.said}"

    def kill(self) -> None:
        self._process.kill()
        self.stop()

    def stop(self) -> int:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        status = self._process.wait(timeout=SECONDS_TO_ANSWER)
        self._reader.join()
        return status


def copy_of_the_desk(folder: Path) -> Path:
    """What the image is made of, before any command has run on it."""
    folder.mkdir()
    for name in files_of_the_image():
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the image holds: a copy of this process's own, of the one that the run's first process builds."""
    of_all = (
        tmp_path_factory.getbasetemp().parent if "PYTEST_XDIST_WORKER" in os.environ else tmp_path_factory.mktemp("run")
    )
    built = of_all / "image"
    with (of_all / "image.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not built.exists():
            build_image(tmp_path_factory.mktemp("build") / "image").rename(built)
    return shutil.copytree(built, tmp_path_factory.mktemp("image") / "desk")


def build_image(folder: Path) -> Path:
    """Copy, collect and compile by the Dockerfile's own commands."""
    copy_of_the_desk(folder)
    environment = {"PATH": f"{BIN}:{os.environ['PATH']}"}
    for program in ("collectstatic", "compileall"):
        (line,) = [rest for instruction, rest in instructions() if instruction == "RUN" and program in rest]
        subprocess.run(["/bin/sh", "-c", line], cwd=folder, env=environment, check=True, timeout=60)
    return folder


@pytest.fixture(scope="session")
def undeployed(image: Path) -> Iterator[Deployment]:
    """A deployment before its first command: its database is empty."""
    name = f"production_{secrets.token_hex(4)}"
    server = urlsplit(os.environ["DATABASE_URL"])
    given = {
        **SECRETS,
        "DJANGO_ALLOWED_HOSTS": "desk.example.com",
        "SIMULATOR_SECONDS": "0",
        "TEMPORAL_ORDERS_QUEUE": f"orders-{name}",
        "TEMPORAL_SHIPPING_QUEUE": f"shipping-{name}",
        "FORWARDED_ALLOW_IPS": "192.0.2.1",  # seen from a container, the proxy is not on loopback
    }
    with psycopg.connect(server.geturl(), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
        yield Deployment(image, server._replace(path=f"/{name}").geturl(), given)
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture(scope="session")
def deployment(undeployed: Deployment) -> Deployment:
    """Deployed: `migrate` has run to its end."""
    migrated = undeployed.run_once("migrate")
    assert migrated.returncode == 0, migrated.stdout + migrated.stderr
    return undeployed


@dataclass
class Answer:
    status: int
    headers: Mapping[str, str]
    cookies: list[str]
    text: str


class Browser:
    """Somebody behind the proxy that does TLS. Redirects are shown, not followed."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._cookies: dict[str, str] = {}

    def ask(
        self,
        path: str,
        data: Mapping[str, str] | None = None,
        *,
        scheme: str = "https",
        host: str = "desk.example.com",
    ) -> Answer:
        headers = {
            "Host": host,
            "X-Forwarded-Proto": scheme,
            "Cookie": "; ".join(f"{name}={value}" for name, value in self._cookies.items()),
            "Origin": "https://desk.example.com",
        }
        body = None if data is None else urllib.parse.urlencode(data).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self._port}{path}", body, headers)
        opener = urllib.request.build_opener(_AsItComes())
        with opener.open(request, timeout=SECONDS_TO_ANSWER) as response:
            cookies = response.headers.get_all("Set-Cookie", [])
            for cookie in cookies:
                name, _, value = cookie.partition(";")[0].partition("=")
                self._cookies[name] = value
            return Answer(response.status, response.headers, cookies, response.read().decode())


class _AsItComes(urllib.request.HTTPErrorProcessor):
    def http_response(self, request: urllib.request.Request, response: Any) -> Any:
        return response


@pytest.fixture(scope="session")
def web(deployment: Deployment) -> Iterator[Running]:
    """It listens before it has loaded what it serves: its first answer may take as long as `start_period`."""
    with deployment.running("web", says="Listening at") as running:
        Browser(deployment.port).ask("/healthz")
        yield running


@pytest.fixture
def browser(web: Running, deployment: Deployment) -> Browser:
    return Browser(deployment.port)
