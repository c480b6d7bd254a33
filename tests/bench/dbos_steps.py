"""The order's own steps, in the same order, as a workflow of DBOS: the same code does the work.

python -m tests.bench.dbos_steps    carry every placed order to its end
"""

import asyncio
import os
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Any
from uuid import UUID

import django

django.setup()

from dbos import DBOS, SetWorkflowID  # noqa: E402
from django.conf import settings  # noqa: E402

from orders.models import Order  # noqa: E402
from orders.states import Status  # noqa: E402
from temporal_workers.activities import orders as steps  # noqa: E402
from temporal_workers.activities import shipping  # noqa: E402
from temporal_workers.activities.outside import CarrierCalls, FraudCalls, PaymentCalls  # noqa: E402
from temporal_workers.contracts import (  # noqa: E402
    ChargePayment,
    CheckFraud,
    DispatchParcel,
    OrderStep,
    PreparePackage,
    RecordCharge,
    RecordDispatch,
    RecordFraudCheck,
)
from temporal_workers.providers.simulated import Ledger, SimulatedBank, SimulatedCarrier, Temper  # noqa: E402
from temporal_workers.providers.simulated_fraud import SimulatedFraudCheck  # noqa: E402

AT_ONCE = 50
outside: dict[str, Callable[[Any], Any]] = {}


@DBOS.step()
async def database(module: str, name: str, *args: Any) -> Any:
    function = getattr({"orders": steps, "shipping": shipping}[module], name)
    return await asyncio.to_thread(function, *args)


@DBOS.step()
async def world(name: str, *args: Any) -> Any:
    return await outside[name](*args)


@DBOS.workflow()
async def lifecycle(order_id: UUID) -> None:
    of_order, of_shipping = partial(database, "orders"), partial(database, "shipping")
    step = OrderStep(order_id)
    await of_order("receive_order", step)
    await of_order("validate_order", step)
    asked = await of_order("begin_fraud_check", step)
    answer = await world("check_fraud", CheckFraud(asked.key, asked.amount_minor, asked.currency, asked.country))
    await of_order("record_fraud_check", RecordFraudCheck(order_id, answer.score, answer.reason))
    await of_order("reserve_stock", step)
    money = await of_order("begin_charge", step)
    charge = await world("charge_payment", ChargePayment(money.key, money.amount_minor, money.currency))
    await of_order("record_charge", RecordCharge(order_id, charge.reference, charge.declined, charge.needs_customer))
    package = await of_shipping("begin_package", step)
    await world("prepare_package", PreparePackage(package.key))
    await of_shipping("record_package", step)
    parcel = await of_shipping("begin_dispatch", step)
    booking = await world("dispatch_parcel", DispatchParcel(parcel.key, parcel.recipient, parcel.address))
    await of_shipping("record_dispatch", RecordDispatch(order_id, booking.carrier, booking.tracking_number))
    await of_order("award_points", step)
    await of_order("complete_order", step)


async def main() -> None:
    calm = Temper()
    async with AsyncExitStack() as stack:
        ledger = await stack.enter_async_context(Ledger(settings.SIMULATOR_DATABASE_URL))
        calls = (
            FraudCalls(SimulatedFraudCheck(calm, fraud_rate=0)),
            PaymentCalls(SimulatedBank(ledger, calm)),
            CarrierCalls(SimulatedCarrier(ledger, calm)),
        )
        for each in calls:
            outside.update({name: getattr(each, name) for name in dir(each) if not name.startswith("_")})
        begun: set[UUID] = set()
        room = asyncio.Semaphore(AT_ONCE)
        async with asyncio.TaskGroup() as group:
            while True:
                placed = await asyncio.to_thread(_placed)
                for order_id in placed - begun:
                    group.create_task(_carry(order_id, room))
                begun |= placed
                await asyncio.sleep(0.05)


def _placed() -> set[UUID]:
    return set(Order.objects.filter(status=Status.PLACED).values_list("pk", flat=True))


async def _carry(order_id: UUID, room: asyncio.Semaphore) -> None:
    async with room:
        with SetWorkflowID(str(order_id)):
            handle = await DBOS.start_workflow_async(lifecycle, order_id)
        await handle.get_result()


if __name__ == "__main__":
    DBOS(config={"name": "countersign-bench", "system_database_url": os.environ["DBOS_URL"], "log_level": "WARNING"})
    DBOS.launch()
    asyncio.run(main())
