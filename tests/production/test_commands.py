"""Every command that compose runs, in its order, with production's settings, on real servers.

The commands and the environment are read out of docker-compose.yml, and the files are those of the image.
"""

import http.client
import json
import os
import re
import time
from base64 import b32decode
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP

from orders.engine import WORKER_SILENT_AFTER
from orders.roles import Role
from temporal_workers.management.commands.worker_health import SILENT_AFTER
from tests.production.conftest import SECONDS_TO_ANSWER, Browser, Deployment, Running

ORDER = """reference,sku,description,quantity,unit_price,placed_at,country,currency
P-1,CUP,Cup,2,4.50,{placed_at},DE,EUR
"""

PIECE = b" " * 100_000
HEADERS = {"Host": "desk.example.com", "X-Forwarded-Proto": "https", "Content-Type": "application/json"}


# Build and migrate


def test_the_image_has_its_files_collected(image: Path) -> None:
    assert list((image / "staticfiles").glob("desk.????????????.css.gz"))
    assert (image / "staticfiles/staticfiles.json").exists()


def test_migrate_prepares_the_database_and_the_roles(deployment: Deployment) -> None:
    with deployment.connect() as connection:
        groups = connection.execute("SELECT name FROM auth_group").fetchall()
        people = connection.execute("SELECT count(*) FROM auth_user").fetchone()

    assert {name for (name,) in groups} == set(Role)
    assert people == (0,)


def test_migrate_can_run_again(deployment: Deployment) -> None:
    again = deployment.run_once("migrate")

    assert again.returncode == 0, again.stderr
    assert "No migrations to apply" in again.stdout


def test_the_demo_cast_stays_out_of_production(deployment: Deployment) -> None:
    refused = deployment.run("web", ["python", "manage.py", "create_demo_cast"])

    assert refused.returncode == 1
    assert "The demo cast is for demonstrations only" in refused.stderr
    with deployment.connect() as connection:
        assert connection.execute("SELECT count(*) FROM auth_user WHERE username = 'alice'").fetchone() == (0,)


# The web


def test_the_web_is_healthy_while_it_runs(web: Running, deployment: Deployment) -> None:
    assert deployment.is_healthy("web").returncode == 0


def test_the_web_is_not_healthy_when_it_does_not_run(deployment: Deployment) -> None:
    elsewhere = Deployment(deployment.folder, deployment.database_url, deployment.given)

    assert elsewhere.is_healthy("web").returncode != 0


def test_the_proxy_may_ask_how_the_web_is(browser: Browser) -> None:
    assert browser.ask("/healthz").text == "ok\n"


def test_what_comes_without_tls_is_sent_there(browser: Browser) -> None:
    answer = browser.ask("/sign-in/", scheme="http")

    assert answer.status == 301
    assert answer.headers["Location"] == "https://desk.example.com/sign-in/"


def test_another_name_is_refused(browser: Browser) -> None:
    assert browser.ask("/sign-in/", host="evil.example").status == 400


def test_the_sign_in_page_comes_with_hashed_files_and_strict_headers(browser: Browser) -> None:
    page = browser.ask("/sign-in/")
    (stylesheet,) = re.findall(r'<link rel="stylesheet" href="([^"]+)"', page.text)
    style = browser.ask(stylesheet)

    assert page.status == 200
    assert page.headers["Strict-Transport-Security"].startswith("max-age=31536000")
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert [cookie for cookie in page.cookies if cookie.startswith("__Host-csrf=") and "Secure" in cookie]
    assert re.fullmatch(r"/static/desk\.[0-9a-f]{12}\.css", stylesheet)
    assert style.status == 200
    assert "immutable" in style.headers["Cache-Control"]


def test_whom_createsuperuser_made_signs_in_with_a_second_factor(browser: Browser, deployment: Deployment) -> None:
    create = ["python", "manage.py", "createsuperuser", "--no-input", "--username=root", "--email=root@example.com"]
    made = deployment.run("web", ["env", "DJANGO_SUPERUSER_PASSWORD=correct horse", *create])
    assert made.returncode == 0, made.stderr
    (token,) = re.findall(r'name="csrfmiddlewaretoken" value="([^"]+)"', browser.ask("/sign-in/").text)

    answer = browser.ask("/sign-in/", {"csrfmiddlewaretoken": token, "username": "root", "password": "correct horse"})

    assert answer.status == 302, answer.text
    assert [cookie for cookie in answer.cookies if cookie.startswith("__Host-session=") and "Secure" in cookie]
    assert browser.ask("/").status == 302
    page = browser.ask(door := "/sign-in/second-factor/").text
    (key,) = re.findall(r'class="key">([A-Z2-7 ]+)<', page)
    (token,) = re.findall(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
    code = TOTP(b32decode(key.replace(" ", "")), 6, SHA1(), 30).generate(time.time()).decode()  # noqa: S303
    assert "Your recovery codes" in browser.ask(door, {"csrfmiddlewaretoken": token, "code": code}).text
    assert "Sign out" in browser.ask("/").text


@pytest.mark.parametrize("megabytes", [3, 10])
def test_a_body_too_large_and_of_no_told_length_is_refused_and_the_next_request_answered(
    web: Running, deployment: Deployment, megabytes: int
) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(megabytes * 10):
            yield PIECE

    with closing(http.client.HTTPConnection("127.0.0.1", deployment.port, timeout=SECONDS_TO_ANSWER)) as connection:
        connection.request("POST", "/api/v1/orders", body=pieces(), headers=HEADERS, encode_chunked=True)
        with connection.getresponse() as response:
            assert response.status == 413
            assert response.headers["Content-Type"] == "application/problem+json"
            assert json.load(response)["errors"][0]["field"] == "body"
        connection.request("GET", "/healthz", headers=HEADERS)
        with connection.getresponse() as response:
            assert response.status == 200


# The workers


@pytest.fixture(scope="module")
def shipping_worker(deployment: Deployment) -> Iterator[Running]:
    with deployment.running("shipping-worker", says="Serving queue") as worker:
        yield worker


def test_workers_bring_an_imported_order_to_completion(
    deployment: Deployment, shipping_worker: Running, tmp_path: Path
) -> None:
    with deployment.connect() as connection:
        (today,) = connection.execute("SELECT current_date").fetchone() or ("",)
        (tmp_path / "orders.csv").write_text(ORDER.format(placed_at=today))
        connection.execute("LISTEN orders_changed")

        with deployment.running("orders-worker", says="Serving queue") as worker:
            imported = deployment.run(
                "web", ["python", "manage.py", "import_orders", "--create-products", str(tmp_path / "orders.csv")]
            )
            changes = connection.notifies(timeout=SECONDS_TO_ANSWER)
            while _status(deployment) != "completed":
                assert next(changes, None), f"{imported.stdout}{imported.stderr}{worker.said}{shipping_worker.said}"
            changes.close()

            assert worker.stop() == 0


def _status(deployment: Deployment) -> str:
    with deployment.connect() as connection:
        found = connection.execute("SELECT status FROM orders_order").fetchone()
    return str(found[0]) if found else ""


@pytest.mark.parametrize("name", ["orders-worker", "shipping-worker"])
def test_a_worker_is_healthy_while_it_runs(name: str, deployment: Deployment, shipping_worker: Running) -> None:
    healthy = deployment.is_healthy(name)

    assert healthy.returncode == 0, healthy.stderr
    assert "gave a life sign" in healthy.stdout


def test_a_killed_worker_is_not_healthy_for_long(deployment: Deployment, shipping_worker: Running) -> None:
    shipping_worker.kill()

    with deployment.connect() as connection:
        left = connection.execute("UPDATE orders_heartbeat SET seen_at = seen_at - interval '16 s' RETURNING worker")
        assert left.rowcount == 1
    dead = deployment.is_healthy("shipping-worker")

    assert dead.returncode == 1
    assert "s old" in dead.stderr


def test_a_host_without_a_worker_is_not_healthy(deployment: Deployment) -> None:
    with deployment.connect() as connection:
        connection.execute("UPDATE orders_heartbeat SET worker = 'another-host:7'")

    nobody = deployment.is_healthy("orders-worker")

    assert nobody.returncode == 1
    assert "No worker runs on" in nobody.stderr


def test_a_worker_that_cannot_reach_the_database_is_not_healthy(deployment: Deployment) -> None:
    away = Deployment(deployment.folder, f"{deployment.database_url}&dbname=gone", deployment.given)

    unreachable = away.is_healthy("orders-worker")

    assert unreachable.returncode == 1
    assert "The database does not tell of any worker" in unreachable.stderr


def test_desk_and_health_check_call_the_same_worker_silent() -> None:
    assert SILENT_AFTER == WORKER_SILENT_AFTER


# Temporal


@pytest.mark.parametrize("namespace", ["default", "made-by-compose"])
def test_the_namespace_is_there_afterwards(undeployed: Deployment, namespace: str) -> None:
    made = undeployed.run_once("temporal-namespace", TEMPORAL_NAMESPACE=namespace)
    described = undeployed.run(
        "temporal-namespace", ["temporal", "operator", "namespace", "describe"], TEMPORAL_NAMESPACE=namespace
    )

    assert made.returncode == 0, made.stdout + made.stderr
    assert re.search(rf"Name +{namespace}\n", described.stdout)
    assert ("720h" in described.stdout) == (namespace != "default")


def test_both_schemas_of_temporal_are_brought_up_to_date(undeployed: Deployment, tmp_path: Path) -> None:
    tool = tmp_path / "temporal-sql-tool"
    tool.write_text(f'#!/bin/sh\necho "$SQL_PLUGIN $SQL_HOST $@" >> {tmp_path}/calls\n')
    tool.chmod(0o755)

    command = ["env", f"PATH={tmp_path}:{os.environ['PATH']}", *undeployed.command("temporal-schema")]
    assert undeployed.run("temporal-schema", command).returncode == 0

    where = "postgres12 temporal-postgres --db"
    schemas = "/etc/temporal/schema/postgresql/v12"
    assert (tmp_path / "calls").read_text().splitlines() == [
        f"{where} temporal create",
        f"{where} temporal setup-schema -v 0.0",
        f"{where} temporal update-schema -d {schemas}/temporal/versioned",
        f"{where} temporal_visibility create",
        f"{where} temporal_visibility setup-schema -v 0.0",
        f"{where} temporal_visibility update-schema -d {schemas}/visibility/versioned",
    ]


def test_a_failing_step_fails_the_schema(undeployed: Deployment, tmp_path: Path) -> None:
    tool = tmp_path / "temporal-sql-tool"
    tool.write_text('#!/bin/sh\n[ "$2" != temporal ]\n')
    tool.chmod(0o755)

    command = ["env", f"PATH={tmp_path}:{os.environ['PATH']}", *undeployed.command("temporal-schema")]

    assert undeployed.run("temporal-schema", command).returncode == 1
