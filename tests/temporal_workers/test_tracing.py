"""One trace from a click to the carrier, as a collector gets it; and nothing where there is no collector."""

import asyncio
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured
from django.test import Client
from django.urls import reverse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from pytest_django.fixtures import Settings
from temporalio.worker import Replayer

from devstack.servers import free_port
from orders import tracing
from orders.models import ApiScope, Order, Outbox
from orders.services import clients, reviewing
from orders_site.env import env_url
from temporal_workers import contracts
from temporal_workers.client import connect
from temporal_workers.relay import Relay, TemporalAway
from temporal_workers.tracing import Tracing
from temporal_workers.workflows.order import OrderWorkflow
from tests.api.calls import lamps, send
from tests.conftest import PlaceOrder
from tests.temporal_workers.conftest import Engine, wait_for_status

PERSONAL = (b"Ann", b"ann.lee", b"Lindenstr", b"10969", b"alice")


class Collector:
    """A receiver of OTLP over HTTP that keeps what it is sent, and answers while `answers` is set."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.asked = threading.Event()
        self.answers = threading.Event()
        self.answers.set()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert self.path == "/v1/traces"
                collector.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                collector.asked.set()
                collector.answers.wait()
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def spans(self) -> list[Span]:
        told = [ExportTraceServiceRequest.FromString(body) for body in self.bodies]
        return [
            span
            for request in told
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def stop(self) -> None:
        self.answers.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def collector(settings: Settings) -> Iterator[Collector]:
    collector = Collector()
    traces_go_to(collector.url, settings)
    yield collector
    collector.answers.set()
    tracing.end()
    collector.stop()


def traces_go_to(url: str, settings: Settings) -> None:
    settings.OTEL_EXPORTER_OTLP_ENDPOINT = url
    settings.MIDDLEWARE = ["orders.spans.request_spans", *settings.MIDDLEWARE]
    tracing.begin("test")


def click(user: User, order: Order) -> None:
    client = Client()
    client.force_login(user)
    assert client.post(reverse("orders:approve", args=[order.pk])).status_code == 302


@pytest.fixture(autouse=True)
def _no_collected_files(settings: Settings, tmp_path: Path) -> None:
    settings.STATIC_ROOT = tmp_path


class TestFromTheClickToTheCarrier:
    @pytest.fixture
    def providers(self, queues: None, collector: Collector) -> None:
        """Traces before the engine."""

    def test_one_trace_follows_an_approval_and_tells_of_no_person(
        self, collector: Collector, place: PlaceOrder, alice: User, engine: Engine
    ) -> None:
        order = place()
        wait_for_status(order, "in_review")

        click(alice, order)
        wait_for_status(order, "completed")
        engine.run(replay(contracts.order_workflow_id(order.pk)))
        engine.stop()
        tracing.end()

        spans = {span.span_id: span for span in collector.spans()}
        assert way_to("bank charge", spans) == [
            "POST orders:approve",
            "outbox approve",
            "order approve",
            "charge_payment",
            "bank charge",
        ]
        assert way_to("carrier dispatch", spans) == [
            "POST orders:approve",
            "outbox approve",
            "order approve",
            "shipping",
            "dispatch_parcel",
            "carrier dispatch",
        ]
        assert way_to("validate_order", spans) == ["outbox start", "order", "validate_order"]
        assert len({span.trace_id for span in spans.values()}) == 2  # of the placing and of the click
        assert not [span.name for span in spans.values() if span.status.code == span.status.STATUS_CODE_ERROR]
        assert not [word for word in PERSONAL for body in collector.bodies if word in body]


async def replay(workflow_id: str) -> None:
    """A worker that traces takes a run over from one that does not, and the other way round; none tells of it again."""
    client = await connect(lazy=False)
    history = await client.get_workflow_handle(workflow_id).fetch_history()
    for interceptors in ([], [Tracing()]):
        await Replayer(workflows=[OrderWorkflow], interceptors=interceptors).replay_workflow(history)


def way_to(name: str, spans: dict[bytes, Span]) -> list[str]:
    """The names of the spans from the trace's first to the one of this name."""
    (span,) = [span for span in spans.values() if span.name == name]
    way = [span.name]
    while span.parent_span_id:
        assert spans[span.parent_span_id].trace_id == span.trace_id
        span = spans[span.parent_span_id]
        way.insert(0, span.name)
    return way


def test_an_answer_waits_for_no_collector(
    collector: Collector, place: PlaceOrder, alice: User, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    tracing.end()
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "1")  # ms: it asks the collector at once
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "600")  # s: and does not give up
    tracing.begin("test")
    collector.answers.clear()
    first, second = in_review(place()), in_review(place())

    click(alice, first)
    assert collector.asked.wait(30)
    click(alice, second)

    assert not collector.answers.is_set()
    written = Outbox.objects.filter(message="approve").values_list("traceparent", flat=True)
    assert len({traceparent.split("-")[1] for traceparent in written}) == 2


def test_an_endpoint_that_is_away_breaks_nothing(
    place: PlaceOrder, alice: User, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.1")
    traces_go_to(f"http://127.0.0.1:{free_port()}", settings)
    order = in_review(place())

    click(alice, order)
    tracing.end()

    order.refresh_from_db()
    assert order.status == "approved"


def test_an_order_that_a_program_places_begins_a_trace(collector: Collector, goods: object) -> None:
    token = clients.create_client(name="shop", scopes=[ApiScope.PLACE], user=None, at=datetime.now(UTC))
    assert send(Client(headers={"Authorization": f"Bearer {token}"}), lamps()).status_code == 201
    tracing.end()

    (span,) = collector.spans()
    written_by = f"00-{span.trace_id.hex()}-{span.span_id.hex()}-"
    assert span.name == "POST api:place"
    assert Outbox.objects.get(message="start").traceparent.startswith(written_by)


def test_nobody_from_outside_chooses_the_trace(collector: Collector, place: PlaceOrder, alice: User) -> None:
    order = in_review(place())
    client = Client(headers={"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"})
    client.force_login(alice)

    client.post(reverse("orders:approve", args=[order.pk]))

    traceparent = Outbox.objects.get(order=order, message="approve").traceparent
    assert len(traceparent) == 55
    assert "a" * 32 not in traceparent


def test_a_failed_call_is_told_without_what_it_says(collector: Collector) -> None:
    with pytest.raises(ValueError, match="Ann Lee"), tracing.span("bank charge", "client"):
        raise ValueError("Ann Lee has no money")
    tracing.end()

    (span,) = collector.spans()
    assert (span.status.code, span.status.message) == (span.status.STATUS_CODE_ERROR, "ValueError")
    assert not [word for word in PERSONAL for body in collector.bodies if word in body]


@pytest.mark.django_db
def test_what_temporal_could_not_be_told_leaves_no_span_since_it_is_tried_again(
    collector: Collector, place: PlaceOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = Outbox.objects.select_related("order").get(order=place())
    monkeypatch.setenv("TEMPORAL_ADDRESS", f"127.0.0.1:{free_port()}")

    async def tell() -> None:
        relay = Relay(await connect(lazy=True), asyncio.get_running_loop())
        try:
            await relay._deliver_one(message)
        finally:
            relay.stop()

    with pytest.raises(TemporalAway):
        asyncio.run(tell())
    tracing.end()

    assert collector.spans() == []


def test_without_an_endpoint_there_are_no_traces(place: PlaceOrder, alice: User) -> None:
    tracing.begin("test")
    order = in_review(place())

    click(alice, order)

    assert not tracing.is_on()
    assert set(Outbox.objects.values_list("traceparent", flat=True)) == {""}


@pytest.mark.parametrize(
    "address",
    ["collector:4318", "localhost", "ftp://collector", "http://", "http://[", "http://a b", "https://u:word@h:x"],
)
def test_an_endpoint_that_is_no_address_is_refused_by_name_and_not_quoted(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)

    with pytest.raises(ImproperlyConfigured) as refusal:
        env_url("OTEL_EXPORTER_OTLP_ENDPOINT", such_as="http://localhost:4318")

    assert str(refusal.value) == "OTEL_EXPORTER_OTLP_ENDPOINT must be an address such as http://localhost:4318."


def in_review(order: Order) -> Order:
    now = datetime.now(UTC)
    reviewing.receive_order(order_id=order.pk, at=now)
    reviewing.validate_order(order_id=order.pk, at=now)
    return order
