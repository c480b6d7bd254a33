"""Years of a shop, made up: as many orders as one asks for, each with the rows that the desk would have of it.

Pure: rows go out as lines of COPY's text format, table by table. The same seed gives the same orders, but for their
ids. Most have ended; the newest wait for people. People, goods and places are those of the demonstration.
"""

import json
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache, lru_cache
from random import Random

from orders.demo import COUNTRIES, GOODS, PRICE_LEVEL, SPELLED_OUT, Country
from orders.policy import FIRST_ORDER_FREE_UP_TO, REVIEW_FROM, RISK_FROM, Facts, Reason, RiskPart, judge

SOURCE = "seed"
YEARS = timedelta(days=730)
ORDERS_EACH = 3  # of a customer
BATCH = 20_000

# Tables and their columns, in the order in which they are filled. What is not named here gets its default.
COLUMNS: Mapping[str, Sequence[str]] = {
    "order": (
        "id",
        "source",
        "reference",
        "status",
        "status_at",
        "outcome",
        "version",
        "customer_name",
        "customer_email",
        "address_line1",
        "address_line2",
        "address_city",
        "address_region",
        "address_postal_code",
        "address_country",
        "currency",
        "total_minor",
        "card_fingerprint",
        "placed_at",
    ),
    "orderline": ("order_id", "product_id", "position", "quantity", "unit_price_minor"),
    "review": (
        "order_id",
        "kind",
        "opened_at",
        "due_at",
        "at_deadline",
        "reasons",
        "risk_score",
        "risk_parts",
        "decision",
        "decided_by_id",
        "decided_at",
        "note",
    ),
    "reservation": ("order_id", "product_id", "quantity", "state"),
    "payment": (
        "order_id",
        "idempotency_key",
        "kind",
        "amount_minor",
        "currency",
        "status",
        "provider_reference",
        "created_at",
        "settled_at",
    ),
    "shipment": (
        "order_id",
        "idempotency_key",
        "status",
        "carrier",
        "tracking_number",
        "address",
        "created_at",
        "dispatched_at",
    ),
    "event": ("order_id", "sequence", "type", "actor_kind", "actor", "payload", "at"),
}

NONE = r"\N"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MACHINE = ("system", "Countersign")
REJECTIONS = (
    "Card issued in another country; no answer to our mail.",
    "Street and postal code do not go together.",
    "Four cards tried within an hour.",
    "The customer says that it was not them.",
    "Reseller: we do not deliver these in bulk.",
)
HELP = {
    "stock_short": "GRI-HOM: 2 ordered, 1 free.",
    "unconfirmed": "The customer has not confirmed the payment with the bank.",
    "undeliverable": "The carrier does not go there.",
}


@dataclass
class Rows:
    """Lines of each table."""

    of: dict[str, list[str]] = field(default_factory=lambda: {table: [] for table in COLUMNS})


@dataclass(frozen=True)
class Customer:
    name: str
    email: str
    card: str
    country: Country
    line1: str
    line2: str
    city: str
    region: str
    postal_code: str
    is_dubious: bool


@dataclass(frozen=True)
class Cast:
    """Who and what there is: products by SKU, and who decides, each by key."""

    products: Mapping[str, int]
    operators: Sequence[tuple[int, str]]


class Shop:
    """The orders of one seed, the oldest first, `waiting` of them undecided at `now`."""

    def __init__(self, count: int, waiting: int, *, cast: Cast, now: datetime, seed: int = 1) -> None:
        self.count = count
        self.waiting = waiting
        self.cast = cast
        self.now = now
        self.seed = seed
        self.rng = Random(seed)  # noqa: S311 - made-up orders, not secrets
        self.customers = [self._customer(n) for n in range(min(max(count // ORDERS_EACH, 1), 400_000))]

    def batches(self) -> Iterator[Rows]:
        rows = Rows()
        ended = self.count - self.waiting
        for n in range(self.count):
            if n < ended:
                self._past(rows, n, self.now - timedelta(days=2) - YEARS * (1 - (n + 1) / ended))
            else:
                self._undecided(rows, n)
            if (n + 1) % BATCH == 0:
                yield rows
                rows = Rows()
        yield rows

    def _customer(self, n: int) -> Customer:
        rng = self.rng
        country = rng.choice(COUNTRIES)
        name = f"{rng.choice(country.given)} {rng.choice(country.family)}"
        plain = unicodedata.normalize("NFKD", name.lower().translate(SPELLED_OUT)).encode("ascii", "ignore").decode()
        is_dubious = rng.random() < 0.02
        domain = "guerrillamail.com" if is_dubious else rng.choice(("example.com", "example.net", "example.org"))
        postal_code, city, region = rng.choice(country.places)
        return Customer(
            name=name,
            email=f"{plain}.{n}@{domain}",
            card=f"card_{n * 2_654_435_761 % 2**32:08x}",
            country=country,
            line1=rng.choice(country.streets).format(n=rng.randrange(1, 99)),
            line2=rng.choice(country.floors) if country.floors and rng.random() < 0.4 else "",
            city=city,
            region=region,
            postal_code=postal_code,
            is_dubious=is_dubious,
        )

    def _past(self, rows: Rows, n: int, placed_at: datetime) -> None:
        rng = self.rng
        one = _Order(self, rows, n, placed_at)
        fate = rng.random()
        if one.reasons:
            one.open_review(closed_after := timedelta(minutes=1 + 1_200 * rng.random() ** 3))
            if fate < 0.10:
                one.close_review("rejected", closed_after, rng.choice(REJECTIONS))
                return
            if fate < 0.13:
                one.close_review("expired", timedelta(hours=24))
                return
            one.close_review("approved", closed_after)
        else:
            one.tell("clear", 1.0, "validated", "approved", f'"risk_score": {one.risk}, ')
        if fate > 0.985:
            one.cancel()
            return
        one.carry_out(refunded=fate > 0.96)

    def _undecided(self, rows: Rows, n: int) -> None:
        rng = self.rng
        placed_at = self.now - timedelta(hours=23.5 * rng.random(), seconds=5)
        needs_help = rng.random() < 0.05
        is_first = rng.random() < 0.4
        least, most = (27_000, 99_000) if is_first else (101_000, 600_000)
        about = 0 if needs_help else int(least * (most / least) ** rng.random())
        one = _Order(self, rows, n, placed_at, about=about, is_first=is_first)
        if one.reasons:
            due_at = max(placed_at + timedelta(hours=24), self.now + timedelta(minutes=5))
            one.open_review(due_at - placed_at)
            if not needs_help:
                one.end("in_review", wait=True)
                return
            one.close_review("approved", timedelta(minutes=10))
        else:
            one.tell("clear", 1.0, "validated", "approved", f'"risk_score": {one.risk}, ')
        one.halt(rng.choice(tuple(HELP)))


class _Order:
    """One order on its way, event by event. Offsets are seconds after it was placed."""

    def __init__(
        self, shop: Shop, rows: Rows, n: int, placed_at: datetime, *, about: int = 0, is_first: bool | None = None
    ) -> None:
        rng = shop.rng
        self._shop, self._rows, self._rng = shop, rows, rng
        # Some customers order much more often than others.
        self._who = who = shop.customers[int(len(shop.customers) * rng.random() ** 1.3)]
        bits = f"{rng.getrandbits(128):032x}"
        self._id = f"{bits[:8]}-{bits[8:12]}-4{bits[13:16]}-a{bits[17:20]}-{bits[20:]}"
        self._n = n
        self._began = (placed_at - EPOCH) // timedelta(microseconds=1)
        self._currency = who.country.currency
        self._basket(about)
        self._sequence = 0
        self._events: list[str] = []
        self._outcome = ""
        self._judge(rng.random() < 0.2 if is_first is None else is_first)
        self.tell("place", 0.0, actor=("customer", who.name), more=f'"source": "{SOURCE}", ')
        self.tell("receive", 0.4, "placed", "received")
        self.tell("validate", 0.6, "received", "validated")

    def _basket(self, about: int) -> None:
        """A few things, or as many as come to `about` minor units at least."""
        rng = self._rng
        level = PRICE_LEVEL[self._currency]
        lines = rng.sample(_GOODS, k=1 + int(2.4 * rng.random() ** 2))
        self._lines = []
        self._total = 0
        for sku, cents in lines:
            price = round(cents * level / 10) * 10
            quantity = 1 + int(3 * rng.random() ** 3)
            quantity = max(quantity, -(-about // (price * len(lines))))
            self._lines.append((sku, quantity, price))
            self._total += quantity * price

    def _judge(self, is_first: bool) -> None:
        """As the policy does."""
        who = self._who
        amount = self._total / 100
        band = sum(amount >= least for least in _BANDS) - 1
        many = any(quantity >= 24 for _, quantity, _ in self._lines)
        self.risk, self.reasons, self._parts = _verdict(band, self._currency, who.is_dubious, is_first, many)

    def at(self, offset: float) -> str:
        # Twelve times an order: `isoformat` would take a quarter of all the time.
        minutes, micros = divmod(self._began + int(offset * 1_000_000), 60_000_000)
        return f"{_minute(minutes)}:{micros // 1_000_000:02}.{micros % 1_000_000:06}+00"

    def tell(
        self,
        type_: str,
        offset: float,
        before: str = "",
        after: str = "",
        more: str = "",
        actor: tuple[str, str] = MACHINE,
    ) -> None:
        self._sequence += 1
        if after:
            more += f'"from": "{before}", "to": "{after}", '
            self._status, self._since = after, self.at(offset)
        payload = f"{{{more[:-2]}}}"
        self._events.append(
            f"{self._id}\t{self._sequence}\t{type_}\t{actor[0]}\t{actor[1]}\t{payload}\t{self.at(offset)}"
        )

    def open_review(self, lasts: timedelta) -> None:
        self._due = max(lasts.total_seconds(), 86_400.0) if lasts > timedelta(hours=24) else 86_400.0
        more = f'"reasons": {self.reasons}, "risk_score": {self.risk}, "due_at": "{self.at(self._due)}", '
        self.tell("open_review", 0.8, "validated", "in_review", more)

    def close_review(self, decision: str, after: timedelta, note: str = "") -> None:
        """With the verb's event; what goes on is told by the caller."""
        key, name = self._rng.choice(self._shop.cast.operators)
        offset = after.total_seconds()
        by, actor = (NONE, MACHINE) if decision == "expired" else (str(key), ("operator", name))
        verb = {"approved": "approve", "rejected": "reject", "expired": "expire"}[decision]
        self._review(decision, by, self.at(offset), note)
        self.tell(verb, offset, "in_review", decision, f'"note": "{note}", ' if note else "", actor)
        self._decided = offset
        if decision != "approved":
            self._outcome = f"Rejected: {note}" if note else "Nobody decided before the deadline."
            self.end(decision)

    def _review(self, decision: str, by: str, at: str, note: str = "") -> None:
        self._rows.of["review"].append(
            f"{self._id}\tapproval\t{self.at(0.8)}\t{self.at(self._due)}\texpire\t{self.reasons}\t{self.risk}"
            f"\t{self._parts}\t{decision}\t{by}\t{at}\t{note}"
        )

    _decided = 1.0
    _due = 86_400.0

    def cancel(self) -> None:
        self._outcome = "Cancelled: the customer changed their mind."
        operator = self._rng.choice(self._shop.cast.operators)[1]
        self.tell("cancel", self._decided + 1, "approved", "cancelled", actor=("operator", operator))
        self.end("cancelled")

    def _reserve(self, state: str) -> None:
        units = sum(quantity for _, quantity, _ in self._lines)
        self.tell("reserve", self._decided + 0.3, "approved", "reserved", f'"units": {units}, ')
        products = self._shop.cast.products
        self._rows.of["reservation"] += [
            f"{self._id}\t{products[sku]}\t{quantity}\t{state}" for sku, quantity, _ in self._lines
        ]

    def _charge(self) -> None:
        t, money = self._decided, f'"amount_minor": {self._total}, "currency": "{self._currency}", '
        reference = f"pay_{self._id[:8]}{self._n:08x}"
        self.tell("charge_requested", t + 0.5, more=money)
        self.tell("charge", t + 1.2, "reserved", "charged", f'{money}"reference": "{reference}", ')
        self._pay("charge", f"order-{self._id}:charge", "succeeded", reference, t + 0.4, self.at(t + 1.2))

    def _pay(self, kind: str, key: str, status: str, reference: str, began: float, settled: str) -> None:
        self._rows.of["payment"].append(
            f"{self._id}\t{key}\t{kind}\t{self._total}\t{self._currency}\t{status}\t{reference}"
            f"\t{self.at(began)}\t{settled}"
        )

    def _ship(self, status: str, tracking: str, dispatched: str) -> None:
        who = self._who
        address = (
            f'{{"country": "{who.country.code}", "line1": "{who.line1}", "line2": "{who.line2}", "city": "{who.city}"'
            f', "region": "{who.region}", "postal_code": "{who.postal_code}"}}'
        )
        self._rows.of["shipment"].append(
            f"{self._id}\torder-{self._id}:dispatch\t{status}\t{'Simulated Parcel' if tracking else ''}\t{tracking}"
            f"\t{address}\t{self.at(self._decided + 1.4)}\t{dispatched}"
        )

    def _pack(self) -> None:
        t = self._decided
        self.tell("prepare", t + 1.4, "charged", "preparing")
        self.tell("package_ready", t + 2.0)
        self.tell("dispatch", t + 2.2, "preparing", "dispatching")

    def carry_out(self, *, refunded: bool) -> None:
        t = self._decided
        self._reserve("shipped")
        self._charge()
        self._pack()
        tracking = f"SP{self._n:010}"
        more = f'"carrier": "Simulated Parcel", "tracking_number": "{tracking}", '
        self.tell("confirm_dispatch", t + 2.9, "dispatching", "dispatched", more)
        self._ship("dispatched", tracking, self.at(t + 2.9))
        self.tell("complete", t + 3.1, "dispatched", "completed")
        if refunded:
            reference = f"ref_{self._id[:8]}{self._n:08x}"
            money = f'"amount_minor": {self._total}, "currency": "{self._currency}", '
            later = t + 86_400 * 3
            operator = self._rng.choice(self._shop.cast.operators)[1]
            note = '"note": "Came back unopened", "number": 1, '
            self.tell("refund_requested", later, more=money + note, actor=("operator", operator))
            self.tell("refund", later + 1.0, more=f'{money}"reference": "{reference}", ')
            self._pay("refund", f"order-{self._id}:refund-1", "succeeded", reference, later, self.at(later + 1.0))
        self.end("completed")

    def halt(self, status: str) -> None:
        """It waits for help: as far as its status says, and no further."""
        t = self._decided
        before = {"stock_short": "approved", "unconfirmed": "awaiting_customer", "undeliverable": "dispatching"}
        if status == "unconfirmed":
            self._reserve("held")
            reference = f"pay_{self._id[:8]}{self._n:08x}"
            confirm_by = f'"confirm_by": "{self.at(t + 3_600)}", '
            self.tell("ask_customer", t + 1.0, "reserved", "awaiting_customer", confirm_by)
            self._pay("charge", f"order-{self._id}:charge", "requires_action", reference, t + 0.4, NONE)
        if status == "undeliverable":
            self._reserve("held")
            self._charge()
            self._pack()
            self._ship("dispatching", "", NONE)
        why = HELP[status]
        due_at = (self._shop.now + timedelta(hours=24 * self._rng.random(), minutes=5)).isoformat()
        self.tell("halt", t + 4.0, before[status], status, f'"reason": "{why}", "due_at": "{due_at}", ')
        at_deadline = "ask_again" if status == "undeliverable" else "expire"
        self._rows.of["review"].append(
            f"{self._id}\tattention\t{self.at(t + 4.0)}\t{due_at}\t{at_deadline}"
            f'\t[{{"code": "{status}", "text": "{why}"}}]\t0\t[]\t\t{NONE}\t{NONE}\t'
        )
        self._outcome = why
        self.end(status)

    def end(self, status: str, *, wait: bool = False) -> None:
        """Write what has not been written yet."""
        who, products = self._who, self._shop.cast.products
        if wait:
            self._review("", NONE, NONE)
        self._rows.of["order"].append(
            f"{self._id}\t{SOURCE}\t{self._shop.seed}-{self._n:07}\t{status}\t{self._since}\t{self._outcome}"
            f"\t{self._sequence}\t{who.name}\t{who.email}\t{who.line1}\t{who.line2}\t{who.city}\t{who.region}"
            f"\t{who.postal_code}\t{who.country.code}\t{self._currency}\t{self._total}\t{who.card}\t{self.at(0.0)}"
        )
        self._rows.of["orderline"] += [
            f"{self._id}\t{products[sku]}\t{position}\t{quantity}\t{price}"
            for position, (sku, quantity, price) in enumerate(self._lines, start=1)
        ]
        self._rows.of["event"] += self._events


def _as_json(parts: Sequence[Reason] | Sequence[RiskPart]) -> str:
    return json.dumps([asdict(part) for part in parts], ensure_ascii=False)


@cache
def _verdict(band: int, currency: str, is_dubious: bool, is_first: bool, many: bool) -> tuple[float, str, str]:
    """What the policy says of all orders that are alike in what it looks at: the risk, reasons if any, and parts."""
    verdict = judge(
        Facts(
            amount=Decimal(_BANDS[band]) + 1,
            currency=currency,
            customer_email="x@guerrillamail.com" if is_dubious else "x@example.com",
            is_first_order=is_first,
            orders_in_last_hour=0,
            most_of_one_product=24 if many else 1,
            has_street=True,
        )
    )
    reasons = _as_json(verdict.reasons) if verdict.reasons else ""
    return verdict.risk_score, reasons, _as_json(verdict.risk_parts)


@lru_cache(maxsize=100_000)
def _minute(since_epoch: int) -> str:
    return (EPOCH + timedelta(minutes=since_epoch)).strftime("%Y-%m-%d %H:%M")


_BANDS = (0, FIRST_ORDER_FREE_UP_TO + Decimal("0.01"), RISK_FROM, REVIEW_FROM)
_GOODS = tuple((sku, cents) for sku, (_, cents) in GOODS.items())
