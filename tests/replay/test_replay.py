"""Histories of real orders, replayed: a change of a workflow that would hold up orders in flight fails here.

CONTRIBUTING.md has the list to go through when a workflow changes.
"""

import ast
import importlib
import inspect
import pkgutil
import re
from collections import defaultdict
from types import ModuleType

import pytest
from temporalio import workflow
from temporalio.worker import Replayer
from temporalio.workflow import NondeterminismError

from temporal_workers import contracts, workflows
from temporal_workers.activities.database import is_activity
from tests.replay.changed_workflow import ChangedOrderWorkflow
from tests.replay.recordings import RECORDINGS, Recording

DEFINITION = "__temporal_workflow_definition"
MODULES = [
    importlib.import_module(f"{workflows.__name__}.{module.name}")
    for module in pkgutil.iter_modules(workflows.__path__)
]
WORKFLOWS = {
    getattr(member, DEFINITION).name: member
    for module in MODULES
    for member in vars(module).values()
    if hasattr(member, DEFINITION)
}
HOW_TO_RECORD = (
    "Drive it in a test with real workers, and record that: RECORD_HISTORIES=1 .venv/bin/python -m pytest -n0 "
    "tests/temporal_workers -k NAME_OF_THE_TEST"
)


async def replay(recording: Recording, *workflow_types: type) -> None:
    """Run the workflow's code against the history.

    Fails with what to do where the code gives other commands than the history has.
    """
    try:
        await Replayer(workflows=workflow_types or list(WORKFLOWS.values())).replay_workflow(recording.history)
    except NondeterminismError as error:
        pytest.fail(
            f"The commands of the workflow `{recording.workflow}` have changed: tests/replay/histories/"
            f"{recording.name}.json, {recording.shows!r}, no longer replays at event "
            f"{' or '.join(events_meant(recording, str(error))) or 'unknown'}. {error}\nOrders in flight with such a "
            "history would stand still. Wrap the change in workflow.patched(…), so that this history replays, and "
            f"record a new one beside it. {HOW_TO_RECORD}",
            pytrace=False,
        )


def events_meant(recording: Recording, error: str) -> list[str]:
    """The events that the SDK's words mean: it gives a number, or a local activity's name."""
    if found := re.findall(r"HistoryEvent\(id: (\d+)", error):
        return list(found)
    return [
        str(number)
        for name in re.findall(r"recorded marker '(\w+)'", error)
        for number, step in recording.local_steps
        if step == name
    ]


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda recording: recording.name)
async def test_the_workflows_replay(recording: Recording) -> None:
    await replay(recording)


async def test_a_change_without_a_patch_is_found_and_the_message_says_what_to_do() -> None:
    (completed,) = [recording for recording in RECORDINGS if recording.name == "completed"]

    with pytest.raises(pytest.fail.Exception) as failure:
        await replay(completed, ChangedOrderWorkflow)

    message = str(failure.value)
    assert "`order`" in message
    assert "histories/completed.json" in message
    assert "at event 6." in message
    assert "workflow.patched(" in message
    assert "RECORD_HISTORIES=1" in message


# What no recording reaches, no replay can hold.


@pytest.mark.parametrize("name", WORKFLOWS)
def test_every_workflow_has_a_recording(name: str) -> None:
    recorded = {recording.workflow for recording in RECORDINGS}

    assert name in recorded, f"No history in tests/replay/histories is one of `{name}`. {HOW_TO_RECORD}"


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__.rpartition(".")[2])
def test_every_step_of_a_workflow_is_reached_by_a_recording(module: ModuleType) -> None:
    of_these = defined_in(module) or set(WORKFLOWS)
    recorded = {step for recording in RECORDINGS if recording.workflow in of_these for step in recording.steps}

    missing = steps_named_in(inspect.getsource(module)) - recorded

    assert not missing, f"No recorded history comes to {', '.join(sorted(missing))}. {HOW_TO_RECORD}"


@pytest.mark.parametrize("name", WORKFLOWS)
def test_every_signal_of_a_workflow_is_in_a_recording(name: str) -> None:
    recorded = {signal for recording in RECORDINGS if recording.workflow == name for signal in recording.signals}

    missing = set(getattr(WORKFLOWS[name], DEFINITION).signals) - recorded

    assert not missing, f"No recorded history of `{name}` has {', '.join(sorted(missing))}. {HOW_TO_RECORD}"


async def test_every_patch_has_recordings_from_before_and_from_after(monkeypatch: pytest.MonkeyPatch) -> None:
    told: dict[str, set[bool]] = defaultdict(set)
    patched = workflow.patched

    def listen(id: str) -> bool:  # noqa: A002
        told[id].add(patched(id))
        return patched(id)

    monkeypatch.setattr(workflow, "patched", listen)  # the sandbox passes the SDK through
    for recording in RECORDINGS:
        await replay(recording)

    in_the_code = {id_ for module in MODULES for id_ in patches_asked_for(module)}
    assert set(told) == in_the_code, f"No recorded history comes to {in_the_code - set(told)}. {HOW_TO_RECORD}"
    for id_, answers in told.items():
        assert False in answers, f"No recorded history is from before the patch {id_!r}: git log has one."
        assert True in answers, f"No recorded history has the patch {id_!r}. {HOW_TO_RECORD}"


def defined_in(module: ModuleType) -> set[str]:
    return {name for name, type_ in WORKFLOWS.items() if inspect.getmodule(type_) is module}


def steps_named_in(source: str) -> set[str]:
    """The contract's activities and the workflows that the source names; by any way, so that no helper hides one."""
    stubs = {name for name, member in vars(contracts).items() if is_activity(member)}
    children = {f"{type_.__name__}.run": name for name, type_ in WORKFLOWS.items()}
    named = [ast.unparse(node) for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Attribute | ast.Name)]
    return {name.removeprefix("contracts.") for name in named} & stubs | {
        children[name] for name in named if name in children
    }


def patches_asked_for(module: ModuleType) -> set[str]:
    """The ids that the module asks for. Each is a constant of it, with a note when it may go."""
    return {
        str(getattr(module, ast.unparse(node.args[0])))
        for node in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "workflow.patched"
    }


def test_a_step_is_found_however_it_is_called() -> None:
    assert steps_named_in("await self._do(contracts.reserve_stock, x); y(ShippingWorkflow.run)") == {
        "reserve_stock",
        "shipping",
    }
    assert steps_named_in("contracts.OrderStep(1)") == set()


def test_every_recording_says_what_it_shows() -> None:
    sentences = [(recording.workflow, recording.shows) for recording in RECORDINGS]

    assert all(shows for _, shows in sentences)
    assert len(set(sentences)) == len(sentences)


def test_recordings_carry_ids_and_neither_customers_nor_machines() -> None:
    for recording in RECORDINGS:
        told = recording.history.to_json()
        assert "@" not in told
        assert 'File "' not in told.replace('\\"', '"')
        assert "Ann Lee" not in told
