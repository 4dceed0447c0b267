"""The command line, as an operator uses it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import boto3
import pytest
from botocore.exceptions import ClientError, NoCredentialsError, NoRegionError, ProfileNotFound

from local import stack as local_stack
from local.stack import free_port
from loyalty_bridge.cli import stack
from loyalty_bridge.pipeline.forwarder import forward
from loyalty_bridge.programs import repository, secrets
from loyalty_bridge.settings import DeliverySettings
from simulators.braze import Braze
from tests.conftest import KEY, connect
from tests.support.events import event, queued

CONNECTION = {
    "loyalty": {"membership_optins": ["Newsletter", "Post"], "default_optins": ["Newsletter"]},
    "secrets": {"braze_api_key": KEY},
}

Bridge = Callable[..., tuple[int, str, str]]


@pytest.fixture
def put(bridge: Bridge, tmp_path: Path) -> Callable[..., tuple[int, str, str]]:
    """Return what puts a connection from a file."""

    def call(document: Any, program: str = "demo") -> tuple[int, str, str]:
        file = tmp_path / "connection.json"
        file.write_text(document if isinstance(document, str) else json.dumps(document))
        return bridge("program", "put", program, str(file), "--json")

    return call


def test_a_complete_connection_streams(put: Bridge, bridge: Bridge, braze: Braze) -> None:
    code, output, _ = put(CONNECTION | {"engagement": {"api_endpoint": braze.url}})

    assert code == 0
    assert json.loads(output)["state"] == "streaming"
    assert json.loads(output)["secrets"] == {"braze_api_key": "…1234"}
    assert KEY not in output


def test_an_incomplete_connection_says_what_is_missing(put: Bridge) -> None:
    _, output, _ = put({})

    assert json.loads(output)["state"] == "incomplete"
    assert json.loads(output)["missing"] == [
        "engagement.api_endpoint",
        "secrets.braze_api_key",
        "loyalty.default_optins",
    ]


PUNCHH = {"platform": "punchh", "api": {"base_url": "https://server.punchh.com/", "client": "client-key"}}


def test_punchhs_secrets_are_set_and_shown_by_their_last_characters(put: Bridge) -> None:
    secrets = {
        "punchh_client_secret": "the-client-secret-1111",
        "punchh_admin_key": "the-admin-key-2222",
        "punchh_coupon_token_58293": "the-token-of-one-3333",
        "punchh_coupon_token_XMAS-24": "the-token-of-another-4444",
    }

    code, output, _ = put({"loyalty": PUNCHH, "secrets": secrets})

    assert code == 0
    assert json.loads(output)["secrets"] == {name: f"…{secret[-4:]}" for name, secret in secrets.items()}
    assert json.loads(output)["loyalty"]["api"]["base_url"] == "https://server.punchh.com"


@pytest.mark.parametrize(
    "name", ["punchh_coupon_token_", "punchh_coupon_token_a/b", "punchh_coupon_token", "punchh_key"]
)
def test_a_secret_of_no_name_is_refused(put: Bridge, name: str) -> None:
    code, _, complaint = put({"loyalty": PUNCHH, "secrets": {name: "a-secret-value-5555"}})

    assert code == 1
    assert f"secrets.{name}" in complaint
    assert "punchh_coupon_token_<campaign id>" in complaint
    assert "5555" not in complaint


@pytest.mark.parametrize(
    "url", ["https://server.punchh.com.evil.test", "http://server.punchh.com", "https://10.0.0.1", "https://braze.com"]
)
def test_a_host_that_is_not_punchhs_is_refused(put: Bridge, url: str) -> None:
    code, _, complaint = put({"loyalty": {"platform": "punchh", "api": {"base_url": url}}})

    assert code == 1
    assert "loyalty.api.base_url" in complaint


@pytest.mark.parametrize("name", ["webhook_credential", "webhook_credential_next"])
@pytest.mark.parametrize("loyalty", [{"platform": "punchh"}, {"platform": "brevo"}])
def test_a_program_with_webhooks_streams_as_soon_as_it_has_a_credential_for_them(
    put: Bridge, braze: Braze, loyalty: dict[str, str], name: str
) -> None:
    document = {"loyalty": loyalty, "engagement": {"api_endpoint": braze.url}, "secrets": {"braze_api_key": KEY}}
    _, before, _ = put(document)
    _, after, _ = put({"secrets": {name: "bridge:webhook-password"}})

    assert json.loads(before)["missing"] == ["secrets.webhook_credential"]
    assert json.loads(after)["state"] == "streaming"
    assert json.loads(after)["loyalty"]["webhook_auth"] == "basic"
    assert json.loads(after)["secrets"] == {"braze_api_key": "…1234", name: "…word"}


def test_a_bearer_token_needs_no_user(put: Bridge) -> None:
    code, _, _ = put(
        {
            "loyalty": {"platform": "punchh", "webhook_auth": "bearer"},
            "secrets": {"webhook_credential": "a-long-token-12345"},
        }
    )

    assert code == 0


USER_AND_PASSWORD = {"platform": "punchh"}
BEARER = {"platform": "punchh", "webhook_auth": "bearer"}
OWN_HEADER = {"platform": "brevo", "webhook_auth": "header"}


@pytest.mark.parametrize(
    ("loyalty", "name", "secret"),
    [
        *(
            (USER_AND_PASSWORD, "webhook_credential", text)
            for text in (":", "user:", ":a-long-password-1", " : ", "u:short", "x")
        ),
        *(
            (BEARER, "webhook_credential", text)
            for text in ("x", "fifteen-letters", "sixteen-letterß!", "a-long\ntoken-12345")
        ),
        (OWN_HEADER, "webhook_credential_next", "a-long-token-\u20ac-12345"),
        *(
            (USER_AND_PASSWORD, "braze_api_key", text)
            for text in ("key\r\nX-Other: 1", "schlüssel", "a\x00b", "a\u200bb", "\n")
        ),
        (USER_AND_PASSWORD, "punchh_admin_key", "k\u00a0ey"),
        (USER_AND_PASSWORD, "punchh_client_secret", "se\ncret"),
    ],
)
def test_a_secret_that_cannot_work_or_is_guessed_is_refused(
    put: Bridge, loyalty: dict[str, str], name: str, secret: str
) -> None:
    code, _, complained = put({"loyalty": loyalty, "secrets": {name: secret}})

    assert (code, f"secrets.{name}: " in complained) == (1, True)
    assert len(secret) < 8 or secret not in complained


@pytest.mark.parametrize("end", ["\n", "\r\n", " \t\n"])
def test_a_line_break_at_the_end_of_a_secret_is_not_part_of_it(
    put: Bridge, stores: DeliverySettings, braze: Braze, end: str
) -> None:
    put(CONNECTION | {"engagement": {"api_endpoint": braze.url}, "secrets": {"braze_api_key": f" {KEY}{end}"}})

    ciphertext = repository.load(stores, ["demo"])["demo"].secrets["braze_api_key"].ciphertext
    assert secrets.decrypt("demo", ciphertext) == KEY


def test_a_change_leaves_the_rest(put: Bridge, bridge: Bridge, braze: Braze) -> None:
    put(CONNECTION | {"engagement": {"api_endpoint": braze.url}})

    put({"engagement": {"rules": {"identifier_type": "user_alias"}}})

    shown = json.loads(bridge("program", "show", "demo", "--json")[1])
    assert shown["engagement"]["rules"]["identifier_type"] == "user_alias"
    assert shown["engagement"]["api_endpoint"] == braze.url
    assert shown["version"] == 2


def test_a_list_is_shown_with_commas(put: Bridge, bridge: Bridge) -> None:
    put({"loyalty": {"membership_optins": ["Newsletter", "Post"]}})

    assert "Newsletter, Post" in bridge("program", "show", "demo")[1]


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ("{", ": is not JSON"),
        (r'{"loyalty": {"api": {"org": "\udfff"}}}', "loyalty.api.org: holds a null byte or a lone surrogate"),
        ('{"attribute_writes": "all", "attribute_writes": "changed"}', "attribute_writes: is named twice"),
        ('{"secrets": {"braze_api_key": "a", "braze_api_key": "b"}}', "braze_api_key: is named twice"),
        ({"loyalty": {"membership_optins": ["News\nSMS"]}}, "loyalty.membership_optins.0: holds a control character"),
        ("[]", ": is not a JSON object"),
        ({"engagement": {"api_endpoint": "https://rest.iad-01.braze.com.evil.test"}}, "api_endpoint: is not a host"),
        ({"engagement": {"rules": {"identifier_type": "braze_id"}}}, "engagement.rules.identifier_type"),
        ({"engagement": {"colour": "blue"}}, "engagement.colour"),
        ({"loyalty": {"default_optins": ["Fax"]}}, "loyalty.default_optins: not among membership_optins"),
        ({"secrets": {"braze_key": "x"}}, "secrets.braze_key: is not one of"),
        ({"secrets": {"braze_api_key": ""}}, "secrets.braze_api_key: is not a text"),
        ({"loyalty": {"platform": "punchh", "webhook_auth": "digest"}}, "loyalty.webhook_auth"),
        ({"loyalty": {"platform": "brevo", "webhook_auth": "hmac"}}, "loyalty.webhook_auth"),
        ({"loyalty": {"platform": "brevo", "webhook_header": "X Key:"}}, "loyalty.webhook_header"),
        (
            {"loyalty": {"platform": "brevo"}, "secrets": {"webhook_credential": "t0ken"}},
            "secrets.webhook_credential: is not user:password",
        ),
    ],
)
def test_a_wrong_connection_is_refused_with_the_fields_name(put: Bridge, document: Any, complaint: str) -> None:
    code, _, complained = put(document)

    assert code == 1
    assert complaint in complained


@pytest.mark.parametrize("arguments", [("program", "put", "demo"), ("explain",)])
def test_a_file_that_cannot_be_read_is_one_line(bridge: Bridge, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    missing = bridge(*arguments, str(tmp_path / "nope.json"))
    directory = bridge(*arguments, str(tmp_path))

    assert missing == (1, "", f"bridge: {tmp_path / 'nope.json'}: cannot be read: No such file or directory\n")
    assert directory == (1, "", f"bridge: {tmp_path}: cannot be read: Is a directory\n")


def test_the_programs_are_listed_with_their_state(put: Bridge, bridge: Bridge, braze: Braze) -> None:
    put(CONNECTION | {"engagement": {"api_endpoint": braze.url}})
    put({}, "other")

    rows = json.loads(bridge("program", "list", "--json")[1])

    assert [(row["program"], row["state"]) for row in rows] == [("demo", "streaming"), ("other", "incomplete")]
    assert "streaming" in bridge("program", "list")[1]


def test_a_deleted_program_is_gone(put: Bridge, bridge: Bridge) -> None:
    put({})

    bridge("program", "delete", "demo", "--yes")

    code, _, complained = bridge("program", "show", "demo")
    assert (code, complained) == (1, "bridge: there is no program demo; `bridge program list` lists the programs\n")


@pytest.mark.parametrize(
    "arguments", ["held list", "rejected list", "stats", "errors", "program audit", "program show"]
)
def test_a_mistyped_program_is_reported(put: Bridge, bridge: Bridge, arguments: str) -> None:
    put({})

    answer = bridge(*arguments.split(), "demoo")

    assert answer == (1, "", "bridge: there is no program demoo; `bridge program list` lists the programs\n")


@pytest.mark.parametrize(
    "arguments", ["held list demo", "rejected list demo", "rejected list -", "stats demo", "errors demo", "errors -"]
)
def test_where_there_is_nothing_it_says_so(put: Bridge, bridge: Bridge, arguments: str) -> None:
    put({})

    assert bridge(*arguments.split())[:2] == (0, "No entries.\n")


def test_who_deleted_a_program_is_reported_when_it_is_gone(put: Bridge, bridge: Bridge) -> None:
    put({})
    bridge("program", "delete", "demo", "--yes")

    code, output, _ = bridge("program", "audit", "demo", "--json")

    assert code == 0
    assert [line["what"] for line in json.loads(output)] == ["delete_program", "save_connection"]


def test_a_sample_shows_what_braze_answers(bridge: Bridge, stores: DeliverySettings, braze: Braze) -> None:
    connect(stores, braze.url)

    code, output, _ = bridge("send-sample", "demo", "--member", "tester", "--json")

    assert code == 0
    assert json.loads(output)["status"] == 201
    assert braze.workspace(KEY).profile(external_id="tester")


def test_a_sample_with_a_wrong_key_says_so(bridge: Bridge, stores: DeliverySettings, braze: Braze) -> None:
    connect(stores, braze.url, key="wrong-key")

    code, output, _ = bridge("send-sample", "demo", "--member", "tester", "--json")

    assert code == 1
    assert json.loads(output)["verdict"] == "broken"
    assert "wrong-key" not in output


def test_explain_shows_what_would_be_sent_and_what_would_not(
    bridge: Bridge, stores: DeliverySettings, braze: Braze, tmp_path: Path
) -> None:
    connect(stores, braze.url)
    forward(queued(event(eventId="first")), stores, 30)
    record = tmp_path / "record.json"
    record.write_text(json.dumps(event(eventId="second", payload={"points": 121, "lockedPoints": 0})))

    payload = json.loads(bridge("explain", str(record))[1])["events"][0]

    assert payload["wire"][0]["object"]["convercus_balance"] == {"points": 121}
    assert payload["wire"][0]["object"]["convercus_account_id"] == "A1"  # names the member, so it is always sent
    assert payload["not_sent"] == {"convercus_balance.lockedPoints": "unchanged"}
    assert len(braze.workspace(KEY).events) == 1


@pytest.mark.parametrize(
    ("record", "field", "reason"),
    [
        pytest.param(event("teleported"), "eventType", "is not a known event type", id="unknown type"),
        pytest.param({"programId": "demo", "eventType": "user_logged_in"}, "accountId", "is missing", id="nobody"),
    ],
)
def test_explain_names_the_field_that_is_wrong(
    bridge: Bridge, stores: DeliverySettings, tmp_path: Path, record: dict[str, Any], field: str, reason: str
) -> None:
    connect(stores, "http://127.0.0.1:9")
    file = tmp_path / "record.json"
    file.write_text(json.dumps(record))

    payload = json.loads(bridge("explain", str(file))[1])

    assert payload["events"][0]["rejected"] == [{"part": "record", "field": field, "reason": reason}]


def test_explain_judges_each_element_of_an_array(bridge: Bridge, stores: DeliverySettings, tmp_path: Path) -> None:
    connect(stores, "http://127.0.0.1:9")
    file = tmp_path / "record.json"
    file.write_text(json.dumps([event(eventId="good"), event(accountId="BAD")]).replace('"BAD"', "NaN"))

    good, bad = json.loads(bridge("explain", str(file))[1])["events"]

    assert good["event_id"] == "good"
    assert bad["rejected"] == [{"part": "record", "field": "record", "reason": "holds NaN, which is not JSON"}]
    assert good.keys() == bad.keys()


def test_trace_covers_an_accepted_event_and_of_its_member(
    bridge: Bridge, stores: DeliverySettings, braze: Braze
) -> None:
    connect(stores, braze.url)
    forward(queued(event(eventId="known")), stores, 30)

    assert json.loads(bridge("trace", "demo", "known")[1])["accepted_parts"] == ["attributes", "event"]
    of_member = json.loads(bridge("trace", "demo", "A1")[1])["member_attributes_last_set"]
    assert of_member["convercus_balance.points"] == "2026-03-01T10:00:00+00:00"


def test_refused_records_are_listed_shown_redriven_and_dropped(
    bridge: Bridge, stores: DeliverySettings, braze: Braze
) -> None:
    connect(stores, braze.url)
    forward(queued(event("teleported", eventId="odd"), event("beamed", eventId="strange")), stores, 30)

    listed = json.loads(bridge("rejected", "list", "demo", "--json")[1])
    shown = json.loads(bridge("rejected", "show", "demo", "odd")[1])
    redriven = bridge("rejected", "redrive", "demo", "--reason", "eventType")[1]

    assert {row["event_id"] for row in listed} == {"odd", "strange"}
    assert listed[0]["reasons"] == "eventType: is not a known event type"
    assert json.loads(shown["record"])["eventType"] == "teleported"
    assert redriven == "2 records were put back\n"
    assert json.loads(bridge("rejected", "list", "demo", "--json")[1]) == []


@pytest.mark.parametrize("name", ["a[/b]", "[red]x", "x[/y]", "\x1b[31mred\x1b[0m", "a\u202eb", "a\rb"], ids=ascii)
def test_a_senders_text_is_shown_as_text(
    bridge: Bridge, stores: DeliverySettings, braze: Braze, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    connect(stores, braze.url)
    forward(queued(event("teleported", eventId=name)), stores, 30)

    code, shown, complaint = bridge("rejected", "list", "demo")

    readable = re.sub("[\x1b\u202e\r]", "\N{REPLACEMENT CHARACTER}", name)
    assert (code, complaint) == (0, "")
    assert readable in shown
    assert "\x1b" not in shown


@pytest.mark.parametrize("name", ["\x1b[31mred", "a\x9b2Jb", "a\x7fb", "a\u202eb", "a\rb", "größer\n"], ids=ascii)
def test_a_senders_text_controls_no_terminal_as_json_either(
    bridge: Bridge, stores: DeliverySettings, braze: Braze, name: str
) -> None:
    connect(stores, braze.url)
    forward(queued(event("teleported", eventId=name)), stores, 30)

    code, listed, complaint = bridge("rejected", "list", "demo", "--json")

    assert (code, complaint) == (0, "")
    assert all(one.isprintable() or one == "\n" for one in listed)
    assert [row["event_id"] for row in json.loads(listed)] == [name.strip()]


def test_a_member_is_sent_again_after_resync(bridge: Bridge, stores: DeliverySettings, braze: Braze) -> None:
    connect(stores, braze.url)
    forward(queued(event()), stores, 30)

    bridge("member", "resync", "demo", "A1")

    forward(queued(event()), stores, 30)
    assert len(braze.workspace(KEY).attributes) == 2


def test_a_missing_stack_is_named_and_what_names_another(monkeypatch: pytest.MonkeyPatch, bridge: Bridge) -> None:
    monkeypatch.setenv("BRIDGE_STACK", "elsewhere")
    stack.settings.cache_clear()

    code, _, complained = bridge("program", "list")

    text = "there is no stack elsewhere in this account and region: name yours with --stack or BRIDGE_STACK"
    assert (code, complained) == (1, f"bridge: {text}\n")


def test_a_stack_that_was_not_deployed_to_its_end_says_so(monkeypatch: pytest.MonkeyPatch, bridge: Bridge) -> None:
    empty = json.dumps({"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}})
    boto3.client("cloudformation", region_name="us-east-1").create_stack(StackName="half", TemplateBody=empty)
    monkeypatch.setenv("BRIDGE_STACK", "half")
    stack.settings.cache_clear()

    code, _, complained = bridge("program", "list")

    assert code == 1
    assert complained.startswith("bridge: the stack half has no outputs (")


def test_credentials_that_are_refused_say_nothing_about_the_stack(
    monkeypatch: pytest.MonkeyPatch, bridge: Bridge
) -> None:
    stack.settings.cache_clear()
    denied = ClientError({"Error": {"Code": "ExpiredToken", "Message": "arn:aws:iam::1:role/secret"}}, "DescribeStacks")
    with monkeypatch.context() as patch:
        patch.setattr("boto3.client", lambda _: Mock(**{"describe_stacks.side_effect": denied}))

        answer = bridge("program", "list")

    text = "bridge: your AWS session has expired: sign in again, for example with `aws sso login` (AWS: ExpiredToken)\n"
    assert answer == (3, "", text)


def test_the_connection_is_tried(bridge: Bridge, stores: DeliverySettings, braze: Braze) -> None:
    connect(stores, braze.url)
    connect(stores, braze.url, "other", "a-wrong-key")

    assert bridge("program", "test", "demo")[0] == 0
    assert bridge("program", "test", "other")[0] == 1


def test_the_setup_guide_names_the_program(bridge: Bridge, stores: DeliverySettings, braze: Braze) -> None:
    connect(stores, braze.url)

    code, output, _ = bridge("program", "setup", "demo")

    assert code == 0
    assert "https://api.example.com/v1/programs/demo/campaigns/" in output
    assert "--message-group-id 'demo#<ACCOUNT_ID>'" in output


def test_every_change_is_noted_with_who_made_it(put: Bridge, bridge: Bridge, braze: Braze) -> None:
    put(CONNECTION | {"engagement": {"api_endpoint": braze.url}})
    _, made, _ = bridge("key", "create", "demo", "--name", "canvas", "--json")
    key = json.loads(made)
    bridge("key", "revoke", "demo", key["id"], "--yes")
    assert bridge("held", "release", "demo")[0] == 1
    bridge("member", "forget", "demo", "A1", "--yes")

    _, output, _ = bridge("program", "audit", "demo", "--json")

    lines = json.loads(output)
    assert [(line["what"], line["outcome"]) for line in lines] == [
        ("forget_member", "done"),
        ("release_held", "not done (NotConnected)"),
        ("revoke_key", "done"),
        ("create_key", "done"),
        ("save_connection", "done"),
    ]
    assert {line["who"] for line in lines} == {"arn:aws:sts::123456789012:user/moto"}
    assert KEY not in output
    assert key["key"] not in output


def test_without_a_local_run_it_says_how_to_start_one(
    bridge: Bridge, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(stack, "ENDPOINTS", (tmp_path / "endpoints.json",))

    code, _, said = bridge("--local", "program", "list")

    assert code == 1
    assert said == "bridge: there is no local run: start one with `make local` in the project's folder\n"


def test_a_local_run_that_has_ended_is_not_asked(
    bridge: Bridge, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    endpoints = tmp_path / "endpoints.json"
    endpoints.write_text(json.dumps({"aws": f"http://127.0.0.1:{free_port()}", "region": "r", "stack": "s"}))
    monkeypatch.setattr(stack, "ENDPOINTS", (endpoints,))

    code, _, said = bridge("--local", "program", "list")

    assert code == 1
    assert said == f"bridge: the local run of {endpoints} does not answer: start one with `make local`\n"


def test_the_local_run_of_the_project_is_found_from_any_folder() -> None:
    assert stack.ENDPOINTS[-1] == local_stack.ENDPOINTS
    assert stack.ENDPOINTS[-1].is_absolute()


@pytest.mark.parametrize(
    ("failure", "advice"),
    [
        (NoRegionError(), "set AWS_REGION"),
        (NoCredentialsError(), "AWS_PROFILE"),
        (ProfileNotFound(profile="x"), "AWS_PROFILE"),
        (ClientError({"Error": {"Code": "ExpiredToken"}}, "DescribeStacks"), "sign in"),
        (ClientError({"Error": {"Code": "InvalidClientTokenId"}}, "DescribeStacks"), "AWS_PROFILE"),
        (ClientError({"Error": {"Code": "AccessDenied"}}, "DescribeStacks"), "docs/deploying.md"),
        (ClientError({"Error": {"Code": "AccessDeniedException"}}, "DescribeStacks"), "docs/deploying.md"),
    ],
    ids=lambda one: type(one).__name__,
)
def test_what_aws_refuses_comes_with_what_to_do(
    failure: Exception, advice: str, monkeypatch: pytest.MonkeyPatch, bridge: Bridge
) -> None:
    stack.settings.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr("boto3.client", Mock(side_effect=failure))

        code, _, complained = bridge("program", "list")

    assert code == 3
    assert advice in complained


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ({"AWS_REGION": "eu-west-1"}, "eu-west-1"),
        ({"AWS_DEFAULT_REGION": "eu-west-2"}, "eu-west-2"),
        ({"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-2"}, "eu-west-1"),
    ],
    ids=lambda one: "-".join(one) if isinstance(one, dict) else one,
)
def test_the_region_is_found_by_either_of_its_variables(
    given: dict[str, str], used: str, monkeypatch: pytest.MonkeyPatch, bridge: Bridge
) -> None:
    """AWS's command line reads the first of them, its library for Python the second only."""
    stack.settings.cache_clear()
    asked = []

    def refused(_: str) -> Any:
        asked.append(boto3.Session().region_name)
        raise NoCredentialsError

    with monkeypatch.context() as patch:
        patch.delenv("AWS_DEFAULT_REGION", raising=False)
        for name, value in given.items():
            patch.setenv(name, value)
        patch.setattr("boto3.client", refused)

        bridge("program", "list")

    assert asked == [used]
