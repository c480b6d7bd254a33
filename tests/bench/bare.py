"""A workflow of nothing but activities that do nothing: what Temporal costs by itself.

python -m tests.bench.bare QUEUE    a worker for it
"""

import asyncio
import os
import sys
from dataclasses import dataclass
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import Worker


@dataclass
class Plan:
    activities: int


@activity.defn
async def do_nothing() -> None:
    pass


@workflow.defn
class BareWorkflow:
    @workflow.run
    async def run(self, plan: Plan) -> None:
        for _ in range(plan.activities):
            await workflow.execute_activity(do_nothing, start_to_close_timeout=timedelta(seconds=60))


async def main(queue: str) -> None:
    client = await Client.connect(os.environ["TEMPORAL_ADDRESS"])
    async with Worker(client, task_queue=queue, workflows=[BareWorkflow], activities=[do_nothing]):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
