"""What the README points at exists, and it stays short."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def section(title: str) -> str:
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", README, re.DOTALL | re.MULTILINE)
    assert found, f"the README has no section {title!r}"
    return found[1]


def test_but_for_the_table_of_settings_it_stays_under_120_lines() -> None:
    assert len(README.splitlines()) - len(section("Configuration").splitlines()) < 120


def test_every_path_in_find_your_way_around_exists() -> None:
    paths = re.findall(
        r"`([^`]+)`", "".join(re.findall(r"\| [^|]+ \|$", section("Find your way around"), re.MULTILINE))
    )

    assert len(paths) > 15
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_every_link_leads_to_a_file() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]

    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_named_command_exists() -> None:
    named = set(re.findall(r"manage\.py (\w+)", README))
    ours = {path.stem for path in ROOT.glob("*/management/commands/*.py")} - {"__init__"}

    assert named - {"migrate", "collectstatic"} <= ours
