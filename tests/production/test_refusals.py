"""What production refuses to start with, and in which words."""

from tests.production.conftest import Deployment

CHECK = ["python", "manage.py", "check", "--deploy", "--fail-level", "WARNING"]


def test_djangos_own_check_finds_nothing(undeployed: Deployment) -> None:
    checked = undeployed.run("web", CHECK)

    assert checked.returncode == 0, checked.stderr
    assert "no issues" in checked.stdout


def test_without_a_secret_nothing_starts(undeployed: Deployment) -> None:
    refused = undeployed.run("web", ["env", "--unset", "DJANGO_SECRET_KEY", *CHECK])

    assert refused.returncode == 1
    assert "DJANGO_SECRET_KEY must be set to a long random text." in refused.stderr


def test_a_guessable_secret_stops_the_deployment_before_it_has_begun(undeployed: Deployment) -> None:
    refused = undeployed.run_once("migrate", DJANGO_SECRET_KEY="changeme")

    assert refused.returncode == 1
    assert "(security.W009)" in refused.stderr
    assert "Running migrations" not in refused.stdout


def test_debug_stops_the_deployment(undeployed: Deployment) -> None:
    refused = undeployed.run("migrate", ["env", "DJANGO_DEBUG=1", *CHECK])

    assert refused.returncode == 1
    assert "(security.W018)" in refused.stderr


def test_https_is_not_declined_by_oversight(undeployed: Deployment) -> None:
    refused = undeployed.run_once("migrate", DJANGO_HTTPS="0")

    assert refused.returncode == 1
    assert "(security.W008)" in refused.stderr


def test_https_can_be_declined_for_a_trial(undeployed: Deployment) -> None:
    trial = {"DJANGO_HTTPS": "0", "DEPLOY_CHECK_LEVEL": "ERROR"}
    *shell, steps = undeployed.command("migrate", **trial)

    allowed = undeployed.run("migrate", [*shell, steps.splitlines()[0]], **trial)

    assert allowed.returncode == 0, allowed.stderr
    assert "(security.W008)" in allowed.stderr
