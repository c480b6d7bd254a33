"""Mails to customers on their way to a real mail server: once, again, away and back, refused."""

import email.policy
import logging
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.parser import BytesParser
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from django.db import connection
from pytest_django import Settings

from devstack.servers import free_port
from orders.models import Mail, Order
from orders.services import posting, reviewing, undoing
from orders.services.actors import Actor
from orders.services.placing import NewLine
from orders.services.posting import Outcome
from orders_site.env import mail_server_from_url
from temporal_workers.mailer import Mailer, Post
from tests.conftest import PlaceOrder
from tests.temporal_workers.conftest import Engine, events_of, wait_for_status, wait_until
from tests.threads import at_once

NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
PARSER = BytesParser(policy=email.policy.default)


class MailServer:
    """A real SMTP server on a port of its own; `answers` has what it says of a recipient instead of yes."""

    def __init__(self) -> None:
        self.got: list[tuple[list[str], EmailMessage]] = []
        self.answers: dict[str, str] = {}
        self.answer_to_the_text = "250 OK"
        self._port = free_port()
        self._controller: Controller | None = None

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self._port}"

    def start(self) -> None:
        self._controller = Controller(self, hostname="127.0.0.1", port=self._port)
        self._controller.start()

    def stop(self) -> None:
        if self._controller:
            self._controller.stop()
            self._controller = None

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: object, session: object, envelope: Any, address: str, options: list[str]
    ) -> str:
        if address in self.answers:
            return self.answers[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: object, session: object, envelope: Any) -> str:  # noqa: N802
        if self.answer_to_the_text.startswith("2"):
            self.got.append((list(envelope.rcpt_tos), PARSER.parsebytes(envelope.content)))
        return self.answer_to_the_text

    @property
    def subjects(self) -> list[str]:
        return [str(message["Subject"]) for _, message in self.got]

    @property
    def ids(self) -> list[str]:
        return [str(message["Message-ID"]) for _, message in self.got]


def use(settings: Settings, url: str) -> None:
    """As the settings read MAIL_URL."""
    server = mail_server_from_url(url)
    settings.CUSTOMERS_GET_MAIL = bool(url)
    settings.EMAIL_BACKEND = server.backend
    settings.EMAIL_HOST, settings.EMAIL_PORT = server.host, server.port
    settings.EMAIL_FILE_PATH = server.folder
    settings.DEFAULT_FROM_EMAIL = "The Lamp Shop <orders@shop.example>"


@pytest.fixture
def server(settings: Settings) -> Iterator[MailServer]:
    server = MailServer()
    server.start()
    use(settings, server.url)
    yield server
    server.stop()


@pytest.fixture
def mailer(transactional_db: None, server: MailServer) -> Iterator[Mailer]:
    mailer = Mailer()
    mailer.start()
    yield mailer
    mailer.stop()
    mailer.join(30)


Cancelled = Callable[..., Order]


@pytest.fixture
def cancelled(place: PlaceOrder, as_alice: Actor, server: MailServer) -> Cancelled:
    """An order that was cancelled at once, so that one mail waits for its customer."""

    def cancelled(**changes: Any) -> Order:
        order = place(**changes)
        undoing.cancel(order_id=order.pk, actor=as_alice, at=NOW, reason="Mistake")
        return order

    return cancelled


def post(at: datetime = NOW) -> Outcome | None:
    """Send the mail that is due, over a connection of its own."""
    post = Post()
    try:
        return posting.post_next_mail(send=post.send, at=at)
    finally:
        post.close()


@pytest.fixture
def alarmed() -> Iterator[threading.Event]:
    """Set when an attempt has failed for the first time."""
    alarmed = threading.Event()

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            alarmed.set()

    ear = Ear(logging.ERROR)
    posting.logger.addHandler(ear)
    yield alarmed
    posting.logger.removeHandler(ear)


def nothing_waits() -> bool:
    return not Mail.objects.exclude(next_try_at=None).exists()


def test_a_whole_order_tells_each_fact_once_and_its_page_says_so(
    server: MailServer, place: PlaceOrder, as_alice: Actor, engine: Engine
) -> None:
    order = place()
    wait_for_status(order, "in_review")
    reviewing.approve(order_id=order.pk, actor=as_alice, at=datetime.now(UTC))
    wait_for_status(order, "completed")
    wait_until(nothing_waits)

    assert sorted(server.subjects) == [f"Order {order} is confirmed", f"Order {order} is on its way"]
    assert len(set(server.ids)) == 2
    assert all(recipients == ["ann.lee@example.com"] for recipients, _ in server.got)
    assert events_of(order).count("mail_sent") == 2
    order.refresh_from_db()
    assert order.version == order.events.count()


@pytest.mark.django_db(transaction=True)
class TestPosting:
    def test_a_mail_arrives_with_its_headers_and_is_noted_at_the_order(
        self, server: MailServer, cancelled: Cancelled
    ) -> None:
        order = cancelled()

        outcomes = [post(), post()]

        assert outcomes == [Outcome.SENT, None]
        [(recipients, message)] = server.got
        assert recipients == ["ann.lee@example.com"]
        assert message["From"] == "The Lamp Shop <orders@shop.example>"
        assert message["To"] == "ann.lee@example.com"
        assert message["Date"].datetime == NOW
        assert message["Auto-Submitted"] == "auto-generated"
        mail = Mail.objects.get()
        assert message["Message-ID"] == mail.message_id
        assert message.get_content().splitlines() == mail.body.splitlines()
        assert (mail.sent_at, mail.next_try_at, mail.attempts, mail.last_error) == (NOW, None, 1, "")
        noted = order.events.latest("sequence")
        assert (noted.type, noted.payload["subject"]) == ("mail_sent", f"Order {order} is cancelled")
        assert "ann.lee" not in str(noted.payload)

    def test_a_crash_between_sending_and_noting_it_sends_the_same_message_id_again(
        self, server: MailServer, cancelled: Cancelled
    ) -> None:
        cancelled()
        sending = Post()

        def send_and_die(mail: Mail) -> None:
            sending.send(mail)
            raise SystemExit("killed")

        with pytest.raises(SystemExit):
            posting.post_next_mail(send=send_and_die, at=NOW)
        sending.close()
        again = post()

        assert again == Outcome.SENT
        assert len(server.ids) == 2
        assert len(set(server.ids)) == 1
        assert server.got[0][1].as_bytes() == server.got[1][1].as_bytes()

    def test_a_mailbox_that_does_not_exist_is_final_noted_and_holds_up_nobody(
        self, server: MailServer, cancelled: Cancelled
    ) -> None:
        server.answers["gone@example.com"] = "550 5.1.1 No such user"
        refused, fine = cancelled(customer_email="gone@example.com"), cancelled()

        outcomes = [post() for _ in range(2)] + [post(NOW + timedelta(days=30))]

        assert outcomes == [Outcome.REFUSED, Outcome.SENT, None]
        assert server.subjects == [f"Order {fine} is cancelled"]
        mail = Mail.objects.get(order=refused)
        assert (mail.sent_at, mail.next_try_at, mail.last_error) == (None, None, "550 5.1.1 No such user")
        noted = refused.events.latest("sequence")
        assert (noted.type, noted.payload["reason"]) == ("mail_refused", "550 5.1.1 No such user")

    @pytest.mark.parametrize("answer", ["450 4.2.1 Later, please", "554 5.7.1 Relay access denied"])
    def test_what_may_change_is_tried_again_ever_more_rarely(
        self, server: MailServer, cancelled: Cancelled, answer: str
    ) -> None:
        server.answers["ann.lee@example.com"] = answer
        order = cancelled()
        before = events_of(order)

        outcomes = [post(), post(NOW + timedelta(seconds=9)), post(NOW + timedelta(seconds=10))]
        mail = Mail.objects.get()
        server.answers.clear()
        last = post(NOW + timedelta(seconds=30))

        assert outcomes == [Outcome.DELAYED, None, Outcome.DELAYED]
        assert (mail.attempts, mail.next_try_at) == (2, NOW + timedelta(seconds=30))
        assert mail.last_error == answer
        assert last == Outcome.SENT
        assert events_of(order) == [*before, "mail_sent"]

    def test_a_server_that_dislikes_the_text_says_nothing_about_the_mailbox(
        self, server: MailServer, cancelled: Cancelled
    ) -> None:
        server.answer_to_the_text = "554 5.6.0 This looks like spam"
        cancelled()

        outcome = post()

        assert outcome == Outcome.DELAYED
        assert "554" in Mail.objects.get().last_error

    def test_a_server_that_is_away_is_tried_for_ever_with_an_alarm_at_1_10_and_100(
        self, server: MailServer, cancelled: Cancelled, caplog: pytest.LogCaptureFixture
    ) -> None:
        order = cancelled()
        server.stop()

        with caplog.at_level(logging.ERROR, posting.__name__):
            outcomes = {post(NOW + attempt * posting.LONGEST_PAUSE) for attempt in range(120)}

        assert outcomes == {Outcome.DELAYED}
        said = [record.getMessage() for record in caplog.records if record.name == posting.__name__]
        assert said == [
            f"{order}: a mail (cancelled) could not be sent, {attempts} in all: ConnectionRefusedError"
            for attempts in (1, 10, 100)
        ]
        mail = Mail.objects.get()
        assert mail.attempts == 120
        assert mail.next_try_at == NOW + 120 * posting.LONGEST_PAUSE

    def test_who_was_tried_often_waits_behind_who_was_not(self, server: MailServer, cancelled: Cancelled) -> None:
        first = cancelled()
        Mail.objects.filter(order=first).update(attempts=5)
        second = cancelled()

        post()

        assert server.subjects == [f"Order {second} is cancelled"]

    def test_many_mailers_side_by_side_send_each_mail_once(self, server: MailServer, cancelled: Cancelled) -> None:
        orders = [cancelled() for _ in range(20)]

        def send_all() -> None:
            while post():
                pass

        at_once(*[send_all] * 4)
        send_all()  # what one of them held while the last of the others looked

        assert sorted(server.subjects) == sorted(f"Order {order} is cancelled" for order in orders)

    @pytest.mark.parametrize("name", ["שרה לוי", "محمد علي", "Zoë 🎈 Ng", "Ærøskøbing " * 18])
    def test_any_script_arrives_as_it_was_written(self, server: MailServer, cancelled: Cancelled, name: str) -> None:
        cancelled(customer_name=name)

        post()

        assert server.got[0][1].get_content().splitlines()[0] == f"Hello {name.strip()},"

    def test_a_line_break_in_a_name_makes_no_header_and_no_recipient(
        self, server: MailServer, cancelled: Cancelled
    ) -> None:
        order = cancelled()
        Mail.objects.all().delete()
        Order.objects.filter(pk=order.pk).update(
            status="cancelling", customer_name="Ann\r\nBcc: all@example.com\r\n\r\n.\r\nRCPT TO:<all@example.com>"
        )

        undoing.finish_undo(order_id=order.pk, at=NOW)
        post()

        [(recipients, message)] = server.got
        assert recipients == ["ann.lee@example.com"]
        assert message["Bcc"] is None
        assert message.get_content().startswith("Hello Ann Bcc: all@example.com . RCPT TO:<all@example.com>,")

    @pytest.mark.parametrize(
        "address",
        [
            "ann@example.com\r\nBcc: all@example.com",
            "ann@example.com, all@example.com",
            "Ann <ann@example.com>",
            "ann@example.com>\r\nRCPT TO:<all@example.com",
            "nonsense",
        ],
    )
    def test_what_is_no_address_is_refused_without_asking_the_server(
        self, server: MailServer, cancelled: Cancelled, address: str
    ) -> None:
        cancelled()
        Mail.objects.update(recipient=address)

        outcome = post()

        assert outcome == Outcome.REFUSED
        assert server.got == []
        assert Mail.objects.get().last_error == "This is no address that mail can be sent to."

    def test_a_folder_gets_each_mail_as_a_file_and_once_if_it_is_sent_twice(
        self, settings: Settings, server: MailServer, cancelled: Cancelled, tmp_path: Path
    ) -> None:
        folder = tmp_path / "mails of today"
        use(settings, folder.as_uri())
        order = cancelled(customer_name="Zoë 🎈 Ng")
        mail = Mail.objects.get()

        Post().send(mail)
        outcome = post()

        assert outcome == Outcome.SENT
        [file] = folder.iterdir()
        assert file.name.startswith(f"order-{order.number.lower()}-is-cancelled-")
        assert file.suffix == ".eml"
        message = PARSER.parsebytes(file.read_bytes())
        assert message["Message-ID"] == mail.message_id
        assert message.get_content().startswith("Hello Zoë 🎈 Ng,\n")


class TestMailer:
    def test_it_sends_what_is_written_while_it_listens(
        self, server: MailServer, cancelled: Cancelled, mailer: Mailer
    ) -> None:
        orders = [cancelled() for _ in range(3)]

        wait_until(nothing_waits)

        assert sorted(server.subjects) == sorted(f"Order {order} is cancelled" for order in orders)

    def test_a_server_that_comes_back_gets_what_waited_once(
        self,
        server: MailServer,
        cancelled: Cancelled,
        mailer: Mailer,
        alarmed: threading.Event,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(posting, "FIRST_PAUSE", timedelta(seconds=0.5))
        server.stop()
        orders = [cancelled() for _ in range(3)]
        assert alarmed.wait(30)

        server.start()
        wait_until(nothing_waits)

        assert sorted(server.subjects) == sorted(f"Order {order} is cancelled" for order in orders)

    def test_it_outlives_the_loss_of_its_database_connections(
        self, server: MailServer, cancelled: Cancelled, mailer: Mailer
    ) -> None:
        cancelled()
        wait_until(nothing_waits)

        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        cancelled()
        wait_until(nothing_waits)

        assert len(server.got) == 2


def test_a_worker_without_mail_to_send_has_no_mailer(engine: Engine, place: PlaceOrder) -> None:
    order = place(lines=[NewLine("RUG", 1, 5_000)])
    wait_for_status(order, "completed")

    assert "mailer" not in {thread.name for thread in threading.enumerate()}
    assert not Mail.objects.exists()
