"""Record the history of an order that a running desk has carried, for the replay tests:

    TEMPORAL_ADDRESS=127.0.0.1:7233 python -m tests.replay.record completed order-<uuid>

Record a new one whenever the sequence of a workflow's commands changes on purpose; never overwrite an old one that
orders in flight may still have.
"""

import asyncio
import json
import re
import sys
from pathlib import Path
from typing import Any

from temporal_workers.client import connect

HISTORIES = Path(__file__).parent / "histories"


async def record(name: str, workflow_id: str) -> Path:
    client = await connect(lazy=False)
    history = await client.get_workflow_handle(workflow_id).fetch_history()
    path = HISTORIES / f"{name}.json"
    path.write_text(json.dumps(without_machine(history.to_json_dict()), indent=1) + "\n")
    return path


def without_machine(part: Any) -> Any:
    """The same history without the name of the machine that made it."""
    if isinstance(part, dict):
        return {key: "worker" if key == "identity" else without_machine(value) for key, value in part.items()}
    if isinstance(part, str):
        return re.sub(r"^\d+@[^-]+-", "worker-", part)  # a sticky queue
    if isinstance(part, list):
        return [without_machine(value) for value in part]
    return part


if __name__ == "__main__":
    sys.stdout.write(f"{asyncio.run(record(*sys.argv[1:3]))}\n")
