"""A bank and a carrier to practise with. Each keeps a ledger of its own, outside the desk's transactions, as a real
one would: a schema `simulator` that only this module touches. Speed and faults by settings; calm by default.
"""

import asyncio
import random
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection, OperationalError
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from temporal_workers.providers.protocols import BankEntry, Booking, ChargeAnswer, ProviderUnavailable

_LEDGERS = """
SELECT pg_advisory_xact_lock(7233);  -- two processes may both be the first
CREATE SCHEMA IF NOT EXISTS simulator;
CREATE TABLE IF NOT EXISTS simulator.bank (
    key text PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('charge', 'refund')),
    of_charge text REFERENCES simulator.bank,
    amount_minor bigint NOT NULL CHECK (amount_minor >= 0),
    currency text NOT NULL,
    reference text NOT NULL UNIQUE,
    declined text NOT NULL DEFAULT '',
    at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE IF NOT EXISTS simulator.carrier (
    key text PRIMARY KEY,
    tracking_number text NOT NULL UNIQUE,
    recipient text NOT NULL,
    address jsonb NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE simulator.carrier ADD COLUMN IF NOT EXISTS withdrawn boolean NOT NULL DEFAULT false;
ALTER TABLE simulator.carrier ADD COLUMN IF NOT EXISTS collected boolean NOT NULL DEFAULT false;
"""


@dataclass(frozen=True)
class Temper:
    """How the simulated world behaves. Rates lie between 0 and 1."""

    seconds: float = 0.0  # how long an answer takes, give or take a third
    decline_rate: float = 0.0
    error_rate: float = 0.0  # no answer, and nothing was done
    lost_answer_rate: float = 0.0  # no answer, although it was done


class Ledger:
    """The simulator's own way to its tables. One per process, opened inside the worker's event loop."""

    def __init__(self, database_url: str) -> None:
        self._pool = AsyncConnectionPool(
            database_url, min_size=0, max_size=4, open=False, kwargs={"autocommit": True}, timeout=5
        )
        self._making = asyncio.Lock()
        self._made = False

    async def __aenter__(self) -> "Ledger":
        await self._pool.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._pool.close()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[AsyncConnection[tuple[Any, ...]]]:
        """A connection on which the ledgers are known to exist.

        Raises ProviderUnavailable where the simulator's database cannot be reached.
        """
        try:
            async with self._pool.connection() as connection:
                async with self._making:
                    if not self._made:
                        await connection.execute(_LEDGERS)
                        self._made = True
                yield connection
        except (OperationalError, PoolTimeout) as error:
            raise ProviderUnavailable(str(error)) from error


@dataclass(frozen=True)
class World:
    """Slowness and faults, the same for bank and carrier."""

    temper: Temper

    @asynccontextmanager
    async def call(self) -> AsyncIterator[None]:
        """Surround what a call does with the time it takes and the ways it may go wrong."""
        await asyncio.sleep(self.temper.seconds * random.uniform(0.67, 1.33))  # noqa: S311 - a simulation
        if self._strikes(self.temper.error_rate):
            raise ProviderUnavailable("The simulated provider is out of order.")
        yield
        if self._strikes(self.temper.lost_answer_rate):
            raise ProviderUnavailable("The simulated provider's answer was lost on the way.")

    @staticmethod
    def _strikes(rate: float) -> bool:
        return random.random() < rate  # noqa: S311 - a simulation


class SimulatedBank:
    def __init__(self, ledger: Ledger, temper: Temper) -> None:
        self._ledger = ledger
        self._temper = temper
        self._world = World(temper)

    async def charge(self, *, key: str, amount_minor: int, currency: str) -> ChargeAnswer:
        declined = "insufficient funds" if random.random() < self._temper.decline_rate else ""  # noqa: S311
        async with self._world.call(), self._ledger.connection() as connection:
            await self._enter(connection, key, "charge", None, amount_minor, currency, "ch", declined)
            reference, declined = await self._entry(connection, key)
        return ChargeAnswer("" if declined else reference, declined)

    async def refund(self, *, key: str, of_charge: str, amount_minor: int, currency: str) -> str:
        async with self._world.call(), self._ledger.connection() as connection:
            # A charge that never arrived is voided, so that it cannot arrive any more.
            await self._enter(connection, of_charge, "charge", None, amount_minor, currency, "ch", "voided")
            _, declined = await self._entry(connection, of_charge)
            if declined:
                return ""
            await self._enter(connection, key, "refund", of_charge, amount_minor, currency, "re", "")
            reference, _ = await self._entry(connection, key)
        return reference

    async def entries(self) -> Sequence[BankEntry]:
        async with self._ledger.connection() as connection:
            found = await connection.execute(
                "SELECT key, kind, amount_minor, currency, declined FROM simulator.bank ORDER BY at, key"
            )
            return [BankEntry(*row) for row in await found.fetchall()]

    @staticmethod
    async def _enter(
        connection: AsyncConnection[tuple[Any, ...]],
        key: str,
        kind: str,
        of_charge: str | None,
        amount_minor: int,
        currency: str,
        prefix: str,
        declined: str,
    ) -> None:
        await connection.execute(
            """
            INSERT INTO simulator.bank (key, kind, of_charge, amount_minor, currency, reference, declined)
            VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (key) DO NOTHING
            """,
            [key, kind, of_charge, amount_minor, currency, f"{prefix}_{uuid.uuid4().hex[:16]}", declined],
        )

    @staticmethod
    async def _entry(connection: AsyncConnection[tuple[Any, ...]], key: str) -> tuple[str, str]:
        found = await connection.execute("SELECT reference, declined FROM simulator.bank WHERE key = %s", [key])
        row = await found.fetchone()
        if row is None:
            raise ProviderUnavailable(f"The simulated bank has lost {key}.")
        return row[0], row[1]


class SimulatedCarrier:
    NAME = "Meridian Parcel"
    UNSERVED = frozenset({"AQ", "BV", "HM"})  # nobody lives there

    def __init__(self, ledger: Ledger, temper: Temper) -> None:
        self._ledger = ledger
        self._world = World(temper)

    async def prepare(self, *, key: str) -> str:
        async with self._world.call():
            return "Package ready"

    async def dispatch(self, *, key: str, recipient: str, address: dict[str, str]) -> Booking:
        async with self._world.call(), self._ledger.connection() as connection:
            if address["country"] in self.UNSERVED:
                return Booking(self.NAME, "", refused=f"{self.NAME} does not deliver there.")
            await self._enter(connection, key, recipient, address)
            tracking_number, withdrawn = await self._entry(connection, key)
        if withdrawn:
            return Booking(self.NAME, "", refused="The package was taken back.")
        return Booking(self.NAME, tracking_number)

    async def withdraw(self, *, key: str) -> Booking | None:
        async with self._world.call(), self._ledger.connection() as connection:
            # What never arrived is entered as withdrawn, so that it cannot arrive any more.
            await self._enter(connection, key, "", {})
            await connection.execute(
                "UPDATE simulator.carrier SET withdrawn = true WHERE key = %s AND NOT collected", [key]
            )
            tracking_number, withdrawn = await self._entry(connection, key)
        return None if withdrawn else Booking(self.NAME, tracking_number)

    @staticmethod
    async def _enter(
        connection: AsyncConnection[tuple[Any, ...]], key: str, recipient: str, address: dict[str, str]
    ) -> None:
        await connection.execute(
            """
            INSERT INTO simulator.carrier (key, tracking_number, recipient, address)
            VALUES (%s, %s, %s, %s) ON CONFLICT (key) DO NOTHING
            """,
            [key, f"MP{random.randrange(10**11, 10**12)}", recipient, Jsonb(address)],  # noqa: S311
        )

    @staticmethod
    async def _entry(connection: AsyncConnection[tuple[Any, ...]], key: str) -> tuple[str, bool]:
        found = await connection.execute(
            "SELECT tracking_number, withdrawn FROM simulator.carrier WHERE key = %s", [key]
        )
        row = await found.fetchone()
        if row is None:
            raise ProviderUnavailable(f"The simulated carrier has lost {key}.")
        return row[0], row[1]
