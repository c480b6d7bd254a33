"""How long the machine may work on an order. Imports the standard library and temporalio; no Django."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ActivityError, RetryState


class OutOfBudget(Exception):
    """The machine has worked on the order for as long as it may."""


class Budget:
    """A span of the workflow's own time that begins when this is made and stands still while people decide.

    Zero seconds are no limit.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._ends_at = workflow.now() + timedelta(seconds=seconds)

    @contextmanager
    def paused(self) -> Iterator[None]:
        since = workflow.now()
        yield  # no `finally`: a workflow that is evicted while it waits has no clock any more
        self._ends_at += workflow.now() - since

    def left(self) -> float:
        """Seconds, more than zero; zero where there is no limit.

        Raises OutOfBudget.
        """
        if not self.seconds:
            return 0.0
        left = (self._ends_at - workflow.now()).total_seconds()
        if left <= 0:
            raise OutOfBudget
        return left

    @contextmanager
    def bounding(self, bounds: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Tighten the bounds of an activity: with all its attempts it ends when the budget does.

        Raises OutOfBudget, before or after it.
        """
        left, whole = self.left(), bounds.get("schedule_to_close_timeout")
        if not left or (whole and whole <= timedelta(seconds=left)):
            yield bounds
            return
        try:
            yield bounds | {"schedule_to_close_timeout": timedelta(seconds=left)}
        except ActivityError as error:
            if error.retry_state == RetryState.TIMEOUT:
                raise OutOfBudget from error
            raise
