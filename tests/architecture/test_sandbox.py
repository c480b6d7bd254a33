"""What a workflow's sandbox loads anew for each run, and what it shares with the worker."""

import importlib
import sys

import pytest
from temporalio.worker.workflow_sandbox import SandboxRestrictions
from temporalio.worker.workflow_sandbox._importer import Importer
from temporalio.worker.workflow_sandbox._restrictions import RestrictionContext


@pytest.mark.parametrize("name", ["order", "refund", "shipping"])
def test_a_run_of_a_workflow_shares_the_contract_with_the_worker(name: str) -> None:
    outside = {module: importlib.import_module(module) for module in ("temporal_workers.contracts", "orders.states")}
    sandbox = Importer(SandboxRestrictions.default, RestrictionContext())

    with sandbox.applied():
        __import__(f"temporal_workers.workflows.{name}")
        inside = {module: sys.modules[module] for module in outside if module in sys.modules}

    assert [module for module, loaded in inside.items() if loaded is not outside[module]] == []
