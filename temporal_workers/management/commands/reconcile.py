"""`manage.py reconcile`: whether the bank and the desk say the same of every payment."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from temporal_workers.providers.protocols import BankEntry, ProviderUnavailable
from temporal_workers.providers.simulated import Ledger, SimulatedBank, Temper
from temporal_workers.reconciling import reconcile


class Command(BaseCommand):
    help = "Compare the bank's ledger with the payments here. Exit status 1 where they differ; amounts in minor units."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print the differences as a JSON list")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            differences = reconcile(lambda: asyncio.run(_entries()), at=datetime.now(UTC))
        except ProviderUnavailable as trouble:
            raise CommandError(f"The bank's ledger cannot be read: {str(trouble).strip()}", returncode=2) from None
        if options["json"]:
            self.stdout.write(json.dumps([asdict(difference) for difference in differences], indent=2))
        else:
            for difference in differences:
                self.stdout.write(
                    f"{difference.key}: {difference.what}: here {difference.here or 'nothing'}, at the bank "
                    f"{difference.there or 'nothing'}"
                )
            if not differences:
                self.stdout.write("No differences.")
        if differences:
            raise CommandError(f"{len(differences)} differ.", returncode=1)


async def _entries() -> Sequence[BankEntry]:
    async with Ledger(settings.SIMULATOR_DATABASE_URL) as ledger:
        return await SimulatedBank(ledger, Temper()).entries()
