"""A fraud check to practise with. It keeps no ledger: its answer follows from the key, so the same key is the same
answer.
"""

import random

from temporal_workers.providers.protocols import FraudAnswer
from temporal_workers.providers.simulated import Temper, World


class SimulatedFraudCheck:
    def __init__(self, temper: Temper, *, fraud_rate: float) -> None:
        """`fraud_rate`: the share of orders, from 0 to 1, that look like fraud."""
        self._world = World(temper)
        self._fraud_rate = fraud_rate

    async def check(self, *, key: str, amount_minor: int, currency: str, country: str) -> FraudAnswer:
        async with self._world.call():
            dice = random.Random(key)  # noqa: S311 - a simulation
            if dice.random() < self._fraud_rate:
                return FraudAnswer(round(dice.uniform(0.92, 1), 2), "the card was used on three continents today")
            return FraudAnswer(round(dice.uniform(0, 0.3), 2), "nothing unusual")
