"""How log lines look: for people, or as JSON with a key for everything that a story is put together from.

The standard library does it. Of an exception only the first line of its text is kept: what PostgreSQL says after that
quotes rows, and so customers.
"""

import json
import logging
import traceback
from datetime import UTC, datetime
from types import TracebackType

KEYS = ("order", "workflow", "run", "step", "attempt", "actor")  # given to a logger as `extra`

_Raised = (
    tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
)  # as sys.exc_info() has it


def in_short(error: BaseException) -> str:
    """The error's type and the first line of its text."""
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:200]}"


class LineFormatter(logging.Formatter):
    """A line for people."""

    def formatException(self, ei: _Raised) -> str:  # noqa: N802 - the standard library's name
        told: list[str] = []
        error = ei[1]
        while error is not None and len(told) < 10:
            told.append("".join(traceback.format_tb(error.__traceback__)) + in_short(error))
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        return "\n".join(reversed(told))


class JsonFormatter(LineFormatter):
    """One JSON document a line."""

    def format(self, record: logging.LogRecord) -> str:
        told = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        told |= {key: value for key in KEYS if (value := getattr(record, key, None)) not in (None, "")}
        if record.exc_info:
            told["exception"] = self.formatException(record.exc_info)
        return json.dumps(told, ensure_ascii=False, default=str)
