"""The workflow of a refund that an operator granted. Imports the standard library, temporalio, contracts; no Django."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    import temporal_workers.contracts as contracts
    from temporal_workers.contracts import FindRefund, RefundInput, RefundOutcome, RefundPayment, SettleRefund
    from temporal_workers.workflows.steps import DATABASE, UNTIL_DONE


@workflow.defn(name=contracts.REFUND_WORKFLOW)
class RefundWorkflow:
    """The life of a refund: its row was stored when it was granted; the provider is asked, under the row's key, until
    it answers; the answer is recorded.
    """

    @workflow.run
    async def run(self, refund: RefundInput) -> RefundOutcome:
        find = FindRefund(refund.order_id, refund.number)
        money = await workflow.execute_local_activity(contracts.find_refund, find, **DATABASE)
        if not money.key:
            return RefundOutcome(money.status)
        refunded = await workflow.execute_activity(
            contracts.refund_payment,
            RefundPayment(money.key, money.of_charge, money.amount_minor, money.currency),
            **UNTIL_DONE,
        )
        settle = SettleRefund(refund.order_id, refund.number, refunded.reference)
        settled = await workflow.execute_local_activity(contracts.settle_refund, settle, **DATABASE)
        return RefundOutcome(settled.status, refunded.reference)
