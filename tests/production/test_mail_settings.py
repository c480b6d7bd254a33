"""MAIL_URL and MAIL_FROM: what they may say, and what is refused in which words."""

import pytest
from django.core.exceptions import ImproperlyConfigured

from orders_site.env import MailServer, env_mailbox, mail_server_from_url
from tests.production.conftest import Deployment

SMTP = "django.core.mail.backends.smtp.EmailBackend"


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("", MailServer()),
        ("smtp://127.0.0.1", MailServer(SMTP, "127.0.0.1", 25)),
        ("smtp://mail.example.com:2525", MailServer(SMTP, "mail.example.com", 2525)),
        ("smtps://u@mail.example.com", MailServer(SMTP, "mail.example.com", 465, "u", tls=True)),
        (
            "smtp+starttls://desk%40example.com:p%40ss%2Fw%3Ard@mail.example.com",
            MailServer(SMTP, "mail.example.com", 587, "desk@example.com", "p@ss/w:rd", starttls=True),
        ),
        (
            "file:///var/the%20mails",
            MailServer("orders_site.mail_folder.MailFolder", folder="/var/the mails"),
        ),
    ],
)
def test_a_url_names_a_server_or_a_folder(url: str, server: MailServer) -> None:
    assert mail_server_from_url(url) == server


@pytest.mark.parametrize(
    "url",
    [
        "mail.example.com",
        "http://mail.example.com",
        "smtp://",
        "smtp://:secret@",
        "smtp://mail.example.com:many",
        "smtp://mail.example.com/folder",
        "smtp+ssl://mail.example.com",
        "file://mails",
        "file:///",
    ],
)
def test_a_url_that_names_neither_is_refused_without_being_quoted(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"^MAIL_URL must look like ") as refusal:
        mail_server_from_url(url)

    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize("mailbox", ["orders@shop.example", "The Lamp Shop <orders@shop.example>"])
def test_a_sender_is_an_address_with_or_without_a_name(monkeypatch: pytest.MonkeyPatch, mailbox: str) -> None:
    monkeypatch.setenv("MAIL_FROM", mailbox)

    assert env_mailbox("MAIL_FROM", "orders@localhost") == mailbox


@pytest.mark.parametrize("mailbox", ["The Lamp Shop", "orders@", "a@shop.example\nBcc: b@shop.example", "<>"])
def test_a_sender_that_is_no_address_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, mailbox: str) -> None:
    monkeypatch.setenv("MAIL_FROM", mailbox)

    with pytest.raises(ImproperlyConfigured, match=r"^MAIL_FROM must be "):
        env_mailbox("MAIL_FROM", "orders@localhost")


def test_a_server_without_a_sender_starts_nothing(undeployed: Deployment) -> None:
    server = "MAIL_URL=smtp://127.0.0.1"

    refused = undeployed.run("web", ["env", server, "python", "manage.py", "check"])
    allowed = undeployed.run("web", ["env", server, "MAIL_FROM=a@shop.example", "python", "manage.py", "check"])

    assert refused.returncode == 1
    assert "MAIL_FROM must be set where MAIL_URL names a server" in refused.stderr
    assert allowed.returncode == 0, allowed.stderr
