"""`make fuzz` in short: the same application and the same judge, with a seed that does not change.

What comes of a seed depends on the modules that are loaded as well: only the faults are judged."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pytest_django import Settings

from orders.api import endpoints

if TYPE_CHECKING:
    from tests.fuzz.attack import Attack


@pytest.fixture
def attack(transactional_db: None, settings: Settings, tmp_path: Path) -> "Attack":
    from tests.fuzz.attack import Attack  # a second, which only the process that runs this file has to spend

    settings.DESK_URL, settings.CUSTOMERS_GET_MAIL = "https://orders.example.com", True
    settings.STATIC_ROOT = tmp_path
    settings.STORAGES = {"staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}
    return Attack()


def test_no_answer_of_the_api_is_a_failure_or_is_other_than_described(attack: "Attack") -> None:
    attack.ask_everything(seed_of_round=7, times=2)
    attack.ask_by_other_methods()

    assert attack.faults == {}
    assert attack.statuses.total() > 5 * len(attack.operations)
    assert attack.reached


def test_what_is_planted_is_found(attack: "Attack", monkeypatch: pytest.MonkeyPatch) -> None:
    attack.operations = [one for one in attack.operations if one.label == "GET /api/v1/orders/{order_id}"]
    monkeypatch.setattr(endpoints, "_order", lambda _: 1 / 0)

    attack.ask_everything(seed_of_round=7, times=3)

    assert any("500: Server error" in fault for fault in attack.faults)
