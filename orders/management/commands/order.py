"""`manage.py order VERB`: the desk at a terminal, through the same services."""

import json
import re
import sys
import time
import uuid
from argparse import ArgumentParser, ArgumentTypeError, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, DjangoHelpFormatter
from django.utils import timezone

from orders import bulk_selectors, cli, live, money, notes, outage, selectors
from orders.live_state import live_state, live_state_of
from orders.models import ActorKind, Bulk, Note, Order
from orders.services import (
    actors,
    addressing,
    asking,
    attending,
    bulk,
    claiming,
    holding,
    noting,
    placing,
    refunding,
    reviewing,
    transitions,
    undoing,
)
from orders.services.texts import wrong_with_text
from orders.states import TERMINAL, Action, Status

PLACED_BY = actors.Actor(ActorKind.SYSTEM, "Command line")
LISTEN_CHECK_SECONDS = 2.0


EXAMPLES = """\
from placing to the end:
  order place --name "Ann Lee" --country DE --line LAMP:2:600 --watch
  order place --file order.json --cancel-after 2 --watch
  order show CS-104233
  order watch CS-104233
  order approve CS-104233 --as alice
  order reject CS-104233 --as alice --code card --reason "The bank called"
  order claim CS-104233 --as alice
  order hand-over CS-104233 --as alice --to bob
  order extend CS-104233 --as dana --by 4h --reason "She calls back"
  order ask CS-104233 --as alice --question "Which flat is it?" --for 4h
  order snooze CS-104233 --as alice --reason "She calls back" --for 30m
  order resume CS-104233 --as bob
  order retry CS-104233 --as alice --note "Restocked"
  order address CS-104233 --as alice --line1 "5 rue Cler" --postal-code 75007 --city Paris --country FR
  order note CS-104233 --as alice --text "She rang. @bob, do you know her?"
  order notes CS-104233
  order bulk approve CS-104233 CS-104234 --as alice --look
  order results 6f1c1f0e-3f8a-4f43-9a55-0d3a1f6f2b11
  order cancel CS-104233 --as alice
  order refund CS-104233 --as alice --amount 12.50 --reason "It came late"

Each verb has a --help of its own, and --json for programs. --as names who decides: that user's role counts.
"""


class Examples(DjangoHelpFormatter, RawDescriptionHelpFormatter):
    """Django's own order of arguments, and the examples line by line as they are written."""


class Command(BaseCommand):
    help = "Places an order, shows or follows one, and decides on it. Orders are named by number or by id."
    requires_system_checks = []  # they have nothing to do with the pages, which would be loaded for them

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.epilog, parser.formatter_class = EXAMPLES, Examples
        verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

        def verb(name: str, handler: Callable[..., None], told: str, *, of_order: bool = True) -> ArgumentParser:
            added = verbs.add_parser(name, help=told, description=told)
            added.set_defaults(handler=handler)
            added.add_argument("--json", action="store_true", help="answer in JSON")
            if of_order:
                added.add_argument("order", metavar="ORDER", help="such as CS-104233, or an id")
            return added

        _place_arguments(verb("place", self.place, "Place an order.", of_order=False))
        verb("show", self.show, "Show an order as it is now.")
        verb("watch", self.watch, "Follow an order, one line for each event and failed try, until it has ended.")
        decisions = {}
        for name, handler, told in (
            ("approve", self.approve, "Let an order in review go on."),
            ("reject", self.reject, "Turn an order in review down."),
            ("extend", self.extend, "Give an order that waits for people more time."),
            ("cancel", self.cancel, "Stop an order; what was done already is undone."),
            ("refund", self.refund, "Give money back of an order that has ended."),
        ):
            deciding = decisions[name] = verb(name, handler, told)
            deciding.add_argument("--as", dest="user", required=True, metavar="USER", help="who decides")
            _seen_argument(deciding)
            if name != "approve":
                deciding.add_argument("--reason", default="", required=name in ("extend", "refund"), help="why")
        decisions["reject"].add_argument("--code", default="", help="of a reason that the desk keeps, such as fraud")
        retrying = verb("retry", self.retry, "Let an order that waits for help try again.")
        retrying.add_argument("--as", dest="user", required=True, metavar="USER", help="who decides")
        retrying.add_argument("--note", default="", help="what was put right")
        _seen_argument(retrying)
        for name, doing, told in (
            ("ask", self.ask, "Ask the customer by mail; until the answer an order that waits for people is put off."),
            ("snooze", self.snooze, "Put an order that waits for people off for a while."),
            ("resume", self.resume, "Take an order back that is put off."),
        ):
            waiting = verb(name, doing, told)
            waiting.add_argument("--as", dest="user", required=True, metavar="USER", help="who does so")
            _seen_argument(waiting)
            if name != "resume":
                said = ("--question", "what the customer is asked") if name == "ask" else ("--reason", "why")
                waiting.add_argument(said[0], required=True, help=said[1])
                waiting.add_argument("--for", dest="wait", type=_span, required=True, metavar="4h", help="how long")
        verb("notes", self.notes, "Show the notes on an order, the newest first.")
        noted = verb("note", self.note, "Leave a note on an order, or word one of yours anew.")
        noted.add_argument("--as", dest="user", required=True, metavar="USER", help="whose note it is")
        noted.add_argument("--text", required=True, help="the note; @name tells that colleague")
        noted.add_argument("--edit", dest="note", type=int, metavar="NOTE", help="the number of the note to be changed")
        _bulk_arguments(verb("bulk", self.bulk, "Decide on many at once; a worker carries it out.", of_order=False))
        results = verb("results", self.results, "Show what became of each order of a bulk.", of_order=False)
        results.add_argument("bulk_id", type=_uuid, metavar="BULK", help="its id, as `order bulk` tells it")
        moving = verb("address", self.address, "Change where an order goes, until the carrier is called.")
        moving.add_argument("--as", dest="user", required=True, metavar="USER", help="who decides")
        _address_arguments(moving, required=True)
        _seen_argument(moving)
        hands: tuple[tuple[str, Callable[..., None], str], ...] = (
            ("claim", self.claim, "Take an order that waits for people in hand."),
            ("unclaim", self.unclaim, "Give an order back to all."),
            ("hand-over", self.hand_over, "Put an order into a colleague's hands."),
            ("take-over", self.take_over, "Take an order out of a colleague's hands."),
        )
        for name, handles, told in hands:
            deciding = decisions[name] = verb(name, handles, told)
            deciding.add_argument("--as", dest="user", required=True, metavar="USER", help="who does it")
        for name in ("hand-over", "take-over"):
            _seen_argument(decisions[name])
        decisions["hand-over"].add_argument("--to", required=True, metavar="USER", help="whose hands")
        decisions["take-over"].add_argument("--reason", default="", help="why")
        decisions["extend"].add_argument(
            "--by",
            type=_span,
            required=True,
            metavar="4h",
            help="from the deadline or, past it, from now",
        )
        decisions["refund"].add_argument(
            "--amount", type=_amount, required=True, metavar="12.50", help="in the order's currency"
        )
        decisions["refund"].add_argument(
            "--number", type=int, help="which refund of the order it is, from 1: given twice, it refunds once"
        )

    def handle(self, *args: object, handler: Callable[..., None], **options: Any) -> None:
        try:
            handler(**options)
        except (cli.NoSuchOrder, transitions.ActionRefused, actors.NotPermitted) as refusal:
            raise CommandError(str(refusal)) from None
        except placing.InvalidOrder as wrong:
            raise CommandError(f"The order was not placed: {wrong}.") from None
        except addressing.InvalidAddress as wrong:
            raise CommandError(f"The address was not changed: {wrong}.") from None
        except placing.DuplicateReference as there:
            raise CommandError(f"The order was not placed: {there}.") from None
        except (*outage.AWAY, psycopg.OperationalError) as problem:
            told = str(problem).strip().partition("\n")[0]
            raise CommandError(f"{outage.trouble(problem)} ({told}).") from None
        except KeyboardInterrupt:
            raise CommandError("Stopped; the order goes on.", returncode=130) from None

    def place(self, *, json: bool, cancel_after: float | None, watch: bool, **options: Any) -> None:
        at = timezone.now()
        new = cli.new_order(_order_text(options), at=at)
        order = placing.place_order(new=new, actor=PLACED_BY, at=at)
        if cancel_after is not None:
            self.stderr.write(f"{order.number} is placed, and cancelled in {cancel_after:g} s.")
            time.sleep(cancel_after)
            customer = actors.Actor(ActorKind.CUSTOMER, order.customer_name[:150])
            undoing.cancel(order_id=order.pk, actor=customer, at=timezone.now(), reason="")
        if watch:
            self.follow(order, json=json)
        else:
            self.answer(order, json=json)

    def show(self, *, order: str, json: bool, **options: Any) -> None:
        detail = selectors.order_detail(cli.find(order).pk)
        state = live_state_of(detail, ask_engine=True)
        self.write(_document(cli.order_json(detail, state)) if json else cli.order_text(detail, state))

    def watch(self, *, order: str, json: bool, **options: Any) -> None:
        self.follow(cli.find(order), json=json)

    def follow(self, order: Order, *, json: bool) -> None:
        told, tried = 0, ""
        for status in _statuses(order):
            news = list(order.events.filter(sequence__gt=told).order_by("sequence"))
            for event in news:
                told = event.sequence
                line = {"order": order.number, **cli.event_json(event)}
                self.write(_document(line) if json else cli.event_line(event))
            if status in TERMINAL:
                return
            if news:
                continue
            # It is quiet, and no event tells of a try that fails.
            state = live_state(order.pk, ask_engine=True)
            if state.last_error and state.told != tried:
                tried = state.told
                line = {"order": order.number, "live": cli.live_json(state)}
                self.write(_document(line) if json else cli.plain(f"          {tried}"))

    def claim(self, *, order: str, user: str, json: bool, **options: Any) -> None:
        found, actor = cli.find(order), _operator(user)
        claiming.claim(order_id=found.pk, actor=actor, at=timezone.now())
        self.answer(found, json=json, told=f"{found.number} is in the hands of {actor.name}.")

    def unclaim(self, *, order: str, user: str, json: bool, **options: Any) -> None:
        found, actor = cli.find(order), _operator(user)
        claiming.unclaim(order_id=found.pk, actor=actor, at=timezone.now())
        self.answer(found, json=json, told=f"{found.number} is in nobody's hands.")

    def hand_over(self, *, order: str, user: str, to: str, seen: int | None, json: bool, **options: Any) -> None:
        found, actor = cli.find(order), _operator(user)
        claiming.hand_over(order_id=found.pk, actor=actor, at=timezone.now(), to=to, seen=seen)
        self.answer(found, json=json, told=f"{found.number} is in the hands of {cli.plain(to)}.")

    def take_over(self, *, order: str, user: str, reason: str, seen: int | None, json: bool, **options: Any) -> None:
        found, actor = cli.find(order), _operator(user)
        claiming.take_over(order_id=found.pk, actor=actor, at=timezone.now(), reason=reason, seen=seen)
        self.answer(found, json=json, told=f"{found.number} is in the hands of {actor.name}.")

    def approve(self, *, order: str, user: str, seen: int | None, json: bool, **options: Any) -> None:
        found, actor = cli.find(order), _operator(user)
        after = reviewing.approve(order_id=found.pk, actor=actor, at=timezone.now(), seen=seen)
        needs_another = after.status_now == Status.IN_REVIEW
        self.answer(found, json=json, told=cli.endorsed_text(found) if needs_another else "")

    def reject(
        self, *, order: str, user: str, reason: str, code: str, seen: int | None, json: bool, **options: Any
    ) -> None:
        found, actor = cli.find(order), _operator(user)
        reviewing.reject(order_id=found.pk, actor=actor, at=timezone.now(), reason=reason, code=code, seen=seen)
        self.answer(found, json=json)

    def retry(self, *, order: str, user: str, note: str, seen: int | None, json: bool, **options: Any) -> None:
        found, actor = cli.find(order), _operator(user)
        attending.retry(order_id=found.pk, actor=actor, at=timezone.now(), note=note, seen=seen)
        self.answer(found, json=json)

    def address(self, *, order: str, user: str, seen: int | None, json: bool, **options: Any) -> None:
        found, actor = cli.find(order), _operator(user)
        address = placing.Address(**{part: options[part] or "" for part in cli.ADDRESS_PARTS})
        changed = addressing.change_address(
            order_id=found.pk, actor=actor, at=timezone.now(), address=address, seen=seen
        )
        found.refresh_from_db()
        self.answer(found, json=json, told=cli.address_text(found, changed=changed), changed=changed)

    def extend(
        self, *, order: str, user: str, reason: str, by: timedelta, seen: int | None, json: bool, **options: Any
    ) -> None:
        found, actor, now = cli.find(order), _operator(user), timezone.now()
        review = holding.open_review(found)
        due_at = max(now, review.due_at if review else now) + by
        reviewing.extend(order_id=found.pk, actor=actor, at=now, due_at=due_at, reason=reason, seen=seen)
        self.answer(found, json=json, told=cli.deadline_text(found, due_at), due_at=due_at.isoformat())

    def ask(
        self, *, order: str, user: str, question: str, wait: timedelta, seen: int | None, json: bool, **options: Any
    ) -> None:
        found, actor, now = cli.find(order), _operator(user), timezone.now()
        asking.ask(order_id=found.pk, actor=actor, at=now, question=question, until=now + wait, seen=seen)
        self.answer_until(found, now + wait, json=json)

    def snooze(
        self, *, order: str, user: str, reason: str, wait: timedelta, seen: int | None, json: bool, **options: Any
    ) -> None:
        found, actor, now = cli.find(order), _operator(user), timezone.now()
        asking.snooze(order_id=found.pk, actor=actor, at=now, reason=reason, until=now + wait, seen=seen)
        self.answer_until(found, now + wait, json=json)

    def answer_until(self, order: Order, until: datetime, *, json: bool) -> None:
        self.answer(order, json=json, told=cli.put_off_text(order, until), put_off_until=until.isoformat())

    def resume(self, *, order: str, user: str, seen: int | None, json: bool, **options: Any) -> None:
        found, actor = cli.find(order), _operator(user)
        asking.resume(order_id=found.pk, actor=actor, at=timezone.now(), seen=seen)
        self.answer(found, json=json)

    def notes(self, *, order: str, json: bool, **options: Any) -> None:
        found = cli.find(order)
        told = notes.notes_of(found.pk)
        if json:
            self.write(_document({"order": found.number, "notes": [cli.note_json(note) for note in told.notes]}))
            return
        for note in told.notes:
            self.write(cli.note_line(note))
        if not told.notes or told.more:
            self.write("Older notes are in the timeline." if told.more else f"There are no notes on {found.number}.")

    def note(self, *, order: str, user: str, text: str, note: int | None, json: bool, **options: Any) -> None:
        found, actor, now = cli.find(order), _operator(user), timezone.now()
        if note is None:
            note, done = noting.write_note(order_id=found.pk, actor=actor, at=now, text=text).pk, "written"
        else:
            try:
                changed = noting.edit_note(order_id=found.pk, note_id=note, actor=actor, at=now, text=text)
            except Note.DoesNotExist:
                raise CommandError(f"--edit: there is no note {note} on {found.number}.") from None
            done = "changed" if changed else "as it was"
        self.answer(found, json=json, told=f"Note {note} on {found.number} is {done}.", note=note)

    def bulk(
        self,
        *,
        action: str,
        names: list[str],
        user: str,
        reason: str,
        code: str,
        by: timedelta | None,
        to: str,
        look: bool,
        json: bool,
        **options: Any,
    ) -> None:
        doing, actor, now = Action(action), _operator(user), timezone.now()
        looked = bulk.forecast(order_ids=[cli.find(name).pk for name in names], action=doing, actor=actor, at=now)
        begun = None
        if looked.fit and not look:
            begun = bulk.begin(
                bulk_id=uuid.uuid4(),
                action=doing,
                chosen={order.pk: order.version for order in looked.fit},
                actor=actor,
                at=now,
                note=reason,
                code=code,
                more=by,
                to=to,
            )
        self.write(_document(cli.forecast_json(looked, begun)) if json else cli.forecast_text(doing, looked, begun))

    def results(self, *, bulk_id: uuid.UUID, json: bool, **options: Any) -> None:
        found = Bulk.objects.select_related("made_by").filter(pk=bulk_id).first()
        if found is None:
            raise CommandError(f"There is no bulk {bulk_id}.")
        progress = bulk_selectors.progress([found])[0]
        members = found.members.select_related("order").order_by("position").iterator()
        if json:
            self.write(_document(cli.bulk_json(progress) | {"results": [cli.member_json(one) for one in members]}))
            return
        self.write(cli.bulk_text(progress))
        for member in members:
            self.write(cli.member_line(member))

    def refund(
        self,
        *,
        order: str,
        user: str,
        reason: str,
        amount: Decimal,
        number: int | None,
        seen: int | None,
        json: bool,
        **options: Any,
    ) -> None:
        found, actor = cli.find(order), _operator(user)
        try:
            minor = money.to_minor(amount, found.currency)
        except ValueError as wrong:
            raise CommandError(f"--amount: {wrong}.") from None
        payment = refunding.refund(
            order_id=found.pk,
            amount_minor=minor,
            reason=reason,
            actor=actor,
            at=timezone.now(),
            number=number,
            seen=seen,
        )
        told = cli.refund_text(found, payment)
        self.answer(found, json=json, told=told, refund=cli.payment_json(payment))

    def cancel(self, *, order: str, user: str, reason: str, seen: int | None, json: bool, **options: Any) -> None:
        found, actor = cli.find(order), _operator(user)
        undoing.cancel(order_id=found.pk, actor=actor, at=timezone.now(), reason=reason, seen=seen)
        self.answer(found, json=json)

    def answer(self, order: Order, *, json: bool, told: str = "", **beside: object) -> None:
        """Where the order stands now: with `beside` as a document, or in words, where there are none better."""
        order.refresh_from_db()
        self.write(_document(cli.summary_json(order) | beside) if json else told or cli.summary_text(order))

    def write(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()


def _place_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--file", type=Path, metavar="FILE.json", help="the whole order; - for standard input")
    parser.add_argument("--source", help="where it came from (command line)")
    parser.add_argument("--reference", help="its number there")
    parser.add_argument("--name", dest="customer_name", help="of the customer")
    parser.add_argument("--email", dest="customer_email", help="of the customer")
    parser.add_argument("--card", dest="card_fingerprint", help="what tells the card from others; never its number")
    _address_arguments(parser)
    parser.add_argument("--currency", default="EUR", help="such as EUR, the default")
    parser.add_argument("--line", type=_line, action="append", metavar="SKU:QUANTITY:PRICE", help="may be repeated")
    parser.add_argument("--cancel-after", type=_seconds, metavar="SECONDS", help="then the customer cancels it")
    parser.add_argument("--watch", action="store_true", help="then follow it until it has ended")


def _address_arguments(parser: ArgumentParser, *, required: bool = False) -> None:
    for part in ("line1", "line2", "city", "region", "postal-code"):
        parser.add_argument(f"--{part}", help="of the address")
    parser.add_argument("--country", required=required, help="of the address, such as DE")


def _bulk_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("action", choices=Bulk.Action.values, help="what is done to each")
    parser.add_argument("names", nargs="+", metavar="ORDER", help="such as CS-104233, or an id")
    parser.add_argument("--as", dest="user", required=True, metavar="USER", help="who decides")
    parser.add_argument("--look", action="store_true", help="only say what it would do, and to which it cannot be done")
    parser.add_argument("--reason", default="", help="why; needed to extend, and to reject without a code")
    parser.add_argument("--code", default="", help="of a reason that the desk keeps, to reject")
    parser.add_argument("--by", type=_span, metavar="4h", help="how much time, to extend")
    parser.add_argument("--to", default="", metavar="USER", help="whose hands, to hand over")


def _seen_argument(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--version",
        dest="seen",
        type=int,
        help="which version of the order is meant, as --json tells it: refused where something has happened since",
    )


def _order_text(options: dict[str, Any]) -> bytes:
    """The order as JSON: what the file holds, or what the options say."""
    file: Path | None = options["file"]
    if file is None:
        return json.dumps(_from_options(options)).encode()
    given = [name for name in ("customer_name", "customer_email", "country", "line", "reference") if options[name]]
    if given:
        raise CommandError("Give the order in a file or in options, not in both.")
    try:
        with sys.stdin.buffer if str(file) == "-" else file.open("rb") as stream:
            return stream.read(cli.MOST_BYTES + 1)
    except OSError as problem:
        raise CommandError(f"{file} cannot be read ({problem.strerror}).") from None


def _from_options(options: dict[str, Any]) -> dict[str, Any]:
    named = ("source", "reference", "customer_name", "customer_email", "card_fingerprint", "currency")
    lines = []
    for index, (sku, quantity, price) in enumerate(options["line"] or []):
        try:
            minor = money.to_minor(price, options["currency"])
        except ValueError as wrong:
            raise placing.InvalidOrder({f"lines[{index}].unit_price": str(wrong)}) from None
        lines.append({"sku": sku, "quantity": quantity, "unit_price_minor": minor})
    return {name: options[name] for name in named if options[name] is not None} | {
        "address": {part: options[part] for part in cli.ADDRESS_PARTS if options[part] is not None},
        "lines": lines,
    }


def _statuses(order: Order) -> Iterator[str]:
    """The order's status now, and again whenever something has changed about it, or it has been quiet for a while.

    It listens before it looks.
    """
    with psycopg.connect(**live.connection_parameters(), autocommit=True) as listener:
        # raw SQL: listening is no query
        listener.execute(f"LISTEN {live.CHANNEL}")
        yield _status(order)
        while True:
            news = [note.payload for note in listener.notifies(timeout=LISTEN_CHECK_SECONDS, stop_after=1)]
            if not news:
                listener.execute("SELECT 1")  # a silent connection may be a dead one
            if not news or str(order.pk) in news:
                yield _status(order)


def _status(order: Order) -> str:
    return Order.objects.values_list("status", flat=True).get(pk=order.pk)


def _operator(name: str) -> actors.Actor:
    try:
        if wrong_with_text(name, 150):
            raise User.DoesNotExist
        return actors.Actor.operator(User.objects.get_by_natural_key(name))
    except User.DoesNotExist:
        raise CommandError(f"There is no user {cli.plain(name[:150])}: name one with --as.") from None


def _document(content: dict[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=False)


def _uuid(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError:
        raise ArgumentTypeError(f"must be an id, not {text[:40]!r}") from None


def _line(text: str) -> tuple[str, int, Decimal]:
    match = re.fullmatch(r"(.+):(-?\d{1,12}):(-?\d{1,12}(?:\.\d{1,4})?)", text, re.ASCII)
    if not match:
        raise ArgumentTypeError(f"must be SKU:QUANTITY:PRICE, such as LAMP:2:19.90, not {text!r}")
    return match[1], int(match[2]), Decimal(match[3])


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not 0 <= seconds <= 86_400:
        raise ArgumentTypeError(f"must be a number of seconds from 0 to 86400, not {text!r}")
    return seconds


def _span(text: str) -> timedelta:
    match = re.fullmatch(r"(\d{1,6})([smhd])", text, re.ASCII)
    if not match:
        raise ArgumentTypeError(f"must be a span such as 45s, 30m, 4h or 2d, not {text!r}")
    return int(match[1]) * {"s": 1, "m": 60, "h": 3_600, "d": 86_400}[match[2]] * timedelta(seconds=1)


def _amount(text: str) -> Decimal:
    if not re.fullmatch(r"-?\d{1,15}(?:\.\d{1,4})?", text, re.ASCII):
        raise ArgumentTypeError(f"must be an amount such as 12.50, not {text!r}")
    return Decimal(text)
