"""What the simulated bank does by itself: it tells the desk of charges, and plays customers who confirm.

News is told over HTTP, signed, at least once: again with ever longer pauses until the desk answers with success.
"""

import asyncio
import hashlib
import hmac
import json
import logging
import time
import urllib.error
import urllib.request
from dataclasses import dataclass

from temporal_workers.providers.protocols import ProviderUnavailable
from temporal_workers.providers.simulated import News, SimulatedBank

logger = logging.getLogger(__name__)

LOOK_EVERY = 0.3  # seconds
SECONDS_TO_ANSWER = 5
AT_A_TIME = 10


@dataclass(frozen=True)
class BankLife:
    """`url` and `secret` are the desk's; without them nothing is told. With `customer_seconds` 0 nobody confirms."""

    bank: SimulatedBank
    url: str
    secret: str
    customer_seconds: float

    async def live(self) -> None:
        """Run until cancelled."""
        while True:
            told = 0
            try:
                if self.customer_seconds:
                    await self.bank.let_customers_confirm(after=self.customer_seconds)
                if self.url and self.secret:
                    told = await self.tell_due_news()
            except ProviderUnavailable as trouble:
                logger.warning("The simulated bank has trouble with its ledger: %s", str(trouble).strip())
            if told < AT_A_TIME:
                await asyncio.sleep(LOOK_EVERY)

    async def tell_due_news(self) -> int:
        """Tell what is due, and say how much that was."""
        due = await self.bank.due_news(most=AT_A_TIME)
        await asyncio.gather(*(self._tell(news) for news in due))
        return len(due)

    async def _tell(self, news: News) -> None:
        if trouble := await asyncio.to_thread(self._send, news):
            logger.warning("The desk does not take the bank's news of %s: %s", news.key, trouble)
        else:
            await self.bank.forget_news(news)

    def _send(self, news: News) -> str:
        """Send it once; answer with what went wrong, if anything."""
        body = body_of(news)
        request = urllib.request.Request(  # noqa: S310 - the address is the operator's own setting
            self.url,
            data=body,
            headers={
                "Content-Type": "application/json",
                "Payment-Signature": signature(body, self.secret, at=int(time.time())),
            },
        )
        try:
            with urllib.request.urlopen(request, timeout=SECONDS_TO_ANSWER):  # noqa: S310
                return ""
        except (OSError, ValueError) as error:  # HTTPError and URLError are OSErrors
            return str(error)


def body_of(news: News) -> bytes:
    told = {
        "id": news.id,
        "type": news.type,
        "key": news.key,
        "reference": news.reference,
        "amount": news.amount_minor,
        "currency": news.currency,
        "created": news.at,
    }
    if news.reason:
        told["reason"] = news.reason
    return json.dumps(told).encode()


def signature(body: bytes, secret: str, *, at: int) -> str:
    """As a header's value; `at` in seconds since 1970."""
    signed = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={signed}"
