"""One trace from a click to the carrier, where OTEL_EXPORTER_OTLP_ENDPOINT is set. Without it nothing of OpenTelemetry
is imported, here or anywhere else.

Spans name orders, steps and outcomes. People, and what errors say, are never in them.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from django.conf import settings

if TYPE_CHECKING:
    from orders.spans import Spans

Kind = Literal["server", "producer", "consumer", "client"]  # in the words of OpenTelemetry
Finish = Callable[..., None]  # told what came out: a better name of the span, and more attributes

_spans: "Spans | None" = None


def begin(service: str) -> None:
    """Have this process send its spans from now on, as `service`; nothing where there is nowhere to send them."""
    global _spans
    if settings.OTEL_EXPORTER_OTLP_ENDPOINT:
        from orders.spans import Spans

        _spans = Spans(service, endpoint=settings.OTEL_EXPORTER_OTLP_ENDPOINT)


def end() -> None:
    """Send what is there still, for seconds at most: nobody waits for an endpoint that is away."""
    global _spans
    if _spans:
        _spans.end()
        _spans = None


def is_on() -> bool:
    return _spans is not None


def traceparent() -> str:
    """The span under way, as the W3C writes it in a header; empty where there is none."""
    return _spans.traceparent() if _spans else ""


def span(
    name: str,
    kind: Kind,
    *,
    parent: str = "",
    begun_at: datetime | None = None,
    unless: type[Exception] | tuple[()] = (),
    **attributes: str | int,
) -> AbstractContextManager[Finish]:
    """Span what is done within, under the span `parent`, or else under the one that is under way.

    What raises is told by the name of the error's type; `unless` is an error after which nothing is told, since all of
    it is done again.
    """
    if _spans is None:
        return _nothing()
    return _spans.span(name, kind, parent=parent, begun_at=begun_at, unless=unless, **attributes)


def mark(name: str, traceparent: str, *, parent: str, at_ns: int, **attributes: str | int) -> None:
    """Tell of an instant, in nanoseconds since 1970, as the span that `traceparent` names, under the span `parent`."""
    if _spans:
        _spans.mark(name, traceparent, parent=parent, at_ns=at_ns, **attributes)


@contextmanager
def _nothing() -> Iterator[Finish]:
    yield lambda *_, **__: None
