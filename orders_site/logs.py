"""How log lines look: for people, or as JSON with a key for everything that a story is put together from.

The standard library does it. Of an exception only the first line of its text is kept: what PostgreSQL says after that
quotes rows, and so customers.
"""

import json
import logging
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import TracebackType

KEYS = ("order", "workflow", "run", "step", "attempt", "actor")  # given to a logger as `extra`

# What a whole piece of work has to do with, such as one try at a step: it counts where a line itself says nothing.
_about: ContextVar[dict[str, object]] = ContextVar("about")

# What the other side's errors may quote. Our own lines name nothing of the kind.
_HIDDEN = (
    (re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]+"), "(e-mail)"),
    (re.compile(r"(?<![\w-])\d(?:[ -]?\d){12,18}(?![\w-])"), "(number)"),
    (re.compile(r"(?i)\b(bearer|basic) [\w.~+/=-]+"), r"\1 (secret)"),
    (re.compile(r"(?<=://)[^/\s:@]*:[^/\s@]+(?=@)"), "(secret)"),
)

_Raised = (
    tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
)  # as sys.exc_info() has it


def in_short(error: BaseException) -> str:
    """The error's type and the first line of its text."""
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:200]}"


@contextmanager
def about(**keys: object) -> Iterator[None]:
    """Give these keys to every line that is written within, in threads of its context too."""
    token = _about.set(keys)
    try:
        yield
    finally:
        _about.reset(token)


def hide(text: str) -> str:
    """The text without e-mail addresses, card numbers, tokens and passwords in addresses."""
    for pattern, instead in _HIDDEN:
        text = pattern.sub(instead, text)
    return text


class LineFormatter(logging.Formatter):
    """A line for people."""

    def format(self, record: logging.LogRecord) -> str:
        return hide(super().format(record))

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
        told: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        known = _about.get({})
        told |= {key: value for key in KEYS if (value := getattr(record, key, "") or known.get(key)) not in (None, "")}
        if record.exc_info:
            told["exception"] = self.formatException(record.exc_info)
        return hide(json.dumps(told, ensure_ascii=False, default=str))
