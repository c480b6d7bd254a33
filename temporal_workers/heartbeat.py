"""A worker's life sign: every two seconds, a row that says it lives and when it last reached Temporal."""

import asyncio
import logging
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from django.conf import settings
from django.db import DatabaseError, InterfaceError, close_old_connections, connection
from temporalio.client import Client

from orders.services import relaying
from temporal_workers.client import CALL_TIMEOUT, is_away

logger = logging.getLogger(__name__)

EVERY = 2.0  # seconds


class Heartbeat:
    def __init__(self, client: Client, queues: list[str]) -> None:
        self._client = client
        self._worker = f"{socket.gethostname()}:{os.getpid()}"
        self._queues = ", ".join(queues)
        self._started_at = datetime.now(UTC)
        self._temporal_seen_at: datetime | None = None
        # One thread, so that one database connection serves it.
        self._database = ThreadPoolExecutor(1, thread_name_prefix="heartbeat")

    async def beat(self) -> None:
        """Beat until cancelled; then take the life sign away."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                if await self._reaches_temporal():
                    self._temporal_seen_at = datetime.now(UTC)
                await loop.run_in_executor(self._database, self._record)
                await asyncio.sleep(EVERY)
        finally:
            self._database.submit(self._forget)
            self._database.shutdown(wait=True)

    async def _reaches_temporal(self) -> bool:
        try:
            async with asyncio.timeout(3):
                return await self._client.service_client.check_health(timeout=CALL_TIMEOUT)
        except Exception as error:
            if not is_away(error):  # all the more a reason to go on telling that we live
                logger.exception("Temporal answers in a way that we do not know")
            return False

    def _record(self) -> None:
        close_old_connections()
        try:
            relaying.record_heartbeat(
                worker=self._worker,
                queues=self._queues,
                build=settings.WORKER_BUILD_ID,
                started_at=self._started_at,
                temporal_seen_at=self._temporal_seen_at,
                at=datetime.now(UTC),
            )
        except (DatabaseError, InterfaceError) as trouble:
            logger.warning("No life sign could be written: %s", str(trouble).strip())
        finally:
            close_old_connections()

    def _forget(self) -> None:
        close_old_connections()
        try:
            relaying.forget_heartbeat(worker=self._worker)
        except (DatabaseError, InterfaceError) as trouble:
            logger.warning("The life sign could not be taken away: %s", str(trouble).strip())
        finally:
            connection.close()
