"""The workflow that a schedule starts. Imports the standard library, temporalio, contracts; no Django."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    import temporal_workers.contracts as contracts
    from temporal_workers.contracts import DriftFound, FindDrift
    from temporal_workers.workflows.steps import LONG_LOOK


@workflow.defn(name=contracts.RECONCILE_WORKFLOW)
class ReconcileWorkflow:
    """One look at all orders that have not ended, in their rows and in their runs; what it finds is kept."""

    @workflow.run
    async def run(self, look: FindDrift) -> DriftFound:
        return await workflow.execute_activity(contracts.find_drift, look, **LONG_LOOK)
