"""Traces through Temporal: from the relay by headers into workflows, their children and their steps, and to whom these
call outside. No OpenTelemetry here: a workflow handles headers only, and the sandbox has nothing to load.

A decision arrives at a run that began with another trace. From then on the run's steps belong to the decision's: see
docs/adr/0016-a-trace-follows-the-decision.md.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Any, TypeVar, cast

import temporalio.client
import temporalio.worker
from temporalio import activity, workflow
from temporalio.api.common.v1 import Payload
from temporalio.client import StartWorkflowInput, WorkflowHandle
from temporalio.worker import (
    ActivityInboundInterceptor,
    ExecuteActivityInput,
    ExecuteWorkflowInput,
    HandleSignalInput,
    StartActivityInput,
    StartChildWorkflowInput,
    StartLocalActivityInput,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
)

from orders import tracing

HEADER = "traceparent"
_WELL_MADE = re.compile(rb'"(00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2})"')
_MARK = "countersign_mark"

P = TypeVar("P")
Headers = Mapping[str, Payload]


def _read(headers: Headers) -> str:
    """What the header says; empty where there is none, or one that is not ours."""
    found = _WELL_MADE.fullmatch(headers[HEADER].data) if HEADER in headers else None
    return found[1].decode() if found else ""


def _with(traceparent: str, headers: Headers) -> Headers:
    if not traceparent:
        return headers
    return {**headers, HEADER: Payload(metadata={"encoding": b"json/plain"}, data=f'"{traceparent}"'.encode())}


class Tracing(temporalio.client.Interceptor, temporalio.worker.Interceptor):
    """To be given to a client: its workers have it from there."""

    def intercept_client(self, next: temporalio.client.OutboundInterceptor) -> temporalio.client.OutboundInterceptor:  # noqa: A002
        return _Starts(next)

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002
        return _Steps(next)

    def workflow_interceptor_class(self, input: WorkflowInterceptorClassInput) -> type[WorkflowInboundInterceptor]:  # noqa: A002
        functions: dict[str, Any] = input.unsafe_extern_functions  # type: ignore[assignment]
        functions[_MARK] = tracing.mark
        return _Run


class _Starts(temporalio.client.OutboundInterceptor):
    async def start_workflow(self, input: StartWorkflowInput) -> WorkflowHandle[Any, Any]:  # noqa: A002
        input.headers = _with(tracing.traceparent(), input.headers)
        return await super().start_workflow(input)


class _Steps(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002
        parent = _read(input.headers)
        if not parent:
            return await super().execute_activity(input)
        info = activity.info()
        run = info.workflow_run_id or ""
        with tracing.span(
            info.activity_type,
            "consumer",
            parent=parent,
            workflow=info.workflow_id or "",
            run=run,
            attempt=info.attempt,
        ):
            return await super().execute_activity(input)


class _Run(WorkflowInboundInterceptor):
    """A run, and the trace that it belongs to now: that of its start, and then that of the latest news."""

    traceparent = ""

    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        super().init(_FromRun(outbound, self))

    async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:  # noqa: A002
        if not self.traceparent:  # news may have come with the start
            self._follow(input.headers, workflow.info().workflow_type)
        return await super().execute_workflow(input)

    async def handle_signal(self, input: HandleSignalInput) -> None:  # noqa: A002
        self._follow(input.headers, f"{workflow.info().workflow_type} {input.signal}")
        await super().handle_signal(input)

    def _follow(self, headers: Headers, name: str) -> None:
        """Go on below a span of this run's own. Its id follows from what is in the history, so that a run which is
        replayed elsewhere goes on below the same one; it is told of once.
        """
        parent = _read(headers)
        if not parent:
            return
        info = workflow.info()
        version, trace, _, flags = parent.split("-")
        own = hashlib.sha256(f"{info.run_id} {name} {parent}".encode()).hexdigest()[:16]
        self.traceparent = f"{version}-{trace}-{own}-{flags}"
        if not workflow.unsafe.is_replaying():
            workflow.extern_functions()[_MARK](
                name,
                self.traceparent,
                parent=parent,
                at_ns=workflow.time_ns(),
                workflow=info.workflow_id,
                run=info.run_id,
            )


class _FromRun(WorkflowOutboundInterceptor):
    def __init__(self, next: WorkflowOutboundInterceptor, run: _Run) -> None:  # noqa: A002
        super().__init__(next)
        self._run = run

    def start_activity(self, input: StartActivityInput) -> workflow.ActivityHandle[Any]:  # noqa: A002
        input.headers = _with(self._run.traceparent, input.headers)
        return super().start_activity(input)

    def start_local_activity(self, input: StartLocalActivityInput) -> workflow.ActivityHandle[Any]:  # noqa: A002
        input.headers = _with(self._run.traceparent, input.headers)
        return super().start_local_activity(input)

    async def start_child_workflow(self, input: StartChildWorkflowInput) -> workflow.ChildWorkflowHandle[Any, Any]:  # noqa: A002
        input.headers = _with(self._run.traceparent, input.headers)
        return await super().start_child_workflow(input)


class _Calls:
    def __init__(self, name: str, provider: object) -> None:
        self._name = name
        self._provider = provider

    def __getattr__(self, call: str) -> Any:
        method = getattr(self._provider, call)

        async def spanned(**told: Any) -> Any:
            with tracing.span(f"{self._name} {call}", "client"):
                return await method(**told)

        return spanned


def calls_of(name: str, provider: P) -> P:
    """The same provider, each of whose calls is a span. What goes over the wire may send `tracing.traceparent()`."""
    return cast("P", _Calls(name, provider)) if tracing.is_on() else provider
