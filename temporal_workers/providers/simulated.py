"""A bank and a carrier to practise with. Each keeps a ledger of its own, outside the desk's transactions, as a real
one would: a schema `simulator` that only this module touches. Speed and faults by settings; calm by default.
"""

import asyncio
import random
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, LiteralString

from psycopg import AsyncConnection, OperationalError
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from temporal_workers.providers.protocols import BankEntry, Booking, ChargeAnswer, ProviderUnavailable

# raw SQL: the simulated bank and carrier are somebody else's world, which knows no Django
LEDGERS = """
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
ALTER TABLE simulator.bank ADD COLUMN IF NOT EXISTS pending boolean NOT NULL DEFAULT false;
CREATE INDEX IF NOT EXISTS bank_pending ON simulator.bank (at) WHERE pending;
CREATE TABLE IF NOT EXISTS simulator.news (
    id text PRIMARY KEY DEFAULT 'evt_' || replace(gen_random_uuid()::text, '-', ''),
    key text NOT NULL,
    type text NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    attempts integer NOT NULL DEFAULT 0,
    next_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS news_next ON simulator.news (next_at);
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
    confirm_rate: float = 0.0  # charges that the customer has to confirm


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
                        await connection.execute(LEDGERS)
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


# What the bank does to charges, and what it tells of it, in one statement: both or neither.
_AND_TELL = """
, told AS (
    INSERT INTO simulator.news (key, type)
    SELECT key, CASE WHEN pending THEN 'requires_action' WHEN declined <> '' THEN 'failed' ELSE 'succeeded' END
    FROM changed WHERE %(tells)s
)
SELECT count(*) FROM changed
"""


@dataclass(frozen=True)
class News:
    """What the bank has to tell of a charge. `at` is when it came about, in seconds since 1970."""

    id: str
    type: str  # requires_action, succeeded or failed
    key: str
    reference: str
    amount_minor: int
    currency: str
    reason: str
    at: int


class SimulatedBank:
    """`tells`: whether what happens to charges is news to be told; see webhooks.py."""

    def __init__(self, ledger: Ledger, temper: Temper, *, tells: bool = False) -> None:
        self._ledger = ledger
        self._temper = temper
        self._world = World(temper)
        self._tells = tells

    async def charge(self, *, key: str, amount_minor: int, currency: str) -> ChargeAnswer:
        declined = "insufficient funds" if random.random() < self._temper.decline_rate else ""  # noqa: S311
        pending = not declined and random.random() < self._temper.confirm_rate  # noqa: S311
        async with self._world.call(), self._ledger.connection() as connection:
            await self._change(
                connection,
                """
                INSERT INTO simulator.bank (key, kind, amount_minor, currency, reference, declined, pending)
                VALUES (%(key)s, 'charge', %(amount)s, %(currency)s, %(reference)s, %(declined)s, %(pending)s)
                ON CONFLICT (key) DO NOTHING
                """,
                key=key,
                amount=amount_minor,
                currency=currency,
                reference=_reference("ch"),
                declined=declined,
                pending=pending,
            )
            reference, declined, pending = await self._entry(connection, key)
        return ChargeAnswer("" if declined else reference, declined, pending)

    async def refund(self, *, key: str, of_charge: str, amount_minor: int, currency: str) -> str:
        async with self._world.call(), self._ledger.connection() as connection:
            # A charge that never arrived is voided, so that it cannot arrive any more; so is one that is not confirmed.
            await self._enter(connection, of_charge, "charge", None, amount_minor, currency, "ch", "voided")
            await connection.execute(
                "UPDATE simulator.bank SET pending = false, declined = 'voided' WHERE key = %s AND pending", [of_charge]
            )
            _, declined, _ = await self._entry(connection, of_charge)
            if declined:
                return ""
            await self._enter(connection, key, "refund", of_charge, amount_minor, currency, "re", "")
            reference, _, _ = await self._entry(connection, key)
        return reference

    async def answer_as_customer(self, *, key: str, confirms: bool) -> bool:
        """What the customer does with a charge that waits for them; False where none does under that key."""
        async with self._ledger.connection() as connection:
            return await self._change(
                connection,
                "UPDATE simulator.bank SET pending = false, declined = %(declined)s WHERE key = %(key)s AND pending",
                key=key,
                declined="" if confirms else "refused by the customer",
            )

    async def let_customers_confirm(self, *, after: float) -> None:
        """Every customer who was asked more than `after` seconds ago confirms."""
        async with self._ledger.connection() as connection:
            await self._change(
                connection,
                "UPDATE simulator.bank SET pending = false WHERE pending AND at < now() - %(after)s * interval '1 s'",
                after=after,
            )

    async def due_news(self, *, most: int) -> Sequence[News]:
        """News to tell now, each due again later, ever more rarely, unless `forget_news` comes first."""
        async with self._ledger.connection() as connection:
            found = await connection.execute(
                """
                WITH due AS (
                    UPDATE simulator.news
                    SET attempts = attempts + 1, next_at = now() + least(2 ^ least(attempts, 10), 300) * interval '1 s'
                    WHERE id IN (
                        SELECT id FROM simulator.news WHERE next_at <= now()
                        ORDER BY next_at LIMIT %s FOR UPDATE SKIP LOCKED
                    )
                    RETURNING id, type, key, at
                )
                SELECT id, type, key, reference, amount_minor, currency,
                       CASE type WHEN 'failed' THEN declined ELSE '' END, extract(epoch FROM due.at)::bigint
                FROM due JOIN simulator.bank USING (key)
                """,
                [most],
            )
            return [News(*row) for row in await found.fetchall()]

    async def forget_news(self, news: News) -> None:
        async with self._ledger.connection() as connection:
            await connection.execute("DELETE FROM simulator.news WHERE id = %s", [news.id])

    async def entries(self) -> Sequence[BankEntry]:
        async with self._ledger.connection() as connection:
            found = await connection.execute(
                "SELECT key, kind, amount_minor, currency, declined, pending FROM simulator.bank ORDER BY at, key"
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
            [key, kind, of_charge, amount_minor, currency, _reference(prefix), declined],
        )

    @staticmethod
    async def _entry(connection: AsyncConnection[tuple[Any, ...]], key: str) -> tuple[str, str, bool]:
        """Reference, why it was declined, and whether it waits for the customer."""
        found = await connection.execute(
            "SELECT reference, declined, pending FROM simulator.bank WHERE key = %s", [key]
        )
        row = await found.fetchone()
        if row is None:
            raise ProviderUnavailable(f"The simulated bank has lost {key}.")
        return row[0], row[1], row[2]

    async def _change(
        self, connection: AsyncConnection[tuple[Any, ...]], change: LiteralString, **values: object
    ) -> bool:
        """Change charges, and put down what there is to tell of it; says whether any was changed."""
        statement = f"WITH changed AS ({change} RETURNING key, declined, pending) {_AND_TELL}"
        found = await connection.execute(statement, values | {"tells": self._tells})
        row = await found.fetchone()
        return row is not None and row[0] > 0


def _reference(prefix: str) -> str:
    return f"{prefix}_{uuid.uuid4().hex[:16]}"


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
