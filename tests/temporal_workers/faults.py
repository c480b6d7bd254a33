"""Faults at an order's steps, planned order by order, and people who interfere in the middle of a step.

Stands between Temporal and the activities, as an interceptor of the worker: what an activity does, it does for good,
in the real database and in the ledgers. Nothing here waits for time: a step that hangs does so until it is given up.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from temporalio import activity
from temporalio.exceptions import ApplicationError
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput

from orders.services.transitions import ActionRefused
from temporal_workers.attempts import AttemptLog
from tests.threads import in_a_thread

Effect = Callable[[], Awaitable[Any]]
Deed = Callable[[UUID], Any]  # what a person does, through a service


class Fault(StrEnum):
    FAILS = "fails twice"
    HANGS = "hangs past its bound"
    LATE = "acts only after it was given up"
    LOST = "acts and its answer is lost"
    FAILS_FOR_LONG = "fails five times"
    FOR_GOOD = "fails for good"


FAILURES = {Fault.FAILS: 2, Fault.FAILS_FOR_LONG: 5}


@dataclass(frozen=True)
class Interference:
    """Somebody does something when an order's step has begun, or when it has had its effect and not yet answered."""

    step: str
    deed: Deed
    after_the_effect: bool = False


@dataclass
class Plan:
    """What goes wrong with one order. `helps` is what somebody does once it has come to a status, time by time."""

    faults: Mapping[str, Fault] = field(default_factory=dict)
    interference: Interference | None = None
    helps: dict[str, list[Deed]] = field(default_factory=dict)
    attempts: Counter[str] = field(default_factory=Counter)
    struck: set[str] = field(default_factory=set)
    interfered: str = ""  # "done", or why it was refused
    late: list[asyncio.Task[Any]] = field(default_factory=list)
    _tried_again: dict[str, asyncio.Event] = field(default_factory=dict)

    async def carry_out(self, order_id: UUID, step: str, act: Effect, released: asyncio.Event) -> Any:
        self.attempts[step] += 1
        attempt = self.attempts[step]
        meddles = self.interference if attempt == 1 else None
        if meddles and meddles.step == step and not meddles.after_the_effect:
            self.interfered = await _do(meddles.deed, order_id)

        async def effect() -> Any:
            done = await act()
            if meddles and meddles.step == step and meddles.after_the_effect:
                self.interfered = await _do(meddles.deed, order_id)
            return done

        answer = await self._faulty(step, attempt, effect, released)
        await self._help(order_id, str(getattr(answer, "status", "")))
        return answer

    async def _faulty(self, step: str, attempt: int, effect: Effect, released: asyncio.Event) -> Any:
        fault = self.faults.get(step)
        if attempt > 1:
            self._again(step).set()
        if fault in FAILURES and attempt <= FAILURES[fault]:
            self.struck.add(step)
            raise OutOfOrder(f"{step} is out of order.")
        if fault == Fault.FOR_GOOD:
            self.struck.add(step)
            raise ApplicationError(f"{step} is gone.", non_retryable=True)
        if fault is None or attempt > 1:
            return await effect()
        self.struck.add(step)
        if fault == Fault.LOST:
            await effect()
            raise OutOfOrder(f"The answer to {step} is lost.")
        if fault == Fault.LATE:
            self.late.append(asyncio.create_task(self._act_late(step, effect)))
        await self._given_up(step, released)
        raise OutOfOrder(f"{step} hung.")

    async def _given_up(self, step: str, released: asyncio.Event) -> None:
        """Nobody tells a local activity that its time is over: the next attempt does."""
        waits = [asyncio.create_task(event.wait()) for event in (self._again(step), released)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _act_late(self, step: str, effect: Effect) -> None:
        """Beside the next attempt, which is then under way."""
        await self._again(step).wait()
        await effect()

    def _again(self, step: str) -> asyncio.Event:
        return self._tried_again.setdefault(step, asyncio.Event())

    async def _help(self, order_id: UUID, status: str) -> None:
        if self.helps.get(status):
            await _do(self.helps[status].pop(0), order_id)


class OutOfOrder(Exception):
    """A fault of the plan."""


async def _do(deed: Deed, order_id: UUID) -> str:
    try:
        await in_a_thread(deed, order_id)
    except ActionRefused as refused:
        return str(refused)
    return "done"


class Faults:
    """The plans of a batch of orders, by order id."""

    def __init__(self) -> None:
        self.plans: dict[UUID, Plan] = {}
        self.released = asyncio.Event()  # what hangs does so no longer

    def between(self) -> type[AttemptLog]:
        """An interceptor for a worker: its own, and the faults behind it."""
        faults = self

        class WithFaults(AttemptLog):
            def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002
                return super().intercept_activity(_Between(next, faults))

        return WithFaults

    async def let_go(self) -> None:
        """Let what hangs end, and what is late have had its effect."""
        self.released.set()
        await asyncio.gather(*(task for plan in self.plans.values() for task in plan.late), return_exceptions=True)


class _Between(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, faults: Faults) -> None:  # noqa: A002
        super().__init__(next)
        self._faults = faults

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002
        info = activity.info()
        order_id = UUID((info.workflow_id or "").partition("-")[2][:36])
        plan = self._faults.plans.get(order_id)
        if plan is None:
            return await self.next.execute_activity(input)
        return await plan.carry_out(
            order_id, info.activity_type, lambda: self.next.execute_activity(input), self._faults.released
        )


def now() -> datetime:
    return datetime.now(UTC)
