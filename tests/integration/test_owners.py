"""Accounts and their owners: whose records go to which account, in whatever order the statements come."""

from __future__ import annotations

import itertools
import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import inf
from typing import Any, Literal

import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from loyalty_bridge.event_queue.envelope import group_of
from loyalty_bridge.infra import aws
from loyalty_bridge.operations.members import forget
from loyalty_bridge.parking import blocked_groups, release
from loyalty_bridge.pipeline import identities
from loyalty_bridge.pipeline.engagement_client import check_connection
from loyalty_bridge.pipeline.forwarder import forward
from loyalty_bridge.pipeline.identities import MOST_MEMBERS, AliasAssertion
from loyalty_bridge.programs import delivery_state
from loyalty_bridge.settings import DeliverySettings
from simulators.braze import Braze
from tests.conftest import KEY, connect
from tests.support.events import event
from tests.support.parked import load_parked
from tests.support.transports import Queue, Stream, left

DAY = datetime(2026, 3, 1, tzinfo=UTC)
_numbers = itertools.count()


@pytest.fixture
def queue(stores: DeliverySettings, monkeypatch: pytest.MonkeyPatch) -> Queue:
    """Return the queue, in memory."""
    made = Queue()
    monkeypatch.setattr(aws, "sqs", lambda: made)
    return made


def at(second: int) -> str:
    return f"2026-03-01T10:00:{second:02d}Z"


def membership(
    user: str, second: int, kind: str = "membership_created", role: str = "OWNER", account: str = "A1", **person: Any
) -> dict[str, Any]:
    """Make an event in which the platform says what a user is to an account."""
    payload = {"membership": {"userId": user, "memberRole": role, "user": person}}
    return event(kind, accountId=account, occurredAt=at(second), payload=payload)


def of_user(user: str, second: int, **person: Any) -> dict[str, Any]:
    """Make an event that names a user and no account."""
    made = event("user_changed", userId=user, occurredAt=at(second), payload={"user": person})
    del made["accountId"]
    return made


def deliver(stores: DeliverySettings, queue: Queue, *events: dict[str, Any], together: bool = False) -> None:
    """Put events on the queue and deliver until it is empty, one by one or all in one batch."""
    for one in events:
        queue.put(json.dumps(one), group_of("demo", one.get("accountId") or one["userId"]))
        if not together:
            settle(stores, queue)
    settle(stores, queue)


def settle(stores: DeliverySettings, queue: Queue) -> None:
    while left(queue):
        batch = queue.batch(10)
        outcome = forward(batch, stores, 30)
        assert outcome.to_retry == []
        queue.settle(batch, outcome.to_retry)


def profile(braze: Braze, account: str = "A1") -> dict[str, Any]:
    found = braze.workspace(KEY).profile(external_id=account)
    return {**found.fields, "user": found.custom.get("convercus_user_id")} if found else {}


FIRST = membership("U1", 1, emailAddress="first@example.com", givenName="First")
SECOND = membership("U2", 3, emailAddress="second@example.com", givenName="Second")
HANDOVERS = {
    "another owner is named": [FIRST, SECOND],
    "the membership changes": [FIRST, SECOND | {"eventType": "membership_changed"}],
    "the first ends": [FIRST, membership("U1", 2, "membership_terminated"), SECOND],
    "the first ends later": [FIRST, SECOND, membership("U1", 5, "membership_terminated")],
    "the first becomes a member": [FIRST, membership("U1", 2, "membership_changed", "MEMBER"), SECOND],
    "the older statement comes later": [SECOND, FIRST],
    "the older statement comes twice": [FIRST, SECOND, FIRST],
    "both are of one time": [FIRST, SECOND | {"occurredAt": at(1)}],
    "both are of one time, and one comes twice": [FIRST, SECOND | {"occurredAt": at(1)}, FIRST],
}


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("handover", HANDOVERS)
def test_what_a_former_owner_says_does_not_reach_the_account(
    stores: DeliverySettings, braze: Braze, queue: Queue, handover: str, together: bool
) -> None:
    connect(stores, braze.url)
    deliver(stores, queue, *HANDOVERS[handover], together=together)

    deliver(stores, queue, of_user("U1", 9, emailAddress="new-of-first@example.com", phone="+4915112345678"))

    shown = profile(braze)
    assert (shown["email"], shown["first_name"], shown["user"]) == ("second@example.com", "Second", "U2")
    assert "phone" not in shown


def test_what_the_new_owner_says_reaches_the_account_and_the_former_ones_other_accounts_keep_theirs(
    stores: DeliverySettings, braze: Braze, queue: Queue
) -> None:
    connect(stores, braze.url)
    deliver(stores, queue, FIRST, membership("U1", 1, account="A2"), SECOND)

    deliver(stores, queue, of_user("U1", 9, givenName="Uno"), of_user("U2", 9, givenName="Due"))

    assert (profile(braze)["first_name"], profile(braze, "A2")["first_name"]) == ("Due", "Uno")


def let_wait(stores: DeliverySettings, queue: Queue, record: dict[str, Any], *before: dict[str, Any]) -> None:
    """Let a record wait for its user, who is not known yet."""
    deliver(stores, queue, record)
    assert len(load_parked(stores, "waiting")) == 1
    deliver(stores, queue, *before)
    release.run_schedule(stores, 40, check_connection)


def let_be_held(stores: DeliverySettings, queue: Queue, record: dict[str, Any], *before: dict[str, Any]) -> None:
    """Let a record be held while its user's accounts change hands."""
    deliver(stores, queue, *before[:1])
    delivery_state.hold(stores, "demo", "broken", time.time())
    deliver(stores, queue, record)
    assert len(load_parked(stores, "held")) == 1
    identities.learn(stores, [taught(one) for one in before[1:]], time.monotonic() + 20)
    release.run_schedule(stores, 40, check_connection)


def let_be_under_way(stores: DeliverySettings, queue: Queue, record: dict[str, Any], *before: dict[str, Any]) -> None:
    """Let a record be on the queue for an account of its user when the owner changes."""
    deliver(stores, queue, *before[:1])
    queue.put(json.dumps(record), "demo#U1")
    first = queue.batch(10)
    queue.settle(first, forward(first, stores, 30).to_retry)  # what is sent on is on the queue now
    under_way, queue.messages = queue.messages, []
    deliver(stores, queue, *before[1:])
    queue.messages = under_way


def taught(statement: dict[str, Any]) -> AliasAssertion:
    """Return the statement of `membership` as the bridge keeps it."""
    user = statement["payload"]["membership"]["userId"]
    when, ended = datetime.fromisoformat(statement["occurredAt"]), statement["eventType"] == "membership_terminated"
    return AliasAssertion("demo", f"user:{user}", statement["accountId"], when, "owner", ended=ended)


ENDS = {
    "the membership ends": [FIRST, membership("U1", 5, "membership_terminated")],
    "the end is said twice": [FIRST, *[membership("U1", second, "membership_terminated") for second in (5, 8)]],
    "another owner is named": [FIRST, membership("U2", 5)],
    "the next owner is named again": [FIRST, membership("U2", 5), membership("U2", 8, "membership_changed")],
    "a third owner is named": [FIRST, membership("U2", 5), membership("U3", 8)],
    "an end is named after the next owner": [
        FIRST, membership("U2", 5), membership("U1", 8, "membership_terminated"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("later", [let_wait, let_be_held, let_be_under_way])
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("second", [3, 5, 6, 9])
def test_what_a_user_did_while_the_account_was_theirs_reaches_it_without_their_data(
    stores: DeliverySettings, braze: Braze, queue: Queue, later: Any, end: str, second: int
) -> None:
    connect(stores, braze.url)

    later(stores, queue, of_user("U1", second, phone="+4915112345678"), *ENDS[end])
    settle(stores, queue)

    assert "phone" not in profile(braze)
    events = [one.object["name"] for one in braze.workspace(KEY).events]
    assert events.count("convercus_user_changed") == (1 if second <= 5 else 0)
    reasons = [(one.field, one.reason) for entry in load_parked(stores, "rejected") for one in entry.field_errors]
    waits = len(load_parked(stores, "waiting"))  # until it is refused: the user may become an owner once more
    assert (reasons, waits) in (
        [([], 0)] if second <= 5 else [([("userId", "no longer means the account")], 0), ([], 1)]
    )


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_the_end_of_a_membership_holds_in_whatever_order_the_statements_come(
    stores: DeliverySettings, order: tuple[int, ...]
) -> None:
    said = [FIRST, membership("U1", 5, "membership_terminated"), membership("U2", 7)]
    for one in order:
        identities.learn(stores, [taught(said[one])], time.monotonic() + 20)
    names = [("demo", f"user:{user}") for user in ("U1", "U2")]

    found = identities.members(stores, names, time.monotonic() + 20, owned=names)

    assert found == {names[0]: {"A1": datetime.fromisoformat(at(5)).timestamp()}, names[1]: {"A1": inf}}


def test_an_end_that_comes_before_its_beginning_holds(stores: DeliverySettings, braze: Braze, queue: Queue) -> None:
    connect(stores, braze.url)
    deliver(stores, queue, membership("U1", 5, "membership_terminated"), FIRST)

    deliver(stores, queue, of_user("U1", 9, phone="+4915112345678"))

    assert "phone" not in profile(braze)


def test_an_account_of_many_owners_remembers_the_last_ones(stores: DeliverySettings) -> None:
    for number in range(60):
        identities.learn(stores, [taught(membership(f"U{number}", number))], time.monotonic() + 20)
    names = [("demo", f"user:U{number}") for number in (0, 58, 59)]

    found = identities.members(stores, names, time.monotonic() + 20, owned=names)

    ends = [(found[name] or {})["A1"] for name in names]
    assert ends == [0, datetime.fromisoformat(at(59)).timestamp(), inf]


def test_a_late_statement_of_a_former_owner_adds_nothing_about_the_person(
    stores: DeliverySettings, braze: Braze, queue: Queue
) -> None:
    connect(stores, braze.url)
    deliver(stores, queue, SECOND)

    deliver(stores, queue, membership("U1", 2, emailAddress="first@example.com", phone="+4915112345678"))

    assert "phone" not in profile(braze)
    assert len(braze.workspace(KEY).events) == 2


Statement = tuple[str, str, int, Literal["owner", "ended"]]


def holder(statements: Sequence[Statement], account: str) -> str:
    """Return the owner by the newest statement that names one; of one time, by the later one."""
    named = [one for one in statements if one[1] == account and one[3] == "owner"]
    last = max(enumerate(named), key=lambda one: (one[1][2], one[0]), default=None)
    return last[1][0] if last else ""


@hypothesis(max_examples=30, suppress_health_check=list(HealthCheck))
@given(
    statements=st.lists(
        st.tuples(st.sampled_from(["U1", "U2", "U3"]), st.sampled_from(["A1", "A2"]), st.integers(0, 5)),
        min_size=1,
        max_size=8,
    ),
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=8),
)
def test_an_account_is_its_newest_owners_in_whatever_order_and_batches_the_statements_come(
    stores: DeliverySettings, statements: list[tuple[str, str, int]], sizes: list[int]
) -> None:
    program = f"p{next(_numbers)}"
    taught = [
        AliasAssertion(program, f"user:{user}", account, DAY + timedelta(seconds=second), "owner")
        for user, account, second in statements
    ]
    until, rest = time.monotonic() + 20, taught
    for size in itertools.cycle(sizes):
        now, rest = rest[:size], rest[size:]
        identities.learn(stores, now, until)
        if not rest:
            break
    names = [(program, f"user:{user}") for user in ("U1", "U2", "U3")]

    found = identities.members(stores, names, until, owned=names)

    values: list[Statement] = [(*one, "owner") for one in statements]
    for account in ("A1", "A2"):
        owners = {
            alias.removeprefix("user:") for (_, alias), there in found.items() if (there or {}).get(account) == inf
        }
        assert owners == {holder(values, account)} - {""}


# Aliases that very many share.


def share(stores: DeliverySettings, alias: str, count: int) -> None:
    """Let so many accounts say that their owner is an alias, in batches."""
    for start in range(0, count, 40):
        taught = [
            AliasAssertion("demo", alias, f"account-{number}", DAY, "owner")
            for number in range(start, min(start + 40, count))
        ]
        identities.learn(stores, taught, time.monotonic() + 20)


def item_of(stores: DeliverySettings, alias: str) -> Any:
    name = {"member": {"S": identities.key("demo", alias)}}
    return aws.dynamodb().get_item(TableName=stores.members_table, Key=name)["Item"]


def test_a_user_of_very_many_accounts_identifies_none_and_its_item_does_not_grow(
    stores: DeliverySettings, braze: Braze, queue: Queue
) -> None:
    connect(stores, braze.url)
    share(stores, "user:GUEST", MOST_MEMBERS + 300)

    deliver(stores, queue, of_user("GUEST", 1), membership("GUEST", 2, account="A-new"), of_user("GUEST", 3))

    assert len(json.dumps(item_of(stores, "user:GUEST"))) < 500
    assert [one.object["external_id"] for one in braze.workspace(KEY).events] == ["A-new"]
    reasons = [(one.field, one.reason) for entry in load_parked(stores, "rejected") for one in entry.field_errors]
    assert reasons == [("userId", "is shared by more than 100 members, and identifies none of them")] * 2


def test_a_user_of_a_hundred_accounts_reaches_each(stores: DeliverySettings, braze: Braze, queue: Queue) -> None:
    connect(stores, braze.url)
    share(stores, "user:U1", MOST_MEMBERS)

    deliver(stores, queue, of_user("U1", 1))

    assert len({one.object["external_id"] for one in braze.workspace(KEY).events}) == MOST_MEMBERS


@pytest.mark.parametrize("one", ["member", ""])
def test_no_kind_of_alias_grows_without_end(stores: DeliverySettings, one: Literal["member", ""]) -> None:
    taught = [AliasAssertion("demo", f"user:{number}", "shared", DAY, one) for number in range(300)]
    taught += [AliasAssertion("demo", "email:shared", f"member-{number}", DAY) for number in range(300)]
    for start in range(0, len(taught), 50):
        identities.learn(stores, taught[start : start + 50], time.monotonic() + 20)

    items = aws.dynamodb().scan(TableName=stores.members_table)["Items"]

    assert max(len(item.get("members", {}).get("SS", ())) for item in items) <= MOST_MEMBERS


def test_an_item_that_dynamodb_never_takes_keeps_no_batch_from_being_delivered(
    stores: DeliverySettings, braze: Braze, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = aws.dynamodb().transact_write_items

    def full(TransactItems: Any) -> Any:  # noqa: N803 - boto3's name
        reasons = [{"Code": "ValidationError" if "GUEST" in json.dumps(one) else "None"} for one in TransactItems]
        if {"Code": "ValidationError"} not in reasons:
            return real(TransactItems=TransactItems)
        error: Any = {"Error": {"Code": "TransactionCanceledException"}, "CancellationReasons": reasons}
        raise aws.dynamodb().exceptions.TransactionCanceledException(error, "TransactWriteItems")

    connect(stores, braze.url)
    monkeypatch.setattr(aws.dynamodb(), "transact_write_items", full)
    began = time.monotonic()

    deliver(stores, queue, membership("GUEST", 1), membership("U2", 1, account="A2"), together=True)
    deliver(stores, queue, of_user("U2", 2))

    assert time.monotonic() - began < 10
    assert Counter(one.object["external_id"] for one in braze.workspace(KEY).events) == {"A1": 1, "A2": 2}


# Copies for each account.


@pytest.mark.parametrize("moving", [Queue, Stream])
def test_a_record_is_sent_on_once_though_another_program_fails_in_between(
    stores: DeliverySettings, braze: Braze, monkeypatch: pytest.MonkeyPatch, moving: type[Queue | Stream]
) -> None:
    value = stores if moving is Queue else replace(stores, events_queue_url="", events_stream="stream")
    ways: Queue | Stream = moving()
    monkeypatch.setattr(aws, "sqs", lambda: ways)
    monkeypatch.setattr(aws, "kinesis", lambda: ways)
    for program in ("demo", "failing"):
        connect(value, braze.url, program, KEY if program == "demo" else "failing")
    braze.workspace("failing").misbehave(kind="status", status=500, times=None)
    monkeypatch.setattr("loyalty_bridge.pipeline.sender.ATTEMPTS", 1)
    share(value, "user:U1", 9)
    ways.put(json.dumps(event(programId="failing", accountId="B1")), "failing#B1")
    ways.put(json.dumps(of_user("U1", 1)), "demo#U1")

    for _ in range(4):
        batch = ways.batch(2)
        ways.settle(batch, forward(batch, value, 30).to_retry)
    braze.workspace("failing").faults.clear()
    while left(ways):
        batch = ways.batch(10)
        ways.settle(batch, forward(batch, value, 30).to_retry)

    received = Counter(one.object["external_id"] for one in braze.workspace(KEY).events)
    assert received == {f"account-{number}": 1 for number in range(9)}
    assert len(ways.messages) <= 9 + 2 if moving is Stream else True


def test_a_copy_that_is_put_again_is_recognised_and_one_that_is_put_on_purpose_is_not(
    stores: DeliverySettings, braze: Braze, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids: list[str] = []
    real = queue.send_message_batch

    def note(*, QueueUrl: str, Entries: Any) -> Any:  # noqa: N803 - boto3's names
        ids.extend(entry["MessageDeduplicationId"] for entry in Entries)
        return real(QueueUrl=QueueUrl, Entries=Entries)

    monkeypatch.setattr(queue, "send_message_batch", note)
    connect(stores, braze.url)
    share(stores, "user:U1", 2)
    for _ in range(2):
        queue.put(json.dumps(of_user("U1", 1)), "demo#U1")
    one, other = queue.batch(1), {"Records": queue.batch(2)["Records"][1:]}

    for batch in (one, one, other):
        forward(batch, stores, 30)

    assert (len(ids), ids[:2], len(set(ids))) == (6, ids[2:4], 4)


class Unwilling:
    """A client of AWS of which one call fails so many times, each time that it is made or every second time."""

    def __init__(self, client: Any, call: str, times: int, every: int = 1) -> None:
        self._client, self._call, self._times, self._every, self._made = client, call, times, every, 0

    def __getattr__(self, name: str) -> Any:
        return self._unwilling if name == self._call else getattr(self._client, name)

    def _unwilling(self, **request: Any) -> Any:
        self._made += 1
        if self._times and self._made % self._every == 0:
            self._times -= 1
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "x"}}, self._call)
        return getattr(self._client, self._call)(**request)


UNWILLING = [("s3", "put_object"), ("dynamodb", "put_item"), ("dynamodb", "update_item"), ("sqs", "send_message_batch")]


@pytest.mark.parametrize("moving", [Queue, Stream])
@pytest.mark.parametrize(("client", "call"), UNWILLING)
@pytest.mark.parametrize("times", [1, 3, 7])
def test_what_is_sent_on_and_what_is_kept_is_there_once_though_a_store_fails_several_times(
    stores: DeliverySettings,
    braze: Braze,
    monkeypatch: pytest.MonkeyPatch,
    moving: type[Queue | Stream],
    client: str,
    call: str,
    times: int,
) -> None:
    value = stores if moving is Queue else replace(stores, events_queue_url="", events_stream="stream")
    ways: Queue | Stream = moving()
    put: list[str] = []
    whole = ways.put

    def noted(body: str, group: str) -> None:
        put.append(group)
        whole(body, group)

    monkeypatch.setattr(ways, "put", noted)
    monkeypatch.setattr(aws, "sqs", lambda: ways)
    monkeypatch.setattr(aws, "kinesis", lambda: ways)
    connect(value, braze.url)
    share(value, "user:U1", 9)
    everything = [of_user("U1", 1), of_user("U9", 2), {"eventType": "account_created", "programId": "demo"}]
    ways.put(json.dumps(everything), "demo#U1")
    put.clear()
    client, call = ("kinesis", "put_records") if (client, moving) == ("sqs", Stream) else (client, call)
    unwilling = Unwilling(getattr(aws, client)(), call, times)
    monkeypatch.setattr(aws, client, lambda: unwilling)

    for _ in range(times + 3):
        while left(ways):
            batch = ways.batch(10)
            outcome = forward(batch, value, 30)
            ways.settle(batch, outcome.to_retry)
            if outcome.to_retry:
                break
        release.run_schedule(value, 40, check_connection)

    received = Counter(one.object["external_id"] for one in braze.workspace(KEY).events)
    assert received == {f"account-{number}": 1 for number in range(9)}
    copies = Counter(group for group in put if group.startswith("demo#account"))
    assert copies == {f"demo#account-{number}": 1 for number in range(9)}
    assert len(load_parked(value, "rejected")) == 1
    assert len(load_parked(value, "waiting")) + sum(one.group == "demo#U1" for one in left(ways)) == 1


# Forgetting.


def test_a_member_who_is_forgotten_leaves_nothing_behind(stores: DeliverySettings, braze: Braze, queue: Queue) -> None:
    connect(stores, braze.url)
    deliver(stores, queue, FIRST, event(accountId="A1"))
    blocked_groups.block(
        stores, "demo", {group_of("demo", "A1"): blocked_groups.BlockedGroup("1772359200000-0123456789ab.000000")}, 1e9
    )
    identities.learn(stores, [AliasAssertion("demo", "user:7", "A1", DAY, "member")], time.monotonic() + 20)

    removed = forget(stores, "demo", "A1")

    assert removed == 2
    assert aws.dynamodb().scan(TableName=stores.members_table)["Items"] == []


def test_what_a_forgotten_member_shared_with_others_stays_theirs(stores: DeliverySettings) -> None:
    taught = [AliasAssertion("demo", "user:U1", account, DAY, "owner") for account in ("A1", "A2")]
    identities.learn(stores, taught, time.monotonic() + 20)

    forget(stores, "demo", "A1")

    name = ("demo", "user:U1")
    assert identities.members(stores, [name], time.monotonic() + 20, owned=[name]) == {name: {"A2": inf}}
