"""Every address under /api/ answers in JSON, the ones that are not there too."""

from typing import Any

from django.urls import re_path
from django.views.decorators.http import require_safe

from orders.api.endpoints import api
from orders.api.problems import not_found, outside_the_desk

_found: list[Any] = [pattern for pattern in api.urls[0] if getattr(pattern, "name", "") != "api-root"]
for pattern in _found:
    described = pattern.name == "openapi-json"  # the framework takes any method there
    pattern.callback = outside_the_desk(require_safe(pattern.callback) if described else pattern.callback)

app_name = "api"
urlpatterns = [*_found, re_path(r"^.*$", not_found)]
