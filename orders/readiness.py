"""Whether this web process can serve, for whoever sends it requests and for whoever is on call. Nothing here writes."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cache

from django.db import DatabaseError, InterfaceError, connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from orders import engine
from orders.engine import EngineState

ENGINE = {
    EngineState.WELL: "ok",
    EngineState.NO_WORKER: "no worker",
    EngineState.TEMPORAL_AWAY: "Temporal is away",
    EngineState.BEHIND: "messages do not arrive",
}


class State(StrEnum):
    READY = "ready"
    DEGRADED = "degraded"  # people can decide, and it is carried out later
    UNREADY = "unready"


@dataclass(frozen=True)
class Readiness:
    """What was looked at, each "ok" or what is wrong with it in a few words."""

    state: State
    checks: Mapping[str, str]


def readiness(*, at: datetime) -> Readiness:
    """Look at the database, its migrations, and whether orders are carried on.

    Nobody can decide without the first two. Without the engine they can, so that a process is not taken out of
    service because Temporal is away.
    """
    try:
        missing = _missing_migrations()
        condition = "" if missing else ENGINE[engine.look(at=at).state]
    except (DatabaseError, InterfaceError):
        return Readiness(State.UNREADY, {"database": "does not answer"})
    if missing:
        return Readiness(State.UNREADY, {"database": "ok", "migrations": f"{missing} to be applied"})
    state = State.READY if condition == "ok" else State.DEGRADED
    return Readiness(state, {"database": "ok", "migrations": "ok", "engine": condition})


def _missing_migrations() -> int:
    """How many this code has that the database has not. What is newer there than here is no fault: a deployment."""
    return len(_known() - MigrationRecorder(connection).applied_migrations().keys())


@cache
def _known() -> frozenset[tuple[str, str]]:
    return frozenset(MigrationLoader(None).disk_migrations)
