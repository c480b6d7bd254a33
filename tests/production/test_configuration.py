"""Every setting that code or compose reads is in .env.example and in the README, and the other way round."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.production.deployment import ROOT, documented, service, variables_of_compose

READERS = [
    ROOT / "orders_site/settings.py",
    ROOT / "orders_site/asgi.py",
    ROOT / "gunicorn.conf.py",
    *sorted((ROOT / "devstack").glob("*.py")),
]
ENVIRONMENTS = {"os.environ", "environment"}
# Whom the code is run by says that, not who runs the desk.
NOT_OURS = {"DJANGO_SETTINGS_MODULE"}
IN_COMPOSE_ONLY = {"DJANGO_DEBUG", "DATABASE_URL", "TEMPORAL_ADDRESS"}  # set there, whatever the environment says
OUTSIDE_COMPOSE_ONLY = {"WEB_BIND", "TEMPORAL_PORT", "DATA_DIR", "DEMO"}


def reads(path: Path) -> Iterator[tuple[str, str | None]]:
    """The environment variables that a file reads by name, each with its default where that is a literal."""
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Call(func=ast.Name(id=reader), args=[ast.Constant(value=str(name)), *rest]) if reader.startswith(
                "env_"
            ):
                yield name, _literal(rest)
            case ast.Call(func=ast.Attribute(value=where, attr="get"), args=[ast.Constant(value=str(name)), *rest]) if (
                ast.unparse(where) in ENVIRONMENTS
            ):
                yield name, _literal(rest)
            case ast.Call(args=[ast.Name(id="environment"), ast.Constant(value=str(name)), *rest]):
                yield name, _literal(rest)
            case ast.Subscript(value=where, slice=ast.Constant(value=str(name)), ctx=ast.Load()) if (
                ast.unparse(where) in ENVIRONMENTS
            ):
                yield name, None


def _literal(arguments: list[ast.expr]) -> str | None:
    match arguments:
        case [ast.Constant(value=bool(value)), *_]:
            return str(int(value))
        case [ast.Constant(value=value), *_]:
            return str(value)
    return None


READ = [(path, name, default) for path in READERS for name, default in reads(path)]


def test_the_example_has_every_variable_that_is_read_and_no_other() -> None:
    names = {name for _, name, _ in READ} - NOT_OURS

    assert len(names) > 30
    assert set(documented()) == names | variables_of_compose()


@pytest.mark.parametrize(
    ("name", "default"),
    sorted(
        {
            (name, default)
            for path, name, default in READ
            if default and path.name in {"settings.py", "gunicorn.conf.py"}
        }
    ),
)
def test_the_example_gives_the_default_of_the_code(name: str, default: str) -> None:
    assert documented()[name] == default


def test_the_example_explains_each_variable_or_row_of_them() -> None:
    said = ""
    for line in (ROOT / ".env.example").read_text().splitlines():
        if re.match("#?[A-Z][A-Z0-9_]*=", line):
            assert said.startswith("# "), f"{line} stands there without a word"
        else:
            said = line


def test_only_secrets_are_left_to_fill_in() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()

    open_ones = [line for line in lines if re.match("[A-Z]", line)]

    assert open_ones == ["DJANGO_SECRET_KEY=", "POSTGRES_PASSWORD=", "TEMPORAL_POSTGRES_PASSWORD="]


def test_compose_hands_every_setting_of_the_desk_to_its_containers() -> None:
    of_the_desk = {
        name
        for path, name, _ in READ
        if path.name in {"settings.py", "gunicorn.conf.py"} and path.parent.name != "devstack"
    }
    given = dict.fromkeys(documented(), "given")

    for container in ("migrate", "web", "orders-worker", "shipping-worker"):
        environment = service(container, given)["environment"]
        handed = {name for name in of_the_desk if "given" in environment.get(name, "")}
        assert handed == of_the_desk - IN_COMPOSE_ONLY - OUTSIDE_COMPOSE_ONLY


def test_the_readme_has_one_row_for_each_variable() -> None:
    section = re.search(
        r"^## Configuration\n(.*?)(?=^## |\Z)", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE
    )
    assert section, "the README has no section `## Configuration`"

    rows = re.findall(r"^\| *`([A-Z][A-Z0-9_]*)` *\|", section[1], re.MULTILINE)

    assert len(rows) == len(set(rows))
    assert set(rows) == set(documented())
