"""How much of a request's body is read: no more than Django would take, whatever the request says of its length.

Django itself measures a body that tells its length; one that comes in pieces it would write to the disk whole before
anybody could refuse it.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any

Scope = dict[str, Any]
Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

# What a client that is too far gone to stop may still send before the connection is closed: so it reads our answer.
MOST_THROWN_AWAY = 16_000_000


class BoundedBodies:
    """Answers 413 as soon as a body is longer than `most` bytes, and the application hears no more of the request."""

    def __init__(self, application: Application, *, most: int) -> None:
        self._application = application
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        if _told_length(scope) > self._most:
            await _refuse(scope, receive, send)
            return
        read = 0

        async def receive_within() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read <= self._most:
                return message
            await _refuse(scope, receive, send, more=message.get("more_body", False))
            return {"type": "http.disconnect"}

        await self._application(scope, receive_within, send)


def _told_length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name.lower() == b"content-length" and value.isdigit():
            return int(value[:20])
    return 0


async def _refuse(scope: Scope, receive: Receive, send: Send, *, more: bool = True) -> None:
    wrong, status = "The body is too large.", HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    if scope["path"].startswith("/api/"):
        errors = [{"field": "body", "message": "is larger than 1 MB"}]
        problem = {"type": "about:blank", "title": status.phrase, "status": status, "detail": wrong, "errors": errors}
        content_type, text = b"application/problem+json", json.dumps(problem)
    else:
        content_type, text = b"text/plain; charset=utf-8", f"{wrong}\n"
    headers = [(b"content-type", content_type), (b"cache-control", b"no-store"), (b"connection", b"close")]
    headers.append((b"content-length", str(len(text)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})
    thrown_away = 0
    while more and thrown_away < MOST_THROWN_AWAY:
        message = await receive()
        thrown_away += len(message.get("body", b""))
        more = message["type"] == "http.request" and message.get("more_body", False)
