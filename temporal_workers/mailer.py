"""The mailer: takes mails to customers from the database to the mail server, by Django's mail.

Many mailers may run: a mail's row is locked while it is on its way. One that was sent and could not be marked is
sent again under the same Message-ID, by which mailboxes know it.
"""

from datetime import UTC, datetime
from email.utils import format_datetime
from smtplib import SMTPRecipientsRefused

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.mail import EmailMessage, get_connection
from django.core.validators import validate_email

from orders.models import Mail
from orders.services import posting
from orders.services.posting import MailDelayed, MailRefused, Outcome
from temporal_workers.listening import PAUSE_AFTER_TROUBLE, Listener

LONGEST_PAUSE = 30.0  # seconds


class Mailer(Listener):
    """A thread of its own, with its own database connection."""

    name = "mailer"
    channel = "orders_mail"

    def work(self) -> None:
        """Send all that is due over one connection; where there is trouble, try ever more rarely."""
        post, pause = Post(), PAUSE_AFTER_TROUBLE
        try:
            while not self._stop.is_set():
                outcome = posting.post_next_mail(send=post.send, at=datetime.now(UTC))
                if outcome is None:
                    return
                if outcome == Outcome.DELAYED:
                    post.close()
                    self._stop.wait(pause)
                    pause = min(LONGEST_PAUSE, 2 * pause)
                else:
                    pause = PAUSE_AFTER_TROUBLE
        finally:
            post.close()


class Post:
    """A connection to the mail server, made when the first mail is sent."""

    def __init__(self) -> None:
        self._connection = get_connection()

    def send(self, mail: Mail) -> None:
        """Hand one mail over.

        Raises MailRefused where the server wants no mail for this recipient, ever, or the address is none, and
        MailDelayed where it may do so later.
        """
        try:
            validate_email(mail.recipient)  # again: no second recipient and no header may ever come of it
        except ValidationError as wrong:
            raise MailRefused("This is no address that mail can be sent to.") from wrong
        message = EmailMessage(
            mail.subject,
            mail.body,
            settings.DEFAULT_FROM_EMAIL,
            [mail.recipient],
            headers={
                "Message-ID": mail.message_id,
                "Date": format_datetime(mail.created_at),
                "Auto-Submitted": "auto-generated",  # so that nobody's holiday notice answers
            },
            connection=self._connection,
        )
        try:
            self._connection.open()
            message.send()
        except SMTPRecipientsRefused as refusal:
            raise _refused(refusal) from refusal
        except (OSError, ValueError) as trouble:  # of the network, all others of smtplib, and of Django's with the mail
            raise MailDelayed(f"{type(trouble).__name__}: {trouble}") from trouble

    def close(self) -> None:
        self._connection.close()


def _refused(refusal: SMTPRecipientsRefused) -> MailRefused | MailDelayed:
    """Only a word on the mailbox is final. 4… asks for patience; 5.7 says that *we* may not, which can be put right."""
    code, said = next(iter(refusal.recipients.values()))
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
    final = 500 <= code < 600 and not text.startswith("5.7.")
    return (MailRefused if final else MailDelayed)(f"{code} {text}")
