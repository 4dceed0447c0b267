"""The simulated MoEngage refuses, drops and keeps what MoEngage documents that it does, and misbehaves on demand."""

from __future__ import annotations

import base64
import itertools
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import requests

from simulators.moengage import MoEngage, simulate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulators.moengage_workspace import Workspace

NOW = 1_700_000_000.0  # 2023-11-14T22:13:20Z
ROOT = Path(__file__).parents[2]
NUMBERS = itertools.count(1)
ACCEPTED = "Your request has been accepted and will be processed soon."


@pytest.fixture(scope="module")
def clock() -> SimpleNamespace:
    return SimpleNamespace(now=NOW)


@pytest.fixture(scope="module")
def moengage(clock: SimpleNamespace) -> Iterator[MoEngage]:
    with simulate(clock=lambda: clock.now) as running:
        yield running


@pytest.fixture
def workspace(moengage: MoEngage) -> Workspace:
    return moengage.workspace(f"W{next(NUMBERS)}", key="data-key")


def customer(customer_id: Any = "m-1", **fields: Any) -> dict[str, Any]:
    return {"type": "customer", "customer_id": customer_id, "attributes": {"u_fn": "Ann"}} | fields


def with_attributes(**attributes: Any) -> dict[str, Any]:
    return customer(attributes=attributes)


def event(action: Any = "checkins", time: Any = "2023-11-01T10:00:00Z", **attributes: Any) -> dict[str, Any]:
    return {
        "type": "event",
        "customer_id": "m-1",
        "actions": [{"action": action, "current_time": time, "attributes": attributes}],
    }


def with_action(**fields: Any) -> dict[str, Any]:
    return {"type": "event", "customer_id": "m-1", "actions": [{"action": "checkins"} | fields]}


def without(item: dict[str, Any], field: str) -> dict[str, Any]:
    return {name: value for name, value in item.items() if name != field}


def bulk(*elements: Any) -> dict[str, Any]:
    return {"type": "transition", "elements": list(elements)}


def authorization(user: str, key: str) -> str:
    return f"Basic {base64.b64encode(f'{user}:{key}'.encode()).decode()}"


def default_headers(workspace: Workspace) -> dict[str, str]:
    return {"Authorization": authorization(workspace.id, workspace.key), "Content-Type": "application/json"}


def post(
    moengage: MoEngage, workspace: Workspace, body: Any, path: str | None = None, headers: Any = None
) -> requests.Response:
    path = path or {"customer": "customer", "event": "event"}.get(body["type"], "transition")
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    url = f"{moengage.url}/v1/{path}/{workspace.id}"
    return requests.post(url, data, headers=headers or default_headers(workspace), timeout=5)


def attributes_of(workspace: Workspace, customer_id: str = "m-1") -> dict[str, Any]:
    user = workspace.user(customer_id=customer_id)
    assert user
    return user.attributes


def control(moengage: MoEngage, method: str, path: str, body: Any = None) -> Any:
    reply = requests.request(method, f"{moengage.url}/_simulator/{path}", json=body, timeout=5)
    return reply.status_code, reply.json()


# Rule, element that keeps it, one that breaks it, and the error's type and attribute.
RULES: list[tuple[str, Any, Any, str, str]] = [
    ("customer_id", customer(), without(customer(), "customer_id"), "MissingAttributeError", "customer_id"),
    ("customer_id not empty", customer("ab"), customer(""), "MissingAttributeError", "customer_id"),
    ("customer_id is text", customer("42"), customer(42), "TypeError", "customer_id"),
    ("customer_id not blocked", customer("guest-1"), customer("guest"), "AttributeError", "customer_id"),
    ("customer_id in any case", customer("nobody"), customer("None"), "AttributeError", "customer_id"),
    ("customer_id's length", customer("xy"), customer("x"), "AttributeError", "customer_id"),
    ("event's customer_id", event(), without(event(), "customer_id"), "MissingAttributeError", "customer_id"),
    ("attributes", customer(attributes={}), customer(attributes=[]), "TypeError", "attributes"),
    ("flag", customer(update_existing_only=False), customer(update_existing_only="no"), "TypeError", "update_exist"),
    ("blocked name", with_attributes(member_id=1), with_attributes(id=1), "AttributeError", "id"),
    ("empty name", with_attributes(a=1), with_attributes(**{"": 1}), "AttributeError", ""),
    ("reserved name", with_attributes(tier_status="x"), with_attributes(status="x"), "AttributeError", "status"),
    ("reserved prefix", with_attributes(moe="x"), with_attributes(moe_tier="x"), "AttributeError", "moe_tier"),
    ("name's length", with_attributes(**{"n" * 200: 1}), with_attributes(**{"n" * 201: 1}), "AttributeError", "nnn"),
    ("first name", with_attributes(u_fn="Ann"), with_attributes(u_fn=1), "TypeError", "u_fn"),
    ("unsubscribe", with_attributes(moe_unsubscribe=True), with_attributes(moe_unsubscribe="true"), "TypeError", "moe"),
    ("push", with_attributes(push_preference=False), with_attributes(push_preference=None), "TypeError", "push"),
    (
        "added values",
        with_attributes(addValueToArrayField={"tags": ["a"]}),
        with_attributes(addValueToArrayField={"tags": "a"}),
        "TypeError",
        "addValueToArrayField",
    ),
    (
        "add or remove",
        with_attributes(addValueToArrayField={"tags": ["a"]}, removeValueFromArrayField={"other": ["b"]}),
        with_attributes(addValueToArrayField={"tags": ["a"]}, removeValueFromArrayField={"tags": ["b"]}),
        "ArrayFieldError",
        "addValueToArrayField",
    ),
    ("unset", customer(), customer(unset_attributes=[{"type": "regex", "attr": "a"}]), "AttributeError", "unset"),
    ("actions", event(), event() | {"actions": []}, "MissingAttributeError", "actions"),
    ("actions present", event(), without(event(), "actions"), "MissingAttributeError", "actions"),
    ("action", with_action(), {**event(), "actions": [{}]}, "MissingAttributeError", "action"),
    ("action not empty", event("a"), event(" "), "MissingAttributeError", "action"),
    ("action is text", event("7"), event(7), "Malformed JSON", "action"),
    ("action's length", event("n" * 200), event("n" * 201), "AttributeError", "action"),
    ("action's prefix", event("moe"), event("MOE_APP_OPENED"), "AttributeError", "action"),
    ("event attributes", with_action(attributes={}), with_action(attributes=None), "TypeError", "attributes"),
    ("event attribute's name", event(coupon_status=1), event(status=1), "AttributeError", "status"),
    ("reserved by events too", event(punchh_user_id=1), event(user_id=1), "AttributeError", "user_id"),
    ("time", event(time="2023-11-01T10:00:00+01:00"), event(time="1 November"), "AttributeError", "current_time"),
    ("time exists", event(time="2023-06-30"), event(time="2023-06-31"), "AttributeError", "current_time"),
    ("not in the future", event(time=int(NOW)), event(time=int(NOW) + 1), "AttributeError", "current_time"),
    ("a time is no truth", event(time=0), event(time=True), "AttributeError", "current_time"),
    (
        "offset",
        with_action(user_timezone_offset=-54_000),
        with_action(user_timezone_offset=54_001),
        "AttributeError",
        "user_timezone_offset",
    ),
    ("platform", with_action(platform="web"), with_action(platform=1), "TypeError", "platform"),
]


@pytest.mark.parametrize("element", [pytest.param(it[1], id=it[0]) for it in RULES])
def test_an_element_that_keeps_the_rule_is_accepted(moengage: MoEngage, workspace: Workspace, element: Any) -> None:
    reply = post(moengage, workspace, element)

    assert reply.status_code == 200
    assert reply.json() == {"status": "success", "message": ACCEPTED, "request_id": reply.json()["request_id"]}
    assert len(workspace.updates) + len(workspace.events) == 1
    assert workspace.silently_dropped == []


@pytest.mark.parametrize(("element", "kind", "attribute"), [pytest.param(*it[2:], id=it[0]) for it in RULES])
def test_a_single_call_reports_what_is_wrong_with_its_element(
    moengage: MoEngage, workspace: Workspace, element: Any, kind: str, attribute: str
) -> None:
    reply = post(moengage, workspace, element)

    assert (reply.status_code, reply.json()["status"]) == (400, "fail")
    assert reply.json()["error"].keys() == {"type", "message", "attribute", "request_id"}
    assert reply.json()["error"]["type"] == kind
    assert reply.json()["error"]["attribute"].startswith(attribute)
    assert [note.field for note in workspace.refused] == [reply.json()["error"]["attribute"]]
    assert workspace.users == []


@pytest.mark.parametrize("element", [pytest.param(it[2], id=it[0]) for it in RULES])
def test_a_bulk_import_accepts_a_bad_element_and_drops_it_silently(
    moengage: MoEngage, workspace: Workspace, element: Any
) -> None:
    reply = post(moengage, workspace, bulk(customer("good"), element, event()))

    assert (reply.status_code, reply.json()["message"]) == (200, ACCEPTED)
    assert [(note.path, note.position) for note in workspace.silently_dropped] == [("transition", 1)]
    assert [user.id for user in workspace.users] == ["good", "m-1"]


# Rule, element, the field that MoEngage leaves out or changes without an error, and what it keeps of its attributes.
SILENT: list[tuple[str, Any, str, Any]] = [
    ("text is cut", with_attributes(note="n" * 513), "note", {"note": "n" * 512}),
    ("link is left out", with_attributes(link="https://e.com/" + "l" * 500), "link", {}),
    ("array's length", with_attributes(tags=["t"] * 51), "tags", {}),
    ("array of one type", with_attributes(tags=["t", 1]), "tags", {}),
    ("array in an array", with_attributes(tags=[["t"]]), "tags", {}),
    ("null", with_attributes(tier=None), "tier", {}),
    ("objects are off", with_attributes(balance={"points": 1}), "balance", {}),
    ("array of objects", with_attributes(items=[{"a": 1}]), "items", {}),
    ("address", with_attributes(u_em="ann"), "u_em", {}),
    ("mobile", with_attributes(u_mb="call me"), "u_mb", {}),
    ("birthday", with_attributes(u_bd="1981-02-29"), "u_bd", {}),
    ("opt-in status", with_attributes(moe_email_optin_status="yes"), "moe_email_optin_status", {}),
    ("unset is off", customer(unset_attributes=[{"type": "equals", "attr": "a"}]), "unset_attributes", {"u_fn": "Ann"}),
    ("event's text", event(note="n" * 513), "attributes.note", {"note": "n" * 512}),
    ("event's null", event(note=None, a=1), "attributes.note", {"a": 1}),
    ("event's object", event(o={"a": 1}), "attributes.o", {}),
    (
        "event's attributes",
        event(**{f"a{number}": 1 for number in range(101)}),
        "attributes.a100",
        {f"a{number}": 1 for number in range(100)},
    ),
]


@pytest.mark.parametrize("path", ["single", "transition"])
@pytest.mark.parametrize(("element", "field", "kept"), [pytest.param(*it[1:], id=it[0]) for it in SILENT])
def test_what_moengage_leaves_out_without_an_error_is_noted_here(
    moengage: MoEngage, workspace: Workspace, path: str, element: Any, field: str, kept: Any
) -> None:
    reply = post(moengage, workspace, element if path == "single" else bulk(element))

    assert reply.status_code == 200
    assert [note.field for note in workspace.silently_dropped] == [field]
    assert (workspace.updates or workspace.events)[0].attributes == kept


def test_objects_and_unsetting_work_where_they_are_switched_on(moengage: MoEngage, workspace: Workspace) -> None:
    workspace.configure(objects=True, unset=True)
    post(moengage, workspace, with_attributes(balance={"points": 1}, Temp_a=1, tier="gold"))

    condition = {"type": "prefix", "attr": "temp_", "case_sensitive": False}
    post(moengage, workspace, customer(attributes={}, unset_attributes=[condition, {"type": "equals", "attr": "tier"}]))

    assert attributes_of(workspace) == {"balance": {"points": 1}}
    assert workspace.silently_dropped == []


def test_values_are_added_to_and_removed_from_an_array(moengage: MoEngage, workspace: Workspace) -> None:
    post(moengage, workspace, with_attributes(tags=["a", "b"]))

    edits = {"addValueToArrayField": {"tags": ["b", "c"]}, "removeValueFromArrayField": {"other": ["x"]}}
    post(moengage, workspace, with_attributes(**edits))
    post(moengage, workspace, with_attributes(removeValueFromArrayField={"tags": ["a"]}))

    assert attributes_of(workspace)["tags"] == ["b", "c"]


def test_an_unknown_user_is_not_created_when_only_existing_ones_are_meant(
    moengage: MoEngage, workspace: Workspace
) -> None:
    reply = post(moengage, workspace, customer(update_existing_only=True))

    assert reply.status_code == 200
    assert (workspace.users, workspace.updates) == ([], [])
    assert len(workspace.ignored) == 1


def test_an_event_creates_its_user(moengage: MoEngage, workspace: Workspace) -> None:
    post(moengage, workspace, event())

    post(moengage, workspace, customer(update_existing_only=True))

    assert attributes_of(workspace) == {"u_fn": "Ann"}
    assert workspace.ignored == []


def test_some_attributes_can_only_be_set_at_creation(moengage: MoEngage, workspace: Workspace) -> None:
    post(moengage, workspace, with_attributes(publisher_name="ads"))

    post(moengage, workspace, with_attributes(publisher_name="other"))

    assert attributes_of(workspace) == {"publisher_name": "ads"}
    assert [note.field for note in workspace.silently_dropped] == ["publisher_name"]


def test_a_workspace_with_identity_resolution_finds_users_by_other_identifiers(
    moengage: MoEngage, workspace: Workspace
) -> None:
    workspace.configure(identifiers=("u_em", "u_mb"))
    post(moengage, workspace, with_attributes(u_em="a@b.co"))
    by_address = without(event(), "customer_id") | {"user_identifiers": {"u_em": "a@b.co"}}

    replies = [
        post(moengage, workspace, by_address),
        post(moengage, workspace, without(with_attributes(u_mb="491711234567"), "customer_id")),
        post(moengage, workspace, without(event(), "customer_id")),
    ]

    assert [reply.status_code for reply in replies] == [200, 200, 400]
    assert [it.user for it in workspace.events] == ["m-1"]
    assert [(user.id, user.attributes) for user in workspace.users][1:] == [(None, {"u_mb": "491711234567"})]


def test_events_are_kept_in_order_with_the_time_they_came(
    moengage: MoEngage, workspace: Workspace, clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "now", NOW + 5)
    seconds, milliseconds = event("b", 1_698_832_800), event("c", "1698832800000")

    post(moengage, workspace, bulk(event("a.x"), seconds, milliseconds, with_action(action="d")))

    happened = 1_698_832_800.0
    assert [(it.name, it.received_at, it.time) for it in workspace.events] == [
        ("a x", NOW + 5, happened),
        ("b", NOW + 5, happened),
        ("c", NOW + 5, happened),
        ("d", NOW + 5, NOW + 5),
    ]


def test_a_second_type_under_one_name_is_noted(moengage: MoEngage, workspace: Workspace) -> None:
    post(moengage, workspace, bulk(with_attributes(points=5, tier=""), with_attributes(points="5", tier=1)))
    post(moengage, workspace, bulk(event(points=5), event(points="5"), event("rewards", points="5")))

    assert [(note.path, note.position, note.field) for note in workspace.retyped] == [
        ("transition", 1, "points"),
        ("transition", 1, "points"),
    ]


def test_a_workspace_has_256_custom_attributes_and_512_events(moengage: MoEngage, workspace: Workspace) -> None:
    attributes = [customer(attributes={f"a{number}": 1, "u_fn": "Ann"}) for number in range(257)]
    events = [event(f"e{number}") for number in range(513)]

    replies = [post(moengage, workspace, bulk(*attributes)), post(moengage, workspace, bulk(*events))]

    assert [reply.status_code for reply in replies] == [200, 200]
    assert [(note.position, note.field) for note in workspace.silently_dropped] == [(256, "a256"), (512, "action")]
    assert len(workspace.events) == 512


@pytest.mark.parametrize(
    ("body", "kind", "attribute"),
    [
        pytest.param(b"", "Empty request body", None, id="empty"),
        pytest.param(b"{", "Malformed JSON", None, id="cut off"),
        pytest.param(b'{"type": "\xff"}', "Malformed JSON", None, id="not UTF-8"),
        pytest.param(b'{"type": NaN}', "Malformed JSON", None, id="NaN"),
        pytest.param(b'{"type": "\\ud800"}', "Malformed JSON", None, id="half a character"),
        pytest.param(b'"text"', "Body type is not JSON", None, id="a text"),
        pytest.param(b'{"elements": []}', "AttributeError", "type", id="no type"),
        pytest.param(b'{"type": "Transition", "elements": []}', "AttributeError", "type", id="type in capitals"),
        pytest.param(b'{"type": "transition"}', "MissingAttributeError", "elements", id="no elements"),
        pytest.param(b'{"type": "transition", "elements": []}', "MissingAttributeError", "elements", id="no element"),
        pytest.param(b'{"type": "transition", "elements": {}}', "Malformed JSON", None, id="an object of elements"),
    ],
)
def test_a_bulk_import_that_cannot_be_read_is_refused(
    moengage: MoEngage, workspace: Workspace, body: bytes, kind: str, attribute: str | None
) -> None:
    reply = post(moengage, workspace, body, path="transition")

    assert reply.status_code == 400
    assert (reply.json()["error"]["type"], reply.json()["error"].get("attribute")) == (kind, attribute)


@pytest.mark.parametrize(
    ("path", "body"), [("customer", event()), ("event", customer()), ("customer", customer() | {"type": "Customer"})]
)
def test_the_type_belongs_to_the_endpoint(moengage: MoEngage, workspace: Workspace, path: str, body: Any) -> None:
    reply = post(moengage, workspace, body, path=path)

    assert (reply.status_code, reply.json()["error"]["attribute"]) == (400, "type")


def test_a_bulk_import_can_reject_what_the_reference_lists(moengage: MoEngage, workspace: Workspace) -> None:
    workspace.configure(bulk_reports_errors=True)

    reply = post(moengage, workspace, bulk(customer("good"), customer("")))

    assert (reply.status_code, reply.json()["error"]["attribute"]) == (400, "customer_id")
    assert (workspace.users, workspace.silently_dropped) == ([], [])


@pytest.mark.parametrize(
    ("path", "limit"), [("transition", 100_000), ("customer", 128_000)], ids=["bulk", "single call"]
)
def test_a_request_has_a_largest_size(moengage: MoEngage, workspace: Workspace, path: str, limit: int) -> None:
    body = bulk(customer()) if path == "transition" else customer()
    padding = limit - len(json.dumps(body))

    fits = post(moengage, workspace, json.dumps(body).encode() + b" " * padding, path=path)
    exceeds = post(moengage, workspace, json.dumps(body).encode() + b" " * (padding + 1), path=path)

    assert fits.status_code == 200
    assert (exceeds.status_code, exceeds.json()["error"]["type"]) == (413, "PayloadTooLarge")


@pytest.mark.parametrize(
    ("change", "status", "message"),
    [
        pytest.param({"Authorization": None}, 401, "Authentication Header Required", id="none"),
        pytest.param({"Authorization": "Bearer x"}, 401, "Invalid identity information found", id="another scheme"),
        pytest.param({"Authorization": "Basic ?"}, 401, "Invalid identity information found", id="no base64"),
        pytest.param({"Authorization": authorization("unknown", "data-key")}, 401, "Invalid APP_ID", id="unknown"),
        pytest.param({"Authorization": authorization("OTHER", "wrong")}, 401, "App Secret key mismatch", id="key"),
        pytest.param({"Authorization": authorization("OTHER", "k")}, 409, "App key mismatch", id="another workspace's"),
        pytest.param({"Content-Type": None}, 400, "The Content-Type Header is required", id="no type"),
        pytest.param({"Content-Type": "text/plain"}, 415, "Unsupported Media Type", id="another type"),
    ],
)
def test_a_call_without_permission_gets_the_reason(
    moengage: MoEngage, workspace: Workspace, change: dict[str, str | None], status: int, message: str
) -> None:
    moengage.workspace("OTHER", key="k")

    reply = post(moengage, workspace, customer(), headers=default_headers(workspace) | change)

    assert reply.status_code == status
    assert reply.json()["error"]["message"].startswith(message)
    assert workspace.users == []


@pytest.mark.parametrize(
    ("state", "status", "kind"),
    [
        ("blocked", 403, "BlockedClient"),
        ("suspended", 403, "Account Suspended"),
        ("temporarily_suspended", 403, "Account Temporarily Suspended"),
        ("blacklisted", 400, "Blacklisted"),
        ("no_key", 409, "Authentication required"),
    ],
)
def test_an_account_can_be_closed(moengage: MoEngage, workspace: Workspace, state: str, status: int, kind: str) -> None:
    workspace.configure(state=state)

    reply = post(moengage, workspace, customer())

    assert (reply.status_code, reply.json()["error"]["type"]) == (status, kind)


def test_an_address_that_is_not_listed_is_rejected_in_another_shape(moengage: MoEngage, workspace: Workspace) -> None:
    workspace.configure(state="ip_refused")

    reply = post(moengage, workspace, customer())

    assert (reply.status_code, reply.json()["error"]) == (403, "IP Validation Required")


@pytest.mark.parametrize(("header", "reset"), [("seconds", "60"), ("timestamp", "1700000060"), ("none", None)])
def test_the_rate_limit_names_its_reset(
    moengage: MoEngage,
    workspace: Workspace,
    clock: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
    header: Any,
    reset: str | None,
) -> None:
    workspace.configure(rate_limit=1, rate_header=header)
    first = post(moengage, workspace, customer())

    refused = post(moengage, workspace, customer("m-2"))
    monkeypatch.setattr(clock, "now", NOW + 60)
    later = post(moengage, workspace, customer("m-3"))

    assert [first.status_code, refused.status_code, later.status_code] == [200, 429, 200]
    assert refused.json()["error"]["type"] == "Rate Limits Exceeded"
    assert refused.headers.get("x-ratelimit-reset") == reset
    assert first.headers.get("x-ratelimit-remaining") == (None if reset is None else "0")
    assert [user.id for user in workspace.users] == ["m-1", "m-3"]


@pytest.mark.parametrize(
    ("change", "status"),
    [
        pytest.param({}, 200, id="right"),
        pytest.param({"app_secret": "wrong"}, 401, id="wrong key"),
        pytest.param({"region": None}, 400, id="no region"),
    ],
)
def test_a_connection_can_be_tested(
    moengage: MoEngage, workspace: Workspace, change: dict[str, Any], status: int
) -> None:
    body = {"app_id": workspace.id, "app_secret": workspace.key, "source": "test", "region": "01"} | change

    reply = requests.post(
        f"{moengage.url}/v1/integrations/authentication",
        json=body,
        headers=default_headers(workspace) | {"MOE-APPKEY": workspace.id},
        timeout=5,
    )

    assert reply.status_code == status
    assert reply.json().get("app_name") == (workspace.id if status == 200 else None)


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "customer/{}"), ("POST", "customer/{}/"), ("POST", "device/{}"), ("POST", "customer")]
)
def test_what_is_not_there_is_not_found(moengage: MoEngage, workspace: Workspace, method: str, path: str) -> None:
    reply = requests.request(
        method, f"{moengage.url}/v1/{path.format(workspace.id)}", headers=default_headers(workspace), timeout=5
    )

    assert reply.status_code == 404


@pytest.mark.parametrize(
    ("fault", "status", "acts"),
    [
        pytest.param({"kind": "status", "status": 503}, 503, False, id="before"),
        pytest.param({"kind": "status", "status": 500, "when": "after"}, 500, True, id="after"),
        pytest.param({"kind": "status", "status": 502, "html": True}, 502, False, id="page"),
        pytest.param({"kind": "slow", "seconds": 0}, 200, True, id="slow"),
    ],
)
def test_a_fault_strikes_once_before_or_after_acting(
    moengage: MoEngage, workspace: Workspace, fault: dict[str, Any], status: int, acts: bool
) -> None:
    workspace.faults.add(**fault)

    replies = [post(moengage, workspace, event("first")), post(moengage, workspace, event("second"))]

    assert [reply.status_code for reply in replies] == [status, 200]
    assert [it.name for it in workspace.events] == ["first"] * acts + ["second"]
    assert [request.fault for request in workspace.requests] == [fault["kind"], None]


def test_a_connection_can_break_after_acting(moengage: MoEngage, workspace: Workspace) -> None:
    workspace.faults.add(kind="timeout_after_acting", seconds=0)

    with pytest.raises(requests.ConnectionError):
        post(moengage, workspace, event())

    assert len(workspace.events) == 1


def test_a_workspace_is_made_and_asked_over_http(moengage: MoEngage) -> None:
    status, settings = control(moengage, "PUT", "workspaces/MADE", {"key": "k", "rate_limit": 5})
    workspace = moengage.workspace("MADE")
    post(moengage, workspace, bulk(customer(), event("a"), event("b"), customer("")))

    assert (status, settings["rate_limit"]) == (200, 5)
    assert control(moengage, "GET", "workspaces/MADE/users?customer_id=m-1")[1]["attributes"] == {"u_fn": "Ann"}
    assert [row["name"] for row in control(moengage, "GET", "workspaces/MADE/events")[1]] == ["a", "b"]
    assert [row["name"] for row in control(moengage, "GET", "workspaces/MADE/events?name=b")[1]] == ["b"]
    assert control(moengage, "GET", "workspaces/MADE")[1]["silently_dropped"] == 1
    assert control(moengage, "GET", "")[1]["workspaces"]["MADE"]["requests"] == {"200": 1}
    assert control(moengage, "POST", "workspaces/MADE/faults", {"kind": "slow"})[1]["faults"][0]["kind"] == "slow"
    assert control(moengage, "POST", "workspaces/MADE/reset")[1]["users"] == 0
    assert control(moengage, "GET", "workspaces/MADE/users?customer_id=m-1")[0] == 404


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("PUT", "workspaces/X", {"rate_header": "minutes"}, 400),
        ("PUT", "workspaces/X", {"colour": "red"}, 400),
        ("POST", "workspaces/OTHER/faults", {"kind": "sloow"}, 400),
        ("GET", "workspaces/UNKNOWN", None, 404),
        ("GET", "workspaces/OTHER/secrets", None, 404),
    ],
)
def test_a_misspelt_wish_is_refused(moengage: MoEngage, method: str, path: str, body: Any, status: int) -> None:
    moengage.workspace("OTHER", key="k")

    assert control(moengage, method, path, body)[0] == status


def test_counting_only_checks_and_keeps_nothing(moengage: MoEngage, workspace: Workspace) -> None:
    workspace.configure(validate=False)

    reply = post(moengage, workspace, bulk(customer(""), event(), event()))

    assert reply.status_code == 200
    assert workspace.processed == {"customer": 1, "event": 2}
    assert (workspace.users, workspace.events, workspace.silently_dropped) == ([], [], [])


@pytest.mark.parametrize("module", ["moengage", "punchh", "punchh_sender"])
def test_it_knows_nothing_of_the_bridge(module: str) -> None:
    code = f"import sys, simulators.{module}; print([name for name in sys.modules if 'loyalty_bridge' in name])"

    completed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert completed.stdout == "[]\n"
