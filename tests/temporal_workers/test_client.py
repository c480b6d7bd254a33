"""How the workers find Temporal."""

import pytest

from temporal_workers import client


async def test_without_an_address_it_looks_where_temporal_listens_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TEMPORAL_ADDRESS")

    found = await client.connect(lazy=True)

    assert found.service_client.config.target_host == client.DEFAULT_ADDRESS
