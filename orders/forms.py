"""What people type, checked before a service sees it."""

from decimal import Decimal

from django import forms
from django.http import QueryDict

from orders import money
from orders.states import Status
from orders.wording import STATUS_WORDS


class ReasonForm(forms.Form):
    """Why an order is rejected."""

    reason = forms.CharField(
        max_length=2_000,
        error_messages={
            "required": "Give a reason: the customer and your colleagues will want to know why.",
            "max_length": "Keep the reason under 2,000 characters.",
        },
    )


class CancelForm(forms.Form):
    """Why an order is cancelled; it may be left open."""

    reason = forms.CharField(
        max_length=2_000,
        required=False,
        error_messages={"max_length": "Keep the reason under 2,000 characters."},
    )


class ExtendForm(forms.Form):
    """How much more time a review gets, counted from its deadline or, where that has passed, from now."""

    MINUTES = ((60, "1 hour"), (240, "4 hours"), (1_440, "1 day"), (4_320, "3 days"))

    minutes = forms.TypedChoiceField(
        choices=MINUTES,
        coerce=int,
        error_messages={"required": "Say how much time.", "invalid_choice": "Choose a time."},
    )
    reason = forms.CharField(
        max_length=2_000,
        error_messages={
            "required": "Give a reason: your colleagues will want to know why.",
            "max_length": "Keep the reason under 2,000 characters.",
        },
    )


class RefundForm(forms.Form):
    """How much goes back, and why; `amount_minor` is the amount in minor units of the order's currency."""

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
    reason = forms.CharField(
        max_length=2_000,
        error_messages={
            "required": "Give a reason: the customer and your colleagues will want to know why.",
            "max_length": "Keep the reason under 2,000 characters.",
        },
    )
    number = forms.IntegerField(min_value=1, required=False)

    def __init__(self, data: QueryDict, *, currency: str) -> None:
        super().__init__(data)
        self._currency = currency
        self.amount_minor = 0

    def clean_amount(self) -> Decimal:
        amount: Decimal = self.cleaned_data["amount"]
        try:
            self.amount_minor = money.to_minor(amount, self._currency)
        except ValueError:
            raise forms.ValidationError(f"{amount} has more decimals than {self._currency} has.") from None
        return amount


class OrdersFilterForm(forms.Form):
    """Which orders to list."""

    q = forms.CharField(
        max_length=100,
        required=False,
        error_messages={"max_length": "Search for fewer than 100 characters."},
    )
    status = forms.ChoiceField(
        choices=[("", "Any status"), *((status.value, STATUS_WORDS[status]) for status in Status)],
        required=False,
        error_messages={"invalid_choice": "There is no such status."},
    )
