"""The compose file keeps to the specification and to what we promise of it. No engine is needed."""

import re
import subprocess
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings

from devstack.servers import BIN
from tests.production.deployment import COMPOSE, SECRETS, RequiredVariable, compose, interpolate, service

SERVICES: dict[str, dict[str, Any]] = {name: service(name) for name in compose()["services"]}
ONCE = {"migrate", "temporal-schema", "temporal-namespace"}
SCALING = {"orders-worker", "shipping-worker"}
OURS = {"migrate", "web"} | SCALING


def test_it_keeps_to_the_compose_specification() -> None:
    checked = subprocess.run(
        [BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", COMPOSE],
        capture_output=True,
        text=True,
        check=False,
    )

    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_it_has_every_part_of_the_desk() -> None:
    databases = {"postgres", "temporal-postgres"}
    assert set(SERVICES) == ONCE | OURS | databases | {"temporal", "temporal-ui"}


@pytest.mark.parametrize("name", SERVICES)
def test_what_is_published_is_published_on_this_machine_only(name: str) -> None:
    for port in SERVICES[name].get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port)
    assert SERVICES[name].get("network_mode") is None


def test_only_the_desk_and_the_pages_of_temporal_are_published() -> None:
    assert {name for name, each in SERVICES.items() if each.get("ports")} == {"web", "temporal-ui"}


@pytest.mark.parametrize("name", sorted(set(SERVICES) - OURS))
def test_images_of_others_are_official_and_pinned_to_a_release(name: str) -> None:
    assert re.fullmatch(
        r"(postgres:18\.\d+-trixie|temporalio/(server|admin-tools|ui):\d+\.\d+\.\d+)", SERVICES[name]["image"]
    )


def test_the_schema_tool_is_of_the_version_of_the_server() -> None:
    versions = {SERVICES[name]["image"].partition(":")[2] for name in ("temporal", "temporal-schema")}
    assert len(versions) == 1


def test_web_and_workers_are_one_image() -> None:
    assert {SERVICES[name]["image"] for name in OURS} == {"countersign:local"}
    assert {SERVICES[name]["build"] for name in OURS} == {"."}


@pytest.mark.parametrize("secret", SECRETS)
def test_it_starts_nothing_without_its_secrets(secret: str) -> None:
    given = {name: value for name, value in SECRETS.items() if name != secret}

    with pytest.raises(RequiredVariable, match=f"{secret} must be set"):
        interpolate(compose(), given)


@pytest.mark.parametrize("name", SERVICES)
def test_every_secret_comes_from_the_environment(name: str) -> None:
    for variable, value in SERVICES[name].get("environment", {}).items():
        if re.search("PASSWORD|PWD|SECRET|KEY", variable):
            assert value in SECRETS.values()
        assert not re.search("://[^/@]*:[^/@]*@", value), f"{variable} has a password in it"


@pytest.mark.parametrize("name", sorted(SCALING))
def test_workers_can_be_scaled(name: str) -> None:
    assert not {"container_name", "hostname", "ports", "volumes"} & set(SERVICES[name])


@pytest.mark.parametrize("name", sorted(SCALING))
def test_a_worker_gets_the_time_to_drain(name: str) -> None:
    grace = timedelta(seconds=int(SERVICES[name]["stop_grace_period"].removesuffix("s")))
    the_relay = timedelta(seconds=10)

    assert grace > settings.WORKER_DRAIN_TIMEOUT + the_relay


@pytest.mark.parametrize("name", sorted(set(SERVICES) - ONCE))
def test_what_lasts_comes_back_after_a_crash_and_says_how_it_is(name: str) -> None:
    assert SERVICES[name]["restart"] == "unless-stopped"
    assert SERVICES[name]["healthcheck"]["test"][0] == "CMD"


@pytest.mark.parametrize("name", sorted(ONCE))
def test_what_runs_once_is_not_started_again(name: str) -> None:
    assert SERVICES[name]["restart"] == "no"


@pytest.mark.parametrize("name", sorted({"web"} | SCALING))
def test_nothing_serves_before_the_database_is_migrated(name: str) -> None:
    assert SERVICES[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}


def test_the_web_does_not_wait_for_temporal() -> None:
    assert not [name for name in SERVICES["web"]["depends_on"] if name.startswith("temporal")]


@pytest.mark.parametrize("name", SERVICES)
def test_it_waits_for_what_can_come_about(name: str) -> None:
    for other, wait in SERVICES[name].get("depends_on", {}).items():
        assert wait["condition"] == ("service_completed_successfully" if other in ONCE else "service_healthy")


@pytest.mark.parametrize("name", sorted(OURS))
def test_our_containers_can_write_nowhere_and_gain_no_rights(name: str) -> None:
    assert SERVICES[name]["read_only"] is True
    assert SERVICES[name]["cap_drop"] == ["ALL"]
    assert SERVICES[name]["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in SERVICES[name]


@pytest.mark.parametrize("name", ["postgres", "temporal-postgres"])
def test_data_outlives_its_container(name: str) -> None:
    assert SERVICES[name]["volumes"] == [f"{name}:/var/lib/postgresql"]
    assert name in compose()["volumes"]


def test_debug_cannot_be_switched_on() -> None:
    given = {**SECRETS, "DJANGO_DEBUG": "1"}
    assert {service(name, given)["environment"]["DJANGO_DEBUG"] for name in OURS} == {"0"}
