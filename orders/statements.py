"""Queries as text. Django writes one for longer than PostgreSQL takes to answer it where that is in an index: what
each page asks in the same words is written once and kept.
"""

from collections.abc import Sequence
from typing import Any

from django.db import connection
from django.db.models import QuerySet
from django.db.models.expressions import RawSQL

Statement = tuple[str, Sequence[Any]]  # with its parameters: what people typed is among these, never in the text


def as_sql(rows: QuerySet[Any, Any]) -> Statement:
    """To be part of another statement, and so with a text even where Django knows that nothing fits."""
    sql, parameters = rows.query.get_compiler(connection=connection, elide_empty=False).as_sql()
    return str(sql), parameters


def ask(statement: Statement) -> list[tuple[Any, ...]]:
    # raw SQL: what Django once wrote itself
    with connection.cursor() as cursor:
        cursor.execute(*statement)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows


def among(window: QuerySet[Any, Any], rows: QuerySet[Any, Any]) -> Statement:
    """`rows` of a table as far as they are in `window`, a slice of the same table.

    Where both have the same order, PostgreSQL walks along the window and stops as soon as it has enough.
    """
    table = connection.ops.quote_name(window.query.get_initial_alias())
    inner, inner_parameters = as_sql(window)
    outer, parameters = as_sql(rows)
    before, _, behind = outer.partition(f" FROM {table} ")
    return f"{before} FROM ({inner}) AS {table} {behind}", [*inner_parameters, *parameters]


COUNTED = RawSQL("SELECT key FROM counted", ())  # within the rows of `few` alone


def few(counted: QuerySet[Any, Any], *, up_to: int, rows: QuerySet[Any, Any]) -> tuple[int, list[Any]]:
    """How many keys are `counted`, and where there are no more than `up_to`, the keys that `rows` ask for.

    `rows` are among COUNTED. All of them are sorted: a limit would have the planner walk along an index. A thousand
    keys would take longer to come here and to go back than to be found.
    """
    keys, parameters_of_keys = as_sql(counted)
    found, parameters = as_sql(rows)
    # The text is Django's own; what people typed is among the parameters.
    statement = (
        f"WITH counted (key) AS MATERIALIZED ({keys})"  # noqa: S608
        f" SELECT count(*), CASE WHEN count(*) <= {up_to:d} THEN ARRAY({found}) END FROM counted"
    )
    ((number, of_few),) = ask((statement, [*parameters_of_keys, *parameters]))
    return number, of_few or []
