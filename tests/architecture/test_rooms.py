"""Four things that are done in few places only, each of which says so where it stands.

A comment `# raw SQL: why` lets a whole module have raw SQL. `# trusted markup: why`, `# rows in a coroutine: why` and
`# clock: why` let the line have it on which they stand. A comment that allows nothing any more fails as well.
"""

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.architecture.test_imports import PACKAGES, ROOT, sources

Finding = tuple[int, str]  # the line, and what is there


def raw_sql(module: ast.Module) -> Iterator[Finding]:
    """Statements that are written by hand, whoever carries them out."""
    by_hand = {"execute", "executemany", "raw", "extra", "copy", "RawSQL", "RunSQL"}
    for node in ast.walk(module):
        if isinstance(node, ast.Call) and _last_name(node.func) in by_hand:
            yield node.lineno, ast.unparse(node.func)


def trusted_markup(module: ast.Module) -> Iterator[Finding]:
    """Text that is shown as it is, and `format_html` of anything but a constant."""
    for node in ast.walk(module):
        if not isinstance(node, ast.Call):
            continue
        name = _last_name(node.func)
        made = name in {"format_html", "format_html_join"}
        constant = all(isinstance(argument, ast.Constant) for argument in node.args[: 1 + (name == "format_html_join")])
        if name in {"mark_safe", "SafeString", "SafeText", "html_safe"} or (made and not constant):
            yield node.lineno, ast.unparse(node.func)


ROWS = (
    "orders.services",
    "orders.models",
    "orders.selectors",
    "orders.finding",
    "orders.engine",
    "orders.bulk_selectors",
    "orders.live_state",
)


def rows_in_coroutines(module: ast.Module) -> Iterator[Finding]:
    """Queries, and calls of what makes them, in `async def`: they hold up everybody else on the loop.

    A function within one that is not itself a coroutine may: it is meant for a thread.
    """
    of_rows = {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(module)
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }
    of_rows = {name: whole for name, whole in of_rows.items() if f"{whole}.".startswith(tuple(f"{r}." for r in ROWS))}
    for coroutine in ast.walk(module):
        if not isinstance(coroutine, ast.AsyncFunctionDef):
            continue
        for node in _own(coroutine):
            if isinstance(node, ast.Attribute) and node.attr in {"objects", "_default_manager", "refresh_from_db"}:
                yield node.lineno, ast.unparse(node)
            # To make a value of a class is free: its methods may read.
            if (
                isinstance(node, ast.Call)
                and (first := _first_name(node.func)) in of_rows
                and not (isinstance(node.func, ast.Name) and first[:1].isupper())
            ):
                yield node.lineno, ast.unparse(node.func)


NOT_THE_SAME_TWICE = re.compile(
    r"(datetime\.)?(datetime|date)\.(now|today|utcnow|fromtimestamp)|time\.\w+|(random|secrets)\.\w+|uuid[14]"
    r"|uuid\.uuid[14]|os\.(urandom|environ|getenv)\b.*|timezone\.now|asyncio\.get_event_loop"
)


def clock(module: ast.Module) -> Iterator[Finding]:
    """Whatever a replay would see otherwise: a workflow asks `workflow.now()` and its like instead."""
    for node in ast.walk(module):
        if isinstance(node, ast.Call | ast.Attribute | ast.Name):
            what = ast.unparse(node.func if isinstance(node, ast.Call) else node)
            if NOT_THE_SAME_TWICE.fullmatch(what):
                yield node.lineno, what


def _last_name(called: ast.expr) -> str:
    return called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else ""


def _first_name(called: ast.expr) -> str:
    while isinstance(called, ast.Attribute | ast.Call):
        called = called.value if isinstance(called, ast.Attribute) else called.func
    return called.id if isinstance(called, ast.Name) else ""


def _own(function: ast.AST) -> Iterator[ast.AST]:
    """What is in a function and in no other function within it."""
    for child in ast.iter_child_nodes(function):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield child
            yield from _own(child)


def markup_in(template: str) -> Iterator[Finding]:
    for number, line in enumerate(template.splitlines(), 1):
        for found in re.finditer(r"\|\s*safe(seq)?\b|\{%-?\s*autoescape\s+off", line):
            yield number, found[0]


Rule = Callable[[ast.Module], Iterator[Finding]]
RULES: dict[str, tuple[Rule, list[Path]]] = {
    "raw SQL": (raw_sql, sources(*PACKAGES)),
    "trusted markup": (trusted_markup, sources(*PACKAGES)),
    "rows in a coroutine": (rows_in_coroutines, sources(*PACKAGES)),
    "clock": (clock, sources("temporal_workers/workflows", "temporal_workers/contracts.py", "orders/states.py")),
}
WHOLE_MODULE = {"raw SQL"}


def not_allowed(name: str, found: Iterator[Finding], text: str) -> list[str]:
    """What is there without the comment that allows it, and comments that allow nothing."""
    lines = text.splitlines()
    says = {number for number, line in enumerate(lines, 1) if re.search(rf"#\s*{name}: \w", line)}
    places = dict(found)
    allowed = set(places) if name in WHOLE_MODULE and says else says & places.keys()
    idle = (says if not places else set()) if name in WHOLE_MODULE else says - places.keys()
    wrong = {number: what for number, what in places.items() if number not in allowed}
    return [f"{number}: {what}" for number, what in sorted((wrong | dict.fromkeys(idle, "allows nothing")).items())]


@pytest.mark.parametrize("name", RULES)
def test_it_is_done_only_where_a_comment_says_why(name: str) -> None:
    rule, paths = RULES[name]
    texts = {path: path.read_text() for path in paths}

    found = {
        str(path.relative_to(ROOT)): wrong
        for path, text in texts.items()
        if (wrong := not_allowed(name, rule(ast.parse(text)), text))
    }

    assert found == {}


def test_templates_show_nothing_as_it_is_but_where_a_comment_says_why() -> None:
    texts = {path: path.read_text() for path in (ROOT / "templates").rglob("*.*")}

    found = {
        str(path.relative_to(ROOT)): wrong
        for path, text in texts.items()
        if (wrong := not_allowed("trusted markup", markup_in(text), text))
    }

    assert len(texts) > 50
    assert found == {}


@pytest.mark.parametrize(
    ("name", "planted", "what"),
    [
        ("raw SQL", "cursor.execute(f'DELETE FROM {table}')", "cursor.execute"),
        ("raw SQL", "Order.objects.raw('SELECT 1')", "Order.objects.raw"),
        ("raw SQL", "Order.objects.extra(where=[typed])", "Order.objects.extra"),
        ("raw SQL", "orders.annotate(n=RawSQL(typed, []))", "RawSQL"),
        ("raw SQL", "# raw SQL: there was some once", "allows nothing"),
        ("trusted markup", "mark_safe(name)", "mark_safe"),
        ("trusted markup", "safestring.SafeString(name)", "safestring.SafeString"),
        ("trusted markup", "format_html(f'<b>{name}</b>')", "format_html"),
        ("trusted markup", "format_html_join('', typed, names)", "format_html_join"),
        ("trusted markup", "x = 1  # trusted markup: it was", "allows nothing"),
        ("rows in a coroutine", "async def f():\n async for o in Order.objects.all(): ...", "Order.objects"),
        ("rows in a coroutine", "async def f(o):\n await o.refresh_from_db()", "o.refresh_from_db"),
        (
            "rows in a coroutine",
            "from orders.services import reviewing\nasync def f():\n with x:\n  reviewing.approve(order_id=1)",
            "reviewing.approve",
        ),
        (
            "rows in a coroutine",
            "from orders.live_state import live_state\nasync def f():\n return live_state(1)",
            "live_state",
        ),
        ("clock", "from datetime import datetime\ndatetime.now(UTC)", "datetime.now"),
        ("clock", "import datetime\nat = datetime.datetime.now()", "datetime.datetime.now"),
        ("clock", "import time\ntime.monotonic()", "time.monotonic"),
        ("clock", "import random\nwait = random.random()", "random.random"),
        ("clock", "import uuid\nkey = uuid.uuid4()", "uuid.uuid4"),
        ("clock", "from uuid import uuid4\nkey = uuid4()", "uuid4"),
        ("clock", "import os\nos.environ['X']", "os.environ"),
    ],
)
def test_a_planted_fault_is_found(name: str, planted: str, what: str) -> None:
    rule, _ = RULES[name]

    (found,) = not_allowed(name, rule(ast.parse(planted)), planted)

    assert found.endswith(f": {what}")


@pytest.mark.parametrize("planted", ["{{ name|safe }}", "{{ names | safeseq }}", "{% autoescape off %}{{ name }}"])
def test_a_fault_planted_in_a_template_is_found(planted: str) -> None:
    assert len(not_allowed("trusted markup", markup_in(planted), planted)) == 1


@pytest.mark.parametrize(
    ("name", "sound"),
    [
        ("raw SQL", "cursor.execute('LISTEN x')  # raw SQL: listening is no query"),
        ("trusted markup", "format_html('<b>{}</b>', name)"),
        ("rows in a coroutine", "from orders.services import x\nasync def f():\n await sync_to_async(x.approve)(1)"),
        (
            "rows in a coroutine",
            "async def f():\n def look(): return Order.objects.first()\n return await to_thread(look)",
        ),
        ("clock", "from temporalio import workflow\nat = workflow.now(); n = workflow.random().random()"),
    ],
)
def test_what_is_sound_is_let_be(name: str, sound: str) -> None:
    rule, _ = RULES[name]
    assert not_allowed(name, rule(ast.parse(sound)), sound) == []
