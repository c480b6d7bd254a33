"""Sessions that end by themselves: SESSION_IDLE after somebody last acted, and SESSION_LONGEST after the sign-in.

It is their expiry in the database that moves; it is written once a minute at most.
"""

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.contrib.sessions.models import Session
from django.utils import timezone

NOTED_EVERY = timedelta(minutes=1)
_SIGNED_IN_AT = "signed_in_at"  # seconds since 1970


class SessionStore(DatabaseStore):
    _expires_at: datetime | None = None

    @classmethod
    def get_model_class(cls) -> type[Session]:
        return Session

    def cycle_key(self) -> None:
        """At the sign-in: a new key, and the time begins."""
        super().cycle_key()
        self[_SIGNED_IN_AT] = int(timezone.now().timestamp())

    def act(self) -> None:
        """Somebody is there; of more than one act a minute no more is written."""
        if self._expires_at and self.get_expiry_date() - self._expires_at >= NOTED_EVERY:
            self.modified = True

    def get_expiry_date(self, **_: Any) -> datetime:
        now = timezone.now()
        signed_in_at: float = self.get(_SIGNED_IN_AT, now.timestamp())
        last = datetime.fromtimestamp(signed_in_at, now.tzinfo) + settings.SESSION_LONGEST
        return min(now + settings.SESSION_IDLE, last)

    def get_expiry_age(self, **_: Any) -> int:
        """In seconds."""
        return max(0, round((self.get_expiry_date() - timezone.now()).total_seconds()))

    def _get_session_from_db(self) -> Session | None:
        found: Session | None = super()._get_session_from_db()  # type: ignore[misc]
        self._expires_at = found.expire_date if found else None
        return found
