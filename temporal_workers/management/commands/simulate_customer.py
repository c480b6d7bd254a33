"""`manage.py simulate_customer`: the customer's word to the simulated bank, where a charge waits for it."""

import asyncio
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from orders.models import Order
from orders.services.paying import charge_key
from temporal_workers.providers.protocols import ProviderUnavailable
from temporal_workers.providers.simulated import Ledger, SimulatedBank, Temper


class Command(BaseCommand):
    help = "Confirm or refuse, as the customer, the payment that the simulated bank asks about."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("order", metavar="CS-…", help="the order's number")
        parser.add_argument("answer", choices=["confirm", "refuse"])

    def handle(self, *args: Any, **options: Any) -> None:
        number = options["order"]
        order = Order.objects.filter(number=number).first()
        if order is None:
            raise CommandError(f"There is no order {number}.", returncode=2)
        try:
            asked = asyncio.run(_answer(charge_key(order.pk), confirms=options["answer"] == "confirm"))
        except ProviderUnavailable as trouble:
            raise CommandError(f"The bank cannot be reached: {str(trouble).strip()}", returncode=2) from None
        if not asked:
            raise CommandError(f"The bank asks for no confirmation of {number}.", returncode=1)
        self.stdout.write(f"The customer of {number} has answered: {options['answer']}.")


async def _answer(key: str, *, confirms: bool) -> bool:
    async with Ledger(settings.SIMULATOR_DATABASE_URL) as ledger:
        bank = SimulatedBank(ledger, Temper(), tells=bool(settings.WEBHOOK_URL))
        return await bank.answer_as_customer(key=key, confirms=confirms)
