"""What every activity that uses the ORM needs: a connection that is handled in the thread that runs it.

Such activities are plain functions on the worker's thread pool. Django's request signals never fire in a worker,
so nobody else would notice a connection that died.
"""

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from django.core.exceptions import ObjectDoesNotExist
from django.db import close_old_connections
from temporalio import activity
from temporalio.exceptions import ApplicationError

# Where the SDK keeps what its decorator made of a function.
_DEFINITION = "__temporal_activity_definition"

P = ParamSpec("P")
R = TypeVar("R")


def implements(stub: Callable[P, R]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a function the implementation of a contract's stub, under its name, with a connection that works.

    A row that does not exist is final: no retry brings it back.
    """

    def register(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def with_connection(*args: P.args, **kwargs: P.kwargs) -> R:
            close_old_connections()
            try:
                return function(*args, **kwargs)
            except ObjectDoesNotExist as error:
                raise ApplicationError(str(error), type="RowMissing", non_retryable=True) from error
            finally:
                close_old_connections()

        # An exception thrown into a thread in the middle of a query would break its connection.
        return activity.defn(name=stub_name(stub), no_thread_cancel_exception=True)(with_connection)

    return register


def is_activity(member: object) -> bool:
    return hasattr(member, _DEFINITION)


def stub_name(stub: Callable[..., Any]) -> str:
    """The name that a contract's stub has on the wire."""
    definition: Any = getattr(stub, _DEFINITION, None)
    if definition is None or not definition.name:
        raise TypeError(f"{stub!r} is not an activity stub")
    return str(definition.name)
