"""The table of transitions under any sequence of actions."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from orders.states import TERMINAL, TRANSITIONS, UNDOING, Action, IllegalTransition, Status, may, next_status

ARRIVED = frozenset({Status.DISPATCHED, Status.COMPLETED})
SAID_YES = (Action.APPROVE, Action.CLEAR)
DECIDED = (*SAID_YES, Action.REJECT, Action.EXPIRE, Action.BLOCK, Action.INVALIDATE)


class AnyOrder(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.status = Status.PLACED
        self.done: list[Action] = []
        self.has_been = {self.status}

    @rule(action=st.sampled_from(Action))
    def whatever_comes(self, action: Action) -> None:
        before = self.status
        try:
            self.status = next_status(before, action)
        except IllegalTransition:
            assert not may(before, action)
            return
        assert before not in TERMINAL
        self.done.append(action)
        self.has_been.add(self.status)

    @rule(data=st.data())
    def something_that_may_be(self, data: st.DataObject) -> None:
        possible = [action for action in Action if may(self.status, action)]
        if possible:
            self.whatever_comes(data.draw(st.sampled_from(possible)))

    @invariant()
    def it_is_decided_once_and_charged_once(self) -> None:
        for kinds in (DECIDED, (Action.CHARGE,), (Action.RESERVE,), (Action.CONFIRM_DISPATCH,), (Action.CANCEL,)):
            assert sum(action in kinds for action in self.done) <= 1

    @invariant()
    def what_arrives_was_agreed_to_reserved_and_charged(self) -> None:
        if self.status in ARRIVED:
            assert {Action.RESERVE, Action.CHARGE, Action.DISPATCH, Action.CONFIRM_DISPATCH} <= {*self.done}
            assert {*SAID_YES} & {*self.done}

    @invariant()
    def what_was_reserved_does_not_end_badly_without_being_undone(self) -> None:
        if self.status in TERMINAL - ARRIVED and Action.RESERVE in self.done:
            assert self.has_been & UNDOING

    @invariant()
    def there_is_a_way_to_an_end(self) -> None:
        assert self.status in LEADS_TO_AN_END


def _lead_to_an_end() -> set[Status]:
    found = set(TERMINAL)
    while more := {before for (before, _), after in TRANSITIONS.items() if after in found} - found:
        found |= more
    return found


LEADS_TO_AN_END = _lead_to_an_end()
TestAnyOrder = AnyOrder.TestCase
