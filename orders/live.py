"""What operators see stays true by itself: one LISTEN connection for each web process, and a stream for each browser.

A committed event NOTIFYs `orders_changed`. The hub loads the changed orders once, renders their rows once for each
kind of viewer, and fans the HTML out: those who may decide and those who may only look, each in the zones and locales
of who is there. Whatever may have been missed, on either side, is answered with `catch-up`: the page then asks for
what it shows. So nothing here has to be reliable. Of a bulk only the name is told: a page that shows it asks.
"""

import asyncio
import contextlib
import json
import logging
import random
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from typing import Any

import psycopg
from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, User
from django.db import DatabaseError, close_old_connections, connections
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.template.loader import render_to_string
from django.views.decorators.http import require_GET

from orders import conventions, notes, selectors
from orders.context import desk_state
from orders.conventions import Conventions
from orders.mine import preferred
from orders.roles import DECIDE_ESCALATED, permission
from orders.rows import orders_row, queue_row
from orders.services import second_factor
from orders.states import Action

logger = logging.getLogger(__name__)

CHANNEL = "orders_changed"
BULK = "bulk "  # what its notification begins with; the others are orders
PING_SECONDS = 15.0
WELCOME_SECONDS = 30.0  # how long a stream may outlive a sign-out or a right; a ping longer at most
STREAM_SECONDS = (300.0, 900.0)  # a stream ends by itself: rights are looked at again, and load spreads anew
DESK_SECONDS = 2.0
LISTEN_CHECK_SECONDS = 30.0
RETRY_SECONDS = (0.2, 5.0)
FRAMES_HELD = 30  # pieces of up to BATCH changes, for a browser that does not keep up; then it catches up instead
BATCH = 100  # more changes than this at once are told by `catch-up`
KINDS = 24  # of viewers that are rendered for, the most frequent; others catch up


def frame(event: str, data: object) -> bytes:
    return f"event: {event}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()


CATCH_UP = frame("catch-up", {})
AWAY = frame("away", {})
PING = b": ping\n" + frame("ping", {})  # an event besides the comment: scripts do not see comments
RETRY = b"retry: 1000\n\n"


# Fragments


def may_decide(user: AbstractBaseUser | AnonymousUser) -> bool:
    return all(user.has_perm(permission(action)) for action in (Action.APPROVE, Action.REJECT))  # type: ignore[union-attr]


def leads(user: AbstractBaseUser | AnonymousUser) -> bool:
    return user.has_perm(DECIDE_ESCALATED)  # type: ignore[union-attr]


def desk_fragments(state: Mapping[str, Any]) -> list[str]:
    return [render_to_string(f"orders/_{name}.html", dict(state)) for name in ("engine", "waiting", "queue_sum")]


@dataclass(frozen=True)
class Viewer:
    """What a fragment depends on besides its order."""

    may_decide: bool
    leads: bool
    conventions: Conventions

    @classmethod
    def of(cls, user: User) -> "Viewer":
        return cls(may_decide(user), leads(user), preferred(user))


@dataclass
class Subscriber:
    """One open stream."""

    viewer: Viewer
    frames: "asyncio.Queue[bytes | None]" = field(default_factory=lambda: asyncio.Queue(FRAMES_HELD))

    def __hash__(self) -> int:
        return id(self)

    def offer(self, sent: bytes | None) -> None:
        """Never waits: one who does not keep up is told to catch up."""
        if self.frames.full() or sent is None:
            while not self.frames.empty():
                self.frames.get_nowait()
            sent = None if sent is None else CATCH_UP
        self.frames.put_nowait(sent)


class Hub:
    """Listens for this process and tells its subscribers. Belongs to one event loop."""

    def __init__(self) -> None:
        self.subscribers: set[Subscriber] = set()
        self.is_listening = False
        self._tasks: list[asyncio.Task[None]] = []
        self._changed: set[uuid.UUID] = set()
        self._wake = asyncio.Event()
        self._desk_told: tuple[object, ...] = ()

    def subscribe(self, subscriber: Subscriber) -> None:
        self.subscribers.add(subscriber)
        if not self._tasks:
            self._tasks = [
                asyncio.create_task(self._listen(), name="live: listen"),
                asyncio.create_task(self._tell_changes(), name="live: tell"),
                asyncio.create_task(self._watch_desk(), name="live: desk"),
            ]
        if self.is_listening:
            subscriber.offer(CATCH_UP)

    def unsubscribe(self, subscriber: Subscriber) -> None:
        self.subscribers.discard(subscriber)

    def end_streams(self) -> None:
        for subscriber in self.subscribers:
            subscriber.offer(None)

    async def close(self) -> None:
        self.end_streams()
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _tell_all(self, sent: bytes) -> None:
        for subscriber in self.subscribers:
            subscriber.offer(sent)

    async def _listen(self) -> None:
        wait = RETRY_SECONDS[0]
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(
                    **connection_parameters(), autocommit=True
                ) as connection:
                    # raw SQL: listening is no query
                    await connection.execute(f"LISTEN {CHANNEL}")
                    wait = RETRY_SECONDS[0]
                    self.is_listening = True
                    self._tell_all(CATCH_UP)
                    await self._collect(connection)
            except (psycopg.Error, OSError) as error:
                logger.warning("The live listener lost the database, trying again in %.1f s: %s", wait, error)
            except Exception:  # without a listener every page would go stale, and say that it is live
                logger.exception("The live listener failed, trying again in %.1f s", wait)
            finally:
                self.is_listening = False
            self._tell_all(AWAY)
            await asyncio.sleep(wait)
            wait = min(wait * 2, RETRY_SECONDS[1])

    async def _collect(self, connection: "psycopg.AsyncConnection[Any]") -> None:
        while True:
            async for notification in connection.notifies(timeout=LISTEN_CHECK_SECONDS):
                if notification.payload.startswith(BULK):
                    self._tell_all(frame("bulk", {"bulk": notification.payload.removeprefix(BULK)}))
                    continue
                with contextlib.suppress(ValueError):  # somebody else's notification
                    self._changed.add(uuid.UUID(notification.payload))
                    self._wake.set()
            await connection.execute("SELECT 1")  # a silent connection may be a dead one

    async def _tell_changes(self) -> None:
        """What changes while one batch is rendered makes the next; an order that changed twice is told once."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            changed, self._changed = self._changed, set()
            if not self.subscribers:
                continue
            kinds = self._kinds()
            if len(changed) > BATCH:
                self._tell_all(CATCH_UP)
                continue
            try:
                frames = await sync_to_async(render_changes, thread_sensitive=False)(changed, kinds)
            except Exception:  # whatever one order has wrong with it, the others are told of
                logger.exception("Changed orders could not be told")
                self._tell_all(CATCH_UP)
                continue
            for subscriber in self.subscribers:
                if sent := frames.get(subscriber.viewer, CATCH_UP):
                    subscriber.offer(sent)

    def _kinds(self) -> list[Viewer]:
        return [viewer for viewer, _ in Counter(each.viewer for each in self.subscribers).most_common(KINDS)]

    async def _watch_desk(self) -> None:
        while True:
            await asyncio.sleep(DESK_SECONDS)
            if not self.subscribers:
                continue
            try:
                told, frames = await sync_to_async(render_desk, thread_sensitive=False)(self._kinds())
            except Exception:
                logger.exception("The state of the desk could not be told")
                continue
            if told != self._desk_told:
                self._desk_told = told
                for subscriber in self.subscribers:
                    subscriber.offer(frames.get(subscriber.viewer.conventions, CATCH_UP))


def connection_parameters() -> dict[str, Any]:
    """The database as Django knows it, for a connection of our own: LISTEN must not go through a pool."""
    database: dict[str, Any] = settings.DATABASES["default"]
    options = {name: value for name, value in database.get("OPTIONS", {}).items() if name != "pool"}
    named = {"dbname": "NAME", "user": "USER", "password": "PASSWORD", "host": "HOST", "port": "PORT"}
    parameters = {name: database.get(key) for name, key in named.items() if database.get(key)}
    return {"connect_timeout": 5, "application_name": "countersign live", **options, **parameters}


def render_changes(changed: Collection[uuid.UUID], kinds: Collection[Viewer]) -> dict[Viewer, bytes]:
    """All frames for each kind of viewer, in one piece that a stream sends at once.

    Runs in a thread; its connection goes back when done.
    """
    try:
        rows = selectors.rows(changed)
        mentioned, returns = notes.unseen_by(changed), selectors.last_returns(changed)
    finally:
        connections.close_all()
    told = {
        row.order.pk: {
            "order": str(row.order.pk),
            "version": row.order.version,
            "open": row.is_waiting,
            "review": row.review.pk if row.review else 0,
            "back": returns.get(row.order.pk, 0),
            "mentions": list(mentioned.get(row.order.pk, ())),
        }
        for row in rows
    }
    return {
        viewer: b"".join(frame("change", told[row.order.pk] | {"fragments": _rows_of(row, viewer)}) for row in rows)
        for viewer in kinds
    }


def _rows_of(row: selectors.Row, viewer: Viewer) -> list[str]:
    with conventions.by(viewer.conventions):
        in_queue = [queue_row(row, may_decide=viewer.may_decide, leads=viewer.leads)] if row.review else []
        return [*in_queue, orders_row(row.order)]


def render_desk(kinds: Collection[Viewer]) -> tuple[tuple[object, ...], dict[Conventions, bytes]]:
    """What the desk says around every page, and the frames that say it."""
    state = desk_state()
    try:
        engine, *counts = (state[name] for name in ("engine", "waiting", "helpless"))
        told = (engine.state, engine.unserved, str(engine.undelivered), *map(str, counts))
    finally:
        connections.close_all()
    sent = {}
    for wanted in {viewer.conventions for viewer in kinds}:
        with conventions.by(wanted):
            sent[wanted] = frame("desk", {"fragments": desk_fragments(state)})
    return told, sent


_hubs: dict[asyncio.AbstractEventLoop, Hub] = {}


def hub() -> Hub:
    """The hub of the running event loop; a web process has one of each."""
    loop = asyncio.get_running_loop()
    for ended in [known for known in _hubs if known.is_closed()]:
        del _hubs[ended]
    return _hubs.setdefault(loop, Hub())


def end_all_streams() -> None:
    """Let a web process stop without waiting for its streams."""
    for known in _hubs.values():
        known.end_streams()


# The stream


@login_not_required
@require_GET
async def stream(request: HttpRequest) -> HttpResponseBase:
    """Changes as server-sent events. Refuses without a redirect: an EventSource would follow it."""
    user = await request.auser()
    if not (user.is_authenticated and await sync_to_async(second_factor.is_shown)(user, request.session)):
        return HttpResponse("Sign in first.\n", status=401, content_type="text/plain")
    viewer = await sync_to_async(Viewer.of)(user)
    # The request lasts as long as the stream; its database connection must not.
    await sync_to_async(close_old_connections)()
    still_welcome = sync_to_async(is_still_welcome, thread_sensitive=False)
    return StreamingHttpResponse(
        frames(Subscriber(viewer), partial(still_welcome, request.session.session_key, user.pk, viewer)),
        content_type="text/event-stream",
        headers={
            "Cache-Control": "no-store",
            "X-Accel-Buffering": "no",
            "Content-Encoding": "identity",  # keeps GZipMiddleware away
        },
    )


def is_welcome(session_key: str | None, user_pk: int, viewer: Viewer) -> bool:
    """Whether who opened a stream is still signed in, with all that is asked of them, and sees what they saw."""
    asked = HttpRequest()
    asked.session = import_module(settings.SESSION_ENGINE).SessionStore(session_key)
    user = get_user(asked)
    same = isinstance(user, User) and user.pk == user_pk and Viewer.of(user) == viewer
    return same and second_factor.is_shown(user, asked.session)


def is_still_welcome(session_key: str | None, user_pk: int, viewer: Viewer) -> bool:
    """As `is_welcome` has it. Runs in a thread of its own."""
    try:
        return is_welcome(session_key, user_pk, viewer)
    except DatabaseError:
        return True  # the database is away, and tells nobody anything
    finally:
        connections.close_all()


async def frames(subscriber: Subscriber, still_welcome: Callable[[], Awaitable[bool]]) -> AsyncIterator[bytes]:
    """What one stream sends, until its time is up, its right is gone, or the process stops."""
    loop = asyncio.get_running_loop()
    until = loop.time() + random.uniform(*STREAM_SECONDS)  # noqa: S311 - spreads load, guards nothing
    here = hub()
    here.subscribe(subscriber)
    try:
        yield RETRY
        look_again = loop.time() + WELCOME_SECONDS
        while (left := until - loop.time()) > 0:
            sent: bytes | None = PING
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(PING_SECONDS, left)):  # `wait_for` would make a task of each wait
                    sent = await subscriber.frames.get()
            if sent is None:
                return
            if loop.time() >= look_again:
                if not await still_welcome():
                    return
                look_again = loop.time() + WELCOME_SECONDS
            yield sent
    finally:
        here.unsubscribe(subscriber)
