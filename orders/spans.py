"""What makes spans and sends them: the one module that imports OpenTelemetry. `orders.tracing` is the door to it."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.decorators import sync_and_async_middleware
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import SpanKind, Status, StatusCode, use_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from orders import tracing
from orders.tracing import Finish, Kind

SECONDS_TO_END = 2.0
WRITES = ("POST", "PUT", "PATCH", "DELETE")

_header = TraceContextTextMapPropagator()
_given: ContextVar[int] = ContextVar("given", default=0)


class _Ids(RandomIdGenerator):
    """Random, but for a span whose id others know before it is made."""

    def generate_span_id(self) -> int:
        return _given.get() or super().generate_span_id()


class Spans:
    """This process's spans, sent in the background: a queue that is full, or an endpoint that is away, loses some."""

    def __init__(self, service: str, *, endpoint: str) -> None:
        # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES count more.
        resource = Resource.create({"service.name": service}).merge(OTELResourceDetector().detect())
        self._provider = TracerProvider(resource=resource, id_generator=_Ids(), shutdown_on_exit=False)
        exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("countersign")

    def end(self) -> None:
        ending = threading.Thread(target=self._provider.shutdown, name="last spans", daemon=True)
        ending.start()
        ending.join(SECONDS_TO_END)

    def traceparent(self) -> str:
        carrier: dict[str, str] = {}
        _header.inject(carrier)
        return carrier.get("traceparent", "")

    @contextmanager
    def span(
        self,
        name: str,
        kind: Kind,
        *,
        parent: str = "",
        begun_at: datetime | None = None,
        unless: type[Exception] | tuple[()] = (),
        **attributes: str | int,
    ) -> Iterator[Finish]:
        span = self._tracer.start_span(
            name,
            context=_context(parent) if parent else None,
            kind=SpanKind[kind.upper()],
            attributes=attributes,
            start_time=_not_to_come(begun_at) if begun_at else None,
        )

        def finish(name: str = name, *, failed: bool = False, **attributes: str | int) -> None:
            span.update_name(name)
            span.set_attributes(attributes)
            if failed:
                span.set_status(StatusCode.ERROR)

        told = True
        try:
            with use_span(span, record_exception=False, set_status_on_exception=False):
                yield finish
        except unless:
            told = False
            raise
        except Exception as error:
            span.set_status(Status(StatusCode.ERROR, type(error).__name__))
            raise
        finally:
            if told:
                span.end()

    def mark(self, name: str, traceparent: str, *, parent: str, at_ns: int, **attributes: str | int) -> None:
        given = _given.set(int(traceparent.split("-")[2], 16))
        try:
            span = self._tracer.start_span(name, context=_context(parent), attributes=attributes, start_time=at_ns)
        finally:
            _given.reset(given)
        span.end(end_time=at_ns)


def _context(traceparent: str) -> Context:
    return _header.extract({"traceparent": traceparent}, context=Context())


def _not_to_come(at: datetime) -> int:
    """In nanoseconds since 1970, and not later than now: clocks of several machines."""
    return min(int(at.timestamp() * 1e9), time.time_ns())


Respond = Callable[[HttpRequest], Any]


@sync_and_async_middleware
def request_spans(get_response: Respond) -> Respond:
    """Middleware: a trace begins with each request that may change something. Who asks has no say in it: a
    `traceparent` of theirs could join any trace, or have all of them kept.
    """
    if iscoroutinefunction(get_response):

        async def answer_soon(request: HttpRequest) -> HttpResponseBase:
            if request.method not in WRITES:
                return await get_response(request)  # type: ignore[no-any-return]
            with tracing.span(request.method, "server") as finish:
                response: HttpResponseBase = await get_response(request)
                _finish(finish, request, response)
            return response

        return answer_soon

    def answer(request: HttpRequest) -> HttpResponseBase:
        if request.method not in WRITES:
            return get_response(request)  # type: ignore[no-any-return]
        with tracing.span(request.method, "server") as finish:
            response: HttpResponseBase = get_response(request)
            _finish(finish, request, response)
        return response

    return answer


def _finish(finish: Finish, request: HttpRequest, response: HttpResponseBase) -> None:
    """Named by the view: addresses hold keys."""
    found = request.resolver_match
    about = {"order_id": str(found.kwargs["order_id"])} if found and "order_id" in found.kwargs else {}
    finish(
        f"{request.method} {found.view_name if found else 'none'}",
        failed=response.status_code >= 500,
        **{"http.request.method": request.method, "http.response.status_code": response.status_code, **about},
    )
