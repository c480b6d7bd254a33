"""How much of a request is read before it is refused."""

import json
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator

from orders_site.bodies import MOST_THROWN_AWAY, BoundedBodies

MOST = 1_000
Communicator: Any = ApplicationCommunicator


class Reader:
    """An application that reads all it is given, as Django does."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.read = b""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        more = True
        while more:
            message = await receive()
            self.heard.append(message["type"])
            self.read += message.get("body", b"")
            more = message.get("more_body", False)
        if self.heard[-1] != "http.disconnect":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})


def request(reader: Any, *parts: bytes, path: str = "/api/v1/orders", length: str = "") -> Any:
    headers = [(b"content-length", length.encode())] if length else []
    scope = {"type": "http", "method": "POST", "path": path, "headers": headers, "query_string": b""}
    communicator = Communicator(BoundedBodies(reader, most=MOST), scope)
    for number, part in enumerate(parts, start=1):
        communicator.input_queue.put_nowait({"type": "http.request", "body": part, "more_body": number < len(parts)})
    return communicator


async def answer(communicator: Any) -> tuple[int, dict[bytes, bytes], bytes]:
    start, body = await communicator.receive_output(), await communicator.receive_output()
    await communicator.wait()
    return start["status"], dict(start["headers"]), body["body"]


async def test_what_is_small_enough_is_read_whole_in_however_many_pieces() -> None:
    reader = Reader()

    status, _, _ = await answer(request(reader, *[b"x" * 100] * 10))

    assert (status, len(reader.read)) == (200, MOST)


async def test_a_body_in_pieces_is_refused_at_the_piece_that_is_too_much() -> None:
    reader = Reader()

    status, headers, body = await answer(request(reader, *[b"x" * 100] * 50))

    assert status == 413
    assert headers[b"content-type"] == b"application/problem+json"
    assert headers[b"connection"] == b"close"
    assert json.loads(body)["errors"] == [{"field": "body", "message": "is larger than 1 MB"}]
    assert reader.heard == ["http.request"] * 10 + ["http.disconnect"]


@pytest.mark.parametrize("length", ["1001", "99999999999999999999999999"])
async def test_a_length_that_is_too_much_is_refused_before_anything_is_read(length: str) -> None:
    reader = Reader()

    status, _, _ = await answer(request(reader, b"", length=length))

    assert (status, reader.heard) == (413, [])


async def test_a_page_is_told_in_plain_words() -> None:
    status, headers, body = await answer(request(Reader(), b"x" * 1_001, path="/sign-in/"))

    assert (status, headers[b"content-type"], body) == (
        413,
        b"text/plain; charset=utf-8",
        b"The body is too large.\n",
    )


async def test_who_never_stops_is_left() -> None:
    communicator = request(Reader(), *[b"x" * 1_000_000] * 100)

    await answer(communicator)

    assert communicator.input_queue.qsize() == 100 - 1 - MOST_THROWN_AWAY // 1_000_000


async def test_a_stream_is_no_request_with_a_body() -> None:
    reader = Reader()
    communicator = Communicator(BoundedBodies(reader, most=MOST), {"type": "websocket", "headers": []})
    communicator.input_queue.put_nowait({"type": "websocket.connect"})

    await communicator.receive_nothing()

    assert reader.heard == ["websocket.connect"]
