"""The shipping workflow, child of an order's. Imports the standard library, temporalio and contracts; no Django."""

from contextlib import suppress

from temporalio import workflow
from temporalio.exceptions import ActivityError, FailureError

with workflow.unsafe.imports_passed_through():
    import temporal_workers.contracts as contracts
    from orders.states import Status
    from temporal_workers.contracts import (
        DispatchFailed,
        DispatchParcel,
        DispatchResult,
        OrderStep,
        ParcelResult,
        PreparePackage,
        RecordDispatch,
        ShippingInput,
        ShippingResult,
        WithdrawParcel,
    )
    from temporal_workers.workflows.budget import Budget, OutOfBudget
    from temporal_workers.workflows.steps import (
        A_FEW_TIMES,
        DATABASE,
        UNTIL_DONE,
        LeftMainRoad,
        stay_on_main_road,
        trying_again,
        words,
    )


@workflow.defn(name=contracts.SHIPPING_WORKFLOW)
class ShippingWorkflow:
    """The life of a shipment: package prepared, then handed to the carrier.

    Once dispatching has begun there is no way back. Answers with the order's status, wherever that went; where the
    carrier did not take the package, tells its order so, which decides whether to send it again.
    """

    @workflow.init
    def __init__(self, shipping: ShippingInput) -> None:
        self._order_id = shipping.order_id
        self._step = OrderStep(shipping.order_id)
        self._budget = Budget(shipping.budget_seconds)
        self._until_done = trying_again(UNTIL_DONE, at_once=shipping.assignment)
        self._few_times = self._until_done if shipping.assignment else A_FEW_TIMES

    @workflow.run
    async def run(self, shipping: ShippingInput) -> ShippingResult:
        try:
            await self._prepare_package()
            return await self._dispatch()
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

    async def _dispatch(self) -> ShippingResult:
        parcel = await workflow.execute_local_activity(contracts.begin_dispatch, self._step, **DATABASE)
        stay_on_main_road(parcel.status)
        if not parcel.key:
            return ShippingResult(parcel.status)
        try:
            booking = await self._book(parcel)
        except ActivityError as error:
            return await self._ask_for_retry(DispatchFailed(words(error), False, parcel.key, parcel.tries))
        if booking.refused:
            return await self._ask_for_retry(DispatchFailed(booking.refused, True, parcel.key, parcel.tries))
        record = RecordDispatch(self._order_id, booking.carrier, booking.tracking_number)
        dispatched = await workflow.execute_local_activity(contracts.record_dispatch, record, **DATABASE)
        return ShippingResult(stay_on_main_road(dispatched.status))

    async def _book(self, parcel: ParcelResult) -> DispatchResult:
        """Hand the package over, unless an earlier one of the same order, which was to be taken back, has gone."""
        for key in parcel.withdraw:
            gone = await workflow.execute_activity(contracts.withdraw_parcel, WithdrawParcel(key), **A_FEW_TIMES)
            if gone.carrier:
                return DispatchResult(gone.carrier, gone.tracking_number)
        return await workflow.execute_activity(
            contracts.dispatch_parcel, DispatchParcel(parcel.key, parcel.recipient, parcel.address), **self._few_times
        )

    async def _ask_for_retry(self, failed: DispatchFailed) -> ShippingResult:
        """By signal, as soon as it is known, and in the result, which cannot be lost."""
        if parent := workflow.info().parent:
            order = workflow.get_external_workflow_handle(parent.workflow_id, run_id=parent.run_id)
            with suppress(FailureError):  # an order that is no more has nobody to tell
                await order.signal(contracts.DISPATCH_FAILED, failed)
        return ShippingResult(Status.DISPATCHING, failed=failed)
