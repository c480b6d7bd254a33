"""/reasons/: what leads keep for those who reject."""

import pytest
from django.contrib.auth.models import User
from django.test import Client

from orders.models import Order, RejectReason
from orders.services import reasons
from orders.services.actors import Actor, NotPermitted
from tests.orders.conftest import SignedIn


@pytest.fixture
def at_danas(lead: User, signed_in: SignedIn) -> Client:
    return signed_in(lead)


def test_a_lead_adds_renames_retires_and_takes_back(at_danas: Client, order_in_review: Order) -> None:
    page = order_in_review.get_absolute_url()

    at_danas.post("/reasons/", {"do": "add", "text": "Bought  for a\u00a0competitor"})
    added = RejectReason.objects.get(code="bought-for-a-competitor")
    assert '<option value="bought-for-a-competitor">' in at_danas.get(page).content.decode()

    at_danas.post("/reasons/", {"do": "rename", "code": added.code, "text": "A competitor"})
    assert "A competitor</option>" in at_danas.get(page).content.decode()

    at_danas.post("/reasons/", {"do": "retire", "code": added.code})
    assert "A competitor</option>" not in at_danas.get(page).content.decode()
    assert "Use again" in at_danas.get("/reasons/").content.decode()

    said = at_danas.post("/reasons/", {"do": "use", "code": added.code}, follow=True)
    assert "“A competitor” can be chosen again." in said.content.decode()


@pytest.mark.parametrize(
    ("text", "said"), [("", "Write the reason."), ("x" * 81, "longer than 80"), ("a\x00b", "control character")]
)
def test_what_is_no_reason_is_refused_and_given_back(at_danas: Client, text: str, said: str) -> None:
    before = RejectReason.objects.count()

    answer = at_danas.post("/reasons/", {"do": "add", "text": text})

    assert answer.status_code == 422
    assert said in answer.content.decode()
    assert RejectReason.objects.count() == before


def test_two_reasons_never_read_the_same(at_danas: Client, goods: object) -> None:
    RejectReason.objects.create(code="twice-told", text="Twice told")

    for sent in ({"do": "add"}, {"do": "rename", "code": "fraud"}):
        answer = at_danas.post("/reasons/", sent | {"text": "Twice told"})
        assert answer.status_code == 422
        assert "“Twice told” already" in answer.content.decode()


def test_texts_with_one_code_get_one_each(lead: User) -> None:
    actor = Actor.operator(lead)

    codes = [
        reasons.add_reason(text=text, actor=actor).code for text in ("Odd order", "Odd order!", "Odd: order", "奇")
    ]

    assert codes == ["odd-order", "odd-order-2", "odd-order-3", "reason"]


@pytest.mark.parametrize(
    "sent",
    [
        {"do": "retire", "code": "no-such"},
        {"do": "use", "code": "a\0b"},
        {"do": "rename", "code": "no", "text": "x"},
        {},
    ],
)
def test_what_is_not_there_is_not_found(at_danas: Client, sent: dict[str, str]) -> None:
    assert at_danas.post("/reasons/", sent).status_code == 404


def test_an_operator_neither_sees_nor_keeps_them(at_alices: Client, alice: User) -> None:
    assert at_alices.get("/reasons/").status_code == 403
    assert at_alices.post("/reasons/", {"do": "add", "text": "Mine"}).status_code == 403
    with pytest.raises(NotPermitted):
        reasons.add_reason(text="Mine", actor=Actor.operator(alice))
