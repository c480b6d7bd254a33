"""Queries as text. Django writes one for longer than PostgreSQL takes to answer it where that is in an index: what
each page asks in the same words is written once and kept.
"""

import uuid
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import cached_property
from typing import Any

from django.db import connection
from django.db.models import Model, QuerySet
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


class Shape:
    """Columns of a model's rows, its key among them, and of the rows that those lead to: what a list shows of them.

    A column that is left out is asked for when it is needed, as with `only()`, and a row that is not there is None, or
    DoesNotExist, as Django has it. It reads the same by `select_related()`, and works out anew each time how.
    """

    def __init__(self, model: type[Model], columns: Collection[str] = (), **leads_to: "Shape") -> None:
        """All columns, if none are named.

        Raises ValueError for one that there is not.
        """
        meta = model._meta  # noqa: SLF001
        fields: list[Any] = [field for field in meta.concrete_fields if not columns or field.attname in columns]
        self.model = model
        self.columns = {field.attname: place for place, field in enumerate(fields)}  # in the model's order
        if unknown := set(columns) - set(self.columns):
            raise ValueError(f"{model.__name__} has no columns {', '.join(sorted(unknown))}")
        self.key = self.columns[meta.pk.attname]
        self.converted = [(place, field) for place, field in enumerate(fields) if hasattr(field, "from_db_value")]
        self.width = len(fields)
        self.leads_to: list[tuple[int, Any, Shape]] = []
        for name, shape in leads_to.items():
            self.leads_to.append((self.width, meta.get_field(name), shape))
            self.width += shape.width

    def of(self, rows: QuerySet[Any, Any]) -> Statement:
        return as_sql(rows.values_list(*self.paths()))

    def ask(self, statement: Statement) -> list[Any]:
        """The rows of a statement that `of` wrote."""
        return [self.row(values) for values in ask(statement)]

    def of_keys(self, keys: Sequence[Any]) -> list[Any]:
        """The rows with those keys, in that order, as far as they are still there."""
        statement, _ = self._of_keys
        found = {row.pk: row for row in self.ask((statement, [keys]))} if keys else {}
        return [found[key] for key in keys if key in found]

    @cached_property
    def _of_keys(self) -> Statement:
        return self.of(QuerySet(self.model).filter(pk__in=RawSQL("SELECT unnest(%s)", [()])).order_by())

    def paths(self, before: str = "") -> Iterator[str]:
        yield from (before + column for column in self.columns)
        for _, field, shape in self.leads_to:
            yield from shape.paths(f"{before}{field.name}__")

    def row(self, values: Sequence[Any], begin: int = 0) -> Model | None:
        """The row whose columns begin there among the values; None where there is none."""
        if values[begin + self.key] is None:
            return None
        own = list(values[begin : begin + len(self.columns)])
        for place, field in self.converted:
            own[place] = field.from_db_value(own[place], None, connection)
        row = self.model.from_db(connection.alias, self.columns, own)
        for place, field, shape in self.leads_to:
            field.set_cached_value(row, shape.row(values, begin + place))
        return row


SOME_ORDER = uuid.UUID("5a3e0c1e-0000-4000-8000-000000000000")  # which is none
SOMEBODY = -4_233_091  # who is nobody


class Kept:
    """Rows of one order, or one person, or another: they are asked for in the same words."""

    def __init__(self, shape: Shape, rows: Callable[[Any], QuerySet[Any, Any]], *, some: Any = SOME_ORDER) -> None:
        """`rows` are those of a key, and `some` is a key that nothing has."""
        self._shape = shape
        self._rows = rows
        self._some = some

    def of(self, key: Any) -> list[Any]:
        text, parameters = self._statement
        return self._shape.ask((text, [key if each == self._some else each for each in parameters]))

    @cached_property
    def _statement(self) -> Statement:
        return self._shape.of(self._rows(self._some))


def among(window: QuerySet[Any, Any], rows: QuerySet[Any, Any]) -> Statement:
    """`rows` of a table as far as they are in `window`, a slice of the same table.

    Where both have the same order, PostgreSQL walks along the window and stops as soon as it has enough.
    """
    table = connection.ops.quote_name(window.query.get_initial_alias())
    # By another name than the column's: or Django would sort by its place in the part that is replaced here.
    inner, inner_parameters = as_sql(window.values_list("pk"))
    outer, parameters = as_sql(rows)
    start = f" FROM {table} "
    before, _, behind = outer.partition(start)
    _, _, narrowed = inner.partition(start)
    return (
        f"{before} FROM (SELECT {table}.*{start}{narrowed}) AS {table} {behind}",
        [*inner_parameters, *parameters],
    )


COUNTED = RawSQL("SELECT key FROM counted", ())  # within the rows of `few` alone


def few(counted: QuerySet[Any, Any], *, up_to: int, rows: QuerySet[Any, Any]) -> tuple[int, list[Any] | None]:
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
    return number, of_few
