"""A thread that works whenever the database notifies it, and looks by itself now and then."""

import logging
import selectors
import socket
import threading
from typing import Any

import psycopg
from django.db import DatabaseError, InterfaceError, close_old_connections, connection

logger = logging.getLogger(__name__)

LOOK_EVERY = 5.0  # seconds, should a notification be missed
PAUSE_AFTER_TROUBLE = 1.0  # seconds


class Listener:
    """Calls `work` with a database connection of its own, until it is stopped and whatever goes wrong."""

    name: str
    channel: str

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._bell, self._rope = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end; what it is doing is finished first."""
        self._stop.set()
        self._rope.close()
        if not self._thread.is_alive():  # was never started, or closes it too
            self._bell.close()

    def join(self, timeout: float) -> None:
        self._thread.join(timeout)

    def work(self) -> None:
        """Do all there is to do, and return early where the thread is to stop."""
        raise NotImplementedError

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._listen_and_work()
            except (DatabaseError, InterfaceError, psycopg.Error) as trouble:
                logger.warning(
                    "The %s has trouble with the database and tries again: %s", self.name, str(trouble).strip()
                )
                self._stop.wait(PAUSE_AFTER_TROUBLE)
            except Exception:  # a thread that ends leaves its work lying, whatever the reason
                logger.exception("The %s has trouble and tries again", self.name)
                self._stop.wait(PAUSE_AFTER_TROUBLE)
            finally:
                close_old_connections()
        connection.close()
        self._bell.close()

    def _listen_and_work(self) -> None:
        """Work, wait for a notification, work …, until told to stop or something breaks."""
        with psycopg.connect(**_listening(), autocommit=True) as listener:
            # raw SQL: listening is no query
            listener.execute(f"LISTEN {self.channel}")
            while not self._stop.is_set():
                self.work()
                self._wait(listener)

    def _wait(self, listener: psycopg.Connection[Any]) -> None:
        """Return at a notification, when told to stop, or when it is time to look again."""
        if not any(True for _ in listener.notifies(timeout=0, stop_after=1)):
            with selectors.DefaultSelector() as waiting:
                for source in (listener, self._bell):
                    waiting.register(source, selectors.EVENT_READ)
                waiting.select(LOOK_EVERY)


def _listening() -> dict[str, Any]:
    """Parameters of a connection beside Django's own, which may not sit in LISTEN."""
    return {
        name: value
        for name, value in connection.get_connection_params().items()
        if name in {"dbname", "user", "password", "host", "port", "sslmode", "sslrootcert", "connect_timeout"}
    }
