"""The SDK's own sandbox for workflows, spared a question whose answer nobody uses."""

from typing import Any

from temporalio.bridge.proto.workflow_activation import WorkflowActivation
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
from temporalio.converter import StorageDriverStoreContext
from temporalio.worker import WorkflowInstance, WorkflowInstanceDetails
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner
from temporalio.workflow import Info


class Sandbox(SandboxedWorkflowRunner):
    """Wherever a converter has a codec, the SDK enters the sandbox up to four times for each payload, to ask which
    command the payload belongs to: a codec may depend on that. Ours does not, and an order cost workers a tenth more.
    """

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        return _OfNoCommand(super().create_instance(det))


class _OfNoCommand(WorkflowInstance):
    """A workflow in the sandbox whose payloads are all encoded alike."""

    def __init__(self, sandboxed: WorkflowInstance) -> None:
        self._sandboxed = sandboxed

    def activate(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        return self._sandboxed.activate(act)

    def get_serialization_context(self, command_info: Any) -> None:
        return None

    def get_external_store_context(self, command_info: Any) -> StorageDriverStoreContext:
        return StorageDriverStoreContext(target=None)

    def get_info(self) -> Info:
        return self._sandboxed.get_info()

    def get_thread_id(self) -> int | None:
        return self._sandboxed.get_thread_id()
