import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from devstack import bootstrap


def test_it_names_the_setting_when_the_python_is_too_old() -> None:
    with pytest.raises(bootstrap.CannotInstall) as refusal:
        bootstrap.check_python((3, 10, 4))

    assert "needs Python 3.11 or newer" in str(refusal.value)
    assert "is Python 3.10.4" in str(refusal.value)
    assert "PYTHON=" in str(refusal.value)


def test_make_names_the_setting_when_there_is_no_such_python() -> None:
    made = subprocess.run(
        ["make", "install", "PYTHON=/nowhere/python3"],
        cwd=bootstrap.ROOT,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )

    sentence, of_make = made.stderr.splitlines()
    assert sentence.startswith("There is no /nowhere/python3: ")
    assert "PYTHON=" in sentence
    assert of_make.endswith("Error 1")


def test_a_python_that_is_far_too_old_can_parse_it() -> None:
    source = Path(bootstrap.__file__).read_text()

    ast.parse(source, feature_version=(3, 5))


def test_it_names_the_disk_that_is_too_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "BYTES_NEEDED", 10**18)

    with pytest.raises(bootstrap.CannotInstall, match=re.escape(str(tmp_path))):
        bootstrap.check_machine(tmp_path / ".venv")


def test_it_leaves_an_environment_alone_that_is_only_linked_to(tmp_path: Path) -> None:
    link = tmp_path / ".venv"
    link.symlink_to(tmp_path / "of-somebody-else")

    with pytest.raises(bootstrap.CannotInstall, match="would be emptied"):
        bootstrap.check_machine(link)


def test_it_says_what_to_install_when_python_has_no_venv() -> None:
    without_venv = (
        "import sys; sys.modules['ensurepip'] = None; from devstack import bootstrap as b; b.check_machine(b.VENV)"
    )

    checked = subprocess.run([sys.executable, "-c", without_venv], capture_output=True, text=True, check=False)

    assert "apt-get install python3-venv" in checked.stderr


def test_uv_gets_what_pip_is_configured_with(tmp_path: Path) -> None:
    configuration = tmp_path / "pip.conf"
    configuration.write_text(
        "[global]\nextra-index-url =\n  https://one.example/simple\n  https://two.example/simple\n"
    )
    ask = "from devstack.bootstrap import pip_settings; print(pip_settings())"
    environment = os.environ | {"PIP_CONFIG_FILE": str(configuration), "PIP_INDEX_URL": "https://main.example/simple"}

    asked = subprocess.run([sys.executable, "-c", ask], env=environment, capture_output=True, text=True, check=True)

    settings = ast.literal_eval(asked.stdout)
    assert settings["index-url"] == "https://main.example/simple"
    assert settings["extra-index-url"].split() == ["https://one.example/simple", "https://two.example/simple"]


def test_uv_itself_is_held_to_the_hashes_of_the_lock() -> None:
    entry = bootstrap.locked_entry("uv", bootstrap.LOCK.read_text())

    assert entry.startswith("uv==")
    assert "--hash=sha256:" in entry
    assert len(re.findall(r"^\S+==", entry, re.MULTILINE)) == 1


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_the_locks_name_no_package_index(lock: str) -> None:
    text = (bootstrap.ROOT / lock).read_text()

    assert "://" not in text
    assert "--find-links" not in text


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_the_locks_are_good_for_other_platforms_than_the_one_they_were_made_on(lock: str) -> None:
    entries = re.findall(r"^([\w.-]+)==.*((?:\n    --hash.*)+)", (bootstrap.ROOT / lock).read_text(), re.MULTILINE)

    of_one_file_only = [name for name, hashes in entries if hashes.count("--hash") == 1]

    assert len(entries) > 10
    assert of_one_file_only == []
