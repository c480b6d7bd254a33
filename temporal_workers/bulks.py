"""Carries out decisions on many orders at once, batch by batch, in each worker process."""

import uuid
from datetime import UTC, datetime

from orders.services import bulk
from temporal_workers.listening import Listener

PAUSES = (0.1, 2.0)  # seconds, ever longer, while other people or workers hold all that is left


class BulkRunner(Listener):
    """A thread of its own, with its own database connection."""

    name = "bulk runner"
    channel = "orders_bulk"

    def work(self) -> None:
        """A batch of each bulk in turn, until none is left: a large one does not hold up a small one."""
        pause, longest = PAUSES
        while not self._stop.is_set() and (waiting := bulk.unfinished()):
            done = [self._batch(bulk_id) for bulk_id in waiting]
            if any(done):
                pause = PAUSES[0]
            else:
                self._stop.wait(pause)
                pause = min(2 * pause, longest)

    def _batch(self, bulk_id: uuid.UUID) -> bool:
        return not self._stop.is_set() and bulk.carry_out(bulk_id=bulk_id, at=datetime.now(UTC))
