"""Django's mail into a folder, for development: each mail a file that a mail program opens.

Django's own file backend writes several mails into one log.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from django.conf import settings
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend
from django.utils.text import slugify


class MailFolder(BaseEmailBackend):
    """Writes into EMAIL_FILE_PATH. A mail that is sent again replaces itself."""

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        """Raises OSError where the folder cannot be written to."""
        folder = Path(settings.EMAIL_FILE_PATH)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for mail in email_messages:
            file = folder / _name(mail)
            half = file.with_suffix(".half")
            half.write_bytes(mail.message().as_bytes())
            half.replace(file)
        return len(email_messages)


def _name(mail: EmailMessage) -> str:
    mark = hashlib.sha256(mail.extra_headers["Message-ID"].encode()).hexdigest()[:8]
    return f"{slugify(mail.subject)}-{mark}.eml"
