"""Histories of real orders, replayed: a change of a workflow that would break orders in flight fails here.

If one of these fails, the sequence of the workflow's commands has changed. Guard the change with
`workflow.patched(...)`, so that the old histories replay, and record one of the new kind (tests/replay/record.py).
"""

import json
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer
from temporalio.workflow import NondeterminismError

from temporal_workers import contracts
from temporal_workers.workflows.order import OrderWorkflow
from temporal_workers.workflows.shipping import ShippingWorkflow
from tests.replay.changed_workflow import ChangedOrderWorkflow

HISTORIES = sorted((Path(__file__).parent / "histories").glob("*.json"))
ENDS = ["cancelled_during_charge", "completed", "declined", "escalated", "expired", "extended", "rejected", "shipping"]


def history(path: Path) -> WorkflowHistory:
    return WorkflowHistory.from_json(f"order-{path.stem}", json.loads(path.read_text()))


def test_every_end_has_its_recording() -> None:
    assert {path.stem for path in HISTORIES} >= set(ENDS)


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
async def test_the_workflows_replay(path: Path) -> None:
    await Replayer(workflows=[OrderWorkflow, ShippingWorkflow]).replay_workflow(history(path))


async def test_a_change_without_a_patch_is_found() -> None:
    (completed,) = [path for path in HISTORIES if path.stem == "completed"]

    with pytest.raises(NondeterminismError):
        await Replayer(workflows=[ChangedOrderWorkflow]).replay_workflow(history(completed))


def test_recordings_carry_ids_and_no_customer() -> None:
    for path in HISTORIES:
        assert "@example.com" not in path.read_text()
        assert contracts.ORDER_WORKFLOW in path.read_text()
