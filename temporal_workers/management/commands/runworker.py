"""`manage.py runworker [orders|shipping|all]`: carry orders on, and hand the outbox to Temporal."""

import asyncio
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections

from orders import tracing
from temporal_workers import telemetry, worker

LOCK_WAIT = "1500ms"  # as long as the web waits; a database step may take longer, see workflows/steps.py


class Command(BaseCommand):
    help = "Serve the task queues of orders, of shipping, or of both. SIGTERM drains; a second one stops at once."
    requires_system_checks = []  # `migrate` has made them, and to load the pages takes a third of the start

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("role", nargs="?", default="all", choices=[*worker.ROLES, "all"])

    def handle(self, *args: Any, role: str, **options: Any) -> None:
        _wait_for_no_lock_for_ever()
        if settings.WORKER_METRICS_BIND:
            try:
                telemetry.expose_figures(settings.WORKER_METRICS_BIND)
            except ImproperlyConfigured as wrong:
                raise CommandError(str(wrong)) from None
        tracing.begin("countersign-worker")
        roles = worker.ROLES if role == "all" else (role,)
        try:
            asyncio.run(_serve(roles))
        finally:
            tracing.end()
        worker.leave(0)


def _wait_for_no_lock_for_ever() -> None:
    """Let a step that waits for a row give its thread back before Temporal gives the step up and tries it again.

    Otherwise one row that somebody holds takes all threads, a retry at a time, and every other order stands still.
    """
    connections["default"].settings_dict["OPTIONS"]["options"] = f"-c lock_timeout={LOCK_WAIT}"
    connections.settings["default"]["OPTIONS"]["options"] = f"-c lock_timeout={LOCK_WAIT}"


async def _serve(roles: tuple[str, ...]) -> None:
    stop = asyncio.Event()
    worker.stop_on_signals(stop, asyncio.get_running_loop())
    await worker.run(roles, stop)
