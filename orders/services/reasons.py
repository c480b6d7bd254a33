"""The reasons for which orders are rejected, as leads keep them. None is ever deleted: orders were rejected for it."""

from django.db import IntegrityError, transaction
from django.utils.text import slugify

from orders.models import RejectReason
from orders.roles import KEEP_REASONS
from orders.services.actors import Actor, NotPermitted
from orders.services.texts import wrong_with_text

LONGEST = 80


class ReasonRefused(Exception):
    """The text cannot be a reason. The message is for the lead."""


def add_reason(*, text: str, actor: Actor) -> RejectReason:
    """Have one more reason in use. Its code, for programs, is made from the text and stays.

    Raises NotPermitted and ReasonRefused.
    """
    _authorise(actor)
    text = _sound(text)
    code = slugify(text)[:40].strip("-") or "reason"
    taken = set(RejectReason.objects.filter(code__startswith=code[:36]).values_list("code", flat=True))
    number = 1
    while code in taken:
        number += 1
        code = f"{code[:36].rstrip('-0123456789')}-{number}"
    return _stored(RejectReason(code=code, text=text))


def rename_reason(*, code: str, text: str, actor: Actor) -> RejectReason:
    """Say the same reason in other words; on the timelines of orders stand those of their day.

    Raises NotPermitted, ReasonRefused and RejectReason.DoesNotExist.
    """
    _authorise(actor)
    reason = RejectReason.objects.get(code=code)
    reason.text = _sound(text)
    return _stored(reason)


def use_reason(*, code: str, active: bool, actor: Actor) -> RejectReason:
    """Retire a reason, or take it into use again.

    Raises NotPermitted and RejectReason.DoesNotExist.
    """
    _authorise(actor)
    RejectReason.objects.filter(code=code).update(active=active)
    return RejectReason.objects.get(code=code)


def _authorise(actor: Actor) -> None:
    if not actor.has(KEEP_REASONS):
        raise NotPermitted(f"{actor.name} may not keep the reasons for rejecting.")


def _sound(text: str) -> str:
    text = " ".join(text.split()) if text.isprintable() else text
    if not text:
        raise ReasonRefused("Write the reason.")
    if wrong := wrong_with_text(text, LONGEST):
        raise ReasonRefused(f"The reason {wrong}.")
    return text


def _stored(reason: RejectReason) -> RejectReason:
    try:
        with transaction.atomic():
            reason.save()
    except IntegrityError:
        raise ReasonRefused(f"There is a reason “{reason.text}” already.") from None
    return reason
