"""What people type, checked before a service sees it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import ClassVar

from django import forms
from django.http import QueryDict

from orders import money
from orders.services.addressing import wrong_with_new_address
from orders.services.placing import Address
from orders.services.texts import wrong_with_note
from orders.wording import ADDRESS_PARTS

MOST_SAID = 2_000


@dataclass(frozen=True)
class Refusal:
    """Why a decision was not carried out, what had been typed for it in which form, and which fields are wrong.

    `typed` is what is given back where the form is gone.
    """

    message: str
    typed: str
    form: str
    fields: Mapping[str, str]
    errors: Mapping[str, str]


def _sound(what: str, text: str) -> None:
    if wrong := wrong_with_note(text[:MOST_SAID]):  # that there is too much of it is said already
        raise forms.ValidationError(f"The {what} {wrong}.")


def _reason(required: str = "", *, what: str = "reason") -> forms.CharField:
    """Why; without words for its absence it may be left open."""
    return forms.CharField(
        max_length=MOST_SAID,
        required=bool(required),
        validators=[partial(_sound, what)],
        error_messages={"required": required, "max_length": f"Keep the {what} under 2,000 characters."},
    )


class RejectForm(forms.Form):
    """Why an order is rejected: one of the reasons that leads keep, and what there is to say besides."""

    code = forms.CharField(max_length=40, error_messages={"required": "Choose a reason."})
    reason = _reason()


class HandOverForm(forms.Form):
    """Whom an order is given to."""

    to = forms.CharField(max_length=150, error_messages={"required": "Choose a colleague."})


class CancelForm(forms.Form):
    """Why an order is cancelled, or taken over; it may be left open."""

    reason = _reason()


class RetryForm(forms.Form):
    """What was put right before an order tries again; it may be left open."""

    note = _reason(what="note")


class ExtendForm(forms.Form):
    """How much more time a review gets, counted from its deadline or, where that has passed, from now."""

    MINUTES = ((60, "1 hour"), (240, "4 hours"), (1_440, "1 day"), (4_320, "3 days"))

    minutes = forms.TypedChoiceField(
        choices=MINUTES,
        coerce=int,
        error_messages={"required": "Say how much time.", "invalid_choice": "Choose a time."},
    )
    reason = _reason("Give a reason: your colleagues will want to know why.")


class WaitForm(forms.Form):
    """Until when an order is put off, and whether its deadline moves on by as long."""

    DEADLINE = "deadline"
    TO_DEADLINE = "Until 15 minutes before the deadline"
    BEFORE_DEADLINE = timedelta(minutes=15)
    WAITS = (("60", "1 hour"), ("240", "4 hours"), ("1440", "1 day"), ("4320", "3 days"))

    wait = forms.ChoiceField(
        choices=(*WAITS, (DEADLINE, TO_DEADLINE)),
        error_messages={"required": "Say how long it waits.", "invalid_choice": "Choose how long it waits."},
    )
    extend = forms.BooleanField(required=False)

    @classmethod
    def waits(cls, *, left: timedelta, most: timedelta) -> list[tuple[str, str]]:
        """What to choose from where so much is left to the deadline, and that can move on by `most`."""
        waits = [(wait, words) for wait, words in cls.WAITS if timedelta(minutes=int(wait)) <= max(left, most)]
        return [*waits, (cls.DEADLINE, cls.TO_DEADLINE)] if left > 2 * cls.BEFORE_DEADLINE else waits

    @classmethod
    def usual(cls, left: timedelta) -> str:
        """A day, or what fits into half the time that is left."""
        return next((wait for wait in ("1440", "240") if timedelta(minutes=int(wait)) <= left / 2), "60")

    def times(self, *, due_at: datetime, at: datetime) -> tuple[datetime, datetime | None]:
        """Until when it waits, and its new deadline, where that moves."""
        wait = self.cleaned_data["wait"]
        if wait == self.DEADLINE:
            return due_at - self.BEFORE_DEADLINE, None
        more = timedelta(minutes=int(wait))
        return at + more, max(due_at, at) + more if self.cleaned_data["extend"] else None


class AskForm(WaitForm):
    """What the customer is asked."""

    question = _reason("Write your question: the customer gets it as it stands.", what="question")


class SnoozeForm(WaitForm):
    """Why an order is put off."""

    reason = _reason("Give a reason: your colleagues will want to know why.")


class AddressForm(forms.Form):
    """Where an order goes; what is wrong with that is the service's to say."""

    LABELS: ClassVar[dict[str, str]] = ADDRESS_PARTS

    line1 = forms.CharField(required=False)
    line2 = forms.CharField(required=False)
    postal_code = forms.CharField(required=False)
    city = forms.CharField(required=False)
    region = forms.CharField(required=False)
    country = forms.CharField(error_messages={"required": "Choose a country."})

    def clean(self) -> None:
        if self.errors:
            return
        for name, wrong in wrong_with_new_address(self.address_in(self.cleaned_data)).items():
            part = name.removeprefix("address.")
            self.add_error(part, "Choose a country." if part == "country" else f"{self.LABELS[part]} {wrong}.")

    @staticmethod
    def address_in(cleaned: Mapping[str, str]) -> Address:
        return Address(**{name: cleaned[name] for name in AddressForm.LABELS})


class RefundForm(forms.Form):
    """How much goes back, and why; `amount` is cleaned to minor units of the order's currency."""

    amount = forms.DecimalField(
        max_digits=15,
        error_messages={
            "required": "Enter an amount.",
            "invalid": "Enter the amount as a number, such as 12.50.",
            "max_digits": "The amount is too long.",
            "max_decimal_places": "The amount is too long.",
            "max_whole_digits": "The amount is too long.",
        },
    )
    reason = _reason("Give a reason: the customer and your colleagues will want to know why.")
    number = forms.IntegerField(min_value=1, required=False)

    def __init__(self, data: QueryDict, *, currency: str) -> None:
        super().__init__(data)
        self._currency = currency

    def clean_amount(self) -> int:
        amount: Decimal = self.cleaned_data["amount"]
        try:
            return money.to_minor(amount, self._currency)
        except ValueError:
            raise forms.ValidationError(f"{amount} has more decimals than {self._currency} has.") from None


class NoteForm(forms.Form):
    """What a colleague writes on an order; `note` is the one that is worded anew."""

    text = forms.CharField(
        max_length=MOST_SAID,
        validators=[partial(_sound, "note")],
        error_messages={"required": "Write something first.", "max_length": "Keep the note under 2,000 characters."},
    )
    note = forms.IntegerField(min_value=1, max_value=2**62, required=False, widget=forms.HiddenInput)
