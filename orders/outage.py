"""When the database is away, or has no room or no connection left: how that is known, and how it is told."""

from django.db import InterfaceError, OperationalError

AWAY = (OperationalError, InterfaceError)
RETRY_AFTER = "2"  # seconds; pages try again by themselves, and no sooner

_RUN_OUT = {
    "53100": "The database's disk is full",
    "53200": "The database has no memory left",
    "53300": "The database has no connection left",
}


def trouble(error: BaseException) -> str:
    """What is wrong with the database, without a full stop: PostgreSQL's own words are for the log."""
    states = [getattr(each, "sqlstate", None) for each in (error, error.__cause__)]
    return next((_RUN_OUT[state] for state in states if state in _RUN_OUT), "The database is away or busy")
