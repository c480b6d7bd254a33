"""The shipment's own steps: decode, one service call, encode."""

from datetime import UTC, datetime

from orders.services import shipping
from temporal_workers import contracts
from temporal_workers.activities.database import implements
from temporal_workers.contracts import OrderStep, ParcelResult, RecordDispatch, StepResult


def _now() -> datetime:
    return datetime.now(UTC)


@implements(contracts.begin_package)
def begin_package(step: OrderStep) -> ParcelResult:
    return _parcel(shipping.begin_package(order_id=step.order_id, at=_now()))


@implements(contracts.record_package)
def record_package(step: OrderStep) -> StepResult:
    return StepResult(shipping.record_package(order_id=step.order_id, at=_now()))


@implements(contracts.begin_dispatch)
def begin_dispatch(step: OrderStep) -> ParcelResult:
    return _parcel(shipping.begin_dispatch(order_id=step.order_id, at=_now()))


@implements(contracts.record_dispatch)
def record_dispatch(record: RecordDispatch) -> StepResult:
    return StepResult(
        shipping.record_dispatch(
            order_id=record.order_id,
            carrier=record.carrier,
            tracking_number=record.tracking_number,
            at=_now(),
        )
    )


def _parcel(parcel: shipping.Parcel) -> ParcelResult:
    return ParcelResult(parcel.status, parcel.key, parcel.recipient, parcel.address, parcel.tries, parcel.withdraw)
