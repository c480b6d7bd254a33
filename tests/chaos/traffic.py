"""Customers who order and people who decide, over HTTP, and a book of all that they were told."""

import http.client
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

TIME_OUT = 5.0  # seconds
SETTLE = 90.0  # seconds that an order may take to where people are asked, with all that strikes meanwhile
STREETS = ("Lindenstr.", "Hauptstr.", "Ringstr.", "Gartenweg", "Am Markt")
CITIES = (("10969", "Berlin"), ("20095", "Hamburg"), ("80331", "München"), ("50667", "Köln"))
SKU, PRICE_MINOR = "LAMP", 60_000


class Told(StrEnum):
    DONE = "done"
    REFUSED = "refused"
    NOTHING = "nothing"  # no answer, or one that says that something is out of order


@dataclass(frozen=True)
class Answer:
    """What one person was told of one thing that they asked for."""

    order: str
    action: str
    actor: str
    told: Told
    said: str = ""


@dataclass
class Book:
    """All that customers and people at the desk were told."""

    placed: dict[str, str] = field(default_factory=dict)  # order ids by reference, of those that were accepted
    tried: set[str] = field(default_factory=set)  # references
    answers: list[Answer] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)  # of HTTP; 0 where there was no answer
    pages: Counter[int] = field(default_factory=Counter)  # the same of pages
    wrong: list[str] = field(default_factory=list)  # what nobody should ever be told
    decided_seconds: list[float] = field(default_factory=list)


class NoAnswer(Exception):
    """Nobody can tell whether it was done."""


class Door:
    """The API of several web processes: the next one where one does not answer."""

    def __init__(self, addresses: Sequence[str], book: Book) -> None:
        self._hosts = [urlsplit(address).netloc for address in addresses]
        self._book = book
        self._turn = 0

    def ask(
        self, method: str, path: str, token: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any]:
        """Raises NoAnswer. A bare 500 is written down as wrong."""
        sent = json.dumps(body) if body is not None else None
        known = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        status, told = self._exchange(self._book.statuses, method, f"/api/v1{path}", sent, {**known, **(headers or {})})
        if status == 500:
            self._book.wrong.append(f"{method} {path}: a bare 500: {told[:200]!r}")
        if status >= 500:
            raise NoAnswer(f"{status}")
        return status, json.loads(told)

    def look(self, path: str, session: str) -> None:
        """Open a page. One that is neither there nor says that it will be again is written down as wrong."""
        with suppress(NoAnswer):
            status, told = self._exchange(self._book.pages, "GET", path, None, {"Cookie": f"session={session}"})
            if status != 200 and not (status == 503 and b"It will be back" in told):
                self._book.wrong.append(f"the page {path} was answered with {status}: {told[:200]!r}")

    def _exchange(
        self, statuses: Counter[int], method: str, path: str, body: str | None, headers: Mapping[str, str]
    ) -> tuple[int, bytes]:
        """Raises NoAnswer where there is none."""
        self._turn += 1
        connection = http.client.HTTPConnection(self._hosts[self._turn % len(self._hosts)], timeout=TIME_OUT)
        try:
            connection.request(method, path, body, dict(headers))
            response = connection.getresponse()
            told = response.read()
        except (OSError, http.client.HTTPException) as error:
            statuses[0] += 1
            raise NoAnswer(type(error).__name__) from None
        finally:
            connection.close()
        statuses[response.status] += 1
        return response.status, told


class Traffic:
    """`rate` orders a second for so long; what becomes of each is drawn from the seed before it is placed."""

    def __init__(
        self, door: Door, book: Book, tokens: Mapping[str, str], session: str, *, seed: int, rate: float
    ) -> None:
        self._door = door
        self._book = book
        self._tokens = tokens
        self._session = session
        self._people = sorted(set(tokens) - {"shop"})
        self._chance = random.Random(f"traffic {seed}")  # noqa: S311 - to be the same again
        self._rate = rate
        self.open: dict[str, None] = {}  # ids of orders that are under way, oldest first

    def flow(self, seconds: float) -> None:
        """Place and decide; return when everybody has been told something of all that they asked for."""
        begun = time.monotonic()
        over = threading.Event()
        with ThreadPoolExecutor(65, thread_name_prefix="people") as people:
            under_way: list[Future[None]] = [people.submit(self._look_on, over)]
            for number in range(int(seconds * self._rate)):
                time.sleep(max(0.0, begun + number / self._rate - time.monotonic()))
                under_way.append(people.submit(self._story, number, random.Random(self._chance.random())))  # noqa: S311
            wait(under_way[1:])
            over.set()
        for story in under_way:
            if (error := story.exception()) is not None:
                self._book.wrong.append(f"the traffic itself: {type(error).__name__}: {error}")

    def _look_on(self, over: threading.Event) -> None:
        """Somebody has the queue open, and now and then the order that waits longest."""
        while not over.wait(1):
            self._door.look("/", self._session)
            for order in list(self.open)[:1]:
                self._door.look(f"/orders/{order}/", self._session)

    def _story(self, number: int, chance: random.Random) -> None:
        plot = chance.choices(list(PLOTS), [weight for weight, _ in PLOTS.values()])[0]
        order = self._place(f"chaos-{number:05}", plot, chance)
        if order is None:
            return
        self.open[order] = None
        try:
            PLOTS[plot][1](self, order, chance)
        finally:
            self.open.pop(order, None)

    def _place(self, reference: str, plot: str, chance: random.Random) -> str | None:
        """Try until it is accepted: the key makes sure that it is one order."""
        postal_code, city = chance.choice(CITIES)
        body: dict[str, Any] = {
            "customer_name": f"Customer {reference}",
            "customer_email": f"{reference}@example.com",
            "address": {
                "country": "DE",
                "line1": f"{chance.choice(STREETS)} {chance.randint(1, 9_999)}",
                "postal_code": postal_code,
                "city": city,
            },
            "currency": "EUR",
            "lines": [{"sku": SKU, "quantity": 1 if plot in PASS_BY else 2, "unit_price_minor": PRICE_MINOR}],
            "reference": reference,
        }
        if plot == "passes":
            body["lines"][0] |= {"unit_price_minor": 15_000}
        if plot in ("expires", "deadline"):
            body["decide_within_seconds"] = 4
        self._book.tried.add(reference)
        until = time.monotonic() + SETTLE
        while time.monotonic() < until:
            try:
                status, told = self._door.ask(
                    "POST", "/orders", self._tokens["shop"], body, {"Idempotency-Key": reference}
                )
            except NoAnswer:
                time.sleep(0.5)
                continue
            if status not in (200, 201):
                self._book.wrong.append(f"placing {reference} was refused: {status} {told}")
                return None
            self._book.placed[reference] = told["id"]
            return str(told["id"])
        return None

    # What becomes of orders

    def _passes(self, order: str, chance: random.Random) -> None:
        """Nobody is asked."""

    def _approved(self, order: str, chance: random.Random) -> None:
        if self._in_review(order):
            self._do("approve", order, chance.choice(self._people))

    def _rejected(self, order: str, chance: random.Random) -> None:
        if self._in_review(order):
            self._do("reject", order, chance.choice(self._people))

    def _fought_over(self, order: str, chance: random.Random) -> None:
        """Two people decide the opposite at the same instant."""
        if self._in_review(order):
            first, second = chance.sample(self._people, 2)
            self._at_once(order, [("approve", first), (chance.choice(["reject", "cancel"]), second)])

    def _clicked_twice(self, order: str, chance: random.Random) -> None:
        if self._in_review(order):
            self._at_once(order, [("approve", name) for name in chance.sample(self._people, 3)])

    def _cancelled_later(self, order: str, chance: random.Random) -> None:
        """Somewhere between approval and arrival."""
        if self._in_review(order):
            first, second = chance.sample(self._people, 2)
            self._do("approve", order, first)
            time.sleep(chance.uniform(0, 1.5))
            self._do("cancel", order, second)

    def _moved(self, order: str, chance: random.Random) -> None:
        """The address changes while somebody approves, or a little later."""
        if self._in_review(order):
            first, second = chance.sample(self._people, 2)
            if chance.random() < 0.5:
                self._at_once(order, [("approve", first), ("change_address", second)])
            else:
                self._do("approve", order, first)
                time.sleep(chance.uniform(0, 1))
                self._do("change_address", order, second)

    def _expires(self, order: str, chance: random.Random) -> None:
        """Nobody decides in time."""

    def _deadline(self, order: str, chance: random.Random) -> None:
        """Somebody decides in the very moment in which it expires."""
        if live := self._in_review(order):
            due = datetime.fromisoformat(live["deadline"]).timestamp()
            time.sleep(max(0.0, due + chance.uniform(-0.02, 0.02) - time.time()))
            self._do("approve", order, chance.choice(self._people))

    def _in_review(self, order: str) -> dict[str, Any] | None:
        """Wait until people are asked; None where that did not come about in time."""
        until, pause = time.monotonic() + SETTLE, 0.3
        while time.monotonic() < until:
            try:
                _, live = self._door.ask("GET", f"/orders/{order}/live", self._tokens["alice"])
            except NoAnswer:
                time.sleep(0.5)
                continue
            if live["status"] == "in_review":
                return dict(live)
            if live["has_ended"]:
                return None
            time.sleep(pause)
            pause = min(2 * pause, 3.0)  # it is the desk that is to be loaded, and not by questions
        return None

    def _at_once(self, order: str, deeds: Sequence[tuple[str, str]]) -> None:
        gate = threading.Barrier(len(deeds))

        def do(action: str, actor: str) -> None:
            gate.wait()
            self._do(action, order, actor)

        threads = [threading.Thread(target=do, args=deed) for deed in deeds]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _do(self, action: str, order: str, actor: str) -> None:
        body: dict[str, Any] = {}
        if action == "reject":
            body = {"reason": "It looks like fraud."}
        if action == "change_address":
            body = {"address": {"country": "DE", "line1": "Neue Str. 1", "postal_code": "04109", "city": "Leipzig"}}
        path = f"/orders/{order}/{action.removeprefix('change_')}"
        begun = time.monotonic()
        try:
            status, said = self._door.ask("POST", path, self._tokens[actor], body)
        except NoAnswer as why:
            self._book.answers.append(Answer(order, action, actor, Told.NOTHING, str(why)))
            return
        self._book.decided_seconds.append(time.monotonic() - begun)
        if status == 200:
            self._book.answers.append(Answer(order, action, actor, Told.DONE))
        elif status == 409:
            self._book.answers.append(Answer(order, action, actor, Told.REFUSED, said["detail"]))
        else:
            self._book.wrong.append(f"{actor} could not {action} {order}: {status} {said}")


PASS_BY = ("passes",)
PLOTS = {
    "passes": (20, Traffic._passes),
    "approved": (36, Traffic._approved),
    "rejected": (8, Traffic._rejected),
    "fought over": (12, Traffic._fought_over),
    "clicked twice": (6, Traffic._clicked_twice),
    "cancelled later": (8, Traffic._cancelled_later),
    "moved": (6, Traffic._moved),
    "expires": (2, Traffic._expires),
    "deadline": (2, Traffic._deadline),
}
