"""How the database is emptied after a test whose transactions were committed.

Django truncates every table and makes all rights anew, a fifth of a second each time. Most tests fill few tables: the
rows of those are deleted. What is there before the first test is there before each: the rights, the roles' groups, and
what migrations wrote.
"""

from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

# No test changes these and commits it.
_STAY = {
    model._meta.db_table
    for model in (ContentType, Group, Group.permissions.through, MigrationRecorder.Migration, Permission)
}
_written: dict[str, str] = {}  # by migrations: a table's rows, as JSON


def remember_what_migrations_wrote() -> None:
    with connection.cursor() as cursor:
        for table in _filled(_tables()):
            cursor.execute(f"SELECT json_agg(t)::text FROM {table} t")  # noqa: S608 - Django's own name
            ((_written[table],),) = cursor.fetchall()


def empty_what_was_filled() -> None:
    """Delete all rows that were not there before the first test. Waits for whoever still writes."""
    tables = _tables()
    with connection.cursor() as cursor:
        cursor.execute(f"BEGIN; LOCK TABLE {', '.join(tables)} IN SHARE ROW EXCLUSIVE MODE")
        # Without foreign keys and triggers, so that any sequence will do.
        cursor.execute("SET LOCAL session_replication_role = replica")
        for table in _filled(tables):
            cursor.execute(f"DELETE FROM {table}")  # noqa: S608 - Django's own name
        for table, rows in _written.items():
            cursor.execute(f"INSERT INTO {table} SELECT * FROM json_populate_recordset(NULL::{table}, %s)", [rows])  # noqa: S608
        cursor.execute("COMMIT")


def _tables() -> list[str]:
    return sorted(set(connection.introspection.django_table_names(only_existing=True, include_views=False)) - _STAY)


def _filled(tables: list[str]) -> list[str]:
    each = " UNION ALL ".join(f"SELECT '{table}' WHERE EXISTS (SELECT FROM {table})" for table in tables)  # noqa: S608
    with connection.cursor() as cursor:
        cursor.execute(each)
        return [table for (table,) in cursor.fetchall()]
