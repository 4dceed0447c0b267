"""Programs in their table: who saves last, what is secret, and what another workspace means."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from loyalty_bridge.errors import Conflict, Unavailable
from loyalty_bridge.infra import aws
from loyalty_bridge.programs import access_token, api_keys, deletion, delivery_state, recent, repository, secrets
from loyalty_bridge.programs.connection import Connection, merge
from loyalty_bridge.programs.secrets import decrypt, encrypt
from loyalty_bridge.settings import ProgramSettings
from tests.support.lost_replies import lose_replies
from tests.support.template import resources

KEY = "braze-rest-api-key-1234"
CONNECTION = merge(
    Connection(),
    {
        "loyalty": {"membership_optins": ["SMS"], "default_optins": ["SMS"]},
        "engagement": {"api_endpoint": "https://rest.iad-01.braze.com"},
    },
)


@pytest.fixture(scope="module")
def secrets_key() -> Iterator[str]:
    """Run AWS in this process, and make what takes long."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        with mock_aws():
            yield aws.kms().create_key()["KeyMetadata"]["KeyId"]


@pytest.fixture
def settings(secrets_key: str) -> Iterator[ProgramSettings]:
    """Return an empty table of programs, made from the template."""
    made = resources("AWS::DynamoDB::Table")["ProgramsTable"]["Properties"]
    table: Any = {name: made[name] for name in ("KeySchema", "AttributeDefinitions", "BillingMode")}
    aws.dynamodb().create_table(TableName="programs", **table)
    yield ProgramSettings(programs_table="programs", secrets_key=secrets_key)
    aws.dynamodb().delete_table(TableName="programs")


def everything(settings: ProgramSettings) -> bytes:
    """Return all that is in the table as bytes."""
    return repr(aws.dynamodb().scan(TableName=settings.programs_table)["Items"]).encode()


def test_what_was_saved_is_loaded(settings: ProgramSettings) -> None:
    saved = repository.save(settings, None, "demo", CONNECTION, {"braze_api_key": KEY})

    assert repository.load(settings, ["demo", "unknown", "demo"]) == {"demo": saved}
    assert (saved.version, saved.connection, saved.missing()) == (1, CONNECTION, [])


def test_nothing_is_loaded_of_an_empty_table(settings: ProgramSettings) -> None:
    assert (
        repository.load(settings, []),
        repository.load(settings, ["demo"]),
        list(repository.load_all(settings)),
    ) == (
        {},
        {},
        [],
    )


def test_more_programs_than_one_round_trip_takes_are_loaded(settings: ProgramSettings) -> None:
    names = {f"p-{number}" for number in range(51)}
    for name in names:
        repository.save(settings, None, name, CONNECTION, {})

    assert repository.load(settings, names).keys() == names
    assert {program.id for program in repository.load_all(settings)} == names


def test_a_program_comes_with_its_delivery_state(settings: ProgramSettings) -> None:
    saved = repository.save(settings, None, "demo", CONNECTION, {})
    repository.save(settings, None, "other", CONNECTION, {})
    delivery_state.note_failure(settings, "demo", 1_772_359_200.0)

    repository.save(settings, saved, "demo", merge(CONNECTION, {"attribute_writes": "all"}), {})
    loaded = repository.load(settings, ["demo", "other"])

    assert {name: program.delivery_state.failing_since for name, program in loaded.items()} == {
        "demo": 1_772_359_200.0,
        "other": 0,
    }


def test_a_program_that_exists_is_not_made_again(settings: ProgramSettings) -> None:
    saved = repository.save(settings, None, "demo", CONNECTION, {"braze_api_key": KEY})

    with pytest.raises(Conflict):
        repository.save(settings, None, "demo", Connection(), {})

    assert repository.load(settings, ["demo"])["demo"] == saved


def test_saving_over_an_unseen_change_is_a_conflict(settings: ProgramSettings) -> None:
    before = repository.save(settings, None, "demo", CONNECTION, {})
    theirs = repository.save(settings, before, "demo", merge(CONNECTION, {"attribute_writes": "all"}), {})

    with pytest.raises(Conflict):
        repository.save(settings, before, "demo", CONNECTION, {"braze_api_key": KEY})

    assert repository.load(settings, ["demo"])["demo"] == theirs
    assert theirs.version == 2


def test_a_program_that_was_deleted_in_between_does_not_come_back(settings: ProgramSettings) -> None:
    before = repository.save(settings, None, "demo", CONNECTION, {})
    repository.delete(settings, "demo")

    with pytest.raises(Conflict):
        repository.save(settings, before, "demo", CONNECTION, {})

    assert repository.load(settings, ["demo"]) == {}


@pytest.mark.parametrize(
    ("endpoint", "change", "new_workspace", "rises"),
    [
        ("https://rest.iad-01.braze.com", {"attribute_writes": "all"}, False, False),
        ("https://rest.iad-01.braze.com", {"engagement": {"rules": {"max_objects": 5}}}, False, False),
        (
            "https://rest.iad-01.braze.com",
            {"engagement": {"api_endpoint": "https://rest.fra-01.braze.eu"}},
            False,
            True,
        ),
        ("https://rest.iad-01.braze.com", {"engagement": {"api_endpoint": ""}}, False, True),
        ("https://rest.iad-01.braze.com", {}, True, True),
        ("", {"engagement": {"api_endpoint": "https://rest.iad-01.braze.com"}}, False, False),
        ("", {"engagement": {"rules": {"identifier_type": "user_alias"}}}, False, False),
        ("", {}, False, False),
        ("https://rest.iad-01.braze.com", {"engagement": {"rules": {"identifier_type": "user_alias"}}}, False, True),
        ("https://rest.iad-01.braze.com", {"engagement": {"rules": {"alias_label": "card"}}}, False, False),
        ("https://rest.iad-01.braze.com", {"engagement": {"rules": {"update_existing_only": True}}}, False, False),
    ],
)
def test_the_epoch_rises_with_another_workspace_or_other_users_only(
    settings: ProgramSettings, endpoint: str, change: dict[str, Any], new_workspace: bool, rises: bool
) -> None:
    connection = merge(CONNECTION, {"engagement": {"api_endpoint": endpoint}})
    before = repository.save(settings, None, "demo", connection, {"braze_api_key": KEY})

    repository.save(settings, before, "demo", merge(connection, change), {}, new_workspace=new_workspace)

    assert repository.load(settings, ["demo"])["demo"].destination_version == before.destination_version + rises


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        pytest.param({"identifier_type": "user_alias"}, {"identifier_type": "external_id"}, id="found by id"),
        pytest.param({"identifier_type": "user_alias"}, {"alias_label": "card"}, id="found by another label"),
        pytest.param({"update_existing_only": True}, {"update_existing_only": False}, id="no longer left out"),
    ],
)
def test_the_epoch_rises_when_what_was_sent_is_not_there_for_all_users(
    settings: ProgramSettings, was: dict[str, Any], becomes: dict[str, Any]
) -> None:
    connection = merge(CONNECTION, {"engagement": {"rules": was}})
    before = repository.save(settings, None, "demo", connection, {"braze_api_key": KEY})

    repository.save(settings, before, "demo", merge(connection, {"engagement": {"rules": becomes}}), {})

    assert repository.load(settings, ["demo"])["demo"].destination_version == before.destination_version + 1


def test_a_secret_is_not_in_the_table_but_for_its_last_four_characters(settings: ProgramSettings) -> None:
    program = repository.save(settings, None, "demo", CONNECTION, {"braze_api_key": KEY})

    found = everything(settings)
    state_key = decrypt("demo", program.secrets[repository.STATE_KEY].ciphertext)
    assert decrypt("demo", program.secrets["braze_api_key"].ciphertext) == KEY
    assert program.secrets["braze_api_key"].last_four == "1234"
    assert KEY[:-4].encode() not in found
    assert state_key[:-4].encode() not in found
    assert KEY not in repr(program)


def test_a_secret_opens_for_its_own_program_only(settings: ProgramSettings) -> None:
    closed = encrypt(settings.secrets_key, "demo", KEY)

    with pytest.raises((ClientError, Unavailable)):
        decrypt("another", closed)

    assert decrypt("demo", closed) == KEY


def test_a_secret_that_was_opened_does_not_open_for_another_program(settings: ProgramSettings) -> None:
    closed = encrypt(settings.secrets_key, "demo", KEY)
    decrypt("demo", closed)

    with pytest.raises((ClientError, Unavailable)):
        decrypt("another", closed)


def test_a_secret_stays_until_it_is_set_again(settings: ProgramSettings) -> None:
    first = repository.save(settings, None, "demo", CONNECTION, {"braze_api_key": KEY})

    second = repository.save(settings, first, "demo", CONNECTION, {})
    third = repository.save(settings, second, "demo", CONNECTION, {"braze_api_key": "another-key-5678"})

    assert second.secrets == first.secrets
    assert third.secrets[repository.STATE_KEY] == first.secrets[repository.STATE_KEY]
    assert decrypt("demo", third.secrets["braze_api_key"].ciphertext) == "another-key-5678"
    assert third.secrets["braze_api_key"].last_four == "5678"


def test_each_program_has_a_state_key_of_its_own(settings: ProgramSettings) -> None:
    programs = [repository.save(settings, None, name, CONNECTION, {}) for name in ("one", "two")]

    keys = {decrypt(program.id, program.secrets[repository.STATE_KEY].ciphertext) for program in programs}
    assert len(keys) == 2
    assert all(len(bytes.fromhex(key)) == 32 for key in keys)


def test_a_deleted_program_leaves_nothing_and_no_other_goes_with_it(settings: ProgramSettings) -> None:
    repository.save(settings, None, "demo", CONNECTION, {"braze_api_key": KEY})
    delivery_state.note_failure(settings, "demo", 1.0)
    repository.save(settings, None, "demo-2", CONNECTION, {"braze_api_key": KEY})

    repository.delete(settings, "demo")

    items = aws.dynamodb().scan(TableName="programs")["Items"]
    assert [item["item"]["S"] for item in items if item["program"]["S"] == "demo"] == ["deleted"]
    assert repository.load(settings, ["demo", "demo-2"]).keys() == {"demo-2"}


def test_a_table_that_is_not_there_is_unavailable(settings: ProgramSettings) -> None:
    elsewhere = replace(settings, programs_table="not-there")

    with pytest.raises(Unavailable, match="ResourceNotFoundException"):
        repository.load(elsewhere, ["demo"])


def test_the_id_of_a_deleted_program_is_taken_until_all_that_is_stored_of_it_is_removed(
    settings: ProgramSettings,
) -> None:
    repository.save(settings, None, "demo", CONNECTION, {})
    deleted = repository.delete(settings, "demo")

    with pytest.raises(Conflict, match="being deleted"):
        repository.save(settings, None, "demo", CONNECTION, {})
    deletion.save_progress(settings, deleted, None)
    again = repository.save(settings, None, "demo", CONNECTION, {})

    assert repository.load(settings, ["demo"]) == {"demo": again}


@pytest.mark.parametrize("later", [0, 60])
def test_a_program_that_is_made_again_does_not_meet_the_epoch_of_the_one_before(
    settings: ProgramSettings, monkeypatch: pytest.MonkeyPatch, later: int
) -> None:
    first = repository.save(settings, None, "demo", CONNECTION, {})
    deletion.save_progress(settings, repository.delete(settings, "demo"), None)
    monkeypatch.setattr("time.time", lambda: float(first.destination_version + later))

    again = repository.save(settings, None, "demo", CONNECTION, {})

    assert again.destination_version > first.destination_version


def test_a_save_whose_reply_was_lost_is_recognised_as_ones_own(
    settings: ProgramSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose_replies(monkeypatch)

    first = repository.save(settings, None, "demo", CONNECTION, {"braze_api_key": KEY})
    second = repository.save(settings, first, "demo", CONNECTION, {"braze_api_key": KEY + "5"})

    assert repository.load(settings, ["demo"]) == {"demo": second}
    with pytest.raises(Conflict):
        repository.save(settings, first, "demo", CONNECTION, {"braze_api_key": KEY})
    with pytest.raises(Conflict):
        repository.save(settings, None, "demo", CONNECTION, {"braze_api_key": KEY})


def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Return a list of the sort keys that each further round trip reads."""
    rounds: list[list[str]] = []
    real = aws.dynamodb().batch_get_item

    def note(RequestItems: Any) -> Any:  # noqa: N803 - boto3's name
        rounds.append([key["item"]["S"].partition("#")[0] for key in RequestItems["programs"]["Keys"]])
        return real(RequestItems=RequestItems)

    monkeypatch.setattr(aws.dynamodb(), "batch_get_item", note)
    return rounds


def test_of_a_program_that_was_read_lately_the_key_alone_is_read(
    settings: ProgramSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = repository.save(settings, None, "demo", CONNECTION, {})
    item = str(api_keys.item_of(api_keys.create(settings, "demo", "braze")[0]))
    rounds = asked(monkeypatch)

    answers = [repository.load_recent(settings, "demo", [item], [access_token.ITEM]) for _ in range(3)]

    assert rounds == [["connection", "delivery_state", "key", "token"], ["key"], ["key"]]
    assert [(program, item in items) for program, items in answers] == [(saved, True)] * 3


def test_a_key_that_is_revoked_is_gone_at_once(settings: ProgramSettings) -> None:
    repository.save(settings, None, "demo", CONNECTION, {})
    key, found = api_keys.create(settings, "demo", "braze")
    item = str(api_keys.item_of(key))
    repository.load_recent(settings, "demo", [item], [access_token.ITEM])

    api_keys.revoke(settings, "demo", found.id)

    assert item not in repository.load_recent(settings, "demo", [item], [access_token.ITEM])[1]


@pytest.mark.parametrize("clock", ["monotonic", "time"])
def test_a_save_of_another_container_counts_within_seconds(
    settings: ProgramSettings, monkeypatch: pytest.MonkeyPatch, clock: str
) -> None:
    before = repository.save(settings, None, "demo", CONNECTION, {})
    repository.load_recent(settings, "demo", [], [access_token.ITEM])
    with monkeypatch.context() as patch:
        patch.setattr(recent, "forget", lambda *_: None)  # it happens elsewhere
        after = repository.save(settings, before, "demo", CONNECTION, {})
    real = getattr(time, clock)
    monkeypatch.setattr(time, clock, lambda: real() + recent.KEPT_SECONDS + 0.1)

    program, _ = repository.load_recent(settings, "demo", [], [access_token.ITEM])

    assert program == after


def test_a_save_or_a_deletion_here_counts_at_once(settings: ProgramSettings) -> None:
    before = repository.save(settings, None, "demo", CONNECTION, {})
    repository.load_recent(settings, "demo", [], [])

    after = repository.save(settings, before, "demo", CONNECTION, {})
    seen, _ = repository.load_recent(settings, "demo", [], [])
    repository.delete(settings, "demo")
    gone, _ = repository.load_recent(settings, "demo", [], [])

    assert (seen, gone) == (after, None)


def test_what_is_kept_of_programs_is_bounded(settings: ProgramSettings) -> None:
    saved = repository.save(settings, None, "demo", CONNECTION, {})
    for number in range(recent.MAX_PROGRAMS + 10):
        recent.keep("programs", replace(saved, id=f"p{number}"), {})

    assert (
        sum(recent.get("programs", f"p{number}") is not None for number in range(recent.MAX_PROGRAMS + 10))
        == recent.MAX_PROGRAMS
    )


@pytest.mark.parametrize(("times", "comes"), [(1, True), (3, True), (1000, False)])
def test_what_a_busy_partition_leaves_out_is_asked_for_again(
    settings: ProgramSettings, monkeypatch: pytest.MonkeyPatch, times: int, comes: bool
) -> None:
    saved = repository.save(settings, None, "demo", CONNECTION, {})
    real, left = aws.dynamodb().batch_get_item, iter(range(times))

    def busy(RequestItems: Any) -> Any:  # noqa: N803 - boto3's name
        if next(left, None) is None:
            return real(RequestItems=RequestItems)
        return {"Responses": {}, "UnprocessedKeys": RequestItems}

    monkeypatch.setattr(aws.dynamodb(), "batch_get_item", busy)

    if comes:
        assert repository.load(settings, ["demo"]) == {"demo": saved}
    else:
        with pytest.raises(Unavailable):
            repository.load(settings, ["demo"])


@pytest.mark.parametrize("clock", ["monotonic", "time"])
def test_a_secret_in_the_clear_is_kept_for_five_minutes_by_either_clock(
    settings: ProgramSettings, monkeypatch: pytest.MonkeyPatch, clock: str
) -> None:
    old, new = (encrypt(settings.secrets_key, "demo", secret) for secret in ("old secret", "new secret"))
    secrets._decrypted.clear()
    decrypt("demo", old)
    real = getattr(time, clock)
    monkeypatch.setattr(time, clock, lambda: real() + 301)

    decrypt("demo", new)

    assert [secret for _, secret in secrets._decrypted.values()] == ["new secret"]


def test_secrets_in_the_clear_are_bounded(settings: ProgramSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets._decrypted.clear()
    monkeypatch.setattr(secrets, "_MOST_KEPT", 2)
    for number in range(4):
        decrypt("demo", encrypt(settings.secrets_key, "demo", f"secret {number}"))

    assert [secret for _, secret in secrets._decrypted.values()] == ["secret 2", "secret 3"]
