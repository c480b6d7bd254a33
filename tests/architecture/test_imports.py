"""What may import what, and who may write. Read from the source, so that no import hides in a function."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("orders_site", "orders", "temporal_workers", "devstack")


def sources(*folders: str) -> list[Path]:
    return sorted(
        path
        for folder in folders
        for path in ([ROOT / folder] if folder.endswith(".py") else (ROOT / folder).rglob("*.py"))
        if "migrations" not in path.parts
    )


def imports(path: Path) -> Iterator[str]:
    """Every module that the file names, as `package.module` and, for `from a import b`, `a.b` too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_of(module: str, *packages: str) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def offenders(paths: list[Path], *forbidden: str) -> list[str]:
    return [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in paths
        for module in imports(path)
        if is_of(module, *forbidden)
    ]


@pytest.mark.parametrize(
    ("folders", "forbidden"),
    [
        (["orders"], ["temporal_workers", "temporalio", "devstack"]),
        (
            ["temporal_workers/workflows", "temporal_workers/contracts.py"],
            ["django", "orders.models", "orders.services"],
        ),
        (["orders/states.py", "orders/roles.py", "orders/policy.py"], ["django", "temporalio", "orders.models"]),
        (["orders/models"], ["orders.services", "orders.selectors", "orders.views"]),
        (["orders/services"], ["orders.selectors", "orders.finding", "orders.views", "orders.forms", "orders.live"]),
        (
            ["orders/selectors.py", "orders/finding.py", "orders/paging.py", "orders/engine.py"],
            ["orders.services", "orders.views", "orders.forms"],
        ),
        (["orders/views.py", "orders/services", "temporal_workers"], ["orders.deciding"]),
        (["temporal_workers/activities/outside.py", "temporal_workers/providers"], ["django", "orders"]),
        (["temporal_workers"], ["orders.views", "orders.selectors", "orders.forms", "orders.live"]),
        (["orders", "temporal_workers", "orders_site"], ["tests", "devstack", "celery"]),
    ],
)
def test_imports_run_one_way(folders: list[str], forbidden: list[str]) -> None:
    assert offenders(sources(*folders), *forbidden) == []


def test_workflows_import_nothing_but_the_standard_library_temporalio_contracts_and_states() -> None:
    allowed = ("temporalio", "orders.states", "temporal_workers.contracts", "temporal_workers.workflows")
    foreign = ("orders", "temporal_workers", "orders_site", "devstack", "psycopg", "babel")

    found = [
        f"{path.name} imports {module}"
        for path in sources("temporal_workers/workflows")
        for module in imports(path)
        if is_of(module, *foreign) and not is_of(module, *allowed) and module not in ("orders", "temporal_workers")
    ]

    assert found == []


def test_every_package_file_is_empty_but_the_one_where_django_finds_the_tables() -> None:
    full = [path for path in sources(*PACKAGES) if path.name == "__init__.py" and path.read_text().strip()]
    assert full == [ROOT / "orders/models/__init__.py"]


WRITES = {"save", "create", "update", "delete", "bulk_create", "bulk_update", "get_or_create", "update_or_create"}
MAY_WRITE = ("orders/services/", "orders/accounts.py")  # accounts: groups and users only, see below


def written_managers(path: Path) -> Iterator[str]:
    """Calls such as `X.objects….update(…)`, `x.orders.create(…)` and `row.save()`; dicts and sets are left out."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in WRITES:
            receiver = ast.unparse(node.func.value)
            if "objects" in receiver or node.func.attr not in {"update", "delete", "create"}:
                yield f"{path.relative_to(ROOT)} {receiver}.{node.func.attr}"


def test_only_services_write() -> None:
    found = [
        write
        for path in sources("orders", "temporal_workers", "orders_site")
        if not str(path.relative_to(ROOT)).startswith(MAY_WRITE)
        for write in written_managers(path)
    ]
    # A product's name and whether it may be sold: no order depends on them.
    assert found == ["orders/admin.py obj.save"]


def test_accounts_write_no_order() -> None:
    named = {name for name in imports(ROOT / "orders/accounts.py") if is_of(name, "orders.models")}
    assert named == set()


def test_opentelemetry_is_imported_by_one_module_and_that_only_where_there_is_somewhere_to_send_traces() -> None:
    """Nor by what others import, which the processes of tests/e2e and of tests/temporal_workers show: see there."""
    spans, door = ROOT / "orders/spans.py", ROOT / "orders/tracing.py"
    named = {
        path: set(imports(path))
        for path in sources(*PACKAGES)
        if "opentelemetry" in (text := path.read_text()) or "spans" in text
    }
    at_once = [node for node in ast.parse(door.read_text()).body if isinstance(node, ast.ImportFrom)]

    assert {path for path, names in named.items() if any(is_of(name, "opentelemetry") for name in names)} == {spans}
    assert {path for path, names in named.items() if any(is_of(name, "orders.spans") for name in names)} == {door}
    assert "orders.spans" not in {node.module for node in at_once}
