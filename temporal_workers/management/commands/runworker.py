"""`manage.py runworker [orders|shipping|all]`: carry orders on, and hand the outbox to Temporal."""

import asyncio
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from temporal_workers import worker


class Command(BaseCommand):
    help = "Serve the task queues of orders, of shipping, or of both. SIGTERM drains; a second one stops at once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("role", nargs="?", default="all", choices=[*worker.ROLES, "all"])

    def handle(self, *args: Any, role: str, **options: Any) -> None:
        roles = worker.ROLES if role == "all" else (role,)
        asyncio.run(_serve(roles))
        worker.leave(0)


async def _serve(roles: tuple[str, ...]) -> None:
    stop = asyncio.Event()
    worker.stop_on_signals(stop, asyncio.get_running_loop())
    await worker.run(roles, stop)
