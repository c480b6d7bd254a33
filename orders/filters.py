"""What a list of orders shows, and in which order: one description for the queue, all orders, saved views and
whatever acts on "all that match". It is read from the URL and written to it. Nothing here asks the database.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from urllib.parse import urlencode

from django import forms
from django.http import QueryDict

from orders import money, wording
from orders.states import NEEDS_ATTENTION, WAITS_FOR_PEOPLE, Status

ATTENTION = "attention"  # of a status: any that needs help
OVERDUE = "overdue"
ME, NOBODY = "me", "nobody"  # of whose claim it is; anything else is a user's name
LEADS, CUSTOMER = "leads", "customer"

MOST_AMOUNT = 10**13  # no order's total is larger

WITHIN: dict[str, timedelta] = {
    "1h": timedelta(hours=1),
    "4h": timedelta(hours=4),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
    "90d": timedelta(days=90),
}


class Sort(StrEnum):
    DEADLINE = "deadline"  # the next first
    AMOUNT = "amount"  # the largest first, each in its own currency
    RISK = "risk"  # the highest first
    AGE = "age"  # the oldest first
    NEWEST = "newest"


QUEUE_SORTS = (Sort.DEADLINE, Sort.AMOUNT, Sort.RISK, Sort.AGE, Sort.NEWEST)
ORDERS_SORTS = (Sort.NEWEST, Sort.AGE, Sort.AMOUNT, Sort.RISK, Sort.DEADLINE)


class BadFilter(ValueError):
    """The URL asks for what cannot be. `errors` says of each field, by its name there, what is wrong."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{name}: {wrong}" for name, wrong in errors.items()))
        self.errors = dict(errors)


@dataclass(frozen=True)
class Filter:
    """Each field as it stands in the URL, where it has the same name; what is empty leaves all in.

    Amounts are in each order's own currency, as the rules compare them. Without `sort` a list has its own.
    """

    q: str = ""
    status: str = ""  # a Status, or ATTENTION
    reason: str = ""
    amount_from: Decimal | None = None
    amount_to: Decimal | None = None
    risk_from: float | None = None  # 0 to 1
    sku: str = ""
    country: str = ""  # ISO 3166-1 alpha-2
    placed: str = ""  # a key of WITHIN
    due: str = ""  # a key of WITHIN, or OVERDUE
    assignee: str = ""  # whose claim it is: ME, NOBODY, or a user's name
    customer: str = ""  # an e-mail address, or the beginning of a name
    asked: str = ""  # LEADS, or CUSTOMER
    sort: Sort | None = None

    @property
    def narrows(self) -> bool:
        """Whether it leaves anything out."""
        return any(self._value(name) for name in NARROWING)

    @property
    def is_of_orders(self) -> bool:
        """Whether it asks, besides the status, for what only the order itself tells."""
        return any(self._value(name) for name in OF_ORDERS)

    @property
    def is_of_open_reviews(self) -> bool:
        """Whether it asks for what only an order has that waits for people."""
        return bool(self.due or self.asked or self.assignee)

    @property
    def statuses(self) -> frozenset[Status]:
        """Those that are wanted; empty is any."""
        if self.status == ATTENTION:
            return NEEDS_ATTENTION
        return frozenset({Status(self.status)} if self.status else ())

    def params(self, *, without: Iterable[str] = ()) -> dict[str, str]:
        """As the URL has it, in one fixed order."""
        return {name: self._value(name) for name in NAMES if name not in without and self._value(name)}

    def query(self, *, without: Iterable[str] = ()) -> str:
        """The URL's part after the question mark; the same for equal filters."""
        return urlencode(self.params(without=without))

    def _value(self, name: str) -> str:
        value = getattr(self, name)
        if value is None:
            return ""
        return f"{value:f}" if isinstance(value, Decimal) else str(value)

    def chips(self) -> Iterator["Chip"]:
        """What is set, each in words with the filter that has it no longer."""
        for name, value in self.params(without={"sort"}).items():
            yield Chip(name, LABELS[name], _in_words(name, value), self.query(without={name}))


ALL = Filter()
NAMES = tuple(field.name for field in fields(Filter))
OF_ORDERS = ("q", "amount_from", "amount_to", "sku", "country", "placed", "customer")
NARROWING = tuple(name for name in NAMES if name != "sort")


@dataclass(frozen=True)
class Chip:
    name: str
    label: str
    words: str
    without: str  # the URL's part after the question mark once this is removed


LABELS: dict[str, str] = {
    "q": "Text",
    "status": "Status",
    "reason": "Reason",
    "amount_from": "Amount from",
    "amount_to": "Amount up to",
    "risk_from": "Risk from",
    "sku": "Product",
    "country": "Country",
    "placed": "Placed",
    "due": "Deadline",
    "assignee": "Claimed by",
    "customer": "Customer",
    "asked": "Who is asked",
    "sort": "Sort",
}

STATUSES = {ATTENTION: "Needs help", **{status.value: wording.STATUS_WORDS[status] for status in Status}}
WAITING_STATUSES = {name: STATUSES[name] for name in (ATTENTION, *sorted(WAITS_FOR_PEOPLE))}
SPANS = {"1h": "hour", "4h": "4 hours", "24h": "24 hours", "7d": "7 days", "30d": "30 days", "90d": "90 days"}
PLACED = {key: f"In the last {words}" for key, words in SPANS.items()}
DUE = {OVERDUE: "Overdue"} | {key: f"Within the {'next ' if key == '1h' else ''}{SPANS[key]}" for key in SPANS}
ASKED = {LEADS: "Leads only", CUSTOMER: "The customer, or put off"}
SORTS: dict[str, str] = {
    Sort.DEADLINE: "Next deadline",
    Sort.AMOUNT: "Largest amount",
    Sort.RISK: "Highest risk",
    Sort.AGE: "Oldest",
    Sort.NEWEST: "Newest",
}


# Views that everybody has, besides what people save: name and query.
STANDING_VIEWS = (
    ("Mine", "assignee=me"),
    ("Overdue", "due=overdue"),
    ("Escalated", "asked=leads"),
    ("Needs help", "status=attention"),
    ("Waiting for the customer", "asked=customer"),
)


def _in_words(name: str, value: str) -> str:
    words: dict[str, Mapping[str, str]] = {
        "status": STATUSES,
        "reason": wording.REASON_WORDS,
        "placed": PLACED,
        "due": DUE,
        "asked": ASKED,
        "assignee": {ME: "Me", NOBODY: "Nobody"},
    }
    if name == "country":
        return money.country_name(value)
    return words.get(name, {}).get(value, value)


def _choice(name: str, choices: Mapping[str, str], none: str) -> forms.ChoiceField:
    return forms.ChoiceField(
        label=LABELS[name],
        choices=[("", none), *choices.items()],
        required=False,
        error_messages={"invalid_choice": f"There is no such {name}."},
    )


def _text(name: str, most: int, hint: str = "") -> forms.CharField:
    return forms.CharField(
        label=LABELS[name],
        max_length=most,
        required=False,
        widget=forms.TextInput(attrs={"placeholder": hint} if hint else {}),
        error_messages={
            "max_length": f"Keep it under {most + 1} characters.",
            "null_characters_not_allowed": "Take out the character that cannot be shown.",
        },
    )


def _amount(name: str) -> forms.DecimalField:
    return forms.DecimalField(
        label=LABELS[name],
        required=False,
        min_value=0,
        max_value=MOST_AMOUNT,
        max_digits=18,
        decimal_places=4,
        widget=forms.TextInput(attrs={"inputmode": "decimal"}),
        error_messages={
            "invalid": "Enter the amount as a number, such as 1250 or 12.50.",
            "min_value": "Enter an amount of 0 or more.",
            "max_value": "No order is as large.",
            "max_digits": "The amount is too long.",
            "max_whole_digits": "No order is as large.",
            "max_decimal_places": "No currency has as many decimals.",
        },
    )


class FilterForm(forms.Form):
    """The filter as people see it and set it. `wanted` is what they set, once it is valid."""

    q = forms.CharField(
        label=LABELS["q"],
        max_length=100,
        required=False,
        error_messages={
            "max_length": "Search for fewer than 100 characters.",
            "null_characters_not_allowed": "Take out the character that cannot be shown.",
        },
    )
    status = _choice("status", STATUSES, "Any")
    reason = _choice("reason", wording.REASON_WORDS, "Any")
    amount_from = _amount("amount_from")
    amount_to = _amount("amount_to")
    risk_from = forms.FloatField(
        label=LABELS["risk_from"],
        required=False,
        min_value=0,
        max_value=1,
        widget=forms.TextInput(attrs={"inputmode": "decimal", "placeholder": "0 to 1"}),
        error_messages=dict.fromkeys(("invalid", "min_value", "max_value"), "Enter a number from 0 to 1, such as 0.8."),
    )
    sku = _text("sku", 40, "SKU")
    country = _text("country", 60, "Code or name")
    placed = _choice("placed", PLACED, "Any time")
    due = _choice("due", DUE, "Any")
    assignee = _text("assignee", 150, "me, nobody or a name")
    customer = _text("customer", 200, "E-mail address or name")
    asked = _choice("asked", ASKED, "Anybody")
    sort = _choice("sort", SORTS, "Any")

    def __init__(self, data: QueryDict | Mapping[str, str], *, sorts: tuple[Sort, ...] = QUEUE_SORTS) -> None:
        super().__init__(data, auto_id="filter-%s")
        if sorts is QUEUE_SORTS:  # of what can never be there, nothing needs to be offered
            self.fields["status"].widget.choices = [("", "Any"), *WAITING_STATUSES.items()]
        self.fields["sort"].choices = [(sort.value, SORTS[sort]) for sort in sorts]  # type: ignore[attr-defined]

    @property
    def panel(self) -> list[forms.BoundField]:
        """The fields beside the search and the sort."""
        return [self[name] for name in NARROWING if name != "q"]

    @property
    def panel_is_wrong(self) -> bool:
        return any(field.errors for field in self.panel)

    def clean_country(self) -> str:
        typed: str = self.cleaned_data["country"]
        code = money.country_code(typed) if typed else ""
        if typed and not code:
            raise forms.ValidationError("There is no such country.")
        return code

    def clean_risk_from(self) -> float | None:
        risk: float | None = self.cleaned_data["risk_from"]
        return risk or None

    def clean(self) -> None:
        least, most = self.cleaned_data.get("amount_from"), self.cleaned_data.get("amount_to")
        if least is not None and most is not None and least > most:
            self.add_error("amount_to", "Enter at least the amount that it starts from.")

    @property
    def wanted(self) -> Filter:
        cleaned = self.cleaned_data
        return Filter(**cleaned | {"sort": Sort(cleaned["sort"]) if cleaned["sort"] else None})


def parse(data: QueryDict | Mapping[str, str], *, sorts: tuple[Sort, ...] = QUEUE_SORTS) -> Filter:
    """Read the filter from a URL's parameters; others that are there are left alone.

    Raises BadFilter, which names each bad field.
    """
    form = FilterForm(data, sorts=sorts)
    if not form.is_valid():
        raise BadFilter({name: str(errors[0]) for name, errors in form.errors.items()})
    return form.wanted
