"""Who gets what at every address of the desk and of the API: each role, each method, one's own and others' things.

One table for each. In a cell stands what comes of it:

    ok    an answer, and nothing is written        did   it is done, and something was written
    in    sent to sign in                          to    sent elsewhere, and nothing is written
    no    403: may not                             none  404: there is no such thing, or not for them
    401   no sign-in or token that counts          409   may, but not now
    -     a stream, which ends the test's connection: tests/orders/test_live.py and tests/api/test_wait.py have it

Methods that stand in no line are refused. No refusal may write a thing.
"""

import json
import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from urllib.parse import urlencode

from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from orders.api.endpoints import api
from orders.models import ApiClient, ApiScope
from orders.services import clients
from tests.security.world import RECOVERY_CODE, World

OTHERS = re.compile(r"admin/(?!login/)|\^?api/")
RECORDS = re.compile(r"admin/(?!login/)")
DESK = """
address          method  of what          nobody  viewer  operator  lead  admin
login            GET                      ok      to      to        to    to
login            POST                     ok      to      to        to    to
login            DELETE                   405     to      to        to    to
second_factor    GET                      in      in      in        in    in
second_factor    POST                     in      in      in        in    in
second_factor    DELETE                   405     405     405       405   405
logout           POST                     in      in      in        in    in
healthz          GET                      ok      ok      ok        ok    ok
readyz           GET                      ok      ok      ok        ok    ok
metrics          GET                      401     401     401       401   401
favicon          GET                      to      to      to        to    to
records_door     GET                      in      no      no        no    to
records_door     POST                     405     405     405       405   405
records_door     DELETE                   405     405     405       405   405
answer           GET     question         ok      ok      ok        ok    ok
answer           POST    question         did     did     did       did   did
payment_webhook  POST                     415     415     415       415   415
queue            GET                      in      ok      ok        ok    ok
orders           GET                      in      ok      ok        ok    ok
export           GET                      in      no      ok        ok    ok
order            GET     order            in      ok      ok        ok    ok
order            GET     no order         in      none    none      none  none
print            GET     order            in      ok      ok        ok    ok
audit_json       GET     order            in      no      ok        ok    ok
audit_csv        GET     order            in      no      ok        ok    ok
history          GET     order            in      ok      ok        ok    ok
timeline         GET     order            in      to      to        to    to
mentions         GET                      in      ok      ok        ok    ok
me               GET                      in      ok      ok        ok    ok
prefer           POST                     in      did     did       did   did
reset_own        POST                     in      none    none      did   did
second_factors   GET                      in      no      no        no    ok
second_factors   POST                     in      no      no        no    did
team             GET                      in      no      no        ok    ok
roles            GET                      in      ok      ok        ok    ok
health           GET                      in      no      no        ok    ok
start_again      POST    order            in      no      no        did   did
start_again      POST    no order         in      no      no        none  none
reasons          GET                      in      no      no        ok    ok
reasons          POST                     in      no      no        did   did
live             GET                      401     -       -         -     -
catch_up_queue   GET                      in      ok      ok        ok    ok
catch_up_orders  GET                      in      ok      ok        ok    ok
catch_up_order   GET     order            in      ok      ok        ok    ok
catch_up_desk    GET                      in      ok      ok        ok    ok
count_views      GET                      in      ok      ok        ok    ok
save_view        POST                     in      did     did       did   did
save_view        POST    shared view      in      to      to        did   did
rename_view      POST    own view         in      did     did       did   did
rename_view      POST    bob's view       in      none    none      none  none
rename_view      POST    shared view      in      to      to        did   did
delete_view      POST    own view         in      did     did       did   did
delete_view      POST    bob's view       in      none    none      none  none
delete_view      POST    shared view      in      to      to        did   did
approve          POST    order            in      no      did       did   did
approve          POST    bob's order      in      no      409       409   409
approve          POST    escalated order  in      no      409       did   did
approve          POST    no order         in      none    none      none  none
reject           POST    order            in      no      did       did   did
reject           POST    bob's order      in      no      409       409   409
reject           POST    escalated order  in      no      409       did   did
cancel           POST    order            in      no      did       did   did
cancel           POST    bob's order      in      no      409       409   409
cancel           POST    escalated order  in      no      did       did   did
extend           POST    order            in      no      did       did   did
extend           POST    bob's order      in      no      409       409   409
extend           POST    escalated order  in      no      409       did   did
retry            POST    short order      in      no      did       did   did
ask              POST    order            in      no      did       did   did
ask              POST    bob's order      in      no      409       409   409
snooze           POST    order            in      no      did       did   did
snooze           POST    bob's order      in      no      409       409   409
resume           POST    order put off    in      no      did       did   did
change_address   POST    order            in      no      did       did   did
change_address   POST    bob's order      in      no      409       409   409
check_address    POST    order            in      no      ok        ok    ok
refund           POST    completed order  in      no      did       did   did
claim            POST    order            in      no      did       did   did
claim            POST    own order        in      no      did       did   did
claim            POST    bob's order      in      no      409       409   409
renew            POST    order            in      no      409       409   409
renew            POST    own order        in      no      did       did   did
renew            POST    bob's order      in      no      409       409   409
unclaim          POST    own order        in      no      did       did   did
unclaim          POST    bob's order      in      no      409       409   409
hand_over        POST    own order        in      no      did       did   did
hand_over        POST    bob's order      in      no      409       did   did
take_over        POST    bob's order      in      no      no        did   did
note             POST    order            in      no      did       did   did
edit_note        POST    own note         in      no      did       did   did
edit_note        POST    bob's note       in      no      no        no    no
bulks            GET                      in      ok      ok        ok    ok
preview_bulk     GET                      in      to      to        to    to
preview_bulk     POST    order            in      no      ok        ok    ok
begin_bulk       GET                      in      to      to        to    to
begin_bulk       POST    order            in      no      did       did   did
begin_bulk       POST    bob's bulk       in      no      no        no    no
bulk             GET     own bulk         in      ok      ok        ok    ok
bulk             GET     bob's bulk       in      none    none      ok    ok
catch_up_bulk    GET     own bulk         in      ok      ok        ok    ok
catch_up_bulk    GET     bob's bulk       in      none    none      ok    ok
"""

API = """
address                             method  of what          none  revoked  read  place  viewer  operator  lead  admin
/openapi.json                       GET                      ok    ok       ok    ok     ok      ok        ok    ok
/nothing                            GET                      none  none     none  none   none    none      none  none
/nothing                            POST                     none  none     none  none   none    none      none  none
/nothing                            PUT                      none  none     none  none   none    none      none  none
/nothing                            DELETE                   none  none     none  none   none    none      none  none
/orders                             POST                     401   401      no    did    no      no        no    no
/orders                             GET                      401   401      ok    no     ok      ok        ok    ok
/orders/{order_id}                  GET     order            401   401      ok    no     ok      ok        ok    ok
/orders/{order_id}                  GET     no order         401   401      none  no     none    none      none  none
/orders/{order_id}/live             GET     order            401   401      ok    no     ok      ok        ok    ok
/orders/{order_id}/wait             GET     no order         401   401      none  no     none    none      none  none
/orders/{order_id}/approve          POST    order            401   401      no    no     no      did       did   did
/orders/{order_id}/approve          POST    bob's order      401   401      no    no     no      409       409   409
/orders/{order_id}/approve          POST    escalated order  401   401      no    no     no      409       did   did
/orders/{order_id}/reject           POST    order            401   401      no    no     no      did       did   did
/orders/{order_id}/reject           POST    bob's order      401   401      no    no     no      409       409   409
/orders/{order_id}/cancel           POST    order            401   401      no    no     no      did       did   did
/orders/{order_id}/cancel           POST    bob's order      401   401      no    no     no      409       409   409
/orders/{order_id}/retry            POST    short order      401   401      no    no     no      did       did   did
/orders/{order_id}/address          POST    order            401   401      no    no     no      did       did   did
/orders/{order_id}/address          POST    bob's order      401   401      no    no     no      409       409   409
/orders/{order_id}/extend           POST    order            401   401      no    no     no      did       did   did
/orders/{order_id}/extend           POST    bob's order      401   401      no    no     no      409       409   409
/orders/{order_id}/ask              POST    order            401   401      no    no     no      did       did   did
/orders/{order_id}/ask              POST    bob's order      401   401      no    no     no      409       409   409
/orders/{order_id}/snooze           POST    order            401   401      no    no     no      did       did   did
/orders/{order_id}/snooze           POST    bob's order      401   401      no    no     no      409       409   409
/orders/{order_id}/resume           POST    order put off    401   401      no    no     no      did       did   did
/orders/{order_id}/refund           POST    completed order  401   401      no    no     no      did       did   did
/orders/{order_id}/notes            GET     order            401   401      ok    no     ok      ok        ok    ok
/orders/{order_id}/notes            POST    order            401   401      no    no     no      did       did   did
/orders/{order_id}/notes/{note_id}  PUT     own note         401   401      no    no     no      did       did   did
/orders/{order_id}/notes/{note_id}  PUT     bob's note       401   401      no    no     no      no        no    no
/bulk/preview                       POST    order            401   401      no    no     no      ok        ok    ok
/bulk                               POST    order            401   401      no    no     no      did       did   did
/bulk/{bulk_id}                     GET     own bulk         401   401      no    no     ok      ok        ok    ok
/bulk/{bulk_id}                     GET     bob's bulk       401   401      no    no     none    none      ok    ok
"""


@dataclass(frozen=True)
class Line:
    """A line of a table: what comes of it for each of the columns."""

    address: str
    method: str
    of: str
    cells: Mapping[str, str]


def read(table: str) -> list[Line]:
    """Its lines. Fields stand where their heading does."""
    head, *rows = [row for row in table.splitlines() if row]
    begins = [match.start() for match in re.finditer(r"(?<!\S)\S+(?: \S+)*", head)]
    cut = [[row[a:b].strip() for a, b in zip(begins, [*begins[1:], None], strict=True)] for row in (head, *rows)]
    columns = cut[0][3:]
    return [Line(row[0], row[1], row[2], dict(zip(columns, row[3:], strict=True))) for row in cut[1:]]


DESK_LINES, API_LINES = read(DESK), read(API)


# What is sent with a POST or PUT, where that is not nothing


ADDRESS = {"line1": "Mill Lane 2", "city": "Leeds", "postal_code": "LS1 4AP", "country": "GB"}
WHY = {"reason": "She calls back"}


def form_for(line: Line, named: Mapping[str, Any]) -> dict[str, Any]:
    forms: dict[str, dict[str, Any]] = {
        "answer": {"answer": "The left one"},
        "ask": {"question": "Which flat?", "wait": "60"},
        "begin_bulk": {
            "id": named.get("bulk_id", uuid.uuid4()),
            "action": "approve",
            "chosen": f"{named.get('order_id')}.{named.get('version')}",
        },
        "change_address": ADDRESS,
        "edit_note": {"text": "Said anew", "note": named.get("note_id")},
        "extend": {"minutes": "60", **WHY},
        "hand_over": {"to": "carol"},
        "note": {"text": "She called"},
        "prefer": {"zone": "Europe/Berlin", "locale": "de_DE"},
        "preview_bulk": {"action": "approve", "order": named.get("order_id")},
        "reasons": {"do": "add", "text": "A reason more"},
        "refund": {"amount": "1", **WHY},
        "reject": {"code": "fraud"},
        "reset_own": {"code": RECOVERY_CODE},
        "second_factors": {"who": "lead", **WHY},
        "rename_view": {"name": "Otherwise"},
        "save_view": {"name": "France", "query": "country=FR"} | ({"shared": "1"} if "shared" in line.of else {}),
        "snooze": {"wait": "60", **WHY},
    }
    return forms.get(line.address, {})


def body_for(line: Line, named: Mapping[str, Any]) -> dict[str, Any]:
    until = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    chosen = {"id": str(named.get("order_id")), "version": named.get("version")}
    bodies: dict[str, dict[str, Any]] = {
        "address": {"address": ADDRESS},
        "ask": {"question": "Which flat?", "until": until},
        "bulk": {"action": "approve", "orders": [chosen]},
        "extend": {"due_at": (datetime.now(UTC) + timedelta(hours=25)).isoformat(), **WHY},
        "notes": {"text": "She called"},
        "orders": {
            "reference": "web-1",
            "customer_name": "Ann Lee",
            "address": ADDRESS,
            "currency": "EUR",
            "lines": [{"sku": "LAMP", "quantity": 2, "unit_price_minor": 60_000}],
        },
        "preview": {"action": "approve", "orders": [chosen["id"]]},
        "refund": {"amount_minor": 100, **WHY},
        "reject": {"code": "fraud"},
        "snooze": {"until": until, **WHY},
        "{note_id}": {"text": "Said anew"},
    }
    return bodies.get(line.address.rpartition("/")[2], {})


# The walk


UNCOUNTED = ('"django_session"', '"last_used_at"', '"last_login"')  # that somebody was here, not that they did a thing
WORDS = {200: "ok", 201: "ok", 204: "ok", 302: "to", 403: "no", 404: "none"}


def outcome(client: Client, method: str, url: str, **sent: Any) -> str:
    """What comes of a request, in the words of the tables. It is undone."""
    written: list[str] = []

    def watch(execute: Any, sql: str, parameters: Any, many: bool, context: Any) -> Any:
        result = execute(sql, parameters, many, context)
        is_write = re.match(r"\s*(INSERT|UPDATE|DELETE)", sql) and not any(name in sql for name in UNCOUNTED)
        if is_write and context["cursor"].rowcount:
            written.append(sql)
        return result

    cookies = copy(client.cookies)
    with transaction.atomic(), connection.execute_wrapper(watch):
        answer = client.generic(method, url, **sent)
        transaction.set_rollback(True)
    client.cookies = cookies
    if answer.status_code >= 400:
        return WORDS.get(answer.status_code, str(answer.status_code)) + (f" but wrote: {written[0]}" if written else "")
    if answer.status_code == 302 and answer.headers["Location"].startswith(reverse("login")):
        return "in"
    return "did" if written else WORDS[answer.status_code]


def at_desk(world: World) -> dict[str, Client]:
    """A browser for each column of the desk's table."""
    browsers = {role: Client(raise_request_exception=False) for role in ("nobody", *world.people)}
    for role, user in world.people.items():
        world.sign_in(browsers[role], user)
    return browsers


def at_api(world: World) -> dict[str, Client]:
    """A program for each column of the API's table: with no token, with one of a scope, or with one of a person's."""
    programs = {"none": ""}
    for name in ("revoked", "read", "place", *world.people):
        scopes = [ApiScope(name)] if name in ApiScope.values else [ApiScope.READ, ApiScope.DECIDE]
        user = None if name in ApiScope.values else world.people.get(name, world.people["lead"])
        programs[name] = clients.create_client(name=name, scopes=scopes, user=user, at=world.now)
    ApiClient.objects.filter(name="revoked").update(revoked_at=world.now)
    return {
        name: Client(headers={"Authorization": f"Bearer {token}"} if token else {}, raise_request_exception=False)
        for name, token in programs.items()
    }


def addresses() -> Iterator[tuple[str, str]]:
    """Every address that Django knows, and its name where the desk gives it one."""

    def below(resolver: URLResolver, route: str) -> Iterator[tuple[str, URLPattern]]:
        for pattern in resolver.url_patterns:
            if isinstance(pattern, URLResolver):
                yield from below(pattern, route + str(pattern.pattern))
            else:
                yield route + str(pattern.pattern), pattern

    for route, pattern in below(get_resolver(), ""):
        yield route, pattern.name or ""


def braced(route: str) -> str:
    return re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", route)


@cache
def desk_addresses() -> dict[str, str]:
    """By name, or by themselves where they have none."""
    desk = [(route, name) for route, name in addresses() if not OTHERS.match(route)]
    return {"records_door" if route == "admin/login/" else name: f"/{braced(route)}" for route, name in desk}


def api_addresses() -> set[str]:
    return {braced(route).removeprefix("api/v1") for route, _ in addresses() if re.match(r"api/v1/[^^]", route)}


def operations() -> set[tuple[str, str]]:
    """Every address of the API with a method that it takes."""
    paths = api.default_router.path_operations.items()
    taken = {(path, method) for path, view in paths for operation in view.operations for method in operation.methods}
    return taken | {(address, "GET") for address in api_addresses() - {address for address, _ in taken}}


def record_addresses() -> list[str]:
    """The pages of the raw records, each with something in place of what it names."""
    routes = [re.sub(r"\^\(\?P<app_label>(\w+).*|\(\?P<url>.*", r"\1/", route) for route, _ in addresses()]
    return [re.sub("<[^>]+>", "1", f"/{route}") for route in routes if RECORDS.match(route)]


def at_the_desk(world: World, client: Client, line: Line, who: str) -> str:
    named = world.named(line.of, who)
    sent = urlencode(form_for(line, named)) if line.method == "POST" else ""
    url = desk_addresses()[line.address].format(**named)
    return outcome(client, line.method, url, data=sent, content_type="application/x-www-form-urlencoded")


def over_the_api(world: World, client: Client, line: Line, who: str) -> str:
    named, key = world.named(line.of, who), {"Idempotency-Key": "key-1"}
    sent = json.dumps(body_for(line, named)) if line.method != "GET" else ""
    url = f"/api/v1{line.address.format(**named)}"
    return outcome(client, line.method, url, data=sent, content_type="application/json", headers=key)


def differences(lines: Iterable[Line], clients: Mapping[str, Client], ask: Callable[..., str], world: World) -> str:
    """What comes otherwise than the lines say, in words."""
    return "\n".join(
        f"{line.method} {line.address} {line.of}: {who} gets {found!r} instead of {wanted!r}"
        for line in lines
        for who, wanted in line.cells.items()
        if wanted != "-" and (found := ask(world, clients[who], line, who)) != wanted
    )


def others(lines: Sequence[Line], methods: Iterable[str]) -> list[Line]:
    """The methods that no line has, at each address: who may nothing and who may most get nothing by them."""
    known = {(line.address, line.method) for line in lines}
    first = {line.address: line for line in reversed(lines)}
    return [
        Line(
            line.address,
            method,
            line.of,
            {who: _refused(who, line.cells[who]) for who in (*list(line.cells)[:1], "admin")},
        )
        for line in first.values()
        for method in methods
        if (line.address, method) not in known
    ]


def _refused(who: str, cell: str) -> str:
    return "in" if (who, cell) == ("nobody", "in") else "405"


def test_every_address_has_a_line() -> None:
    assert set(desk_addresses()) ^ {line.address for line in DESK_LINES} == set()
    told = {(line.address, line.method) for line in API_LINES if line.address != "/nothing"}
    assert operations() ^ told == set()


def test_everybody_gets_at_the_desk_what_the_table_says(world: World) -> None:
    lines = [*DESK_LINES, *others(DESK_LINES, ("GET", "POST", "DELETE"))]

    wrong = differences(lines, at_desk(world), at_the_desk, world)
    assert not wrong, wrong


def test_every_program_gets_from_the_api_what_the_table_says(world: World) -> None:
    lines = [*API_LINES, *others(API_LINES, ("GET", "POST", "PUT", "DELETE"))]

    wrong = differences(lines, at_api(world), over_the_api, world)
    assert not wrong, wrong


def test_the_raw_records_send_away_all_but_admins(lead: User) -> None:
    nobody, at_leads = Client(), Client()
    at_leads.force_login(lead)
    asked = ((nobody, "GET"), (at_leads, "GET"), (at_leads, "POST"))

    found = [
        f"{method} {url}: {came}"
        for url in record_addresses()
        for client, method in asked
        if (came := outcome(client, method, url)) not in ("in", "to")
    ]

    assert found == []


def test_no_form_is_taken_without_its_token(world: World) -> None:
    browser = Client(enforce_csrf_checks=True)
    world.sign_in(browser, world.people["admin"])
    forms = [line for line in DESK_LINES if line.method == "POST" and line.address != "payment_webhook"]

    taken = [line for line in forms if at_the_desk(world, browser, line, "admin") != "no"]

    assert taken == []
