"""The queue with an order open beside it, by mouse and by keyboard, while colleagues are at work too."""

import re
from typing import Any

from playwright.sync_api import Locator, Page, Route, expect

from tests.e2e.conftest import at_the_queue
from tests.e2e.stack import Stack, Visitors

Order = dict[str, str]


def place(stack: Stack, name: str, minutes: int) -> Order:
    """An order to be decided within so much time. Each test has hours of its own, so that its rows are neighbours."""
    order: Order = stack.hands("place", name=name, reviewed=True, due_seconds=minutes * 60)
    return order


def row(page: Page, order: Order) -> Locator:
    return page.locator(f"#queue-{order['id']}")


def opened(page: Page, order: Order) -> Locator:
    return page.locator(f"#opened > #order-{order['id']}")


def open_beside(page: Page, order: Order) -> Locator:
    """Open the order beside the list, of a page that is up to date."""
    page.goto("/")
    expect(page.locator("#live-sign")).to_have_text("Live")
    row(page, order).get_by_role("link", name=order["number"]).click()
    expect(opened(page, order).get_by_role("heading", name=order["number"])).to_be_focused()
    return opened(page, order)


def test_after_a_decision_the_next_one_opens(stack: Stack, alice: Page, bob: Page) -> None:
    first, second = place(stack, "Anna First", 60), place(stack, "Berta Second", 61)
    bob.reload()

    open_beside(alice, first).get_by_role("button", name="Approve").click()

    expect(opened(alice, second)).to_be_visible()
    expect(alice.locator("#said")).to_have_text(f"{first['number']} approved. Next: {second['number']}.")
    expect(alice).to_have_url(re.compile(f"order={second['id']}"))
    expect(row(alice, second)).to_have_attribute("aria-current", "true")
    for page in (alice, bob):
        expect(row(page, first)).to_have_class(re.compile("decided"))
        expect(row(page, first)).to_contain_text("Approved by alice")
    alice.reload()
    expect(opened(alice, second)).to_be_visible()
    alice.go_back()
    expect(alice.locator("#pane")).to_be_hidden()
    expect(row(alice, second)).to_be_visible()
    assert stack.hands("decisions", order=first["number"]) == [["approve", "alice"]]
    assert stack.hands("decisions", order=second["number"]) == []


PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


def test_a_phone_shows_one_at_a_time(stack: Stack, visitors: Visitors) -> None:
    first, second = place(stack, "Carla Small", 120), place(stack, "Dora Small", 121)
    page = at_the_queue(visitors, "alice", **PHONE)

    open_beside(page, first)

    expect(page.locator("#list")).to_be_hidden()
    page.get_by_role("button", name=f"Approve {first['number']}").tap()
    expect(opened(page, second)).to_be_visible()
    page.get_by_role("link", name="Back to the list").tap()
    expect(row(page, second)).to_be_visible()
    expect(page.locator("#pane")).to_be_hidden()


def test_a_slip_of_the_finger_decides_nothing(stack: Stack, alice: Page) -> None:
    order = place(stack, "Emil Slip", 180)
    open_beside(alice, order)

    for key in ("Control+a", "Alt+r", "A", "z"):
        alice.keyboard.press(key)
    expect(alice.locator("dialog[open], details[open]")).to_have_count(0)
    alice.keyboard.press("a")
    expect(alice.get_by_role("dialog")).to_contain_text(f"Approve {order['number']}?")
    alice.keyboard.press("Escape")
    alice.keyboard.press("r")
    expect(opened(alice, order).get_by_label(f"Why is {order['number']} rejected?")).to_be_focused()
    alice.keyboard.type("ago?")
    alice.keyboard.press("Tab")
    alice.keyboard.type("a jar? go on/")
    expect(opened(alice, order).locator(".decide textarea")).to_have_value("a jar? go on/")
    expect(alice.get_by_role("dialog")).to_have_count(0)

    assert stack.hands("decisions", order=order["number"]) == []


def test_a_queue_is_worked_off_by_keys_alone(stack: Stack, alice: Page) -> None:
    first, second, third = (
        place(stack, name, minutes) for name, minutes in (("Fred", 240), ("Gerd", 241), ("Hans", 242))
    )
    alice.goto("/")
    expect(alice.locator("#live-sign")).to_have_text("Live")
    row(alice, first).get_by_role("link", name=first["number"]).focus()

    alice.keyboard.press("j")
    expect(row(alice, second).get_by_role("link", name=second["number"])).to_be_focused()
    alice.keyboard.press("k")
    alice.keyboard.press("a")
    expect(alice.get_by_role("dialog")).to_contain_text("Fred")
    alice.keyboard.press("Enter")
    expect(row(alice, first)).to_contain_text("Approved by alice")
    alice.keyboard.press("j")
    alice.keyboard.press("o")
    expect(opened(alice, second)).to_be_visible()
    alice.keyboard.press("j")
    expect(opened(alice, third).get_by_role("heading", name=third["number"])).to_be_focused()
    alice.keyboard.press("k")
    expect(opened(alice, second).get_by_role("heading", name=second["number"])).to_be_focused()
    alice.keyboard.press("r")
    reason = opened(alice, second).get_by_label(f"Why is {second['number']} rejected?")
    expect(reason).to_be_focused()
    alice.keyboard.press("ArrowDown")
    for _ in range(2):
        alice.keyboard.press("Tab")
    alice.keyboard.press("Enter")

    expect(opened(alice, third)).to_be_visible()
    alice.keyboard.press("Escape")
    expect(alice.locator("#pane")).to_be_hidden()
    assert stack.hands("decisions", order=first["number"]) == [["approve", "alice"]]
    assert stack.hands("decisions", order=second["number"]) == [["reject", "alice"]]
    assert stack.hands("decisions", order=third["number"]) == []


def test_c_claims_and_a_colleague_sees_whose_it_is(stack: Stack, alice: Page, bob: Page) -> None:
    first, second, third = (
        place(stack, name, minutes) for name, minutes in (("Udo", 660), ("Vera", 661), ("Willi", 662))
    )
    bob.reload()
    expect(bob.locator("#live-sign")).to_have_text("Live")
    alice.goto("/")
    expect(alice.locator("#live-sign")).to_have_text("Live")
    row(alice, second).get_by_role("link", name=second["number"]).focus()

    alice.keyboard.press("c")

    for page in (alice, bob):
        expect(row(page, second).locator(".claimed")).to_have_text("alice")
    expect(opened(alice, second).locator(".claim")).to_contain_text("You have it in hand")
    open_beside(bob, second)
    bob.keyboard.press("a")
    expect(bob.locator("#said")).to_contain_text(f"{second['number']}: alice has it in hand")
    expect(bob.get_by_role("dialog")).to_have_count(0)
    bob.keyboard.press("k")
    expect(opened(bob, first)).to_be_visible()
    bob.keyboard.press("a")
    bob.keyboard.press("Enter")
    expect(opened(bob, third)).to_be_visible()  # alice is at the one between


def test_the_keys_are_told_and_lead_about(stack: Stack, alice: Page) -> None:
    alice.get_by_role("button", name="Keyboard").click()
    expect(alice.get_by_role("dialog")).to_contain_text("approve, after Enter")
    alice.keyboard.press("Escape")
    alice.keyboard.press("?")
    expect(alice.get_by_role("dialog")).to_be_visible()
    alice.keyboard.press("Escape")

    alice.keyboard.press("g")
    alice.keyboard.press("o")

    expect(alice).to_have_url(re.compile("/orders/$"))
    expect(alice.locator("#live-sign")).to_have_text("Live")
    alice.keyboard.press("/")
    expect(alice.get_by_role("searchbox")).to_be_focused()
    alice.keyboard.type("gq")
    expect(alice.get_by_role("searchbox")).to_have_value("gq")
    alice.get_by_role("heading", name="Orders").click()
    alice.keyboard.press("g")
    alice.keyboard.press("q")
    expect(alice).to_have_url(f"{stack.url}/")


def test_what_is_half_typed_waits_with_its_order(stack: Stack, alice: Page) -> None:
    order, other = place(stack, "Ida Draft", 300), place(stack, "Jana Other", 301)
    open_beside(alice, order).get_by_text("Reject…").click()
    opened(alice, order).locator(".decide textarea").fill("Half a sen")
    row(alice, other).get_by_role("link", name=other["number"]).click()
    expect(opened(alice, other)).to_be_visible()

    stack.hands("approve", order=order["number"], by="bob")
    expect(row(alice, order)).to_contain_text("Approved by bob")
    row(alice, order).get_by_role("link", name=order["number"]).click()

    expect(opened(alice, order).locator(".decide textarea")).to_have_value("Half a sen")
    expect(opened(alice, order).locator(".news")).to_contain_text("Approved by bob")


def test_it_waits_there_too_when_nothing_else_does_and_new_orders_do_not_load(stack: Stack, alice: Page) -> None:
    order: Order = stack.hands("place", name="Nora Alone", reviewed=True, due_seconds=303 * 60, country="LU")
    alice.goto("/?country=LU")
    expect(alice.locator("#live-sign")).to_have_text("Live")
    row(alice, order).get_by_role("link", name=order["number"]).click()
    opened(alice, order).get_by_text("Reject…").click()
    reason = opened(alice, order).locator(".decide textarea")
    reason.fill("Half a sen")
    stack.hands("place", name="Otto Late", reviewed=True, due_seconds=304 * 60, country="LU")
    expect(alice.locator("#new")).to_have_text("1 new")
    alice.route("**/?country=LU", lambda route: route.abort())

    alice.locator("#new").click()

    expect(alice.locator("#said")).to_contain_text("could not be loaded")
    expect(reason).to_have_value("Half a sen")
    alice.get_by_role("button", name="Next").click()
    expect(alice.locator("#opened")).to_contain_text("Nothing else waits")
    row(alice, order).get_by_role("link", name=order["number"]).click()
    expect(reason).to_have_value("Half a sen")


def test_a_refusal_that_comes_after_one_went_on_is_told_and_leads_back(stack: Stack, alice: Page) -> None:
    order, other = place(stack, "Rudi Late", 380), place(stack, "Sara Next", 381)
    asked: list[Route] = []
    alice.route("**/approve/", lambda route: asked.append(route))
    open_beside(alice, order).get_by_role("button", name="Approve").click()
    row(alice, other).get_by_role("link", name=other["number"]).click()
    expect(opened(alice, other).get_by_role("heading", name=other["number"])).to_be_focused()

    stack.hands("reject", order=order["number"], by="bob", reason="Card and address do not match")
    asked[0].continue_()

    expect(alice.get_by_role("status").filter(has_text="was not approved")).to_contain_text("Rejected by bob")
    expect(opened(alice, other)).to_be_visible()
    alice.locator("#said").get_by_role("link", name=order["number"]).click()
    expect(opened(alice, order)).to_be_visible()
    expect(alice.locator("#said")).to_be_empty()


def test_what_another_decides_says_so_and_stays_until_one_goes_on(stack: Stack, alice: Page) -> None:
    order, following = place(stack, "Karl Seen", 360), place(stack, "Lena Next", 361)
    open_beside(alice, order)

    stack.hands("reject", order=order["number"], by="bob", reason="Card and address do not match")

    expect(alice.locator("#pane-news")).to_contain_text("Rejected by bob")
    expect(opened(alice, order)).to_have_class(re.compile("gone"))
    expect(opened(alice, order).locator("form[action$='/approve/']")).to_have_count(0)
    expect(row(alice, order)).to_have_class(re.compile("decided"))
    alice.get_by_role("button", name="Next").click()
    expect(opened(alice, following)).to_be_visible()
    expect(alice.locator("#pane-news")).to_be_empty()


def test_new_orders_are_put_in_around_what_one_does(stack: Stack, alice: Page) -> None:
    order = place(stack, "Mona Types", 425)
    open_beside(alice, order).get_by_text("Reject…").click()
    reason = opened(alice, order).locator(".decide textarea")
    reason.press_sequentially("Not y")
    decided = place(stack, "Nils Before", 424)
    expect(alice.locator("#new")).to_have_text("1 new")
    stack.hands("approve", order=decided["number"], by="bob")
    expect(alice.locator("#new")).to_be_hidden()
    late = [place(stack, f"Late {number}", 420 + number) for number in range(2)]
    expect(alice.locator("#new")).to_have_text("2 new")

    alice.locator("#new").click()

    for one in late:
        expect(row(alice, one)).to_be_visible()
    expect(alice.locator("#new")).to_be_hidden()
    expect(row(alice, decided)).to_have_count(0)
    expect(reason).to_be_focused()
    reason.press_sequentially("et")
    expect(reason).to_have_value("Not yet")
    expect(row(alice, order)).to_have_attribute("aria-current", "true")
    numbers = alice.locator("#list a.number").all_inner_texts()
    assert numbers.index(late[0]["number"]) < numbers.index(late[1]["number"]) < numbers.index(order["number"])
    assert alice.evaluate("document.getElementById('new').dataset.since") != "0"


def test_rows_are_chosen_by_key_and_in_ranges_and_stay_chosen(stack: Stack, alice: Page) -> None:
    orders = [place(stack, f"Tina {number}", 540 + number) for number in range(4)]
    alice.goto("/")
    expect(alice.locator("#live-sign")).to_have_text("Live")
    boxes = [row(alice, order).get_by_role("checkbox") for order in orders]
    row(alice, orders[0]).get_by_role("link", name=orders[0]["number"]).focus()

    alice.keyboard.press("x")
    boxes[2].click(modifiers=["Shift"])

    for box in boxes[:3]:
        expect(box).to_be_checked()
    expect(boxes[3]).not_to_be_checked()
    stack.hands("approve", order=orders[3]["number"], by="bob")
    expect(row(alice, orders[3])).to_contain_text("Approved by bob")
    place(stack, "Ulla New", 539)
    expect(alice.locator("#new")).to_be_visible()
    alice.locator("#new").click()
    expect(alice.locator("#new")).to_be_hidden()
    for box in boxes[:3]:
        expect(box).to_be_checked()
    boxes[1].click()
    boxes[0].click(modifiers=["Shift"])
    for box in boxes[:2]:
        expect(box).not_to_be_checked()
    expect(boxes[2]).to_be_checked()


def test_what_does_not_fit_the_filter_is_not_told_as_new(stack: Stack, alice: Page) -> None:
    alice.goto("/?country=IS")
    expect(alice.locator("#live-sign")).to_have_text("Live")
    place(stack, "Viola Berlin", 600)
    fitting: Order = stack.hands("place", name="Wim Island", reviewed=True, due_seconds=601 * 60, country="IS")

    expect(alice.locator("#new")).to_have_text("1 new")
    alice.locator("#new").click()

    expect(row(alice, fitting)).to_be_visible()
    expect(alice.locator("tr.row")).to_have_count(1)


SHIFTS = """async () => {
  let moved = performance.now();
  window.shifted = [];
  new PerformanceObserver((list) => list.getEntries().forEach((entry) => {
    moved = performance.now();
    if (entry.hadRecentInput) return;
    // What was replaced where it stood is told of, too, at times.
    const moves = entry.sources.filter(({ previousRect: before, currentRect: after }) =>
      JSON.stringify(before) !== JSON.stringify(after));
    window.shifted.push(...moves.map(({ node }) => (node?.outerHTML ?? "").slice(0, 200)));
  })).observe({ type: "layout-shift", buffered: false });
  // What was just opened comes to rest first.
  while (performance.now() - moved < 200) await new Promise(requestAnimationFrame);
  window.shifted = [];
}"""


TIME_PASSES = """article => {
  const [ago, decision] = [article.querySelector(".head [data-ago]"), article.querySelector(".decision")];
  const moved = [];
  for (let width = 300; width < 1000; width += 3) {
    article.style.width = `${width}px`;
    const places = ["just now", "5 s ago", "54 s ago", "1 min ago", "12 min ago", "23 h ago"].map((text) => {
      ago.textContent = text;
      return decision.getBoundingClientRect().top;
    });
    if (new Set(places).size > 1) moved.push(width);
  }
  return moved;
}"""


def test_nothing_moves_as_time_passes_however_wide_the_order_is(stack: Stack, visitors: Visitors) -> None:
    order = open_beside(at_the_queue(visitors, "dana"), place(stack, "Olga Hours", 483))

    assert order.evaluate(TIME_PASSES) == []


def test_nothing_moves_when_others_are_at_work(stack: Stack, visitors: Visitors) -> None:
    seen, open_one = place(stack, "Otto Still", 481), place(stack, "Paula Open", 482)
    dana = at_the_queue(visitors, "dana")
    for beside in (False, True):
        if beside:
            open_beside(dana, open_one)
        dana.evaluate(SHIFTS)

        other = place(stack, "Quentin New", 480)
        expect(dana.locator("#new")).to_be_visible()
        stack.hands("approve", order=seen["number"], by="bob")
        expect(row(dana, seen)).to_contain_text("Approved by bob")
        stack.hands("approve", order=other["number"], by="bob")
        expect(dana.locator("#new")).to_be_hidden()

        assert dana.evaluate("window.shifted") == [], "with two panes" if beside else "with the list alone"
        seen = place(stack, "Rosa Still", 481)


def test_a_deadline_that_comes_near_is_said_aloud_once(stack: Stack, alice: Page) -> None:
    order = place(stack, "Sven Hurry", 15)
    alice.clock.install()
    alice.reload()
    expect(alice.locator("#live-sign")).to_have_text("Live")
    expect(row(alice, order)).to_be_visible()
    expect(alice.locator("#alarm")).to_be_empty()

    alice.clock.run_for(2_000)
    alice.clock.fast_forward(601_000)

    expect(alice.locator("#alarm")).to_have_text(f"{order['number']} has 5 minutes left.")
