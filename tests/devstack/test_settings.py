import os
import re
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from devstack import settings as settings_module
from devstack.servers import CannotStart, free_port
from devstack.settings import Settings, check_database, check_folder, check_port, check_temporal


def test_without_any_setting_it_is_the_demo_on_the_usual_ports() -> None:
    settings = Settings.read({})

    assert settings == Settings(
        data_dir=Path.cwd() / ".data",
        port=8000,
        temporal_port=7233,
        temporal_ui_port=8233,
        demo=True,
        database_url=None,
        temporal_address=None,
    )


@pytest.mark.parametrize(
    ("setting", "value"), [("PORT", "web"), ("TEMPORAL_PORT", "0"), ("TEMPORAL_UI_PORT", "65536"), ("DEMO", "no")]
)
def test_it_names_a_setting_that_makes_no_sense(setting: str, value: str) -> None:
    with pytest.raises(CannotStart, match=f"^{setting} must be .* not {value}"):
        Settings.read({setting: value})


def test_it_names_the_port_that_is_taken_and_who_holds_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        with pytest.raises(CannotStart) as refusal:
            check_port("PORT", port)

    assert f"Port {port} is taken by" in str(refusal.value)
    assert f"(process {os.getpid()})" in str(refusal.value)
    assert "PORT=" in str(refusal.value)


def test_it_refuses_one_port_for_two_purposes() -> None:
    port = str(free_port())
    settings = Settings.read({"PORT": port, "TEMPORAL_PORT": port})

    with pytest.raises(CannotStart, match="two of them name the same"):
        settings.check_ports()


def test_it_names_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(CannotStart, match=r"file/data \(Not a directory\).*DATA_DIR="):
        check_folder(tmp_path / "file" / "data")


def test_it_says_that_the_folder_for_the_data_is_a_file(tmp_path: Path) -> None:
    file = tmp_path / "data"
    file.touch()

    with pytest.raises(CannotStart) as refusal:
        check_folder(file)

    assert str(refusal.value) == f"{file} is a file, not a folder: name a folder for the data with DATA_DIR=."


def test_it_names_the_disk_that_is_full(tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match=f"{re.escape(str(tmp_path))} has .* MB free.*DATA_DIR="):
        check_folder(tmp_path, bytes_needed=10**18)


def test_it_says_why_the_given_database_cannot_be_reached() -> None:
    port = free_port()

    with pytest.raises(CannotStart, match=r"DATABASE_URL names cannot be reached: .*Connection refused") as refusal:
        check_database(f"postgresql://desk:s3cret@127.0.0.1:{port}/desk")

    assert "s3cret" not in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("url", ["mysql://127.0.0.1/desk", "desk"])
def test_it_refuses_a_database_url_that_is_none(url: str) -> None:
    with pytest.raises(CannotStart, match="DATABASE_URL names cannot be reached"):
        check_database(url)


def test_it_says_that_the_given_temporal_cannot_be_reached() -> None:
    address = f"127.0.0.1:{free_port()}"

    with pytest.raises(CannotStart, match=f"TEMPORAL_ADDRESS={address}: .*Connection refused"):
        check_temporal(address)


def test_it_finds_the_given_temporal() -> None:
    check_temporal(os.environ["TEMPORAL_ADDRESS"])


def test_it_says_that_what_listens_there_is_not_temporal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings_module, "SECONDS_TO_ANSWER", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"

        with pytest.raises(CannotStart) as refusal:
            check_temporal(address)

    assert str(refusal.value).startswith(f"What listens at TEMPORAL_ADDRESS={address} does not answer as Temporal does")
    assert "\n" not in str(refusal.value)


def test_a_web_server_is_not_taken_for_temporal() -> None:
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        try:
            with pytest.raises(CannotStart, match="does not answer as Temporal does"):
                check_temporal(f"127.0.0.1:{web.server_port}")
        finally:
            web.shutdown()


def test_it_refuses_a_temporal_address_without_a_port() -> None:
    with pytest.raises(CannotStart, match="TEMPORAL_ADDRESS must be a host and a port"):
        check_temporal("127.0.0.1")
