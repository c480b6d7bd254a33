"""`manage.py runworker all`, whose orders wait seconds less for a worker that was killed in the middle of a step."""

import sys
from datetime import timedelta

from django.core.management import execute_from_command_line

from temporal_workers import contracts
from temporal_workers.workflows import steps

SECONDS = timedelta(seconds=2)

if __name__ == "__main__":
    sys.modules["opentelemetry"] = None  # type: ignore[assignment]  # without an endpoint, who imports it fails
    contracts.TASK_TIMEOUT = SECONDS  # the relay, which reads it, is not imported yet
    for bounds in (steps.OUTSIDE, steps.ONCE, steps.A_FEW_TIMES, steps.UNTIL_DONE):
        bounds["start_to_close_timeout"] = SECONDS
    execute_from_command_line([sys.argv[0], "runworker", "all"])
