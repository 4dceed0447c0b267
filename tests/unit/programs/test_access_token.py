"""One token for all containers: who logs in, who waits, and what happens when a login fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from moto import mock_aws
from moto.dynamodb.models import DynamoDBBackend

from loyalty_bridge.actions.clients import convercus_client
from loyalty_bridge.errors import NotConnected, NotSent, Unavailable
from loyalty_bridge.infra import aws, dynamodb
from loyalty_bridge.infra.http_client import open_client
from loyalty_bridge.programs import repository
from loyalty_bridge.programs.access_token import ITEM, SharedToken, Token, from_item
from loyalty_bridge.programs.connection import Connection, Program, merge
from loyalty_bridge.programs.secrets import decrypt
from loyalty_bridge.settings import ProgramSettings
from simulators.convercus import Convercus, simulate
from simulators.convercus_program import Program as Upstream
from tests.support.lost_replies import lose_replies
from tests.support.template import resources

NOW = 1_700_000_000.0


def _one_at_a_time(function: Callable[..., Any]) -> Callable[..., Any]:
    lock = threading.Lock()

    def locked(*arguments: Any, **named: Any) -> Any:
        with lock:
            return function(*arguments, **named)

    return locked


@pytest.fixture(scope="module")
def aws_of_module() -> Iterator[ProgramSettings]:
    """Return the table of programs and a key, once: making them takes longer than the tests."""
    aws._made.cache_clear()
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        # DynamoDB checks a condition and writes in one step, its stand-in in two.
        patch.setattr(DynamoDBBackend, "update_item", _one_at_a_time(DynamoDBBackend.update_item))
        table = resources("AWS::DynamoDB::Table")["ProgramsTable"]["Properties"]
        wanted = ("KeySchema", "AttributeDefinitions", "BillingMode")
        properties: Any = {name: table[name] for name in wanted}
        boto3.client("dynamodb").create_table(TableName="programs", **properties)
        yield ProgramSettings(
            programs_table="programs",
            secrets_key=boto3.client("kms").create_key()["KeyMetadata"]["KeyId"],
            allowed_hosts="127.0.0.1",
        )
    aws._made.cache_clear()


@pytest.fixture
def stores(aws_of_module: ProgramSettings) -> Iterator[ProgramSettings]:
    """Return the table without what the test before has left."""
    yield aws_of_module
    client = boto3.client("dynamodb", region_name="us-east-1")
    for item in client.scan(TableName=aws_of_module.programs_table)["Items"]:
        client.delete_item(
            TableName=aws_of_module.programs_table, Key={name: item[name] for name in ("program", "item")}
        )


@pytest.fixture
def clock() -> SimpleNamespace:
    return SimpleNamespace(now=NOW)


@pytest.fixture(scope="module")
def convercus() -> Iterator[Convercus]:
    with simulate() as running:
        yield running


@pytest.fixture
def upstream(convercus: Convercus) -> Upstream:
    program = convercus.program(f"P{len(convercus._programs)}")
    program.account("A1")
    return program


class Logins:
    """Logs in by counting; fails while configured to."""

    def __init__(self, seconds: float = 100.0) -> None:
        self.count = 0
        self.seconds = seconds
        self.failing = False

    def __call__(self, deadline: float) -> tuple[str, float]:
        if self.failing:
            raise NotSent("Convercus is away")
        self.count += 1
        return f"token-{self.count}", self.seconds


def container(
    settings: ProgramSettings, login: Callable[[float], tuple[str, float]], purpose: str = "one", **change: Any
) -> SharedToken:
    """Make what one container has."""
    return SharedToken(settings, "demo", purpose, login, **({"sleep": lambda _: None} | change))


def soon(seconds: float = 5.0) -> float:
    return time.monotonic() + seconds


def item(settings: ProgramSettings) -> dict[str, Any]:
    return dynamodb.get(settings.programs_table, {"program": "demo", "item": ITEM}) or {}


def put(settings: ProgramSettings, **numbers: float) -> None:
    values = {name: {"N": str(value)} for name, value in numbers.items()}
    aws.dynamodb().put_item(
        TableName=settings.programs_table, Item={"program": {"S": "demo"}, "item": {"S": ITEM}, **values}
    )


def connected(settings: ProgramSettings, convercus: Convercus, upstream: Upstream, **change: Any) -> Program:
    """Save a program that reaches the simulated Convercus."""
    api = {"base_url": convercus.url, "auth_url": convercus.url, "realm": upstream.id, "interaction_id": "SHOP-1"}
    connection = merge(Connection(), {"loyalty": {"api": api | change}})
    before = repository.load(settings, ["demo"]).get("demo")
    secrets = {"convercus_client_secret": upstream.settings.client_secret}
    return repository.save(settings, before, "demo", connection, secrets)


def test_containers_share_one_login(stores: ProgramSettings) -> None:
    login = Logins()

    tokens = {container(stores, login)(soon()) for _ in range(3)}

    assert (tokens, login.count) == ({"token-1"}, 1)


def test_a_burst_of_containers_logs_in_once(stores: ProgramSettings, convercus: Convercus, upstream: Upstream) -> None:
    program = connected(stores, convercus, upstream)
    burst = 12
    start = threading.Barrier(burst)

    def look_up(_: int) -> object:
        client = convercus_client(stores, program, None, open_client(1))
        start.wait()
        return client.account_details("A1", deadline=soon(20))

    with ThreadPoolExecutor(burst) as pool:
        answers = list(pool.map(look_up, range(burst)))

    assert (len(answers), upstream.logins) == (burst, 1)


def test_a_burst_of_containers_with_an_expired_token_logs_in_once_more(
    stores: ProgramSettings, convercus: Convercus, upstream: Upstream
) -> None:
    program = connected(stores, convercus, upstream)
    convercus_client(stores, program, None, open_client(1)).account_details("A1", deadline=soon())
    known = from_item(item(stores))
    upstream.misbehave(kind="expired_token")
    burst = 8
    start = threading.Barrier(burst)

    def look_up(_: int) -> object:
        client = convercus_client(stores, program, known, open_client(1))
        start.wait()
        return client.account_details("A1", deadline=soon(20))

    with ThreadPoolExecutor(burst) as pool:
        answers = list(pool.map(look_up, range(burst)))

    assert (len(answers), upstream.logins) == (burst, 2)


@pytest.mark.parametrize(("age", "token"), [(79.9, "token-1"), (80.0, "token-2"), (1e6, "token-2")])
def test_a_token_is_renewed_after_four_fifths_of_its_life(
    stores: ProgramSettings, clock: SimpleNamespace, age: float, token: str
) -> None:
    login = Logins(seconds=100)
    container(stores, login, clock=lambda: clock.now)(soon())

    clock.now += age

    assert container(stores, login, clock=lambda: clock.now)(soon()) == token


def test_one_container_renews_as_time_goes_by(stores: ProgramSettings, clock: SimpleNamespace) -> None:
    give = container(stores, Logins(seconds=100), clock=lambda: clock.now)

    tokens = []
    for _ in range(3):
        tokens.append(give(soon()))
        clock.now += 90

    assert tokens == ["token-1", "token-2", "token-3"]


def test_while_another_container_renews_the_old_token_is_used(stores: ProgramSettings, clock: SimpleNamespace) -> None:
    def slow_login(_: float) -> tuple[str, float]:
        # In the middle of the renewal another container needs a token.
        during.append(container(stores, unwanted, clock=lambda: clock.now)(soon()))
        return "token-2", 100.0

    during: list[str] = []
    unwanted = Logins()
    container(stores, lambda _: ("token-1", 100.0), clock=lambda: clock.now)(soon())
    clock.now += 85

    renewed = container(stores, slow_login, clock=lambda: clock.now)(soon())

    assert (renewed, during, unwanted.count) == ("token-2", ["token-1"], 0)


def test_a_container_that_died_while_logging_in_holds_up_the_others_until_its_lease_is_over(
    stores: ProgramSettings, clock: SimpleNamespace
) -> None:
    put(stores, leased_until=NOW + 5)
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        clock.now += 1

    token = container(stores, Logins(), clock=lambda: clock.now, sleep=sleep)(soon())

    assert token == "token-1"
    assert len(pauses) == 5


def test_who_waits_longer_than_there_is_time_sends_nothing(stores: ProgramSettings, clock: SimpleNamespace) -> None:
    put(stores, leased_until=NOW + 5)
    login = Logins()

    with pytest.raises(NotSent) as not_sent:
        container(stores, login, clock=lambda: clock.now)(soon(0.5))

    assert (login.count, not_sent.value.retry_after) == (0, 5.0)


def test_a_lease_whose_reply_was_lost_is_recognised_as_ones_own(
    stores: ProgramSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    logins = Logins()
    lose_replies(monkeypatch)

    token = container(stores, logins)(soon(1))

    assert (token, logins.count) == (container(stores, logins)(soon(1)), 1)


def test_a_refused_token_is_replaced_for_all(stores: ProgramSettings) -> None:
    login = Logins()
    first, second = container(stores, login), container(stores, login)
    refused = [first(soon()), second(soon())]

    replaced = [first(soon(), refused[0]), second(soon(), refused[1])]

    assert (refused, replaced, login.count) == (["token-1"] * 2, ["token-2"] * 2, 2)


def test_a_login_that_failed_leaves_the_way_free(stores: ProgramSettings) -> None:
    login = Logins()
    login.failing = True
    with pytest.raises(NotSent):
        container(stores, login)(soon())

    login.failing = False

    assert container(stores, login)(soon()) == "token-1"


def test_when_a_renewal_fails_the_old_token_is_used_to_its_end(stores: ProgramSettings, clock: SimpleNamespace) -> None:
    login = Logins(seconds=100)
    give = container(stores, login, clock=lambda: clock.now)
    give(soon())
    login.failing = True

    clock.now += 99
    token = give(soon())
    clock.now += 1

    assert token == "token-1"
    with pytest.raises(NotSent):
        give(soon())


def test_a_slow_renewal_leaves_time_to_use_the_old_token(
    stores: ProgramSettings, convercus: Convercus, upstream: Upstream
) -> None:
    program = connected(stores, convercus, upstream)
    convercus_client(stores, program, None, open_client(1)).account_details("A1", deadline=soon())
    known = replace(from_item(item(stores)), renew_at=0.0)
    upstream.misbehave(kind="slow", on="token", seconds=5)

    client = convercus_client(stores, program, known, open_client(1))

    assert client.account_details("A1", deadline=soon(1))["accountId"] == "A1"


def test_a_token_lies_encrypted_in_the_store_and_opens_for_its_program_only(stores: ProgramSettings) -> None:
    container(stores, lambda _: ("eyVerySecret", 100.0))(soon())

    sealed = from_item(item(stores)).sealed
    with pytest.raises(Unavailable):
        decrypt("another", sealed[0])
    assert decrypt("demo", sealed[0]) == "eyVerySecret"
    assert "eyVerySecret" not in str(item(stores))


def test_a_token_longer_than_kms_takes_at_once_is_shared_too(stores: ProgramSettings) -> None:
    long = "x" * 4095 + "y" * 5000

    container(stores, lambda _: (long, 100.0))(soon())

    assert container(stores, Logins())(soon()) == long


def test_the_token_of_another_login_is_not_used(stores: ProgramSettings) -> None:
    login = Logins()
    container(stores, login)(soon())

    assert container(stores, login, "two")(soon()) == "token-2"


def test_a_token_that_was_read_with_the_program_costs_no_further_read(stores: ProgramSettings) -> None:
    login = Logins()
    container(stores, login)(soon())
    known = from_item(item(stores))
    elsewhere = replace(stores, programs_table="no-such-table")

    assert container(elsewhere, login, latest=known)(soon()) == "token-1"


def test_when_the_store_does_not_answer_nothing_is_sent(stores: ProgramSettings) -> None:
    elsewhere = replace(stores, programs_table="no-such-table")
    login = Logins()

    with pytest.raises(NotSent, match="ResourceNotFoundException"):
        container(elsewhere, login)(soon())

    assert login.count == 0


def test_no_item_is_no_token() -> None:
    assert from_item({}) == Token()


def test_a_program_with_another_secret_logs_in_again(
    stores: ProgramSettings, convercus: Convercus, upstream: Upstream
) -> None:
    convercus_client(stores, connected(stores, convercus, upstream), None, open_client(1)).token(soon(), "")
    upstream.configure(client_secret="rotated-secret")

    client = convercus_client(stores, connected(stores, convercus, upstream), None, open_client(1))
    client.account_details("A1", deadline=soon())

    assert upstream.logins == 2


@pytest.mark.parametrize(
    ("change", "absent"),
    [
        pytest.param({"base_url": ""}, "loyalty.api.base_url", id="address"),
        pytest.param({"auth_url": "", "realm": ""}, "loyalty.api.auth_url, loyalty.api.realm", id="realm"),
        pytest.param(
            {"auth": "login"},
            "loyalty.api.org, loyalty.api.user_name, secrets.convercus_password",
            id="older login",
        ),
    ],
)
def test_a_program_that_cannot_reach_convercus_says_what_is_not_set(
    stores: ProgramSettings, convercus: Convercus, upstream: Upstream, change: dict[str, str], absent: str
) -> None:
    program = connected(stores, convercus, upstream, **change)

    with pytest.raises(NotConnected) as not_connected:
        convercus_client(stores, program, None, open_client(1))

    assert str(not_connected.value).endswith(f": {absent}")


def test_streaming_needs_nothing_of_what_reaches_convercus() -> None:
    connection = merge(
        Connection(),
        {
            "loyalty": {"membership_optins": ("Email",), "default_optins": ("Email",)},
            "engagement": {"api_endpoint": "https://rest.iad-01.braze.com"},
        },
    )

    assert Program("demo", connection).missing() == ["secrets.braze_api_key"]
