"""`manage.py runworker ROLE` that dies by its own hand, as of `kill -9`, at the place that a file tells.

The file of this worker holds `before charge_payment`, `after charge_payment`, or `relay`: between the delivery of a
message to Temporal and its mark. It is gone once the worker has died there.
"""

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.core.management import execute_from_command_line
from temporalio import activity
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput

RELAY = "relay"
FILE = "CHAOS_DIES_AT"


def die_if_told(place: str) -> None:
    told = Path(os.environ[FILE])
    if told.exists() and told.read_text() == place:
        told.unlink()
        os.kill(os.getpid(), signal.SIGKILL)


class DiesAtSteps(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002
        step = activity.info().activity_type
        die_if_told(f"before {step}")
        answer = await self.next.execute_activity(input)
        die_if_told(f"after {step}")
        return answer


def make_mortal() -> None:
    from orders.models import Outbox
    from temporal_workers import worker
    from temporal_workers.attempts import AttemptLog
    from temporal_workers.relay import Relay

    class Steps(AttemptLog):
        def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002
            return super().intercept_activity(DiesAtSteps(next))

    class MortalRelay(Relay):
        def _deliver(self, messages: Sequence[Outbox]) -> list[str]:
            answers = super()._deliver(messages)
            die_if_told(RELAY)
            return answers

    worker.AttemptLog = Steps  # type: ignore[attr-defined]
    worker.Relay = MortalRelay  # type: ignore[attr-defined]


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "orders_site.settings")
    import django

    django.setup()
    make_mortal()
    execute_from_command_line([sys.argv[0], "runworker", *sys.argv[1:]])
