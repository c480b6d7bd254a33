"""Every few seconds, an end to the claims of people who do nothing. Any number of workers may do so side by side."""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from django.db import DatabaseError, InterfaceError, close_old_connections, connection

from orders.services import claiming

logger = logging.getLogger(__name__)

EVERY = 5.0  # seconds


async def end_idle_claims() -> None:
    """Go on until cancelled, in one thread, so that one database connection serves it."""
    loop = asyncio.get_running_loop()
    database = ThreadPoolExecutor(1, thread_name_prefix="claims")
    try:
        while True:
            await loop.run_in_executor(database, _end_them)
            await asyncio.sleep(EVERY)
    finally:
        database.submit(connection.close)
        database.shutdown(wait=True)


def _end_them() -> None:
    close_old_connections()
    try:
        claiming.end_idle_claims(at=datetime.now(UTC))
    except (DatabaseError, InterfaceError) as trouble:
        logger.warning("Idle claims could not be ended: %s", str(trouble).strip())
    finally:
        close_old_connections()
