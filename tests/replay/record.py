"""Record a history for the replay tests, in one of two ways. From the tests that drive what is to be recorded:

    RECORD_HISTORIES=1 .venv/bin/python -m pytest -n0 tests/temporal_workers -k a_small_order_passes

which writes one file for each workflow of the first order of each of these tests, named by the test: keep those that
show something new. Or from a running desk:

    TEMPORAL_ADDRESS=127.0.0.1:7233 .venv/bin/python -m tests.replay.record NAME order-<uuid> "What it shows"

Record a new one whenever the sequence of a workflow's commands changes on purpose. Never overwrite an old one while
there may be orders in flight that began like it: this module refuses to.
"""

import asyncio
import json
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

from temporalio.service import RPCError

from temporal_workers import contracts
from temporal_workers.client import connect
from tests.replay.recordings import HISTORIES


async def record(name: str, workflow_id: str, shows: str) -> Path:
    """Write the history of a workflow's newest run.

    Raises FileExistsError where there is one of that name, and RPCError where Temporal knows no such workflow.
    """
    client = await connect(lazy=False)
    history = await client.get_workflow_handle(workflow_id).fetch_history()
    path = HISTORIES / f"{name}.json"
    with path.open("x") as file:
        file.write(json.dumps({"shows": shows} | without_machine(history.to_json_dict()), indent=1) + "\n")
    return path


async def record_test(test: str, order_id: UUID) -> None:
    """Write the histories of an order's workflows, named by the test that drove them."""
    said = test.partition("[")[0].removeprefix("test_")
    of_kind = {
        "": contracts.order_workflow_id(order_id),
        "_shipping": contracts.shipping_workflow_id(order_id),
        "_refund": contracts.refund_workflow_id(order_id, 1),
    }
    for kind, workflow_id in of_kind.items():
        with suppress(RPCError):  # not every order comes so far
            await record(said + kind, workflow_id, f"{said.replace('_', ' ').capitalize()}.")


def without_machine(part: Any) -> Any:
    """The same history without the name and the folders of the machine that made it."""
    if isinstance(part, dict):
        said = {"identity": "worker", "stackTrace": ""}
        return {key: said[key] if key in said else without_machine(value) for key, value in part.items()}
    if isinstance(part, str):
        return re.sub(r"^\d+@[^-]+-", "worker-", part)  # a sticky queue
    if isinstance(part, list):
        return [without_machine(value) for value in part]
    return part


if __name__ == "__main__":
    sys.stdout.write(f"{asyncio.run(record(*sys.argv[1:4]))}\n")
