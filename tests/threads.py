"""Threads of a test's own that use the ORM.

Django opens a connection in each thread, and only the thread can close it in time: one left to the garbage collector
is complained of in whatever test runs by then.
"""

import asyncio
import functools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

import psycopg
from django.db import connections

P = ParamSpec("P")
R = TypeVar("R")


def closing(job: Callable[P, R]) -> Callable[P, R]:
    """The job, which then closes the connections that it opened in its thread."""

    @functools.wraps(job)
    def then_close(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return job(*args, **kwargs)
        finally:
            connections.close_all()

    return then_close


def at_once(*jobs: Callable[[], Any], may_raise: type[Exception] | tuple[type[Exception], ...] = ()) -> list[Any]:
    """Run each in a thread of its own, all at the same instant; answer with what each returned, or raised.

    Raises what a job raised that it was not expected to.
    """
    gate = threading.Barrier(len(jobs))

    def run(job: Callable[[], Any]) -> Any:
        gate.wait()
        try:
            return job()
        except may_raise as error:
            return error

    with ThreadPoolExecutor(len(jobs)) as threads:
        return list(threads.map(closing(run), jobs))


async def in_a_thread(job: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """As `asyncio.to_thread`, for work that uses the ORM."""
    return await asyncio.to_thread(closing(job), *args, **kwargs)


class Watch:
    """Remembers who opened which connection, so that a test that leaves one open is the one that fails."""

    def __init__(self) -> None:
        self._opened: list[tuple[threading.Thread, psycopg.Connection[Any]]] = []

    def opened(self, connection: Any, **_: object) -> None:
        """A receiver of `connection_created`."""
        self._opened.append((threading.current_thread(), connection.connection))

    def left_open(self) -> list[str]:
        """The names of threads that have ended, and whose connections have not; closes them."""
        left = [(thread, held) for thread, held in self._opened if not held.closed and not thread.is_alive()]
        for _, held in left:
            held.close()
        self._opened = [(thread, held) for thread, held in self._opened if not held.closed]
        return [thread.name for thread, _ in left]
