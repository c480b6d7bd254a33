"""The recorded histories: which workflow each is of, what it shows, and which steps, signals and patches are in it."""

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from temporalio.client import WorkflowHistory

HISTORIES = Path(__file__).parent / "histories"


@dataclass(frozen=True)
class Recording:
    """`shows` says in a sentence what happens in it; `steps` are the activities and children that it came to.

    Steps that ran as local activities are in `local_steps` too, with the number of their event.
    """

    name: str
    shows: str
    workflow: str
    steps: frozenset[str]
    local_steps: tuple[tuple[int, str], ...]
    signals: frozenset[str]
    patches: frozenset[str]
    history: WorkflowHistory


def read(path: Path) -> Recording:
    recorded = json.loads(path.read_text())
    steps: set[str] = set()
    local_steps: list[tuple[int, str]] = []
    signals: set[str] = set()
    patches: set[str] = set()
    for event in recorded["events"]:
        match event:
            case {"activityTaskScheduledEventAttributes": {"activityType": {"name": name}}}:
                steps.add(name)
            case {"startChildWorkflowExecutionInitiatedEventAttributes": {"workflowType": {"name": name}}}:
                steps.add(name)
            case {"workflowExecutionSignaledEventAttributes": {"signalName": name}}:
                signals.add(name)
            case {"markerRecordedEventAttributes": {"markerName": "core_local_activity", "details": details}}:
                local_steps.append((int(event["eventId"]), _payload(details["data"])["activity_type"]))
            case {"markerRecordedEventAttributes": {"markerName": "core_patch", "details": details}}:
                patches.add(_payload(details["patch-data"])["id"])
    return Recording(
        name=path.stem,
        shows=recorded.get("shows", ""),
        workflow=recorded["events"][0]["workflowExecutionStartedEventAttributes"]["workflowType"]["name"],
        steps=frozenset(steps | {name for _, name in local_steps}),
        local_steps=tuple(local_steps),
        signals=frozenset(signals),
        patches=frozenset(patches),
        history=WorkflowHistory.from_json(path.stem, {"events": recorded["events"]}),
    )


def _payload(payloads: dict[str, Any]) -> Any:
    return json.loads(base64.b64decode(payloads["payloads"][0]["data"]))


RECORDINGS = [read(path) for path in sorted(HISTORIES.glob("*.json"))]
