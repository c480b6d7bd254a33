"""Databases with every table in them, copied from one that is migrated once a run."""

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

BASE = Path(__file__).resolve().parent.parent
_ONE_AT_A_TIME = 4_233_091  # of the run's processes


@contextmanager
def database(purpose: str) -> Iterator[str]:
    """A new database on the run's server, gone afterwards: its address."""
    name = f"{purpose}_{secrets.token_hex(6)}"
    with _server() as server:
        server.execute("SELECT pg_advisory_lock(%s)", [_ONE_AT_A_TIME])
        _migrate_once(server)
        server.execute(_statement("CREATE DATABASE {} TEMPLATE {}", name, os.environ["TEST_TEMPLATE"]))
    try:
        yield _address(name)
    finally:
        with _server() as server:
            server.execute(_statement("DROP DATABASE {} WITH (FORCE)", name))


def remove_template() -> None:
    """For a server that outlives the run."""
    with _server() as server:
        server.execute(_statement("DROP DATABASE IF EXISTS {}", os.environ["TEST_TEMPLATE"]))


def _migrate_once(server: psycopg.Connection) -> None:
    template = os.environ["TEST_TEMPLATE"]
    if server.execute("SELECT 1 FROM pg_database WHERE datname = %s", [template]).fetchone():
        return
    unfinished = f"{template}_unfinished"
    server.execute(_statement("DROP DATABASE IF EXISTS {}", unfinished))
    server.execute(_statement("CREATE DATABASE {}", unfinished))
    environment = {**os.environ, "DATABASE_URL": _address(unfinished), "DJANGO_SETTINGS_MODULE": "orders_site.settings"}
    subprocess.run([sys.executable, "manage.py", "migrate", "--verbosity=0"], cwd=BASE, env=environment, check=True)
    server.execute(_statement("ALTER DATABASE {} RENAME TO {}", unfinished, template))


def _server() -> psycopg.Connection:
    return psycopg.connect(os.environ["DATABASE_URL"], autocommit=True)


def _address(name: str) -> str:
    return urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}").geturl()


def _statement(text: str, *names: str) -> sql.Composed:
    return sql.SQL(text).format(*map(sql.Identifier, names))
