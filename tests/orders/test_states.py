"""The life of an order, told a second time by hand: a grid in which each step that is not named is forbidden."""

from itertools import pairwise

import pytest

from orders.states import (
    CLAIMING,
    MAIN_ROAD,
    NEEDS_ATTENTION,
    TERMINAL,
    TRANSITIONS,
    UNDOING,
    Action,
    IllegalTransition,
    Status,
    may,
    next_status,
    on_main_road,
)

# One line for each status: what may happen to it, and what it is then.
GRID = """
placed            receive → received           cancel → cancelled           change_address → placed
received          validate → validated         invalidate → invalid         cancel → cancelled           fail → compensating          change_address → received
validated         clear → approved             open_review → in_review      block → blocked              cancel → cancelled           change_address → validated
in_review         endorse → in_review  approve → approved           reject → rejected            expire → expired             cancel → cancelled           change_address → in_review   extend → in_review           remind → in_review           escalate → in_review  ask → in_review  snooze → in_review  answer → in_review  resume → in_review  claim → in_review  unclaim → in_review  hand_over → in_review  take_over → in_review
approved          reserve → reserved           halt → stock_short           cancel → cancelled           fail → compensating          change_address → approved
stock_short       retry → approved             cancel → cancelled           fail → compensating          change_address → stock_short  extend → stock_short         remind → stock_short         escalate → stock_short  ask → stock_short  snooze → stock_short  answer → stock_short  resume → stock_short  claim → stock_short  unclaim → stock_short  hand_over → stock_short  take_over → stock_short
reserved          charge → charged             ask_customer → awaiting_customer  cancel → cancelling          fail → compensating          change_address → reserved
awaiting_customer charge → charged             halt → unconfirmed           cancel → cancelling          fail → compensating          change_address → awaiting_customer
unconfirmed       retry → reserved             charge → charged             cancel → cancelling          fail → compensating          change_address → unconfirmed  extend → unconfirmed         remind → unconfirmed         escalate → unconfirmed  ask → unconfirmed  snooze → unconfirmed  answer → unconfirmed  resume → unconfirmed  claim → unconfirmed  unclaim → unconfirmed  hand_over → unconfirmed  take_over → unconfirmed
charged           prepare → preparing          cancel → cancelling          fail → compensating          change_address → charged
preparing         dispatch → dispatching       cancel → cancelling          fail → compensating          change_address → preparing
dispatching       confirm_dispatch → dispatched  halt → undeliverable
undeliverable     retry → preparing            cancel → cancelling          change_address → undeliverable  extend → undeliverable       remind → undeliverable       escalate → undeliverable  ask → undeliverable  snooze → undeliverable  answer → undeliverable  resume → undeliverable  claim → undeliverable  unclaim → undeliverable  hand_over → undeliverable  take_over → undeliverable
dispatched        complete → completed
completed
invalid
blocked
rejected
expired
cancelling        finish_undo → cancelled
cancelled
compensating      finish_undo → failed
failed
"""  # noqa: E501


def _grid() -> dict[str, dict[str, str]]:
    grid = {}
    for line in GRID.strip().splitlines():
        status, *words = line.replace("→", " ").split()
        grid[status] = dict(zip(words[::2], words[1::2], strict=True))
    return grid


EXPECTED = _grid()


def test_the_grid_names_every_status() -> None:
    assert list(EXPECTED) == list(Status)


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("action", Action)
def test_each_action_leads_where_the_grid_says_or_is_refused(status: Status, action: Action) -> None:
    after = EXPECTED[status].get(action)

    assert may(status, action) == (after is not None)
    if after is None:
        with pytest.raises(IllegalTransition) as refused:
            next_status(status, action)
        assert (refused.value.status, refused.value.action) == (status, action)
        assert str(refused.value) == f"An order that is {status} cannot {action}."
    else:
        assert next_status(status, action) == after


def test_the_ends_are_the_statuses_with_nothing_after_them() -> None:
    assert {status for status, steps in EXPECTED.items() if not steps} == TERMINAL


def test_every_status_can_be_reached_from_the_first() -> None:
    reached, before = {Status.PLACED}, set[Status]()
    while reached != before:
        before = set(reached)
        reached |= {after for (status, _), after in TRANSITIONS.items() if status in before}

    assert reached == set(Status)


@pytest.mark.parametrize("status", Status)
def test_only_a_person_who_retries_brings_an_order_back_to_where_it_was(status: Status) -> None:
    """But for what happens within a status, such as more time for a review."""
    steps = {(before, after) for (before, action), after in TRANSITIONS.items() if action != Action.RETRY}
    reached = {after for before, after in steps if before == status != after}
    while more := {after for before, after in steps if before in reached} - reached:
        reached |= more

    assert status not in reached


def test_who_waits_for_people_can_be_given_time_and_help() -> None:
    assert {"stock_short", "unconfirmed", "undeliverable"} == NEEDS_ATTENTION
    assert {status for status in Status if may(status, Action.RETRY)} == NEEDS_ATTENTION
    assert {status for status in Status if may(status, Action.EXTEND)} == NEEDS_ATTENTION | {"in_review"}


def test_what_waits_for_people_can_be_in_somebodys_hands() -> None:
    for action in CLAIMING:
        assert {status for status in Status if may(status, action)} == NEEDS_ATTENTION | {"in_review"}


def test_only_an_open_review_is_decided_on() -> None:
    assert [status for status in Status if may(status, Action.APPROVE)] == [Status.IN_REVIEW]
    assert [status for status in Status if may(status, Action.REJECT)] == [Status.IN_REVIEW]


def test_the_address_can_be_changed_as_long_as_the_order_can_be_cancelled() -> None:
    assert all(may(status, Action.CHANGE_ADDRESS) == may(status, Action.CANCEL) for status in Status)


def test_nothing_can_be_cancelled_or_undone_from_the_point_of_no_return_on() -> None:
    late = MAIN_ROAD[MAIN_ROAD.index(Status.DISPATCHING) :]

    assert not any(may(status, action) for status in late for action in (Action.CANCEL, Action.FAIL))
    assert not may(Status.UNDELIVERABLE, Action.FAIL)


def test_the_main_road_runs_from_placed_to_completed_in_steps_of_the_table() -> None:
    steps = list(pairwise(MAIN_ROAD))

    assert (MAIN_ROAD[0], MAIN_ROAD[-1]) == (Status.PLACED, Status.COMPLETED)
    assert all(after in EXPECTED[before].values() for before, after in steps)
    beside = NEEDS_ATTENTION | {Status.AWAITING_CUSTOMER}
    assert all(on_main_road(status) == (status in MAIN_ROAD or status in beside) for status in Status)


def test_what_is_being_undone_can_only_end() -> None:
    assert {"cancelling", "compensating"} == UNDOING
    assert all(list(EXPECTED[status]) == ["finish_undo"] for status in UNDOING)
