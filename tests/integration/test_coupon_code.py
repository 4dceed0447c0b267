"""A member's coupon code while a message is rendered: one for each campaign, always with status 200, and in time."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from loyalty_bridge import settings as environment
from loyalty_bridge.actions import coupon_codes
from loyalty_bridge.actions.coupon_codes import CodeKey, StoredCode
from loyalty_bridge.errors import InProgress, NotSent, Unavailable
from loyalty_bridge.http_api import lookups
from loyalty_bridge.infra import aws
from loyalty_bridge.operations import members
from loyalty_bridge.programs import credential_breaker, repository
from loyalty_bridge.programs.connection import merge
from loyalty_bridge.settings import DeliverySettings
from simulators.moengage import MoEngage
from simulators.punchh import Punchh
from simulators.punchh_business import Campaign
from simulators.punchh_events import event, guest
from tests.support.http_events import PUNCHH_SECRETS, Answer, Api, connect_punchh, make_known
from tests.support.lost_replies import lose_replies
from tests.support.webhooks import NOW, delivery, forwarded, recording
from tests.support.webhooks import answered as delivered

AS_DEPLOYED = lookups.MOENGAGE_SECONDS
FAILED, NO_COUPON = {"error": "internal_error"}, {"error": "no_coupon"}
NO_MEMBER, NO_CAMPAIGN = {"error": "member_not_found"}, {"error": "campaign_not_found"}


@pytest.fixture
def member(diner: Api, punchh: Punchh, stores: DeliverySettings) -> str:
    """Return a member whom Punchh and the bridge know."""
    known = punchh.business.sign_up(email="ann.ash@example.com", first_name="Ånnabel", last_name="Ashworth")
    make_known(stores, known.user_id, "c-1")
    return "c-1"


def ask(diner: Api, member: str = "c-1", campaign: str = "58293", **more: Any) -> Answer:
    return diner.get(f"members/{member}/coupon-code", campaign=campaign, **more)


def asked(punchh: Punchh) -> list[str]:
    return [request.target.partition("?")[0] for request in punchh.requests]


def test_a_code_is_generated_for_who_the_member_is(diner: Api, punchh: Punchh, member: str) -> None:
    answer = ask(diner, member)

    (coupon,) = punchh.business.coupons
    assert (answer.status, answer.body) == (200, {"coupon_code": coupon.code})
    assert (coupon.email, coupon.campaign_id) == ("ann.ash@example.com", "58293")


def test_the_code_is_given_again_and_punchh_is_not_asked_again(diner: Api, punchh: Punchh, member: str) -> None:
    first = ask(diner, member)
    punchh.requests.clear()

    assert [ask(diner, member).body for _ in range(3)] == [first.body] * 3
    assert asked(punchh) == []


def test_a_claim_whose_reply_was_lost_is_recognised_as_ones_own(
    diner: Api, punchh: Punchh, member: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose_replies(monkeypatch)

    first, second = ask(diner, member), ask(diner, member)

    assert first.body["coupon_code"]
    assert second == first


def test_a_member_may_be_named_by_the_query(diner: Api, member: str) -> None:
    by_query = diner.get("members/-/coupon-code", campaign="58293", member=member)

    assert by_query.body == ask(diner, member).body
    assert "coupon_code" in by_query.body
    assert diner.get("members/-/coupon-code", campaign="58293").body == NO_MEMBER
    assert diner.get("members/c-404/coupon-code", campaign="58293", member=member).body == NO_MEMBER


def test_each_campaign_and_each_member_has_a_code(
    diner: Api, punchh: Punchh, member: str, stores: DeliverySettings
) -> None:
    secrets = PUNCHH_SECRETS | {"punchh_coupon_token_7": "token-of-7"}
    connect_punchh(diner.settings, punchh.url, secrets=secrets)
    punchh.business.campaigns["token-of-7"] = Campaign(campaign_id="7")
    other = punchh.business.sign_up(email="bob@example.com")
    make_known(stores, other.user_id, "c-2")

    codes = [ask(diner, who, campaign).body["coupon_code"] for who in ("c-1", "c-2") for campaign in ("58293", "7")]

    assert len(set(codes)) == 4
    assert [
        ask(diner, who, campaign).body["coupon_code"] for who in ("c-1", "c-2") for campaign in ("58293", "7")
    ] == codes


def test_a_member_is_known_from_a_delivery(diner: Api, punchh: Punchh, stores: DeliverySettings) -> None:
    teller = guest(1)
    signed_up = punchh.business.sign_up(email="ann.ash@example.com")
    source = event(teller, NOW - 60, "users")
    source["payload"] |= {"user_id": signed_up.user_id}
    moengage = MoEngage(lambda: NOW)
    moengage.workspace("W1", key="data-key")
    with recording(moengage):
        before = repository.load(stores, ["diner"])["diner"]
        engagement = {"platform": "moengage", "api_endpoint": moengage.url, "workspace_id": "W1"}
        secrets = {"moengage_data_key": "data-key", "webhook_credential": "bridge:webhook-password"}
        repository.save(stores, before, "diner", merge(before.connection, {"engagement": engagement}), secrets)
        assert delivered(delivery("punchh", source, program="diner"))["statusCode"] == 200
        forwarded(stores)

    answer = ask(diner, str(source["payload"]["external_source_id"]))

    assert answer.body == {"coupon_code": punchh.business.coupons[0].code}


def test_a_member_is_known_from_the_signup(diner: Api, punchh: Punchh) -> None:
    who = {"email": "bob@example.com", "first_name": "Bob", "last_name": "Burr", "external_source_id": "c-9"}
    diner.post("members", {"user": who})

    assert "coupon_code" in ask(diner, "c-9").body


@pytest.mark.parametrize("member", ["a/b", "a\\b", "a%2Fb", "a?b", "a#b", "{a}", ".a", "a b", "a+b@example.com"])
def test_whoever_gets_events_can_be_signed_up_and_gets_a_code(diner: Api, punchh: Punchh, member: str) -> None:
    who = {"email": "bob@example.com", "first_name": "Bob", "last_name": "Burr", "external_source_id": member}

    signed_up = diner.post("members", {"user": who})
    code = diner.get("members/-/coupon-code", campaign="58293", member=member)

    assert signed_up.status == 200
    assert punchh.business.users[0].source == ("customer_id", member)
    assert code.body == {"coupon_code": punchh.business.coupons[0].code}


@pytest.mark.parametrize("member", ["", " ", "{{UserAttribute['ID']}}", "a{% if b %}", "a\nb", "x" * 201])
def test_what_is_no_id_in_the_query_is_not_found(diner: Api, punchh: Punchh, member: str) -> None:
    answer = diner.get("members/-/coupon-code", campaign="58293", member=member)

    assert (answer.status, answer.body) == (200, NO_MEMBER)
    assert punchh.requests == []


def test_of_several_accounts_the_last_one_counts(
    diner: Api, punchh: Punchh, member: str, stores: DeliverySettings
) -> None:
    later = punchh.business.sign_up(email="ann.new@example.com")
    make_known(stores, later.user_id, "c-1")

    ask(diner, member)

    assert punchh.business.coupons[0].email == "ann.new@example.com"


# Why there is none.


@pytest.mark.parametrize(
    ("path", "query", "error"),
    [
        ("c-unknown", {"campaign": "58293"}, NO_MEMBER),
        ("%7B%7Bid%7D%7D", {"campaign": "58293"}, NO_MEMBER),
        ("%20", {"campaign": "58293"}, NO_MEMBER),
        ("x" * 201, {"campaign": "58293"}, NO_MEMBER),
        ("c-1", {}, NO_CAMPAIGN),
        ("c-1", {"campaign": ""}, NO_CAMPAIGN),
        ("c-1", {"campaign": "1"}, NO_CAMPAIGN),
        ("c-1", {"campaign": "{{campaign}}"}, NO_CAMPAIGN),
        ("c-1", {"campaign": "../58293"}, NO_CAMPAIGN),
        ("c-1", {"campaign": "x" * 201}, NO_CAMPAIGN),
    ],
)
def test_what_cannot_be_found_is_told(
    diner: Api, punchh: Punchh, member: str, path: str, query: dict[str, Any], error: dict[str, str]
) -> None:
    answer = diner.get(f"members/{path}/coupon-code", **query)

    assert (answer.status, answer.body) == (200, error)
    assert punchh.requests == []


def test_a_guest_whom_punchh_does_not_know_is_not_found(diner: Api, punchh: Punchh, member: str) -> None:
    punchh.business.users.clear()

    assert ask(diner, member).body == NO_MEMBER


@pytest.mark.parametrize("changes", [{}, {"email": ""}, {"email": None}], ids=["left out", "blank", "null"])
def test_no_code_is_made_for_a_blank_address(
    diner: Api, punchh: Punchh, member: str, changes: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    (known,) = punchh.business.users
    punchh.faults.add(kind="status", status=200, body={"user_id": known.user_id, "first_name": "Ånnabel", **changes})

    answer = ask(diner, member)

    assert (answer.status, answer.body) == (200, FAILED)
    assert len(punchh.requests) == 1
    (record,) = caplog.records
    assert "does not return the member's e-mail address" in vars(record)["reason"]
    assert "coupon_code" in ask(diner, member).body


@pytest.mark.parametrize("campaign", [{"is_expired": True}, {"limit": 0}], ids=["expired", "used up"])
def test_a_campaign_that_gives_none_says_so_and_is_asked_again(
    diner: Api, punchh: Punchh, member: str, campaign: dict[str, Any]
) -> None:
    punchh.business.campaigns["token-of-58293"] = Campaign(campaign_id="58293", **campaign)
    before = ask(diner, member).body
    punchh.business.campaigns["token-of-58293"] = Campaign(campaign_id="58293")

    assert before == NO_COUPON
    assert "coupon_code" in ask(diner, member).body


@pytest.mark.parametrize("secret", ["punchh_admin_key", "punchh_coupon_token_58293"])
def test_a_secret_that_is_not_set_is_told(diner: Api, punchh: Punchh, member: str, secret: str) -> None:
    connect_punchh(
        diner.settings, punchh.url, secrets={name: it for name, it in PUNCHH_SECRETS.items() if name != secret}
    )

    assert ask(diner, member).body == (NO_CAMPAIGN if "token" in secret else FAILED)
    assert punchh.requests == []


def test_another_platform_has_no_codes(diner: Api, member: str) -> None:
    diner.change(loyalty={"platform": "convercus"})

    assert ask(diner, member).body == FAILED


@pytest.mark.parametrize("key", ["", "cvc_no", "cvc_" + "A" * 43])
def test_a_wrong_key_is_the_only_401(diner: Api, punchh: Punchh, member: str, key: str) -> None:
    answer = ask(diner, member, key=key)

    assert (answer.status, answer.body["error"]) == (401, "unauthorized")
    assert punchh.requests == []


@pytest.mark.parametrize("skip", [0, 1], ids=["user", "code"])
@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status", "status": 500},
        {"kind": "status", "status": 429},
        {"kind": "status", "status": 502, "html": True},
        {"kind": "reset"},
        {"kind": "close"},
    ],
    ids=lambda fault: " ".join(map(str, fault.values())),
)
def test_a_fault_is_told_and_the_next_call_gets_the_code(
    diner: Api, punchh: Punchh, member: str, fault: dict[str, Any], skip: int
) -> None:
    for _ in range(skip):
        punchh.faults.add(kind="pass")
    punchh.faults.add(**fault)

    answers = [ask(diner, member) for _ in range(3)]

    assert (answers[0].status, answers[0].body) == (200, FAILED)
    assert "coupon_code" in answers[1].body
    assert answers[2].body == answers[1].body


def test_the_answer_comes_in_time(diner: Api, punchh: Punchh, member: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookups, "MOENGAGE_SECONDS", AS_DEPLOYED)
    punchh.faults.add(kind="slow", seconds=30.0)
    began = time.monotonic()

    answer = ask(diner, member, at=time.time() - 3.0)

    assert time.monotonic() - began < 8  # a busy machine may stall; the fault lasts thirty seconds
    assert answer.body == FAILED


def test_a_wrong_admin_key_is_not_sent_often(diner: Api, punchh: Punchh, member: str) -> None:
    connect_punchh(diner.settings, punchh.url, secrets=PUNCHH_SECRETS | {"punchh_admin_key": "wrong"})

    answers = [ask(diner, member).body for _ in range(15)]

    assert answers == [FAILED] * 15
    assert len(punchh.requests) == credential_breaker.LIMIT
    assert punchh.business.blocked_until == 0


@pytest.mark.parametrize("table", ["PROGRAMS_TABLE", "MEMBERS_TABLE"])
def test_a_store_that_does_not_answer_is_told(
    diner: Api, punchh: Punchh, member: str, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(table, "NoSuchTable")
    environment.load_settings.cache_clear()

    assert ask(diner, member).body == FAILED
    assert punchh.requests == []


# What is remembered.


def test_a_code_is_given_for_as_long_as_the_program_says(diner: Api, punchh: Punchh, member: str) -> None:
    diner.change(loyalty={"coupon_code_days": 30})
    ask(diner, member)

    (stored,) = [it for it in aws.dynamodb().scan(TableName="MembersTable")["Items"] if "#codes#" in it["member"]["S"]]
    given = coupon_codes.from_item(stored, "58293")

    assert given
    assert given.code == punchh.business.coupons[0].code
    assert given.until == pytest.approx(time.time() + 30 * 86400, abs=60)


def test_a_code_that_is_over_makes_room_for_another(stores: DeliverySettings) -> None:
    codes = iter(["OLD", "NEW"])
    clock = [1_000_000.0]

    def give() -> str:
        return coupon_codes.get_or_generate(
            stores, CodeKey("diner", "c-1", "7"), None, lambda: next(codes), deadline=FAR, days=1, now=lambda: clock[0]
        )

    given = [give(), give()]
    clock[0] += 86401

    assert given == ["OLD", "OLD"]
    assert give() == "NEW"


def test_a_member_who_is_forgotten_leaves_no_trace(diner: Api, member: str, stores: DeliverySettings) -> None:
    ask(diner, member)

    assert members.forget(stores, "diner", member) == 1

    assert not [
        it for it in aws.dynamodb().scan(TableName="MembersTable")["Items"] if "c-1" in json.dumps(it, default=list)
    ]


# Two at once.

FAR = 1e12


def test_who_asks_while_another_does_waits_for_that_code(stores: DeliverySettings) -> None:
    given: list[str] = []

    def second(_: float = 0.0) -> None:
        given.append(
            coupon_codes.get_or_generate(
                stores,
                CodeKey("diner", "c-1", "7"),
                None,
                lambda: "SECOND",
                deadline=FAR,
                days=None,
                sleep=lambda _: let_go(),
            )
        )

    def let_go() -> None:
        # The first one gets its code while the second sleeps.
        write(StoredCode("FIRST", FAR))

    def write(found: StoredCode) -> None:
        stored = {"until": {"N": str(int(found.until))}, "code": {"S": found.code}}
        aws.dynamodb().update_item(
            TableName="MembersTable",
            Key={"member": {"S": coupon_codes.key("diner", "c-1")}},
            UpdateExpression="SET #c = :c",
            ExpressionAttributeNames={"#c": "campaign#7"},
            ExpressionAttributeValues={":c": {"M": stored}},
        )

    def first() -> str:
        second()
        return "FIRST TOO LATE"

    given.append(
        coupon_codes.get_or_generate(stores, CodeKey("diner", "c-1", "7"), None, first, deadline=FAR, days=None)
    )

    assert given == ["FIRST", "FIRST"]


def test_who_cannot_wait_any_longer_is_told(stores: DeliverySettings) -> None:
    values: list[str] = []

    def first() -> str:
        with pytest.raises(InProgress):
            coupon_codes.get_or_generate(
                stores, CodeKey("diner", "c-1", "7"), None, lambda: "X", deadline=0.0, days=None
            )
        values.append("in progress")
        return "FIRST"

    assert (
        coupon_codes.get_or_generate(stores, CodeKey("diner", "c-1", "7"), None, first, deadline=FAR, days=None)
        == "FIRST"
    )
    assert values == ["in progress"]


def test_who_died_asking_holds_nobody_up(stores: DeliverySettings) -> None:
    class Died(BaseException):
        pass

    def die() -> str:
        raise Died

    with pytest.raises(Died):
        coupon_codes.get_or_generate(
            stores, CodeKey("diner", "c-1", "7"), None, die, deadline=time.monotonic() + 4, days=None
        )

    later = time.time() + 5
    assert (
        coupon_codes.get_or_generate(
            stores, CodeKey("diner", "c-1", "7"), None, lambda: "X", deadline=FAR, days=None, now=lambda: later
        )
        == "X"
    )


@pytest.fixture
def failing_writes() -> Iterator[set[int]]:
    """The numbers of the writes that fail, from 1."""
    count, failing = itertools.count(1), set[int]()

    def fail(**_: Any) -> None:
        if next(count) in failing:
            raise EndpointConnectionError(endpoint_url="")

    aws._made.cache_clear()
    aws.dynamodb().meta.events.register("before-call.dynamodb.UpdateItem", fail)
    yield failing
    aws._made.cache_clear()


def test_a_generated_code_is_stored_by_a_later_attempt(stores: DeliverySettings, failing_writes: set[int]) -> None:
    failing_writes |= {2, 3}
    code_key = CodeKey("diner", "c-2", "7")

    first = coupon_codes.get_or_generate(stores, code_key, None, lambda: "FIRST", deadline=FAR, days=None)
    again = coupon_codes.get_or_generate(stores, code_key, None, lambda: "SECOND", deadline=FAR, days=None)

    assert [first, again] == ["FIRST", "FIRST"]


def test_a_code_that_could_not_be_stored_in_time_is_the_next_requests_code(
    stores: DeliverySettings, failing_writes: set[int]
) -> None:
    failing_writes |= set(range(2, 1000))
    code_key, deadline = CodeKey("diner", "c-3", "7"), time.monotonic() + 0.3

    with pytest.raises(Unavailable):
        coupon_codes.get_or_generate(stores, code_key, None, lambda: "FIRST", deadline=deadline, days=None)
    failing_writes.clear()
    later = time.time() + 1
    codes = [
        coupon_codes.get_or_generate(
            stores, code_key, None, lambda: "SECOND", deadline=FAR, days=None, now=lambda: later
        )
        for _ in range(2)
    ]

    assert codes == ["FIRST", "FIRST"]


def test_who_gets_no_code_lets_the_next_one_ask_at_once(stores: DeliverySettings) -> None:
    def fail() -> str:
        raise NotSent("no connection")

    with pytest.raises(NotSent):
        coupon_codes.get_or_generate(stores, CodeKey("diner", "c-1", "7"), None, fail, deadline=FAR, days=None)

    assert (
        coupon_codes.get_or_generate(stores, CodeKey("diner", "c-1", "7"), None, lambda: "X", deadline=0.0, days=None)
        == "X"
    )


def test_nothing_of_a_member_is_logged(
    diner: Api,
    punchh: Punchh,
    member: str,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    punchh.faults.add(kind="status", status=500, body={"email": "ann.ash@example.com"})
    ask(diner, member)
    punchh.faults.add(kind="status", status=422, body={"errors": {"email": ["ann.ash@example.com"]}})
    ask(diner, member)
    ask(diner, member)

    streams = capsys.readouterr()
    said = streams.out + streams.err + repr([vars(record) for record in caplog.records])
    assert "call failed" in said
    for value in ("ann.ash", "nnabel", "Ashworth", "admin-key", "token-of-58293", "PCH-58293-00001", diner.key):
        assert value not in said, value
