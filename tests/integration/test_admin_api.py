"""The operators' API over a socket; every answer is checked against docs/admin-openapi.json."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import requests
from botocore.exceptions import ClientError
from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from loyalty_bridge.infra import aws
from loyalty_bridge.pipeline import identities
from loyalty_bridge.pipeline.forwarder import forward
from loyalty_bridge.programs import api_keys, delivery_state, repository
from loyalty_bridge.settings import DeliverySettings
from scripts.docs import DOCS
from simulators.braze import Braze
from simulators.server import Answer, serving
from tests.conftest import KEY, connect
from tests.support.admin_site import Site
from tests.support.events import event, queued
from tests.support.functions import CONTEXT, handler
from tests.support.http_events import ACTIONS, Api, make_known

ALL = ("loyalty-bridge",)
OPTINS = {"membership_optins": ["Newsletter"], "default_optins": ["Newsletter"]}


@cache
def document() -> dict[str, Any]:
    read: dict[str, Any] = json.loads((DOCS / "admin-openapi.json").read_text())
    return read


def call(site: Site, method: str, path: str, body: Any = None, groups: tuple[str, ...] = ALL) -> requests.Response:
    """Call, and fail unless the answer is a documented one."""
    answer = site.call(method, path, body, groups=groups)
    bare = f"/admin/api/v1{path.partition('?')[0]}"
    template, operation = next(
        (template, found[method.lower()])
        for template, found in document()["paths"].items()
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), bare) and method.lower() in found
    )
    assert str(answer.status_code) in operation["responses"], f"{method} {template}: {answer.status_code}"
    schema = operation["responses"][str(answer.status_code)]["content"]["application/json"]["schema"]
    registry: Registry[Any] = Registry().with_resource("urn:api", DRAFT202012.create_resource(document()))
    Draft202012Validator({"$ref": f"urn:api{schema['$ref']}"}, registry=registry).validate(answer.json())
    return answer


def put(site: Site, program: str = "demo", version: int = 0, **changes: Any) -> requests.Response:
    return call(site, "PUT", f"/programs/{program}", {"version": version, **changes})


def throttled(**_: Any) -> Any:
    raise ClientError({"Error": {"Code": "ThrottlingException", "Message": "slow down"}}, "Any")


# Programs and their connections.


def test_a_program_is_made_completed_read_and_deleted(site: Site, braze: Braze) -> None:
    made = put(site, connection={"loyalty": OPTINS})
    complete = put(
        site,
        version=made.json()["version"],
        connection={"engagement": {"api_endpoint": braze.url}},
        secrets={"braze_api_key": KEY},
    )
    read = call(site, "GET", "/programs/demo")
    deleted = call(site, "DELETE", "/programs/demo")

    assert (made.json()["state"], made.json()["missing"]) == (
        "incomplete",
        ["engagement.api_endpoint", "secrets.braze_api_key"],
    )
    assert (complete.json()["state"], complete.json()["version"]) == ("streaming", 2)
    assert read.json() == complete.json()
    assert read.json()["secrets"] == {"braze_api_key": "…1234"}
    assert KEY not in complete.text + read.text
    assert deleted.json() == {"done": True}
    assert call(site, "GET", "/programs/demo").status_code == 404


def test_the_later_of_two_savers_is_reported_and_changes_nothing(site: Site) -> None:
    seen = put(site).json()["version"]

    first = put(site, version=seen, connection={"repeat_window": 7})
    second = put(site, version=seen, connection={"repeat_window": 9})
    third = put(site, version=0, connection={"repeat_window": 9})

    assert first.status_code == 200
    for late in (second, third):
        assert (late.status_code, late.json()["error"]) == (409, "conflict")
    assert call(site, "GET", "/programs/demo").json()["repeat_window"] == 7


@pytest.mark.parametrize(
    ("endpoint", "complaint"),
    [
        ("https://rest.iad-01.braze.com.evil.test", "is not a host of braze, and the operator has not allowed it"),
        ("https://93.184.216.34", "is not a host of braze, and the operator has not allowed it"),
        ("https://169.254.169.254", "is not a host of braze, and the operator has not allowed it"),
        ("https://[::1]", "is not a host of braze, and the operator has not allowed it"),
        ("https://user:word@rest.iad-01.braze.com", "must not hold a user name or password"),
        ("https://rest.iad-01.braze.com@evil.test", "must not hold a user name or password"),
        ("https://rest.iad-01.braze.com:8443", "must not name a port"),
        ("http://rest.iad-01.braze.com", "must start with https://"),
        ("https://rest.iad-01.braze.com/users/track", "must be a scheme and a host only"),
        ("https://rest.iad-01.braze.com?a=b", "must be a scheme and a host only"),
        ("javascript:alert(1)", "must be a scheme and a host only"),
        ("https://rest.iad-01.braze.com:port", "is not a URL"),
    ],
)
def test_an_endpoint_that_is_not_the_platforms_is_refused(site: Site, endpoint: str, complaint: str) -> None:
    answer = put(site, connection={"engagement": {"api_endpoint": endpoint}})

    assert answer.status_code == 400
    assert answer.json() == {
        "error": "invalid_request",
        "message": f"engagement.api_endpoint {complaint}",
        "field": "engagement.api_endpoint",
    }
    assert call(site, "GET", "/programs/demo").status_code == 404


def test_a_redirect_is_not_followed_with_the_key(site: Site, stores: DeliverySettings) -> None:
    asked: list[str] = []

    def elsewhere(request: Any) -> Answer:
        asked.append(request.path)
        return Answer(200)

    with serving(elsewhere) as target:
        redirect = Answer(307, headers={"location": f"{target}/users/track"})
        with serving(lambda _: redirect) as url:
            connect(stores, url)
            tested = call(site, "POST", "/programs/demo/test")
            sample = call(site, "POST", "/programs/demo/sample", {"member": "tester"})

    assert tested.json() == {"works": False}
    assert sample.json()["status"] == 307
    assert asked == []


@pytest.mark.parametrize("done", [1, 2])
def test_a_delete_that_breaks_off_is_repeated_and_leaves_no_key_to_the_next_program(
    site: Site, stores: DeliverySettings, monkeypatch: pytest.MonkeyPatch, done: int
) -> None:
    put(site)
    call(site, "POST", "/programs/demo/keys", {})
    delivery_state.note_failure(stores, "demo", 1_772_359_200)
    calls = iter([aws.dynamodb().delete_item] * done)

    def delete_item(**request: Any) -> Any:
        return next(calls, throttled)(**request)

    with monkeypatch.context() as patch:
        patch.setattr(aws.dynamodb(), "delete_item", delete_item)

        broken_off = call(site, "DELETE", "/programs/demo")
    repeated = call(site, "DELETE", "/programs/demo")
    put(site)

    assert (broken_off.status_code, repeated.status_code) == (503, 200)
    assert api_keys.list_all(stores, "demo") == []
    assert repository.load(stores, ["demo"])["demo"].delivery_state == delivery_state.DeliveryState()


@pytest.mark.parametrize(
    ("client", "operation", "method"),
    [(aws.kms, "encrypt", "PUT"), (aws.dynamodb, "put_item", "PUT"), (aws.dynamodb, "delete_item", "DELETE")],
)
def test_a_change_that_a_store_throttles_is_a_503_and_noted_as_not_done(
    site: Site, monkeypatch: pytest.MonkeyPatch, client: Callable[[], Any], operation: str, method: str
) -> None:
    put(site)
    real = getattr(client(), operation)
    body = {"version": 1, "secrets": {"braze_api_key": KEY}} if method == "PUT" else None
    with monkeypatch.context() as patch:
        # The audit's own lines are taken.
        patch.setattr(
            client(),
            operation,
            lambda **found: (real if found.get("TableName") == "AuditTable" else throttled)(**found),
        )

        answer = call(site, method, "/programs/demo", body)

    assert (answer.status_code, answer.json()["error"], "retry-after" in answer.headers) == (503, "unavailable", True)
    noted = call(site, "GET", "/programs/demo/audit").json()["audit"][0]
    assert noted["outcome"] == "not done (Unavailable)"
    assert call(site, "GET", "/programs/demo").json()["version"] == 1


def test_a_defect_is_counted_where_its_alarm_looks(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(repository, "load_all", lambda _: [None])

    answer = call(site, "GET", "/programs")

    emitted = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    defects = [one["_aws"]["CloudWatchMetrics"][0]["Dimensions"] for one in emitted if "defects" in one]
    assert (answer.status_code, answer.json()["error"]) == (500, "internal_error")
    assert defects == [[["service"]]]


MOENGAGE = {"platform": "moengage", "api_endpoint": "https://api-01.moengage.com", "workspace_id": "W"}


@pytest.mark.parametrize(
    ("connection", "field"),
    [
        ({"connection": {"engagement": MOENGAGE}, "secrets": {"braze_api_key": KEY}}, "secrets.braze_api_key"),
        ({"connection": {"engagement": {"platform": "braze", "workspace_id": "W"}}}, "engagement.workspace_id"),
        ({"connection": {"engagement": {"platform": "mailer"}}}, "engagement.platform"),
        ({"connection": {"loyalty": {"default_optins": ["Fax"]}}}, "loyalty.default_optins"),
        ({"connection": {"loyalty": {"membership_optins": ["x" * 101]}}}, "loyalty.membership_optins.0"),
        ({"connection": {"repeat_window": -1}}, "repeat_window"),
        ({"connection": {"colour": "blue"}}, "colour"),
        ({"secrets": {"braze_api_key": " "}}, "secrets.braze_api_key"),
        ({"secrets": {"braze_api_key": 7}}, "secrets.braze_api_key"),
        ({"version": -1}, "version"),
        ({"version": "first"}, "version"),
        ({"colour": "blue"}, "colour"),
    ],
)
def test_a_wrong_connection_is_refused_with_the_fields_name(site: Site, connection: dict[str, Any], field: str) -> None:
    answer = put(site, **connection)

    assert (answer.status_code, answer.json()["field"]) == (400, field)
    assert KEY not in answer.text


@pytest.mark.parametrize("program", ["-demo", "de.mo", "a" * 65, "d%C3%A9mo"])
def test_what_cannot_be_a_program_id_is_refused(site: Site, program: str) -> None:
    answer = put(site, program)

    assert (answer.status_code, answer.json()["field"]) == (400, "program")


@pytest.mark.parametrize(
    ("body", "kind", "status", "field"),
    [
        ("{", "application/json", 400, "body"),
        ("[]", "application/json", 400, "body"),
        ('{"version": 0}', "text/plain", 400, "Content-Type"),
        ('{"version": 0, "version": 1}', "application/json", 400, "version"),
        (
            '{"version": 0, "secrets": {"braze_api_key": "a", "braze_api_key": "b"}}',
            "application/json",
            400,
            "braze_api_key",
        ),
        ('{"version": 0, "connection": {"a": "' + "x" * 300_000 + '"}}', "application/json", 413, "body"),
    ],
)
def test_a_body_that_is_none_is_refused(site: Site, body: str, kind: str, status: int, field: str) -> None:
    answer = site.call("PUT", "/programs/demo", body.encode(), content_type=kind)

    assert (answer.status_code, answer.json()["field"]) == (status, field)


def test_a_sample_shows_what_the_destination_answers(site: Site, stores: DeliverySettings, braze: Braze) -> None:
    connect(stores, braze.url)

    tested = call(site, "POST", "/programs/demo/test")
    sample = call(site, "POST", "/programs/demo/sample", {"member": "tester"})

    assert tested.json() == {"works": True}
    assert (sample.json()["status"], sample.json()["verdict"]) == (201, "accepted")
    assert braze.workspace(KEY).profile(external_id="tester")


def test_a_wrong_key_is_reported_without_it(site: Site, stores: DeliverySettings, braze: Braze) -> None:
    connect(stores, braze.url, key="wrong-key")

    tested = call(site, "POST", "/programs/demo/test")
    sample = call(site, "POST", "/programs/demo/sample", {"member": "tester"})

    assert tested.json() == {"works": False}
    assert sample.json()["verdict"] == "broken"
    assert "wrong-key" not in sample.text


def test_an_incomplete_program_sends_nothing(site: Site) -> None:
    put(site)

    assert call(site, "POST", "/programs/demo/test").json()["error"] == "not_connected"
    assert call(site, "POST", "/programs/demo/sample", {"member": "tester"}).status_code == 409


# Keys.


def test_a_key_is_shown_once_and_revoked(site: Site, stores: DeliverySettings) -> None:
    put(site)

    made = call(site, "POST", "/programs/demo/keys", {"name": "canvas"})
    listed = call(site, "GET", "/programs/demo/keys")
    revoked = call(site, "DELETE", f"/programs/demo/keys/{made.json()['id']}")

    assert made.status_code == 201
    assert api_keys.item_of(made.json()["key"])
    assert [one["name"] for one in listed.json()["keys"]] == ["canvas"]
    assert "cvc_" not in listed.text
    assert revoked.status_code == 200
    assert api_keys.list_all(stores, "demo") == []
    assert call(site, "DELETE", f"/programs/demo/keys/{made.json()['id']}").status_code == 404


# Who may.

MINE = ("loyalty-bridge:mine", "loyalty-bridge:new")
CALLS: tuple[tuple[str, str, Any], ...] = (
    ("GET", "/programs/demo", None),
    ("PUT", "/programs/demo", {"version": 1}),
    ("DELETE", "/programs/demo", None),
    ("POST", "/programs/demo/test", None),
    ("POST", "/programs/demo/sample", {"member": "tester"}),
    ("POST", "/programs/demo/held/release", None),
    ("GET", "/programs/demo/keys", None),
    ("POST", "/programs/demo/keys", {}),
    ("DELETE", "/programs/demo/keys/0123456789ab", None),
    ("POST", "/programs/demo/explain", {"record": {}}),
    ("GET", "/programs/demo/trace?id=x", None),
    ("GET", "/programs/demo/statistics", None),
    ("GET", "/programs/demo/errors", None),
    ("GET", "/programs/demo/actions", None),
    ("GET", "/programs/demo/actions/x", None),
    ("POST", "/programs/demo/actions/x/decision", {"happened": False}),
    ("GET", "/programs/demo/held", None),
    ("GET", "/programs/demo/rejected", None),
    ("GET", "/programs/demo/rejected/record?event_id=x", None),
    ("POST", "/programs/demo/rejected/redrive", {}),
    ("POST", "/programs/demo/rejected/drop", {}),
    ("POST", "/programs/demo/members/resync", {"member": "A1"}),
    ("POST", "/programs/demo/members/forget", {"member": "A1"}),
    ("GET", "/programs/demo/audit", None),
    ("GET", "/programs/-/statistics", None),
    ("GET", "/programs/-/errors", None),
    ("GET", "/programs/-/rejected", None),
    ("POST", "/programs/-/rejected/redrive", {}),
    ("GET", "/programs/-/audit", None),
    ("GET", "/dead-letters", None),
    ("POST", "/dead-letters/redrive", None),
)


def test_every_call_about_a_program_is_in_the_table() -> None:
    tried = {(method, re.sub(r"/(demo|-)(?=/|$)", "/P", path.partition("?")[0])) for method, path, _ in CALLS}
    known = {
        (method.upper(), re.sub(r"/\{programId\}", "/P", path.removeprefix("/admin/api/v1")))
        for path, found in document()["paths"].items()
        for method in found
    } - {("GET", "/me"), ("GET", "/programs")}

    assert {(method, re.sub(r"/(x|0123456789ab)(?=/|$)", "/{}", path)) for method, path in tried} == {
        (method, re.sub(r"\{\w+\}", "{}", path)) for method, path in known
    }


@pytest.mark.parametrize(("method", "path", "body"), CALLS)
def test_another_operators_program_is_as_one_that_does_not_exist(
    site: Site, stores: DeliverySettings, method: str, path: str, body: Any
) -> None:
    connect(stores, "http://127.0.0.1:9")

    foreign = call(site, method, path, body, MINE)
    nobodys = call(site, method, path, body, ())
    absent = call(site, method, path.replace("/demo", "/absent"), body, MINE)

    assert (foreign.status_code, foreign.json()["error"]) == (404, "not_found")
    assert nobodys.json() == foreign.json()
    assert absent.json()["message"] == foreign.json()["message"].replace("demo", "absent")
    assert repository.load(stores, ["demo"])["demo"].version == 1
    assert call(site, "GET", "/programs/demo/audit").json() == {"audit": []}


def test_an_operator_sees_and_makes_the_programs_of_the_groups(site: Site, stores: DeliverySettings) -> None:
    for program in ("demo", "mine"):
        connect(stores, "http://127.0.0.1:9", program)

    listed = call(site, "GET", "/programs", groups=MINE)
    made = call(site, "PUT", "/programs/new", {"version": 0}, MINE)

    assert [one["program"] for one in listed.json()["programs"]] == ["mine"]
    assert made.status_code == 200
    assert [one["program"] for one in call(site, "GET", "/programs").json()["programs"]] == ["demo", "mine", "new"]
    assert call(site, "GET", "/programs", groups=()).json() == {"programs": []}
    assert call(site, "GET", "/me", groups=MINE).json() == {
        "subject": "person-1",
        "all_programs": False,
        "programs": ["mine", "new"],
    }


def test_a_record_that_names_another_program_is_explained_for_this_one(site: Site, stores: DeliverySettings) -> None:
    for program in ("demo", "mine"):
        connect(stores, "http://127.0.0.1:9", program)

    result = call(site, "POST", "/programs/mine/explain", {"record": event(programId="demo")}, MINE)

    assert result.json()["program"] == "mine"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer"},
        {"authorization": "Bearer e30.e30.e30"},
        {"authorization": "Basic dXNlcjp3b3Jk"},
        {"cookie": "session=invented"},
        {"cookie": "session="},
    ],
)
def test_who_is_not_signed_in_gets_a_401(site: Site, headers: dict[str, str]) -> None:
    answer = site.send("GET", "/admin/api/v1/programs", None, headers)

    assert (answer.status_code, answer.json()["error"]) == (401, "unauthorized")


@pytest.mark.parametrize("path", ["", "/", "/nothing", "/programs/demo/nothing", "/me/"])
def test_an_unknown_call_has_the_documented_shape(site: Site, path: str) -> None:
    answer = site.call("GET", path)

    assert (answer.status_code, answer.json()["error"]) == (404, "not_found")


# What happened.


def test_an_explained_record_is_not_sent(site: Site, stores: DeliverySettings, braze: Braze) -> None:
    connect(stores, braze.url)

    payload = call(site, "POST", "/programs/demo/explain", {"record": event(payload={"points": 5})}).json()

    assert payload["events"][0]["wire"][0]["object"]["convercus_balance"] == {"points": 5}
    assert braze.workspace(KEY).events == []


def test_refused_records_are_listed_shown_redriven_and_dropped(site: Site, stores: DeliverySettings) -> None:
    connect(stores, "http://127.0.0.1:9")
    forward(queued(event("teleported", eventId="odd"), event("beamed", eventId="strange")), stores, 30)

    listed = call(site, "GET", "/programs/demo/rejected?reason=event+type").json()["rejected"]
    shown = call(site, "GET", "/programs/demo/rejected/record?event_id=odd").json()
    later = call(site, "POST", "/programs/demo/rejected/redrive", {"since": "2100-01-01T00:00:00Z"})
    redriven = call(site, "POST", "/programs/demo/rejected/redrive", {"until": "2100-01-01T00:00:00"})

    assert {one["event_id"] for one in listed} == {"odd", "strange"}
    assert json.loads(shown["record"])["eventType"] == "teleported"
    assert (later.json(), redriven.json()) == ({"records": 0, "left": 0}, {"records": 2, "left": 0})
    assert call(site, "GET", "/programs/demo/rejected").json() == {"rejected": []}

    forward(queued(event("teleported", eventId="odd")), stores, 30)
    assert call(site, "POST", "/programs/demo/rejected/drop", {"reason": "eventType"}).json()["records"] == 1


def test_records_of_unknown_programs_are_for_an_operator_of_all(site: Site, stores: DeliverySettings) -> None:
    forward(queued(event(programId="stranger")), stores, 30)

    assert len(call(site, "GET", "/programs/-/rejected").json()["rejected"]) == 1


def test_a_held_program_is_released(site: Site, stores: DeliverySettings) -> None:
    connect(stores, "http://127.0.0.1:9")
    live = call(site, "POST", "/programs/demo/held/release")
    delivery_state.hold(stores, "demo", "the key is refused", 1_772_359_200)
    forward(queued(event()), stores, 30)

    held = call(site, "GET", "/programs/demo/held").json()["held"]
    shown = call(site, "GET", "/programs/demo").json()
    released = call(site, "POST", "/programs/demo/held/release")

    assert live.json()["error"] == "not_connected"
    assert [one["records"] for one in held] == [1]
    assert (shown["state"], shown["held_because"]) == ("held", "the key is refused")
    assert released.status_code == 200
    assert call(site, "GET", "/programs/demo").json()["state"] == "releasing"


def test_a_trace_covers_an_event_and_of_its_member(site: Site, stores: DeliverySettings, braze: Braze) -> None:
    connect(stores, braze.url)
    forward(queued(event(eventId="known")), stores, 30)
    make_known(stores, 7, "A1", "demo")

    assert call(site, "GET", "/programs/demo/trace?id=known").json()["accepted_parts"] == ["attributes", "event"]
    assert "convercus_balance.points" in call(site, "GET", "/programs/demo/trace?id=A1").text
    assert call(site, "GET", "/programs/demo/trace").json()["field"] == "id"
    assert call(site, "POST", "/programs/demo/members/resync", {"member": "A1"}).status_code == 200
    assert call(site, "POST", "/programs/demo/members/forget", {"member": "A1"}).status_code == 200
    assert identities.members(stores, [("demo", "user:7")], time.monotonic() + 5) == {("demo", "user:7"): {}}
    assert "convercus_balance" not in call(site, "GET", "/programs/demo/trace?id=A1").text


@pytest.mark.parametrize(
    ("decision", "again"), [({"happened": True, "result": "W-1"}, "W-1"), ({"happened": False}, "")]
)
def test_an_unknown_action_is_decided(api: Api, site: Site, decision: dict[str, Any], again: str) -> None:
    path, body = ACTIONS["assign"]
    api.upstream.misbehave(kind="status", on="assign_coupon", status=500)
    assert api.post(path, body | {"dispatch_id": "d-1"}).body["error"] == "outcome_unknown"
    (listed,) = call(site, "GET", "/programs/demo/actions").json()["actions"]
    one = f"/programs/demo/actions/{listed['id']}"

    shown = call(site, "GET", one).json()
    without = call(site, "POST", f"{one}/decision", {"happened": True})
    decided = call(site, "POST", f"{one}/decision", decision)

    assert (shown["state"], shown["about"]["account_id"]) == ("unknown", "A1")
    assert (without.status_code, without.json()["field"]) == (400, "result")
    assert decided.status_code == 200
    assert call(site, "GET", "/programs/demo/actions").json() == {"actions": []}
    code = api.post(path, body | {"dispatch_id": "d-1"}).body["couponCode"]
    assert (code, len(api.upstream.account_coupons)) == ((again, 0) if again else (code, 1))


@pytest.mark.usefixtures("midday")
def test_statistics_and_errors_report_what_was_done(site: Site, stores: DeliverySettings, braze: Braze) -> None:
    connect(stores, braze.url)
    deliver = handler("forward_events")
    deliver(queued(event(eventId="good"), event("teleported", eventId="odd")), CONTEXT)

    statistics = call(site, "GET", "/programs/demo/statistics?days=7").json()
    errors = call(site, "GET", "/programs/demo/errors?endpoint=forward_events").json()["errors"]
    others = call(site, "GET", "/programs/demo/errors?direction=to_loyalty").json()

    counted = statistics["endpoints"]["forward_events"]["events"]
    assert (counted["sent"], counted["rejected"], len(statistics["days"])) == (1, 1, 7)
    assert [(one["count"], one["records"]) for one in errors] == [(1, ["odd"])]
    assert others == {"errors": [], "next": ""}


@pytest.mark.usefixtures("midday")
def test_what_belongs_to_no_program_is_counted_and_reported_to_an_operator_of_all(
    site: Site, stores: DeliverySettings
) -> None:
    handler("forward_events")(queued(event(programId="stranger")), CONTEXT)

    statistics = call(site, "GET", "/programs/-/statistics").json()
    errors = call(site, "GET", "/programs/-/errors").json()["errors"]

    assert statistics["endpoints"]["forward_events"]["events"] == {"received": 1, "rejected": 1}
    assert [one["code"] for one in errors] == ["rejected"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("statistics?days=0", "days"),
        ("statistics?days=91", "days"),
        ("statistics?days=many", "days"),
        ("errors?since=yesterday", "since"),
        ("errors?direction=up", "direction"),
        ("errors?page=nowhere", "page"),
    ],
)
def test_a_period_that_is_none_is_refused(site: Site, stores: DeliverySettings, query: str, field: str) -> None:
    connect(stores, "http://127.0.0.1:9")

    answer = call(site, "GET", f"/programs/demo/{query}")

    assert (answer.status_code, answer.json()["field"]) == (400, field)


# The audit.


def test_every_change_is_noted_with_who_and_what_and_no_secret(site: Site, braze: Braze) -> None:
    put(
        site,
        connection={"loyalty": OPTINS, "engagement": {"api_endpoint": braze.url}},
        secrets={"braze_api_key": KEY},
    )
    put(site, version=7)
    key = call(site, "POST", "/programs/demo/keys", {"name": "canvas"}).json()
    call(site, "DELETE", f"/programs/demo/keys/{key['id']}")
    call(site, "POST", "/programs/demo/sample", {"member": "tester"})
    call(site, "DELETE", "/programs/demo")

    result = call(site, "GET", "/programs/demo/audit")

    lines = result.json()["audit"][::-1]
    assert [(line["what"], line["outcome"]) for line in lines] == [
        ("save_connection", "done"),
        ("save_connection", "not done (Conflict)"),
        ("create_key", "done"),
        ("revoke_key", "done"),
        ("send_sample", "done"),
        ("delete_program", "done"),
    ]
    assert {line["who"] for line in lines} == {"person-1"}
    assert "secrets.braze_api_key" in lines[0]["about"]
    assert KEY not in result.text
    assert "cvc_" not in result.text


def test_a_program_that_never_was_has_no_audit(site: Site) -> None:
    assert call(site, "GET", "/programs/absent/audit").status_code == 404


def test_what_cannot_be_noted_is_not_done(site: Site) -> None:
    put(site)
    aws.dynamodb().delete_table(TableName="AuditTable")

    answer = call(site, "POST", "/programs/demo/keys", {})

    assert (answer.status_code, answer.json()["error"]) == (503, "unavailable")
    assert call(site, "GET", "/programs/demo/keys").json() == {"keys": []}
