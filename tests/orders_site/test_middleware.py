"""How answers come: in how many bytes."""

import brotli
import pytest
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

from orders_site.middleware import Brotli

TEXT = b"<p>The same words, again and again.</p>" * 40


def answered(answer: HttpResponseBase, accept: str = "br") -> HttpResponseBase:
    request = HttpRequest()
    request.META["HTTP_ACCEPT_ENCODING"] = accept
    return Brotli(lambda _: answer).process_response(request, answer)


@pytest.mark.parametrize("accept", ["gzip, deflate, br, zstd", "br", "br;q=0.9, gzip"])
def test_a_page_comes_as_brotli_to_whoever_reads_it(accept: str) -> None:
    page = answered(HttpResponse(TEXT), accept)

    assert isinstance(page, HttpResponse)
    assert brotli.decompress(page.content) == TEXT
    assert page.headers["Content-Encoding"] == "br"
    assert page.headers["Content-Length"] == str(len(page.content))
    assert page.headers["Vary"] == "Accept-Encoding"


def test_its_length_tells_nothing() -> None:
    pages = [answered(HttpResponse(TEXT)) for _ in range(200)]

    contents = [page.content for page in pages if isinstance(page, HttpResponse)]
    assert {brotli.decompress(content) for content in contents} == {TEXT}
    assert max(map(len, contents)) - min(map(len, contents)) > 80


@pytest.mark.parametrize("accept", ["", "gzip, deflate", "gzip, br;q=0", "br;q=0.0, gzip", "vibrating"])
def test_whoever_does_not_read_it_gets_none(accept: str) -> None:
    assert "Content-Encoding" not in answered(HttpResponse(TEXT), accept)


@pytest.mark.parametrize(
    "answer",
    [
        HttpResponse(b"short"),
        StreamingHttpResponse([TEXT]),
        HttpResponse(TEXT, headers={"Content-Encoding": "identity"}),
    ],
    ids=["short", "a stream", "encoded"],
)
def test_what_is_short_or_a_stream_or_encoded_stays_as_it_is(answer: HttpResponseBase) -> None:
    assert answered(answer).headers.get("Content-Encoding") != "br"
