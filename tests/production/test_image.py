"""The Dockerfile: what is in the image, and as whom it runs. No engine is needed."""

import json
import re
from pathlib import Path

from tests.production.deployment import ROOT, files_of_the_image, instructions, service, stages

LAST = dict(stages()[-1])


def test_it_is_built_on_the_official_slim_python_of_one_release() -> None:
    bases = [rest.split(" AS ") for instruction, rest in instructions() if instruction == "FROM"]

    assert [base for base, *_ in bases if base != "python"] == [bases[0][0]]
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-trixie", bases[0][0])
    assert bases[0][1] == "python"


def test_it_does_not_run_as_root() -> None:
    user, group = LAST["USER"].split(":")

    assert int(user) > 0
    assert int(group) > 0
    assert [instruction for instruction, _ in stages()[-1]].index("USER") > 0


def test_packages_are_held_to_the_hashes_of_the_lock() -> None:
    (install,) = [
        rest for instruction, rest in instructions() if instruction == "RUN" and re.search(r"\binstall\b", rest)
    ]

    assert "--require-hashes" in install
    assert install.endswith("--requirement requirements.lock")
    assert "requirements-dev" not in (ROOT / "Dockerfile").read_text()
    lock = (ROOT / "requirements.lock").read_text()
    assert all(entry.count("--hash=sha256:") for entry in re.split(r"\n(?=\w)", lock) if "==" in entry)
    assert "://" not in lock


def test_the_last_stage_builds_nothing() -> None:
    assert not [rest for instruction, rest in stages()[-1] if instruction in {"RUN", "ADD"}]
    assert all(rest.startswith("--from=build ") for instruction, rest in stages()[-1] if instruction == "COPY")


def test_no_secret_is_kept_in_it() -> None:
    assert not [
        rest
        for instruction, rest in instructions()
        if instruction in {"ENV", "ARG"} and re.search("SECRET|PASSWORD", rest)
    ]


def test_it_serves_the_web_unless_told_otherwise() -> None:
    assert json.loads(LAST["CMD"]) == service("web")["command"]
    assert LAST["STOPSIGNAL"] == "SIGTERM"


def test_health_is_left_to_compose() -> None:
    assert "HEALTHCHECK" not in LAST


def test_it_holds_the_desk_and_nothing_of_its_making() -> None:
    inside = files_of_the_image()

    assert (ROOT / ".dockerignore").read_text().splitlines()[1] == "*"
    assert [name for name in inside if not (ROOT / name).exists()] == []
    assert not {"devstack", "tests", ".git", ".env", ".venv", ".data", "docs"} & set(inside)
    assert {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"devstack", "tests"} <= set(inside)


def test_what_compose_mounts_is_there() -> None:
    mounted = [volume.split(":")[0] for volume in service("temporal")["volumes"]]

    assert [path for path in mounted if not Path(ROOT, path).is_file()] == []
