"""A worker's figures for Prometheus: the SDK's own, of activities, workflows and pollers, and the relay's."""

from datetime import timedelta

from django.core.exceptions import ImproperlyConfigured
from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig


def expose_figures(address: str) -> None:
    """Answer Prometheus at this address, such as 127.0.0.1:9464. To be called before the first client is made.

    Raises ImproperlyConfigured where nothing can listen there.
    """
    metrics = PrometheusConfig(bind_address=address, durations_as_seconds=True, counters_total_suffix=True)
    try:
        Runtime.set_default(Runtime(telemetry=TelemetryConfig(metrics=metrics)))
    except (RuntimeError, ValueError) as trouble:
        raise ImproperlyConfigured(
            f"WORKER_METRICS_BIND names {address!r}, where nothing can listen: {trouble}"
        ) from None


class RelayFigures:
    """What the relay has told Temporal, and how long each message had waited."""

    def __init__(self) -> None:
        meter = Runtime.default().metric_meter
        self._delivered = meter.create_counter("countersign_outbox_delivered", "Messages that Temporal was told.")
        self._refused = meter.create_counter("countersign_outbox_refused", "Messages that Temporal refused.")
        self._waited = meter.create_histogram_timedelta(
            "countersign_outbox_wait_seconds", "From the change to Temporal's word.", "duration"
        )

    def delivered(self, message: str, waited: timedelta) -> None:
        self._delivered.add(1, {"message": message})
        self._waited.record(max(waited, timedelta(0)))  # clocks of several machines

    def refused(self, message: str) -> None:
        self._refused.add(1, {"message": message})
