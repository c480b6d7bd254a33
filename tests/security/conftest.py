from pathlib import Path

import pytest
from django.core.cache import cache
from pytest_django import Settings

from tests.conftest import PlaceOrder
from tests.security.world import World


@pytest.fixture(autouse=True)
def _static_files_as_they_are(settings: Settings, tmp_path: Path) -> None:
    settings.STATIC_ROOT = tmp_path
    settings.STORAGES = {"staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}


@pytest.fixture(autouse=True)
def _nothing_is_remembered() -> None:
    cache.clear()


@pytest.fixture
def world(place: PlaceOrder, settings: Settings) -> World:
    settings.DESK_URL, settings.CUSTOMERS_GET_MAIL, settings.SECOND_FACTOR = "https://desk.example", True, True
    settings.METRICS_TOKEN = "a token of Prometheus"
    return World(place)
