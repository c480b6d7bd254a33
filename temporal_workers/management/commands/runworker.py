"""`manage.py runworker [orders|shipping|all]`: carry orders on, and hand the outbox to Temporal."""

import asyncio
import logging
import os
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from temporal_workers import worker


class Command(BaseCommand):
    help = "Serve the task queues of orders, of shipping, or of both. SIGTERM drains; a second one stops at once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("role", nargs="?", default="all", choices=[*worker.ROLES, "all"])

    def handle(self, *args: Any, role: str, **options: Any) -> None:
        roles = worker.ROLES if role == "all" else (role,)
        status = 0
        try:
            asyncio.run(_serve(roles))
        except SystemExit as stopped:
            status = int(stopped.code or 0)
        # The SDK's runtime has been seen to crash while the interpreter takes itself apart.
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


async def _serve(roles: tuple[str, ...]) -> None:
    stop = asyncio.Event()
    worker.stop_on_signals(stop, asyncio.get_running_loop())
    await worker.run(roles, stop)
