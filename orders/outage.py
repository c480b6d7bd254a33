"""When the database is away, or has no room or no connection left: how that is known, and how it is told."""

import re

from django.db import InterfaceError, OperationalError
from psycopg_pool import PoolTimeout

AWAY = (OperationalError, InterfaceError)
RETRY_AFTER = "2"  # seconds

_REFUSED = "too many clients|connection slots"  # who cannot connect is told no code
_RUN_OUT = {
    "53100": "The database's disk is full",
    "53200": "The database has no memory left",
}


def trouble(error: BaseException) -> str:
    """What is wrong with the database, without a full stop: PostgreSQL's own words are for the log."""
    causes = (error, error.__cause__)
    if any(isinstance(each, PoolTimeout) for each in causes) or re.search(_REFUSED, str(error)):
        return "The database has no connection to give"
    states = [getattr(each, "sqlstate", None) for each in causes]
    return next((_RUN_OUT[state] for state in states if state in _RUN_OUT), "The database is away or busy")
