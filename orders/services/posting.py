"""The mails on their way out: which is due, and what became of it."""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from enum import StrEnum

from django.db import transaction

from orders.models import Mail
from orders.services.transitions import lock, note_event

logger = logging.getLogger(__name__)

FIRST_PAUSE = timedelta(seconds=10)
LONGEST_PAUSE = timedelta(hours=1)
ALARM_AT = (1, 10, 100)


class MailRefused(Exception):
    """The mail can never be delivered: there is no such mailbox, or it is no address. The message is the server's."""


class MailDelayed(Exception):
    """The mail could not be handed over now; another time it may be."""


class Outcome(StrEnum):
    SENT = "sent"
    REFUSED = "refused"
    DELAYED = "delayed"


def post_next_mail(*, send: Callable[[Mail], None], at: datetime) -> Outcome | None:
    """Hand the mail that is due, the least tried first, to `send`, and record what became of it; None where none is.

    Its row stays locked while `send` runs, so many workers can post side by side. `send` raises MailRefused or
    MailDelayed; anything else, such as the end of the process, leaves the mail as it was, to be sent again under the
    same Message-ID. A mail that is delayed is tried again after a pause that doubles, for ever.
    """
    with transaction.atomic():
        due = Mail.objects.select_for_update(skip_locked=True, no_key=True).filter(next_try_at__lte=at)
        mail = due.order_by("attempts", "next_try_at", "id").first()
        if mail is None:
            return None
        mail.attempts += 1
        try:
            send(mail)
        except MailDelayed as trouble:
            mail.last_error = _kept(trouble)
            mail.next_try_at = at + pause_after(mail.attempts)
            mail.save(update_fields=["attempts", "last_error", "next_try_at"])
            _alarm(mail, trouble)
            return Outcome.DELAYED
        except MailRefused as refusal:
            mail.last_error, mail.next_try_at = _kept(refusal), None
            outcome, event = Outcome.REFUSED, "mail_refused"
        else:
            mail.last_error, mail.next_try_at, mail.sent_at = "", None, at
            outcome, event = Outcome.SENT, "mail_sent"
        mail.save(update_fields=["attempts", "last_error", "next_try_at", "sent_at"])
        if mail.kind != Mail.Kind.MENTIONED:  # the order's story is what its customer was told
            note_event(lock(mail.order_id), event, at=at, subject=mail.subject, reason=mail.last_error)
        return outcome


def pause_after(attempts: int) -> timedelta:
    """10 s after the first attempt, twice as long after each, an hour at most."""
    return min(LONGEST_PAUSE, FIRST_PAUSE * (1 << min(attempts - 1, 20)))


def _kept(trouble: Exception) -> str:
    return " ".join(str(trouble).replace("\0", "").split())[:300]


def _alarm(mail: Mail, trouble: Exception) -> None:
    """What the server says may quote the customer's address: that stays in the record, and out of the log."""
    if mail.attempts in ALARM_AT:
        logger.error(
            "%s: a mail (%s) could not be sent, %d in all: %s",
            mail.order,
            mail.kind,
            mail.attempts,
            type(trouble.__cause__ or trouble).__name__,
            extra={"order": mail.order.number, "step": "mail", "attempt": mail.attempts},
        )
