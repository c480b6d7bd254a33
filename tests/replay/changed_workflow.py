"""An order's workflow as somebody might carelessly have changed it: it asks for the payment before the decision."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from temporal_workers.contracts import ORDER_WORKFLOW, OrderInput, OrderResult
    from temporal_workers.workflows.order import OrderWorkflow


@workflow.defn(name=ORDER_WORKFLOW)
class ChangedOrderWorkflow(OrderWorkflow):
    @workflow.init
    def __init__(self, order: OrderInput) -> None:
        super().__init__(order)

    @workflow.run
    async def run(self, order: OrderInput) -> OrderResult:
        await self._receive()
        await self._charge()
        return OrderResult(self._status)
