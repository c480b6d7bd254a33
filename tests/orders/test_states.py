"""The life of an order, told a second time by hand: a grid in which each step that is not named is forbidden."""

from itertools import pairwise

import pytest

from orders.states import (
    HUMAN_ACTIONS,
    MAIN_ROAD,
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
placed        receive → received            cancel → cancelled
received      validate → validated          invalidate → invalid          cancel → cancelled
validated     clear → approved              open_review → in_review       block → blocked      cancel → cancelled
in_review     approve → approved            reject → rejected             expire → expired     cancel → cancelled   extend → in_review  remind → in_review  escalate → in_review
approved      reserve → reserved            cancel → cancelled            fail → compensating
reserved      charge → charged              cancel → cancelling           fail → compensating
charged       prepare → preparing           cancel → cancelling           fail → compensating
preparing     dispatch → dispatching        cancel → cancelling           fail → compensating
dispatching   confirm_dispatch → dispatched fail → compensating
dispatched    complete → completed
completed
invalid
blocked
rejected
expired
cancelling    finish_undo → cancelled
cancelled
compensating  finish_undo → failed
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
def test_no_order_comes_back_to_where_it_was(status: Status) -> None:
    """But for what happens within a status, such as more time for a review."""
    reached = {after for (before, _), after in TRANSITIONS.items() if before == status != after}
    while more := {after for (before, _), after in TRANSITIONS.items() if before in reached} - reached:
        reached |= more

    assert status not in reached


def test_people_only_decide_and_cancel_and_give_time() -> None:
    assert set(HUMAN_ACTIONS) == {Action.APPROVE, Action.REJECT, Action.CANCEL, Action.EXTEND}
    assert [status for status in Status if may(status, Action.APPROVE)] == [Status.IN_REVIEW]
    assert [status for status in Status if may(status, Action.REJECT)] == [Status.IN_REVIEW]


def test_nothing_can_be_cancelled_from_the_point_of_no_return_on() -> None:
    late = MAIN_ROAD[MAIN_ROAD.index(Status.DISPATCHING) :]

    assert not any(may(status, Action.CANCEL) for status in late)


def test_the_main_road_runs_from_placed_to_completed_in_steps_of_the_table() -> None:
    steps = list(pairwise(MAIN_ROAD))

    assert (MAIN_ROAD[0], MAIN_ROAD[-1]) == (Status.PLACED, Status.COMPLETED)
    assert all(after in EXPECTED[before].values() for before, after in steps)
    assert all(on_main_road(status) == (status in MAIN_ROAD) for status in Status)


def test_what_is_being_undone_can_only_end() -> None:
    assert {"cancelling", "compensating"} == UNDOING
    assert all(list(EXPECTED[status]) == ["finish_undo"] for status in UNDOING)
