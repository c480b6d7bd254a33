"""`manage.py worker_health`: the health check of a worker's container."""

import socket
from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, InterfaceError
from django.db.models import Max

from orders.models import Heartbeat

SILENT_AFTER = timedelta(seconds=15)


class Command(BaseCommand):
    help = "Exit status 0 if a worker on this host has given a life sign in the last 15 seconds, otherwise 1."
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        host = socket.gethostname()
        try:
            seen_at = Heartbeat.objects.filter(worker__startswith=f"{host}:").aggregate(last=Max("seen_at"))["last"]
        except (DatabaseError, InterfaceError) as trouble:
            raise CommandError(f"The database does not tell of any worker: {str(trouble).strip()}") from None
        if seen_at is None:
            raise CommandError(f"No worker runs on {host}.")
        silent = datetime.now(UTC) - seen_at
        if silent > SILENT_AFTER:
            raise CommandError(f"The last life sign of a worker on {host} is {silent.total_seconds():.0f} s old.")
        self.stdout.write(f"A worker on {host} gave a life sign {silent.total_seconds():.1f} s ago.")
