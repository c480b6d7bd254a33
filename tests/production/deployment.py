"""Dockerfile, .dockerignore, docker-compose.yml and .env.example as the tests read them: nothing is typed again."""

import re
import shlex
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "docker-compose.yml"
# Long and mixed, as Django wants it of a secret.
SECRETS = {
    "DJANGO_SECRET_KEY": "k7Q-wz1pXe93LrVb_0ymTGdHUnaEoJ5sFcC8iKxM2tRqYvWh6ZlPfBgAjND4SOu",
    "POSTGRES_PASSWORD": "with $signs/and:others@",
    "TEMPORAL_POSTGRES_PASSWORD": "another one",
}

# One variable whose default, if any, holds no other.
_VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^${}]*))?\}")


class RequiredVariable(Exception):
    """A variable that has no default is not set."""


@cache
def compose() -> dict[str, Any]:
    """The file as it is written, with its anchors resolved: read once, and not to be changed."""
    return dict(YAML(typ="safe", pure=True).load(COMPOSE))


def service(name: str, given: Mapping[str, str] = SECRETS) -> dict[str, Any]:
    """A service as compose would start it, with `given` in its environment.

    Raises RequiredVariable.
    """
    found: dict[str, Any] = interpolate(compose()["services"][name], given)
    environment = found.get("environment", {})
    found["environment"] = {
        variable: given[variable] if value is None else value
        for variable, value in environment.items()
        if value is not None or variable in given
    }
    return found


def interpolate(node: Any, given: Mapping[str, str]) -> Any:
    """Fill in the variables, innermost first, and turn `$$` into `$`."""
    if isinstance(node, dict):
        return {key: interpolate(value, given) for key, value in node.items()}
    if isinstance(node, list):
        return [interpolate(value, given) for value in node]
    if not isinstance(node, str):
        return node

    filled: list[str] = []

    def fill(found: re.Match[str]) -> str:
        name, kind, text = found.groups()
        if kind == "?" and not given.get(name):
            raise RequiredVariable(f"{name} {text}")
        filled.append(given.get(name) or text or "")
        return f"\0{len(filled) - 1}\0"

    node = node.replace("$$", "\0$\0")
    while _VARIABLE.search(node):
        node = _VARIABLE.sub(fill, node)
    while found := re.search("\0([0-9]+)\0", node):
        node = node.replace(found[0], filled[int(found[1])])
    return node.replace("\0$\0", "$")


def variables_of_compose() -> set[str]:
    """What compose takes from the environment: what it fills in, and what it hands through."""
    found = set(re.findall(r"\$\{(\w+)", COMPOSE.read_text()))
    for each in compose()["services"].values():
        found |= {name for name, value in each.get("environment", {}).items() if value is None}
    return found


def instructions() -> Iterator[tuple[str, str]]:
    """The Dockerfile's instructions, each on one line."""
    text = "\n".join(line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.startswith("#"))
    for line in text.replace("\\\n", " ").splitlines():
        if line.strip():
            instruction, _, rest = line.partition(" ")
            yield instruction, rest.strip()


def stages() -> list[list[tuple[str, str]]]:
    found: list[list[tuple[str, str]]] = []
    for instruction in instructions():
        if instruction[0] == "FROM":
            found.append([])
        found[-1].append(instruction)
    return found


def environment_of_the_image() -> dict[str, str]:
    """What the Dockerfile's last stage sets, but for the paths of a container."""
    settings = " ".join(rest for instruction, rest in stages()[-1] if instruction == "ENV")
    environment = dict(setting.split("=", 1) for setting in shlex.split(settings))
    return {name: value for name, value in environment.items() if name not in {"PATH", "HOME"}}


def files_of_the_image() -> list[str]:
    """What .dockerignore lets in."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    return [line.removeprefix("!") for line in lines if line.startswith("!")]


def documented() -> dict[str, str]:
    """Each variable of .env.example with its value there."""
    lines = re.findall(r"^#?([A-Z][A-Z0-9_]*)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE)
    assert len(lines) == len(dict(lines)), "a variable stands there twice"
    return dict(lines)
