import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import psycopg
import pytest

from devstack.servers import FAST_AND_FORGETFUL, CannotStart, PostgresServer
from tests.servers import dev_server


def test_postgres_keeps_its_data_in_a_folder_whose_path_is_too_long_for_a_socket(tmp_path: Path) -> None:
    folder = tmp_path / ("a long name, with commas and 'quotes'" * 3)
    folder.mkdir()
    server = PostgresServer(folder, FAST_AND_FORGETFUL)

    server.start()
    try:
        with psycopg.connect(server.url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 7 AS number")
        server.stop()
        server.start()
        with psycopg.connect(server.url) as connection:
            row = connection.execute("SELECT number FROM kept").fetchone()
    finally:
        server.stop()

    assert row == (7,)


def test_postgres_takes_over_from_a_server_whose_parent_is_gone(tmp_path: Path) -> None:
    start = "import sys, pathlib; from devstack.servers import *; PostgresServer(pathlib.Path(sys.argv[1])).start()"
    subprocess.run([sys.executable, "-W", "ignore", "-c", start, str(tmp_path)], check=True)
    pid = int((tmp_path / "postgres" / "postmaster.pid").read_text().split()[0])
    server = PostgresServer(tmp_path, FAST_AND_FORGETFUL)

    ended = server.end_left_over()
    server.start()
    server.stop()

    assert ended == 1
    assert not psutil.pid_exists(pid)


def test_postgres_is_not_misled_by_a_stale_pid_file(tmp_path: Path) -> None:
    server = PostgresServer(tmp_path, FAST_AND_FORGETFUL)
    pid_of_another_process = str(psutil.Process().pid)
    server.start()
    server.stop()
    (tmp_path / "postgres" / "postmaster.pid").write_text(f"{pid_of_another_process}\n")

    ended = server.end_left_over()
    server.start()
    server.stop()

    assert ended == 0


def test_postgres_is_not_misled_by_a_stale_lock_of_its_socket(tmp_path: Path) -> None:
    other, server = (PostgresServer(tmp_path / name, FAST_AND_FORGETFUL) for name in "ab")
    for each in (other, server):
        each.data.parent.mkdir()
        each.start()
    server.stop()
    lock = server.data / ".s.PGSQL.5432.lock"
    lock.write_text((other.data / ".s.PGSQL.5432.lock").read_text())
    shutil.chown(lock, server.data.owner())

    server.end_left_over()
    server.start()
    server.stop()
    other.stop()


def test_postgres_says_in_one_sentence_why_it_cannot_start(tmp_path: Path) -> None:
    server = PostgresServer(tmp_path, FAST_AND_FORGETFUL | {"max_connections": "many"})

    with pytest.raises(CannotStart, match='invalid value for parameter "max_connections": "many"'):
        server.start()


def test_temporal_comes_back_on_its_port_after_a_crash() -> None:
    with dev_server() as server:
        address = server.address

        server.kill()
        answered_when_killed = server.answers()
        server.start()

        assert not answered_when_killed
        assert server.answers()
        assert server.address == address
