"""`manage.py order place|show|watch|approve|reject|extend|ask|snooze|resume|retry|address|cancel|refund`."""

import io
import json
import re
import signal
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.utils import timezone
from pytest_django import Settings

from orders import cli
from orders.management.commands import order as command
from orders.models import Order, Outbox, Product
from orders.services import actors, fulfilling, paying, reviewing, undoing
from orders.services.placing import NewLine
from tests.conftest import PlaceOrder
from tests.orders.processes import started
from tests.orders.test_refunding import completed

OF_TWO_LAMPS = ["--name", "Ann Lee", "--country", "DE", "--line", "LAMP:2:19.90"]


def run(*words: str) -> str:
    out = io.StringIO()
    call_command("order", *words, stdout=out, stderr=io.StringIO())
    return out.getvalue()


def answer(*words: str) -> Any:
    return json.loads(run(*words, "--json"))


def document(**changes: Any) -> dict[str, Any]:
    return {
        "customer_name": "Ann Lee",
        "address": {"country": "DE", "city": "Berlin"},
        "currency": "EUR",
        "lines": [{"sku": "LAMP", "quantity": 2, "unit_price_minor": 1990}],
    } | changes


def file_of(folder: Path, content: object) -> str:
    path = folder / "order.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return str(path)


def test_it_places_an_order_from_options(goods: dict[str, Product]) -> None:
    told = answer("place", *OF_TWO_LAMPS, "--line", "RUG:1:5", "--city", "Berlin", "--reference", "R-1")

    order = Order.objects.get(number=told["order"])
    assert told["status"] == "placed"
    assert (order.total_minor, order.currency, order.source, order.reference) == (4480, "EUR", "command line", "R-1")
    assert (order.customer_name, order.address_city, order.address_country) == ("Ann Lee", "Berlin", "DE")
    assert Outbox.objects.get(order=order).message == "start"


def test_it_places_an_order_from_a_file(goods: dict[str, Product], tmp_path: Path) -> None:
    content = document(source="shop", decide_within=90, placed_at="2026-03-04T12:30:00Z")

    said = run("place", "--file", file_of(tmp_path, content))

    order = Order.objects.get()
    assert said == f"{order.number} is received.\n"
    assert order.placed_at.isoformat() == "2026-03-04T12:30:00+00:00"
    assert order.decide_within is not None
    assert order.decide_within.total_seconds() == 90


def test_it_places_an_order_from_standard_input(goods: dict[str, Product], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(json.dumps(document()).encode())))

    run("place", "--file", "-")

    assert Order.objects.get().total_minor == 3980


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"{", "order: is not JSON"),
        (b"\xff\xfe\xfd", "order: is not JSON"),
        (b"[" * 100_000, "order: is not JSON"),
        (b"[]", "order: must be one JSON object"),
        (b" " * 10_000_000, "order: has more than 1,000,000 bytes"),
        ({}, "customer_name: is missing"),
        (document(lines=[]), "lines: are missing"),
        (document(lines={}), "lines: must be a list"),
        (document(lines=["LAMP"]), "lines[0].sku: is missing"),
        (document(lines=[{"sku": "LAMP", "quantity": "2", "unit_price_minor": 1}]), "lines[0].quantity: must be a who"),
        (document(lines=[{"sku": "LAMP", "quantity": True, "unit_price_minor": 1}]), "lines[0].quantity: must be a wh"),
        (document(lines=[{"sku": "LAMP", "quantity": 0, "unit_price_minor": 1}]), "lines[0].quantity: must be 1 or"),
        (document(lines=[{"sku": "LAMP", "quantity": 1, "unit_price_minor": -1}]), "lines[0].unit_price: must not"),
        (document(lines=[{"sku": "NONE", "quantity": 1, "unit_price_minor": 1}]), "lines: unknown product NONE"),
        (document(address={"city": "Berlin"}), "address.country: is missing"),
        (document(address=None), "address.country: is missing"),
        (document(customer_name="Ann\0Lee"), "customer_name: contains a control character"),
        (document(customer_name="\ud800"), "customer_name: is not valid text"),
        (document(currency="ABC"), "currency: is not an ISO 4217"),
        (document(decide_within=0), "decide_within: must be longer than nothing"),
        (document(decide_within=10**30), "decide_within: is too large"),
        (document(placed_at="yesterday"), "placed_at: is not an instant"),
        (document(placed_at="2026-03-04T12:30:00"), "placed_at: names no time zone"),
        (document(lines=[{"sku": "LAMP", "quantity": 1, "unit_price_minor": 1}] * 1_001), "lines: are more than 1,000"),
        (document(lines=[{"sku": "LAMP", "quantity": 9, "unit_price_minor": 10**15}]), "total: is too large"),
        (
            document(lines=[{"sku": "LAMP", "quantity": 1e400, "unit_price_minor": 1}]),
            "lines[0].quantity: must be a wh",
        ),
        (document(address={"country": "DE", "city": "Ber\nlin"}), "address.city: contains a control character"),
        (document(decide_within=-60), "decide_within: must be longer than nothing"),
        (document(**{"\ud800": 1}), "?: is not a field of an order"),
        (document(card="4111"), "card: is not a field of an order"),
    ],
)
def test_it_refuses_a_bad_order_by_the_name_of_its_field_and_leaves_nothing(
    goods: dict[str, Product], tmp_path: Path, content: object, told: str
) -> None:
    with pytest.raises(CommandError) as refusal:
        run("place", "--file", file_of(tmp_path, content))

    assert f"The order was not placed: {told}" in str(refusal.value)
    assert refusal.value.returncode == 1
    assert not Order.objects.exists()
    assert not Outbox.objects.exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--line", "LAMP"], "--line: must be SKU:QUANTITY:PRICE"),
        (["--line", "LAMP:1:1e99"], "--line: must be SKU:QUANTITY:PRICE"),
        ([*OF_TWO_LAMPS, "--line", "LAMP:1:1.999"], "lines[1].unit_price: 1.999 has more decimals than EUR knows"),
        ([*OF_TWO_LAMPS, "--cancel-after", "soon"], "--cancel-after: must be a number of seconds"),
        ([*OF_TWO_LAMPS, "--file", "order.json"], "in a file or in options, not in both"),
        (["--file", "/nowhere/order.json"], "/nowhere/order.json cannot be read (No such file or directory)"),
        ([], "customer_name: is missing"),
    ],
)
def test_it_refuses_options_that_make_no_order(goods: dict[str, Product], words: list[str], told: str) -> None:
    with pytest.raises(CommandError) as refusal:
        run("place", *words)

    assert told in str(refusal.value)
    assert not Order.objects.exists()


@pytest.mark.parametrize("name", ["\u0645\u0631\u064a\u0645", "\U0001f469\u200d\U0001f680 Ripley", "O'Brien; --"])
def test_every_name_that_people_have_is_stored_exactly(goods: dict[str, Product], name: str) -> None:
    run("place", "--name", name, *OF_TWO_LAMPS[2:])

    assert Order.objects.get().customer_name == name


def test_a_reference_is_placed_once(goods: dict[str, Product]) -> None:
    run("place", *OF_TWO_LAMPS, "--reference", "R-1")

    with pytest.raises(CommandError, match="has already sent R-1: it is CS-"):
        run("place", *OF_TWO_LAMPS, "--reference", "R-1")


def test_the_customer_cancels_what_was_placed(goods: dict[str, Product]) -> None:
    told = answer("place", *OF_TWO_LAMPS, "--cancel-after", "0")

    order = Order.objects.get(number=told["order"])
    assert (told["status"], told["has_ended"]) == ("cancelled", True)
    assert order.events.get(type="cancel").actor_kind == "customer"


@pytest.mark.django_db(transaction=True)
def test_what_was_placed_and_cancelled_is_followed_to_its_end(goods: dict[str, Product]) -> None:
    said = run("place", *OF_TWO_LAMPS, "--cancel-after", "0", "--watch", "--json")

    assert [json.loads(line)["type"] for line in said.splitlines()] == ["place", "cancel"]


def test_what_has_arrived_before_the_customer_cancels_stays(
    goods: dict[str, Product], monkeypatch: pytest.MonkeyPatch
) -> None:
    def arrive(_: float) -> None:
        completed(Order.objects.get())

    monkeypatch.setattr("time.sleep", arrive)

    with pytest.raises(CommandError, match=r"An order that is completed can no longer be cancelled\."):
        run("place", *OF_TWO_LAMPS, "--cancel-after", "60")


def test_it_shows_what_the_order_page_shows(order_in_review: Order, alice: User) -> None:
    run("approve", order_in_review.number, "--as", "alice")
    for step in (fulfilling.reserve_stock, paying.begin_charge):
        step(order_id=order_in_review.pk, at=timezone.now())
    paying.record_charge(order_id=order_in_review.pk, reference="ch_1", declined="", at=timezone.now())

    said = run("show", order_in_review.number)

    for told in (
        f"{order_in_review.number}  Paid  €1,200.00\n",
        "Step      Package: Asking for the package.\n",
        "Review    Approved by alice",
        "Customer  Ann Lee, ann.lee@example.com\n",
        "Ship to   Lindenstr. 4, 10969 Berlin, Germany\n",
        "Line      2 x €600.00  LAMP  Brass desk lamp\n",
        "Payment   Charge €1,200.00, charged  ch_1\n",
        "  Approved by alice\n",
        "  Card charged  €1,200.00 · reference ch_1\n",
    ):
        assert told in said


def test_it_shows_the_deadline_while_it_waits(order_in_review: Order) -> None:
    said = run("show", str(order_in_review.pk))

    assert "Step      Review: Waiting for a decision.\n" in said
    assert "Deadline  " in said
    assert "(23 h 59 min)" in said


def test_what_it_shows_in_json_is_one_document(order_in_review: Order) -> None:
    told = answer("show", order_in_review.number.lower())

    assert (told["order"], told["status"], told["status_words"]) == (order_in_review.number, "in_review", "In review")
    assert told["id"] == str(order_in_review.pk)
    assert (told["step"], told["has_ended"]) == ("Review", False)
    assert told["review"]["due_at"] > told["review"]["opened_at"]
    assert told["lines"][0] == {
        "sku": "LAMP",
        "product": "Brass desk lamp",
        "quantity": 2,
        "unit_price_minor": 60_000,
        "total_minor": 120_000,
    }
    assert [event["type"] for event in told["timeline"]] == ["place", "receive", "validate", "open_review"]
    assert [event["sequence"] for event in told["timeline"]] == [1, 2, 3, 4]


def test_nothing_in_an_order_reaches_the_terminal_as_a_command(order_in_review: Order, alice: User) -> None:
    run("reject", order_in_review.number, "--as", "alice", "--reason", "first\nsecond\tthird")

    said = run("show", order_in_review.number)

    assert "“first second third”" in said
    assert all(character.isprintable() or character in "\n\xa0" for character in said)


WHY = ["--as", "alice", "--reason", "x"]
DECISIONS = {
    "approve": ["--as", "alice"],
    "reject": WHY,
    "extend": [*WHY, "--by", "4h"],
    "retry": ["--as", "alice"],
    "ask": ["--as", "alice", "--question", "Which flat?", "--for", "4h"],
    "snooze": [*WHY, "--for", "4h"],
    "resume": ["--as", "alice"],
    "address": ["--as", "alice", "--country", "FR"],
    "cancel": ["--as", "alice"],
    "refund": [*WHY, "--amount", "12.50"],
}


@pytest.mark.parametrize("verb", ["show", "watch", *DECISIONS])
@pytest.mark.parametrize("name", ["CS-1", "nonsense", "00000000-0000-0000-0000-000000000000"])
def test_an_order_that_is_not_there_is_said_so(alice: User, verb: str, name: str) -> None:
    with pytest.raises(CommandError, match=f"There is no order {name}. Name it by its number"):
        run(verb, name, *DECISIONS.get(verb, []))


@pytest.mark.parametrize("name", ["\udcff", "CS-\x00", "CS-1\x1b[2J", "C" * 10_000])
def test_a_name_that_is_no_text_finds_nobody(order_in_review: Order, name: str) -> None:
    with pytest.raises(CommandError, match="There is no order") as refusal:
        run("show", name)
    with pytest.raises(CommandError, match="There is no user"):
        run("approve", order_in_review.number, "--as", name)

    assert str(refusal.value).isprintable()
    assert len(str(refusal.value)) < 150


def test_an_operator_approves(order_in_review: Order, alice: User) -> None:
    assert run("approve", order_in_review.number, "--as", "alice") == f"{order_in_review.number} is approved.\n"

    assert order_in_review.events.get(type="approve").actor == "alice"


def test_an_operator_rejects_with_a_reason(order_in_review: Order, alice: User) -> None:
    told = answer("reject", order_in_review.number, "--as", "alice", "--reason", "A resale.")

    assert (told["status"], told["outcome"]) == ("rejected", "Rejected: A resale.")


def test_a_lead_gives_more_time(order_in_review: Order, lead: User) -> None:
    due_at = order_in_review.reviews.get().due_at + timedelta(hours=4)

    told = answer("extend", order_in_review.number, "--as", "dana", "--by", "4h", "--reason", "She calls back")

    assert order_in_review.reviews.get().due_at == due_at
    assert (told["status"], datetime.fromisoformat(told["due_at"])) == ("in_review", due_at)


def test_it_says_until_when_there_is_time_now(order_in_review: Order, lead: User) -> None:
    said = run("extend", order_in_review.number, "--as", "dana", "--by", "2d", "--reason", "She calls back")

    assert said.startswith(f"{order_in_review.number} waits until ")


@pytest.mark.parametrize("span", ["soon", "-4h", "0h", "4", "1.5h", "9999999h", "400d"])
def test_time_that_is_none_is_refused(order_in_review: Order, lead: User, span: str) -> None:
    before = order_in_review.reviews.get().due_at

    with pytest.raises(CommandError):
        run("extend", order_in_review.number, "--as", "dana", f"--by={span}", "--reason", "x")

    assert order_in_review.reviews.get().due_at == before


def test_it_asks_the_customer_puts_off_and_takes_back(order_in_review: Order, alice: User, settings: Settings) -> None:
    settings.CUSTOMERS_GET_MAIL, settings.DESK_URL = True, "https://desk.example"
    number = order_in_review.number

    asked = answer("ask", number, "--as", "alice", "--question", "Which flat?", "--for", "4h")
    shown = run("show", number)
    run("resume", number, "--as", "alice")
    said = run("snooze", number, "--as", "alice", "--reason", "She calls back", "--for", "30m")

    assert datetime.fromisoformat(asked["put_off_until"]) > datetime.fromisoformat(asked["status_at"])
    assert re.search(r"^Put off   until .*: Which flat\?$", shown, re.MULTILINE)
    assert said.startswith(f"{number} is out of the queue until ")
    told = [event.type for event in order_in_review.events.order_by("sequence")]
    assert told[-3:] == ["ask", "resume", "snooze"]
    assert order_in_review.mails.get(kind="question").body.count("Which flat?") == 1


def test_longer_than_the_deadline_it_does_not_wait(order_in_review: Order, alice: User) -> None:
    with pytest.raises(CommandError, match="until its deadline at the latest"):
        run("snooze", order_in_review.number, "--as", "alice", "--reason", "x", "--for", "2d")


TO_PARIS = ["--line1", "5 rue Cler", "--postal-code", "75007", "--city", "Paris", "--country", "FR"]


def test_an_operator_changes_where_it_goes(order_in_review: Order, alice: User) -> None:
    number = order_in_review.number

    said = run("address", number, "--as", "alice", *TO_PARIS)
    again = answer("address", number, "--as", "alice", *TO_PARIS)

    assert said == f"{number} goes to 5 rue Cler, 75007 Paris, France.\n"
    assert (again["order"], again["changed"]) == (number, False)
    assert order_in_review.events.filter(type="change_address").count() == 1
    assert run("address", number, "--as", "alice", *TO_PARIS).startswith(f"{number} goes already to 5 rue Cler")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--country", "XX"], "address.country: is not an ISO 3166 country code"),
        ([*TO_PARIS, "--city", "a\x00b"], "address.city: contains a control character"),
        ([*TO_PARIS, "--city", "\udcff"], "address.city: is not valid text"),
        ([*TO_PARIS, "--line1", "l" * 201], "address.line1: is longer than 200 characters"),
    ],
)
def test_an_address_that_is_none_is_refused(order_in_review: Order, alice: User, words: list[str], told: str) -> None:
    with pytest.raises(CommandError, match=f"The address was not changed: {told}"):
        run("address", order_in_review.number, "--as", "alice", *words)

    order_in_review.refresh_from_db()
    assert order_in_review.address_city == "Berlin"


def test_an_operator_refunds(place: PlaceOrder, alice: User) -> None:
    order = completed(place(lines=[NewLine("LAMP", 1, 20_000)]))

    told = answer("refund", order.number, "--as", "alice", "--amount", "12.50", "--reason", "It came late")

    assert (told["order"], told["refund"]["amount_minor"], told["refund"]["status"]) == (
        order.number,
        1_250,
        "processing",
    )
    assert order.events.get(type="refund_requested").payload["note"] == "It came late"


def test_a_refund_with_its_number_is_granted_once(place: PlaceOrder, alice: User) -> None:
    order = completed(place(lines=[NewLine("LAMP", 1, 20_000)]))
    words = ["refund", order.number, "--as", "alice", "--amount", "12.50", "--reason", "Late", "--number", "1"]

    assert run(*words) == f"€12.50 of {order.number} is being refunded.\n"
    with pytest.raises(CommandError, match=r"€12\.50 has been refunded since"):
        run(*words)

    assert order.payments.filter(kind="refund").count() == 1


@pytest.mark.parametrize(
    ("amount", "told"),
    [
        ("0", "more than zero"),
        ("-5", "more than zero"),
        ("1.005", "more decimals than EUR knows"),
        ("200.01", "Only €200.00 is left"),
        ("NaN", "must be an amount such as 12.50"),
        ("1e400", "must be an amount such as 12.50"),
    ],
)
def test_an_amount_that_is_none_refunds_nothing(place: PlaceOrder, alice: User, amount: str, told: str) -> None:
    order = completed(place(lines=[NewLine("LAMP", 1, 20_000)]))

    with pytest.raises(CommandError, match=told):
        run("refund", order.number, "--as", "alice", f"--amount={amount}", "--reason", "Late")

    assert not order.payments.filter(kind="refund").exists()


@pytest.mark.parametrize("reason", ["", "  ", "a\x00b", "\udcff", "x" * 2_001])
@pytest.mark.parametrize("verb", ["reject", "extend"])
def test_a_reason_that_is_none_changes_nothing(order_in_review: Order, lead: User, verb: str, reason: str) -> None:
    words = ["--by", "4h"] if verb == "extend" else []

    with pytest.raises(CommandError, match=r"[Rr]eason"):
        run(verb, order_in_review.number, "--as", "dana", f"--reason={reason}", *words)

    order_in_review.refresh_from_db()
    assert order_in_review.version == 4


def test_an_operator_lets_an_order_try_again(short_order: Order, alice: User) -> None:
    told = answer("retry", short_order.number, "--as", "alice", "--note", "Restocked")

    assert told["status"] == "approved"
    event = short_order.events.get(type="retry")
    assert (event.actor, event.payload["note"]) == ("alice", "Restocked")
    with pytest.raises(CommandError, match="Already retried by alice"):
        run("retry", short_order.number, "--as", "alice")


def test_an_operator_cancels(order_in_review: Order, alice: User) -> None:
    told = answer("cancel", order_in_review.number, "--as", "alice", "--reason", "A wish.")

    assert (told["status"], told["outcome"]) == ("cancelled", "Cancelled: A wish.")


@pytest.mark.parametrize("verb", DECISIONS)
def test_who_may_not_decide_is_refused(order_in_review: Order, viewer: User, verb: str) -> None:
    doing = "change the address of" if verb == "address" else verb
    with pytest.raises(CommandError, match=f"vera may not {doing} an order."):
        run(verb, order_in_review.number, *DECISIONS[verb], "--as", "vera")

    order_in_review.refresh_from_db()
    assert order_in_review.status == "in_review"


def test_nobody_by_that_name_is_refused(order_in_review: Order) -> None:
    with pytest.raises(CommandError, match="There is no user mallory"):
        run("approve", order_in_review.number, "--as", "mallory")


def test_a_second_decision_is_told_who_was_first(order_in_review: Order, alice: User, bob: User) -> None:
    run("approve", order_in_review.number, "--as", "alice")

    with pytest.raises(CommandError, match=r"Already approved by alice\."):
        run("reject", order_in_review.number, "--as", "bob", "--reason", "x")


@pytest.mark.django_db(transaction=True)
def test_it_watches_an_order_to_its_end(order_in_review: Order, as_alice: actors.Actor) -> None:
    number = order_in_review.number
    with started("order", "watch", number, "--json") as process:
        assert process.stdout
        seen = [json.loads(process.stdout.readline()) for _ in range(4)]
        assert seen[-1]["type"] == "open_review"

        undoing.cancel(order_id=order_in_review.pk, actor=as_alice, at=timezone.now(), reason="")

        rest = [json.loads(line) for line in process.stdout]
        assert [(event["order"], event["type"], event["status"]) for event in rest] == [(number, "cancel", "cancelled")]
        assert process.wait() == 0


@pytest.mark.django_db(transaction=True)
def test_what_happens_between_two_looks_is_told_in_order(
    order_in_review: Order, as_alice: actors.Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def statuses(order: Order) -> Iterator[str]:
        yield "in_review"
        reviewing.approve(order_id=order.pk, actor=as_alice, at=timezone.now())
        undoing.cancel(order_id=order.pk, actor=as_alice, at=timezone.now(), reason="")
        yield "cancelled"

    monkeypatch.setattr(command, "_statuses", statuses)

    events = [json.loads(line) for line in run("watch", order_in_review.number, "--json").splitlines()]

    assert [event["sequence"] for event in events] == [1, 2, 3, 4, 5, 6]


@pytest.mark.django_db(transaction=True)
def test_it_leaves_quietly_when_asked_to(order_in_review: Order) -> None:
    with started("order", "watch", order_in_review.number) as process:
        assert process.stdout
        for _ in range(4):
            process.stdout.readline()

        process.send_signal(signal.SIGINT)

        assert process.stdout.read() == "CommandError: Stopped; the order goes on.\n"
        assert process.wait() == 130


def test_its_help_shows_how_each_verb_is_used(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        call_command("order", "--help")

    told = capsys.readouterr().out
    assert left.value.code == 0
    for verb in ("place", "show", "watch", *DECISIONS):
        assert f"\n  order {verb} " in told


def test_an_ended_order_is_told_and_left(expired_order: Order) -> None:
    assert run("watch", expired_order.number).splitlines()[-1].endswith("Expired: nobody decided before the deadline")


@pytest.mark.django_db
def test_an_order_is_found_by_its_number_in_any_case_and_by_its_id(order_in_review: Order) -> None:
    for name in (order_in_review.number, order_in_review.number.lower(), str(order_in_review.pk)):
        assert cli.find(name) == order_in_review
