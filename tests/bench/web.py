"""One web process, as deployed, and somebody who is signed in there."""

import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import psutil
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client

from devstack.servers import free_port
from tests.bench.servers import Servers

TO_START = 60.0


@dataclass(frozen=True)
class Web:
    process: psutil.Process
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def running_web(servers: Servers) -> Iterator[Web]:
    """Raises TimeoutError where it does not answer."""
    port = free_port()
    environment = servers.environment | {"WEB_BIND": f"127.0.0.1:{port}", "WEB_CONCURRENCY": "1"}
    with servers.running(["-m", "gunicorn"], environment) as process:
        web = Web(process, port)
        _await_answer(port)
        yield web


def session_of(user: User) -> str:
    """What the cookie in somebody's open browser says."""
    client = Client()
    client.force_login(user)
    return client.cookies[settings.SESSION_COOKIE_NAME].value


def cookie_of(user: User) -> str:
    return f"{settings.SESSION_COOKIE_NAME}={session_of(user)}"


def _await_answer(port: int) -> None:
    until = time.monotonic() + TO_START
    while True:
        with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=1):
            return
        if time.monotonic() > until:
            raise TimeoutError("the web server does not answer")
        time.sleep(0.1)
