"""A body that is too large, sent to the real web server without a word of its length."""

import http.client
import json
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.production.conftest import SECONDS_TO_ANSWER, Deployment, Running

PIECE = b" " * 100_000
HEADERS = {"Host": "desk.example.com", "X-Forwarded-Proto": "https", "Content-Type": "application/json"}


@pytest.mark.parametrize("megabytes", [3, 10])
def test_it_is_refused_and_the_next_request_answered(web: Running, deployment: Deployment, megabytes: int) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(megabytes * 10):
            yield PIECE

    with closing(http.client.HTTPConnection("127.0.0.1", deployment.port, timeout=SECONDS_TO_ANSWER)) as connection:
        connection.request("POST", "/api/v1/orders", body=pieces(), headers=HEADERS, encode_chunked=True)
        with connection.getresponse() as response:
            assert response.status == 413
            assert response.headers["Content-Type"] == "application/problem+json"
            assert json.load(response)["errors"][0]["field"] == "body"
        connection.request("GET", "/healthz", headers=HEADERS)
        with connection.getresponse() as response:
            assert response.status == 200
