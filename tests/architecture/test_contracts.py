"""The wire contract and what stands behind it."""

import inspect
from collections import Counter
from typing import get_type_hints

import pytest
from temporalio.converter import WithSerializationContext
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from orders import wording
from orders.states import HUMAN_ACTIONS
from temporal_workers import contracts, worker
from temporal_workers.activities import orders as order_steps
from temporal_workers.activities import shipping as shipping_steps
from temporal_workers.activities.database import is_activity, stub_name
from temporal_workers.activities.outside import CarrierCalls, FraudCalls, PaymentCalls, ShopCalls
from temporal_workers.encrypting import converter
from temporal_workers.sandbox import Sandbox
from temporal_workers.workflows.order import OrderWorkflow

STUBS = {name: stub for name, stub in vars(contracts).items() if is_activity(stub)}
HOMES = (order_steps, shipping_steps, PaymentCalls, CarrierCalls, FraudCalls, ShopCalls)


def test_every_stub_has_exactly_one_implementation() -> None:
    implemented = Counter(stub_name(member) for member in worker.implementations(*HOMES))

    assert implemented == Counter({stub_name(stub): 1 for stub in STUBS.values()})


@pytest.mark.parametrize("name", STUBS)
def test_an_implementation_has_the_signature_of_its_stub(name: str) -> None:
    (implementation,) = [member for member in worker.implementations(*HOMES) if stub_name(member) == name]

    wanted, found = get_type_hints(STUBS[name]), get_type_hints(inspect.unwrap(implementation))

    assert list(found.values()) == list(wanted.values())


@pytest.mark.parametrize("name", STUBS)
def test_a_stub_only_says_what_is_to_be_done(name: str) -> None:
    assert "raise NotImplementedError" in inspect.getsource(STUBS[name])


@pytest.mark.parametrize("name", STUBS)
def test_an_activity_takes_one_payload_of_its_own_and_answers_with_one(name: str) -> None:
    hints = get_type_hints(STUBS[name])

    assert len(hints) == 2
    assert all(hint.__module__ == contracts.__name__ for hint in hints.values())


def test_every_call_to_the_outside_has_words_for_people() -> None:
    outside = {stub_name(stub) for stub in STUBS.values() if inspect.iscoroutinefunction(stub)}

    assert outside == set(wording.ENGINE_STEPS)


def test_every_human_action_is_a_signal_of_the_order() -> None:
    definition = OrderWorkflow.__temporal_workflow_definition  # type: ignore[attr-defined]

    from_elsewhere = {contracts.DISPATCH_FAILED, contracts.PAYMENT_NEWS}
    assert set(definition.signals) - from_elsewhere == set(HUMAN_ACTIONS) == set(contracts.SIGNALS)
    assert set(definition.queries) == {contracts.STATE_QUERY}


async def test_workflows_run_in_the_sandbox() -> None:
    source = inspect.getsource(worker)

    assert "UnsandboxedWorkflowRunner" not in source
    assert source.count("workflow_runner=Sandbox()") == source.count(" Worker(") == 1
    assert issubclass(Sandbox, SandboxedWorkflowRunner)
    Sandbox().prepare_workflow(OrderWorkflow.__temporal_workflow_definition)  # type: ignore[attr-defined]


def test_payloads_may_be_encoded_without_knowing_what_they_belong_to() -> None:
    made = converter()

    assert made.payload_codec is not None
    assert not isinstance(made.payload_codec, WithSerializationContext)
    assert made.external_storage is None


def test_activities_know_their_stub() -> None:
    with pytest.raises(TypeError):
        stub_name(len)
