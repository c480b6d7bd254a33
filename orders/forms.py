"""What people type, checked before a service sees it."""

from django import forms

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
