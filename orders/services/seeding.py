"""Filling a desk with made-up orders, by COPY: for measuring, and for training at the size of a real shop.

No order of them has a run: none has a message to the engine, and none ever had one.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import psycopg
from django.apps import apps
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.db.models import Field
from psycopg import sql

from orders import demo, seeds
from orders.models import Order, Product
from orders.services.stocking import stock_products

TABLES = {name: f"orders_{name}" for name in seeds.COLUMNS}


def seed_orders(
    *, count: int, waiting: int, operators: Sequence[User], at: datetime, seed: int = 1, tell: Callable[[str], None]
) -> None:
    """Write `count` orders, of which the newest `waiting` are undecided, all or none.

    The desk stands still meanwhile: nothing else can read or write the tables. Raises ValueError where `seed` has been
    used here before.
    """
    if Order.objects.filter(source=seeds.SOURCE, reference__startswith=f"{seed}-").exists():
        raise ValueError(f"The orders of seed {seed} are here already.")
    stock_products(products=demo.products())
    cast = seeds.Cast(
        products=dict(Product.objects.filter(sku__in=demo.GOODS).values_list("sku", "pk")),
        operators=[(user.pk, user.get_username()) for user in operators],
    )
    shop = seeds.Shop(count, waiting, cast=cast, now=at, seed=seed)
    with transaction.atomic(), connection.cursor() as cursor:
        # raw SQL: COPY, and tables without their indexes meanwhile
        # Sorting is what building an index takes.
        cursor.execute("SET LOCAL maintenance_work_mem = '512MB'; SET LOCAL synchronous_commit = off")
        with _bare_tables(cursor, tell):
            _copy(cursor, shop, count, tell)
    tell("Looking at what there is, for the planner")
    with connection.cursor() as cursor:
        for table in TABLES.values():
            cursor.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(table)))


def _copy(cursor: Any, shop: seeds.Shop, count: int, tell: Callable[[str], None]) -> None:
    """Two at work: while PostgreSQL takes one batch in, the next is made up."""
    raw = cursor.connection
    known = {name: _columns(name) for name in seeds.COLUMNS}
    written = 0

    def write(rows: seeds.Rows) -> None:
        with raw.cursor() as plain:
            for name, (statement, rest) in known.items():
                with plain.copy(statement) as copy:
                    copy.write("".join(f"{line}{rest}\n" for line in rows.of[name]))

    with ThreadPoolExecutor(1) as writer:
        under_way: Future[None] | None = None
        for rows in shop.batches():
            if under_way:
                under_way.result()
            under_way = writer.submit(write, rows)
            written += len(rows.of["order"])
            if written % 100_000 == 0 or written == count:
                tell(f"{written:,} orders")
        if under_way:
            under_way.result()


def _columns(name: str) -> tuple[sql.Composed, str]:
    """COPY's statement, and the end of each line: what no seed speaks of has the default that it has for everybody."""
    named = list(seeds.COLUMNS[name])
    fields = apps.get_model("orders", name)._meta.concrete_fields  # noqa: SLF001 - as the admin does
    rest = [field for field in fields if field.column not in named and _has_a_default(field)]
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
        sql.Identifier(TABLES[name]),
        sql.SQL(", ").join(sql.Identifier(column) for column in [*named, *(field.column for field in rest)]),
    )
    return statement, "".join(f"\t{_as_text(field.get_default())}" for field in rest)


def _has_a_default(field: "Field[Any, Any]") -> bool:
    """In Python: what the database itself fills in is left to it."""
    return not (field.generated or field.has_db_default() or field.get_internal_type().endswith("AutoField"))


def _as_text(value: object) -> str:
    if value is None:
        return seeds.NONE
    if isinstance(value, bool):
        return "t" if value else "f"
    return "{}" if value == {} else "[]" if value == [] else str(value)


@contextmanager
def _bare_tables(cursor: Any, tell: Callable[[str], None]) -> Iterator[None]:
    """Without indexes, references and triggers; on the way out they are made again, which checks every row.

    But for the trigger that chains events, and what it looks the event before up by.
    """
    tables = list(TABLES.values())
    cursor.execute(
        "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE conrelid = ANY (%s::regclass[]) AND contype IN ('f', 'u')"
        " AND conname <> 'event_sequence_once_per_order' ORDER BY contype DESC, conname",
        [tables],
    )
    constraints = [(sql.SQL(of), sql.Identifier(name), sql.SQL(text)) for of, name, text in cursor.fetchall()]
    cursor.execute(
        "SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index"
        " WHERE indrelid = ANY (%s::regclass[]) AND NOT indisprimary"
        " AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid AND contype = 'u')"
        # Those of the few statuses that wait stay: PostgreSQL would not write their list again as it was.
        " AND coalesce(pg_get_expr(indpred, indrelid) NOT LIKE '%%ANY (%%', true)",
        [tables],
    )
    indexes = [(sql.SQL(name), sql.SQL(text)) for name, text in cursor.fetchall()]

    def run(statement: sql.Composable) -> None:
        try:
            cursor.execute(statement)
        except psycopg.Error as error:
            error.add_note(statement.as_string(None))
            raise

    names = [sql.Identifier(table) for table in tables]
    for name in names:
        run(sql.SQL("ALTER TABLE {} DISABLE TRIGGER USER").format(name))
    run(sql.SQL("ALTER TABLE orders_event ENABLE TRIGGER orders_event_chain"))
    for table, constraint, _ in constraints:
        run(sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(table, constraint))
    for index, _ in indexes:
        run(sql.SQL("DROP INDEX {}").format(index))
    yield
    tell("Building indexes")
    for _, text in indexes:
        run(text)
    for table, constraint, text in constraints:
        run(sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} {}").format(table, constraint, text))
    for name in names:
        run(sql.SQL("ALTER TABLE {} ENABLE TRIGGER USER").format(name))
