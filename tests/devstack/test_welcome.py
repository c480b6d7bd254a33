from pathlib import Path

import pytest

from devstack.settings import Settings
from devstack.welcome import Member, block

SETTINGS = Settings.read({"PORT": "8123"})


def test_the_block_names_the_desk_and_everybody_who_may_sign_in() -> None:
    cast: list[Member] = [{"username": "alice", "role": "operator", "password": "tide-pool"}]

    text = block(SETTINGS, cast)

    assert "http://127.0.0.1:8123/" in text
    assert "demo only; the passwords are shown this once" in text
    assert "alice   operator  tide-pool" in text
    assert "Ctrl-C" in text
    assert "DEMO=0" in text


def test_the_block_says_how_to_get_new_passwords_when_it_does_not_know_them() -> None:
    cast: list[Member] = [{"username": "alice", "role": "operator", "password": None}]

    text = block(SETTINGS, cast)

    assert "None" not in text
    assert "new passwords: .venv/bin/python -m devstack.manage create_demo_cast --reset" in text


def test_the_way_to_new_passwords_leads_to_the_folder_in_use(tmp_path: Path) -> None:
    folder = tmp_path / "an other"
    settings = Settings.read({"DATA_DIR": str(folder)})

    text = block(settings, [{"username": "alice", "role": "operator", "password": None}])

    assert f"DATA_DIR='{folder}' .venv/bin/python -m devstack.manage create_demo_cast --reset" in text


def test_the_block_names_nobody_where_demos_are_off() -> None:
    text = block(SETTINGS, cast=[])

    assert "createsuperuser" in text


def test_the_block_names_the_folder_where_mail_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "an other" / "mails"
    monkeypatch.setenv("MAIL_URL", folder.as_uri())

    assert f"Mail          to customers stays in {folder}\n" in block(SETTINGS, cast=[])


@pytest.mark.parametrize("url", ["", "smtp://127.0.0.1"])
def test_the_block_names_no_folder_where_mail_goes_out_or_there_is_none(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("MAIL_URL", url)

    assert "Mail " not in block(SETTINGS, cast=[])
