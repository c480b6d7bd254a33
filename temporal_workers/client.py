"""The way to Temporal: one client a process, made lazily and after any fork."""

from datetime import timedelta

from temporalio.client import Client, Interceptor
from temporalio.envconfig import ClientConfig
from temporalio.service import RetryConfig, RPCError, RPCStatusCode

from orders import tracing
from temporal_workers.encrypting import converter

# With the server away, the SDK's own defaults block a call for about ten seconds.
_RETRIES = RetryConfig(initial_interval_millis=100, max_elapsed_time_millis=1_500, max_retries=3)

CALL_TIMEOUT = timedelta(seconds=2)

DEFAULT_ADDRESS = "localhost:7233"

_AWAY = frozenset(
    {
        RPCStatusCode.UNAVAILABLE,
        RPCStatusCode.DEADLINE_EXCEEDED,
        RPCStatusCode.CANCELLED,
        RPCStatusCode.RESOURCE_EXHAUSTED,
        RPCStatusCode.INTERNAL,
        RPCStatusCode.UNKNOWN,
    }
)


async def connect(*, lazy: bool) -> Client:
    """Make a client from TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE and their kin (temporalio.envconfig), which encrypts
    what it sends where there are TEMPORAL_PAYLOAD_KEYS.

    A lazy client connects at its first call; workers need one that is not.

    Raises RuntimeError where Temporal cannot be reached, unless lazy.
    """
    config = ClientConfig.load_client_connect_config()
    config.setdefault("target_host", DEFAULT_ADDRESS)
    retries = _RETRIES if lazy else None
    return await Client.connect(
        **config, lazy=lazy, retry_config=retries, data_converter=converter(), interceptors=_interceptors()
    )


def _interceptors() -> list[Interceptor]:
    """The workers that are made with a client have those of it as well."""
    if not tracing.is_on():
        return []
    from temporal_workers.tracing import Tracing

    return [Tracing()]


def is_away(error: BaseException) -> bool:
    """Whether the error says that Temporal cannot be reached now, rather than that it refuses."""
    if isinstance(error, RPCError):
        return error.status in _AWAY
    # A lazy client whose first connection fails raises a bare RuntimeError.
    return isinstance(error, TimeoutError | RuntimeError)
