"""The shipping workflow, child of an order's. Imports the standard library, temporalio and contracts; no Django."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from orders.states import Status
    from temporal_workers import contracts
    from temporal_workers.contracts import (
        DispatchParcel,
        OrderStep,
        PreparePackage,
        RecordDispatch,
        ShippingInput,
        ShippingResult,
    )
    from temporal_workers.workflows.budget import Budget, OutOfBudget
    from temporal_workers.workflows.steps import DATABASE, UNTIL_DONE, LeftMainRoad, stay_on_main_road, trying_again


@workflow.defn(name=contracts.SHIPPING_WORKFLOW)
class ShippingWorkflow:
    """The life of a shipment: package prepared, then handed to the carrier.

    Once dispatching has begun there is no way back. Answers with the order's status, wherever that went.
    """

    @workflow.init
    def __init__(self, shipping: ShippingInput) -> None:
        self._order_id = shipping.order_id
        self._step = OrderStep(shipping.order_id)
        self._budget = Budget(shipping.budget_seconds)
        self._until_done = trying_again(UNTIL_DONE, at_once=shipping.assignment)

    @workflow.run
    async def run(self, shipping: ShippingInput) -> ShippingResult:
        try:
            await self._prepare_package()
            return ShippingResult(await self._dispatch())
        except LeftMainRoad as left:
            return ShippingResult(left.status)
        except OutOfBudget:
            return ShippingResult(Status.PREPARING, out_of_budget=True)

    async def _prepare_package(self) -> None:
        package = await workflow.execute_local_activity(contracts.begin_package, self._step, **DATABASE)
        stay_on_main_road(package.status)
        if not package.key:
            return
        with self._budget.bounding(self._until_done) as bounds:
            await workflow.execute_activity(contracts.prepare_package, PreparePackage(package.key), **bounds)
        ready = await workflow.execute_local_activity(contracts.record_package, self._step, **DATABASE)
        stay_on_main_road(ready.status)

    async def _dispatch(self) -> Status:
        parcel = await workflow.execute_local_activity(contracts.begin_dispatch, self._step, **DATABASE)
        stay_on_main_road(parcel.status)
        if not parcel.key:
            return parcel.status
        booking = await workflow.execute_activity(
            contracts.dispatch_parcel, DispatchParcel(parcel.key, parcel.recipient, parcel.address), **self._until_done
        )
        record = RecordDispatch(self._order_id, booking.carrier, booking.tracking_number)
        dispatched = await workflow.execute_local_activity(contracts.record_dispatch, record, **DATABASE)
        return stay_on_main_road(dispatched.status)
