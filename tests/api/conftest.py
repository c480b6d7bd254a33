from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import Settings

from orders.models import ApiScope
from orders.services import clients
from tests.api.calls import lamps

Caller = Callable[..., Client]
Body = dict[str, Any]


@pytest.fixture(autouse=True)
def _static_files_as_they_are(settings: Settings, tmp_path: Path) -> None:
    settings.STATIC_ROOT = tmp_path
    settings.STORAGES = {"staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}


@pytest.fixture
def caller(db: None) -> Caller:
    """A client of the API that carries a token with these scopes."""

    def caller(*scopes: str, name: str = "shop", user: User | None = None) -> Client:
        wanted = [ApiScope(scope) for scope in scopes]
        token = clients.create_client(name=name, scopes=wanted, user=user, at=datetime.now(UTC))
        return Client(headers={"Authorization": f"Bearer {token}"}, raise_request_exception=False)

    return caller


@pytest.fixture
def shop(caller: Caller, goods: object) -> Client:
    return caller("read", "place")


@pytest.fixture
def body() -> Body:
    return lamps()


@pytest.fixture
def at_desk(alice: User) -> Client:
    client = Client()
    client.force_login(alice)
    return client
