from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from loyalty_bridge.errors import Invalid
from loyalty_bridge.model import FieldError, MemberUpdate
from loyalty_bridge.platforms import parsing
from loyalty_bridge.platforms.convercus import events as convercus
from loyalty_bridge.platforms.convercus.settings import ConvercusRules

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loyalty_bridge.model import Json

NINE = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
JUST_AFTER = NINE + timedelta(seconds=2)


def event(kind: str, payload: Json = None, **changes: Json) -> dict[str, Any]:
    """Build an event as Convercus sends it; a change to None takes the field away."""
    envelope: dict[str, Any] = {
        "eventId": "E-1",
        "eventType": kind,
        "programId": "ABC",
        "occurredAt": "2026-03-01T09:00:00Z",
        "accountId": "A-1",
        "userId": "U-1",
        "partnerId": "P-1",
        "payload": payload,
    } | changes
    return {name: value for name, value in envelope.items() if value is not None}


def membership(**changes: Json) -> dict[str, Any]:
    return {
        "userId": "U-1",
        "memberRole": "OWNER",
        "partnerId": "P-1",
        "status": "ACTIVE",
        "givenName": "Jane",
        "familyName": "Doe",
        "emailAddress": "Jane.Doe@Example.COM",
        "phoneNumber": "0170 1234567",
        "birthDate": "1990-05-07",
        "genderCode": "FEMALE",
        "streetHouseNo": "Main Street 1",
        "zipCode": "10115",
        "city": "Berlin",
        "countryCode": "DE",
        "optins": [{"type": "Newsletter", "flag": True}],
        "customProperties": [{"name": "shoe_size", "value": 38}],
    } | changes


PROFILE = {
    "country": "DE",
    "email": "Jane.Doe@example.com",
    "phone": "+491701234567",
    "first_name": "Jane",
    "last_name": "Doe",
    "birth_date": "1990-05-07",
    "gender": "F",
    "city": "Berlin",
    "email_subscription": "opted_in",
}
PERSON = {"convercus_user_id": "U-1", "convercus_partner_id": "P-1", "convercus_member_role": "OWNER"}


def account(**changes: Json) -> dict[str, Any]:
    return {
        "accountId": "A-1",
        "status": "ACTIVE",
        "accountBalance": {"points": 120, "lockedPoints": 0},
        "level": {"name": "Gold", "currentStatePoints": 300, "neededStatePoints": 0, "validTo": None},
        "identifiers": [{"identifierId": "I-1", "code": "4711", "type": "CARD", "status": "ACTIVE"}],
        "memberships": [membership(userId="U-2", memberRole="PARTICIPANT", givenName="John"), membership()],
        "accountCoupons": [],
    } | changes


def transaction(**changes: Json) -> dict[str, Any]:
    return {
        "transactionId": "T-1",
        "transactionType": "EARNTRANSACTION",
        "amount": 59.9,
        "currencyCode": "EUR",
        "transactionTime": "2026-03-01T08:58:00Z",
        "externalId": "receipt-1",
        "points": 59,
        "store": {"storeId": "S-1", "name": "Berlin Mitte", "emailAddress": "shop@example.com"},
        "lineItems": [{"sku": "1", "quantity": 2, "discount": None}],
        "tenderItems": [{"cardNumber": "4111111111111111"}],
        "reversal": False,
    } | changes


def coupon(**changes: Json) -> dict[str, Any]:
    return {
        "accountCouponId": "AC-1",
        "accountId": "A-1",
        "couponId": "C-1",
        "i18nFields": {"en": {"title": "10 % off", "subtitle": None}},
        "validFrom": "2026-03-01",
        "validTo": 1774915200000,
        "redeemCount": "0",
        "maxRedeemCount": 1,
        "usageType": "INCENTIVE",
        "points": 0,
        "images": [],
    } | changes


def read(
    sent: Mapping[str, Json],
    rules: ConvercusRules | None = None,
    *,
    member: str = "A-1",
    received: datetime = JUST_AFTER,
) -> MemberUpdate:
    return convercus.read(sent, rules or ConvercusRules(), member=member, received=received)


# The seventeen events

IDS = {"userId": "U-1", "partnerId": "P-1"}
MEMBERSHIP_PROPERTIES = IDS | {"memberRole": "OWNER", "status": "ACTIVE"}
OPTINS_PROPERTIES = MEMBERSHIP_PROPERTIES | {"optins": [{"type": "Newsletter", "flag": True}]}
SALE = {
    "transactionId": "T-1",
    "transactionType": "EARNTRANSACTION",
    "transactionTime": "2026-03-01T08:58:00Z",
    "externalId": "receipt-1",
    "points": 59,
    "reversal": False,
}
COUPON_PROPERTIES = IDS | {
    "accountCouponId": "AC-1",
    "couponId": "C-1",
    "i18nFields": {"en": {"title": "10 % off"}},
    "validFrom": "2026-03-01T00:00:00Z",
    "validTo": "2026-03-31T00:00:00Z",
    "redeemCount": 0,
    "maxRedeemCount": 1,
    "usageType": "INCENTIVE",
    "points": 0,
}
OF_ENVELOPE = {"convercus_user_id": "U-1", "convercus_partner_id": "P-1"}
ALL_TYPES: list[tuple[str, Any, Any, Any, Any]] = [
    (
        "account_created",
        account(),
        IDS | {"status": "ACTIVE"},
        PERSON
        | {
            "convercus_status_level": "Gold",
            "convercus_balance": {"points": 120, "lockedPoints": 0, "statusPoints": 300},
        },
        PROFILE,
    ),
    ("membership_added", membership(), OPTINS_PROPERTIES, PERSON, PROFILE),
    ("membership_created", membership(), OPTINS_PROPERTIES, PERSON, PROFILE),
    ("membership_changed", membership(), MEMBERSHIP_PROPERTIES, PERSON, PROFILE),
    ("membership_optins_changed", membership(), OPTINS_PROPERTIES, PERSON, PROFILE),
    (
        "membership_terminated",
        {"memberRole": "OWNER", "status": "TERMINATED", "reason": "moved away"},
        MEMBERSHIP_PROPERTIES | {"status": "TERMINATED", "reason": "moved away"},
        PERSON,
        {},
    ),
    (
        "status_level_changed",
        {"level": {"name": "Gold", "currentStatePoints": 300}, "previousLevel": {"name": "Silver"}},
        IDS | {"level": {"name": "Gold", "currentStatePoints": 300}, "previousLevel": {"name": "Silver"}},
        OF_ENVELOPE | {"convercus_status_level": "Gold", "convercus_balance": {"statusPoints": 300}},
        {},
    ),
    (
        "balance_changed",
        {"points": 150, "lockedPoints": "10", "statusPoints": 320.5},
        IDS | {"points": 150, "lockedPoints": 10, "statusPoints": 320.5},
        OF_ENVELOPE | {"convercus_balance": {"points": 150, "lockedPoints": 10, "statusPoints": 320.5}},
        {},
    ),
    (
        "account_transaction",
        transaction(),
        IDS
        | SALE
        | {
            "amount": 59.9,
            "currencyCode": "EUR",
            "store": {"storeId": "S-1", "name": "Berlin Mitte"},
            "lineItems": [{"sku": "1", "quantity": 2}],
        },
        OF_ENVELOPE,
        {},
    ),
    ("coupon_assigned", coupon(), COUPON_PROPERTIES, OF_ENVELOPE, {}),
    ("coupon_redeemed", coupon(redeemCount=1), COUPON_PROPERTIES | {"redeemCount": 1}, OF_ENVELOPE, {}),
    (
        "user_logged_in",
        {"channel": "APP", "platform": "iOS"},
        IDS | {"channel": "APP", "platform": "iOS"},
        OF_ENVELOPE,
        {},
    ),
    ("user_logged_out", None, IDS, OF_ENVELOPE, {}),
    ("user_created", membership(), MEMBERSHIP_PROPERTIES, PERSON, PROFILE),
    ("user_changed", membership(), MEMBERSHIP_PROPERTIES, PERSON, PROFILE),
    (
        "push_token_created",
        {"tokenType": "FCM", "platform": "ANDROID", "token": "secret"},
        IDS | {"tokenType": "FCM", "platform": "ANDROID"},
        OF_ENVELOPE,
        {"push_subscription": "opted_in"},
    ),
    (
        "push_token_deleted",
        {"tokenType": "FCM", "platform": "ANDROID"},
        IDS | {"tokenType": "FCM", "platform": "ANDROID"},
        OF_ENVELOPE,
        {"push_subscription": "unsubscribed"},
    ),
]


@pytest.mark.parametrize(
    ("kind", "payload", "properties", "attributes", "profile"), ALL_TYPES, ids=[t[0] for t in ALL_TYPES]
)
def test_each_event_type_reports_its_properties_attributes_and_profile(
    kind: str,
    payload: Json,
    properties: dict[str, Json],
    attributes: dict[str, Json],
    profile: dict[str, Json],
) -> None:
    update = read(event(kind, payload))

    assert update.event is not None
    assert (update.event.name, update.event.time, update.time) == (f"convercus_{kind}", NINE, NINE)
    assert update.event.properties == properties | {"event_id": "E-1"}
    assert update.attributes == attributes | {"convercus_account_id": "A-1"}
    assert update.profile == profile
    assert (update.event_id, update.member, update.field_errors) == ("E-1", "A-1", ())


def test_the_table_above_holds_all_seventeen_types() -> None:
    assert len({kind for kind, *_ in ALL_TYPES}) == 17


@pytest.mark.parametrize(("kind", "payload"), [t[:2] for t in ALL_TYPES], ids=[t[0] for t in ALL_TYPES])
def test_no_event_property_reports_who_the_person_is_or_a_token(kind: str, payload: Any) -> None:
    whole = membership() | transaction() | {"token": "secret", "pushToken": "secret"} | (payload or {})

    update = read(event(kind, whole))

    assert update.event is not None
    shown = json.dumps([update.event.properties, update.purchase.properties if update.purchase else None])
    for value in ("Jane", "Doe", "example.com", "1234567", "1990", "Main Street", "10115", "4111", "secret", "4711"):
        assert value not in shown


@pytest.mark.parametrize(
    "spelling",
    ["status_level_changed", "convercus_status_level_changed", "STATUS_LEVEL_CHANGED", "status-level-changed",
     "StatusLevelChanged", "Convercus.StatusLevelChanged", " status_level_changed "],
)  # fmt: skip
def test_every_spelling_of_a_type_is_the_same_event(spelling: str) -> None:
    update = read(event(spelling, {"level": "Gold"}))

    assert update.event is not None
    assert update.event.name == "convercus_status_level_changed"
    assert update.event.properties["level"] == {"name": "Gold"}
    assert update.attributes["convercus_status_level"] == "Gold"


@pytest.mark.parametrize(
    ("kind", "wrapped", "flat"),
    [
        ("membership_changed", {"membership": membership()}, membership()),
        (
            "membership_changed",
            {"membership": {"memberRole": "OWNER", "status": "ACTIVE", "user": membership()}},
            membership(),
        ),
        ("user_changed", {"user": membership()}, membership()),
        ("user_changed", {"memberRole": "OWNER", "user": membership(memberRole=None)}, membership()),
        ("account_created", {"account": account()}, account()),
        ("account_transaction", {"transaction": transaction()}, transaction()),
        ("coupon_assigned", {"accountCoupon": coupon()}, coupon()),
        ("coupon_assigned", {"account_coupon": coupon()}, coupon()),
        ("balance_changed", {"accountBalance": {"points": 5}}, {"points": 5}),
        ("status_level_changed", {"level": {"name": "Gold"}}, {"name": "Gold"}),
        ("push_token_created", {"pushToken": {"platform": "IOS"}}, {"platform": "IOS"}),
    ],
)
def test_a_wrapped_payload_reports_the_same_as_a_flat_one(kind: str, wrapped: Json, flat: Json) -> None:
    assert read(event(kind, wrapped)) == read(event(kind, flat))


def test_an_event_without_payload_carries_its_fields_itself() -> None:
    assert read(event("balance_changed", points=5)).attributes["convercus_balance"] == {"points": 5}


def test_snake_case_envelopes_are_read() -> None:
    sent: dict[str, Any] = {
        "event_id": 7,
        "event_type": "user_logged_in",
        "occurred_at": 1772355600,
        "account_id": 42,
        "payload": {},
    }

    update = read(sent, member=convercus.member(sent) or "")

    assert (update.event_id, update.member, update.time) == ("7", "42", NINE)


# Whose event it is


@pytest.mark.parametrize(
    ("sent", "member"),
    [
        (event("user_logged_in"), "A-1"),
        (event("user_logged_in", accountId=" A-1 "), "A-1"),
        (event("user_logged_in", accountId=42), "42"),
        (event("user_logged_in", accountId=None, account_id="A-1"), "A-1"),
        (event("coupon_assigned", coupon(), accountId=None), "A-1"),
        (event("coupon_assigned", coupon(), accountId=" "), "A-1"),
        (event("account_created", {"account": account()}, accountId=None), "A-1"),
        (event("user_changed", membership(), accountId=None), None),
        (event("user_changed", membership(), accountId=""), None),
        ({}, None),
    ],
)
def test_the_member_is_found_where_the_event_carries_it(sent: Json, member: str | None) -> None:
    assert convercus.member(sent) == member


@pytest.mark.parametrize("account_id", [{}, {"id": "A-1"}, ["A-1"], True, 1.5])
def test_an_account_id_that_is_no_id_is_refused(account_id: Json) -> None:
    with pytest.raises(Invalid, match="accountId"):
        convercus.member(event("user_logged_in", accountId=account_id))


@pytest.mark.parametrize(
    ("sent", "alias"),
    [
        (event("user_changed", accountId=None), "user:U-1"),
        (event("user_changed", {"user": {"userId": 5}}, accountId=None, userId=None), "user:5"),
        (event("user_changed"), None),
        (event("user_changed", accountId=None, userId=None), None),
    ],
)
def test_an_event_without_account_is_known_by_its_user(sent: Json, alias: str | None) -> None:
    assert convercus.alias(sent) == alias


@pytest.mark.parametrize(
    ("sent", "taught"),
    [
        (event("membership_created", membership()), "user:U-1"),
        (event("membership_created", membership(memberRole="owner")), "user:U-1"),
        (event("membership_created", {"membership": {"memberRole": "OWNER"}}), "user:U-1"),
        (event("account_created", account(), userId="U-9"), "user:U-1"),
        (event("user_created", membership(userId="U-3"), userId=None), "user:U-3"),
        (event("membership_created", membership(memberRole="PARTICIPANT")), None),
        (event("membership_created", membership(memberRole=None)), None),
        (event("account_created", account(memberships=[membership(memberRole="PARTICIPANT")])), None),
        (event("user_logged_in"), None),
        (event("user_created", membership(), accountId=None), None),
    ],
)
def test_only_an_owner_teaches_which_user_means_the_account(sent: Json, taught: str | None) -> None:
    assert convercus.aliases_of(sent) == ((taught,) if taught else ())


def test_an_event_of_a_user_becomes_one_update_for_each_account() -> None:
    sent = event("user_changed", membership(), accountId=None)

    updates = [read(sent, member=member) for member in ("A-1", "A-2")]

    assert [update.event_id for update in updates] == ["E-1/A-1", "E-1/A-2"]
    assert [update.attributes["convercus_account_id"] for update in updates] == ["A-1", "A-2"]
    assert all(update.event and update.event.properties["event_id"] == "E-1" for update in updates)


@pytest.mark.parametrize("blank", [None, "", "  "])
def test_without_an_event_id_equal_content_has_an_equal_id(blank: Json) -> None:
    sent = event("user_logged_in", eventId=blank)

    assert convercus.event_id(sent) == convercus.event_id(dict(reversed(sent.items())))
    assert convercus.event_id(sent) != convercus.event_id(sent | {"occurredAt": "2026-03-01T09:00:01Z"})
    assert read(sent).event_id == convercus.event_id(sent)


def test_the_member_of_an_event_whose_payload_is_no_object_is_not_reported() -> None:
    with pytest.raises(Invalid, match="payload: is not an object"):
        convercus.member(event("user_logged_in", "APP"))


def test_an_account_with_several_memberships_reports_only_its_owner() -> None:
    update = read(event("account_created", account()))

    assert update.profile["first_name"] == "Jane"
    assert update.attributes["convercus_user_id"] == "U-1"


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        ("membership_changed", membership(memberRole="PARTICIPANT")),
        ("membership_changed", {"membership": membership(memberRole="PARTICIPANT")}),
        ("user_changed", {"memberRole": "PARTICIPANT", "user": membership(memberRole=None)}),
        ("account_created", {"memberships": [membership(memberRole="PARTICIPANT")]}),
        ("account_created", {"memberships": [membership(memberRole=None), membership(memberRole=None)]}),
        ("membership_changed", membership(memberRole={"name": "OWNER"})),
        ("push_token_created", {"memberRole": "PARTICIPANT"}),
    ],
)
def test_a_person_who_is_not_the_owner_gives_the_event_and_nothing_of_the_profile(kind: str, payload: Json) -> None:
    update = read(event(kind, payload))

    assert (update.profile, update.custom) == ({}, {})
    assert update.attributes == {"convercus_account_id": "A-1"}
    assert update.event is not None


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        ("membership_changed", membership(memberRole=None)),
        ("user_changed", membership(memberRole=None)),
        ("account_created", {"memberships": [membership(memberRole=None)]}),
    ],
)
def test_a_single_person_without_a_role_is_the_owner(kind: str, payload: Json) -> None:
    update = read(event(kind, payload))

    assert update.profile == PROFILE
    assert "convercus_member_role" not in update.attributes


def test_the_partner_of_a_sale_is_not_the_partner_of_the_membership() -> None:
    update = read(event("account_transaction", transaction(partnerId="P-9"), partnerId=None))

    assert "convercus_partner_id" not in update.attributes
    assert update.event is not None
    assert update.event.properties["partnerId"] == "P-9"


# Opt-ins

ALLOWED: Json = {"type": "Newsletter", "flag": True}
DECLINED: Json = {"type": "Newsletter", "flag": False}
SMS: Json = {"type": "SMS", "flag": True}
OPT_INS: list[tuple[Any, str | None]] = [
    ({"optins": [ALLOWED]}, "opted_in"),
    ({"optins": [DECLINED]}, "unsubscribed"),
    ({"optins": [DECLINED, {"type": "Email", "flag": True}]}, "opted_in"),
    ({"optins": [{"type": "E-Mail Consent", "flag": "true"}]}, "opted_in"),
    ({"optins": [{"type": "NEWSLETTER", "flag": 0}]}, "unsubscribed"),
    ({"optIns": [ALLOWED]}, "opted_in"),
    ({"optins": [SMS]}, "subscribed"),
    ({"optins": []}, "subscribed"),
    ({"allowedOptins": ["Newsletter"]}, "opted_in"),
    ({"allowedOptIns": [{"type": "newsletter"}]}, "opted_in"),
    ({"declinedOptIns": ["Newsletter"]}, "unsubscribed"),
    ({"DeclinedOptins": [{"type": "email_consent"}]}, "unsubscribed"),
    ({"allowedOptins": ["Newsletter"], "declinedOptIns": ["Email"]}, "opted_in"),
    ({"allowedOptins": ["SMS"], "declinedOptIns": ["Email"]}, "unsubscribed"),
    ({"allowedOptins": ["SMS"], "declinedOptIns": []}, "subscribed"),
    ({"allowedOptins": [], "declinedOptIns": None}, "subscribed"),
    ({"allowedOptins": [DECLINED]}, "unsubscribed"),
    ({"declinedOptIns": [ALLOWED]}, "unsubscribed"),
    ({"optins": None}, None),
    ({}, None),
]


@pytest.mark.parametrize(("lists", "state"), OPT_INS)
def test_opt_ins_become_the_subscription(lists: dict[str, Json], state: str | None) -> None:
    update = read(event("membership_optins_changed", {"memberRole": "OWNER", **lists}))

    assert update.profile == ({} if state is None else {"email_subscription": state})
    assert update.field_errors == ()


@pytest.mark.parametrize(("lists", "state"), OPT_INS)
def test_no_record_leaves_the_subscription_alone_where_the_program_says_so(
    lists: dict[str, Json], state: str | None
) -> None:
    update = read(event("membership_optins_changed", lists), ConvercusRules(opt_in_without_record="untouched"))

    assert update.profile.get("email_subscription") == (None if state == "subscribed" else state)


def test_the_program_decides_which_opt_ins_stand_for_email() -> None:
    rules = ConvercusRules(email_optins=("Post & Mail",))

    assert read(event("membership_optins_changed", {"optins": [DECLINED]}), rules).profile == {
        "email_subscription": "subscribed"
    }
    assert read(event("membership_optins_changed", {"allowedOptins": ["post_mail"]}), rules).profile == {
        "email_subscription": "opted_in"
    }


@pytest.mark.parametrize(
    ("lists", "path"),
    [
        ({"optins": [{"type": "Newsletter", "flag": "maybe"}]}, "payload.optins[0].flag"),
        ({"optins": [{"type": "Newsletter"}]}, "payload.optins[0]"),
        ({"optins": [SMS, {"flag": True}]}, "payload.optins[1]"),
        ({"optins": ["Newsletter"]}, "payload.optins[0]"),
        ({"optins": "Newsletter"}, "payload.optins"),
        ({"allowedOptins": [5.5]}, "payload.allowedOptins[0]"),
    ],
)
def test_an_opt_in_that_cannot_be_read_never_resets_a_consent(lists: dict[str, Json], path: str) -> None:
    update = read(event("membership_optins_changed", lists))

    assert "email_subscription" not in update.profile
    assert [(refusal.part, refusal.field) for refusal in update.field_errors] == [("attributes", path)]


# Profile and custom properties


@pytest.mark.parametrize("nothing", [None, "", " "])
def test_an_explicit_null_removes_a_profile_field_and_a_missing_key_leaves_it(nothing: Json) -> None:
    update = read(event("membership_changed", {"emailAddress": nothing, "city": nothing, "phoneNumber": nothing}))

    assert update.profile == {"email": None, "city": None, "phone": None}
    assert update.field_errors == ()


def test_a_number_under_another_name_is_no_removal() -> None:
    payload: Json = {"phoneNumber": None, "mobileNumber": "+49 170 1234567"}

    assert read(event("membership_changed", payload)).profile == {"phone": "+491701234567"}


@pytest.mark.parametrize(
    ("country", "default", "phone"),
    [("AT", "DE", "+436641234567"), (None, "AT", "+436641234567"), ("Atlantis", "AT", "+436641234567")],
)
def test_a_national_number_is_dialled_from_the_members_country_else_the_programs(
    country: Json, default: str, phone: str
) -> None:
    payload: Json = {"countryCode": country, "phoneNumber": "0664 1234567"}

    assert read(event("membership_changed", payload), ConvercusRules(default_country=default)).profile["phone"] == phone


@pytest.mark.parametrize(
    ("field", "value", "missing"),
    [
        ("emailAddress", "jane at example", "email"),
        ("phoneNumber", "12", "phone"),
        ("birthDate", "05/07/1990", "birth_date"),
        ("birthDate", "2026-04-01", "birth_date"),
        ("genderCode", "?!", "gender"),
        ("countryCode", "Atlantis", "country"),
        ("givenName", ["Jane"], "first_name"),
        ("city", {"name": "Berlin"}, "city"),
    ],
)
def test_one_bad_field_is_refused_with_its_path_and_the_rest_goes_on(field: str, value: Json, missing: str) -> None:
    update = read(
        event("membership_changed", {"membership": membership(**{field: value})}), ConvercusRules(default_country="DE")
    )

    assert [(refusal.part, refusal.field) for refusal in update.field_errors] == [
        ("attributes", f"payload.membership.{field}")
    ]
    assert str(value) not in update.field_errors[0].reason
    assert update.profile == {name: found for name, found in PROFILE.items() if name != missing}
    assert update.event is not None


@pytest.mark.parametrize(
    "properties",
    [
        [{"name": " size ", "value": 38}, {"name": "gone", "value": None}, {"name": "tags", "value": ["a"]}],
        {"size": 38, "gone": None, "tags": ["a"]},
    ],
)
def test_custom_properties_of_the_user_are_forwarded(properties: Json) -> None:
    update = read(event("user_changed", {"customProperties": properties}))

    assert update.custom == {"size": 38, "gone": None, "tags": ["a"]}
    assert update.field_errors == ()


@pytest.mark.parametrize(
    "name",
    ["external_id", "email_subscribe", "Email_Subscribe", "_merge_objects", "convercus_balance", "$set", " ", 5.5],
)
def test_custom_properties_under_reserved_names_are_refused_one_by_one(name: Json) -> None:
    update = read(event("user_changed", {"customProperties": [{"name": name, "value": 1}, {"name": "a", "value": 2}]}))

    assert update.custom == {"a": 2}
    named = isinstance(name, str) and name.strip()
    text = f"payload.customProperties.{name}" if named else "payload.customProperties[0]"
    assert [(r.part, r.field.removesuffix(".name")) for r in update.field_errors] == [("attributes", text)]


@pytest.mark.parametrize(
    ("properties", "path"),
    [
        ("size=38", "payload.customProperties"),
        (["size"], "payload.customProperties[0]"),
        ([{"value": 1}], "payload.customProperties[0]"),
        ([{"name": "size"}], "payload.customProperties[0]"),
        ({"_size": 1}, "payload.customProperties._size"),
    ],
)
def test_custom_properties_of_another_shape_are_refused(properties: Json, path: str) -> None:
    update = read(event("user_changed", {"customProperties": properties}))

    assert update.custom == {}
    assert [refusal.field for refusal in update.field_errors] == [path]


def test_custom_properties_of_a_coupon_are_not_the_members() -> None:
    update = read(event("coupon_assigned", coupon(customProperties=[{"name": "colour", "value": "red"}])))

    assert update.custom == {}
    assert update.event is not None
    assert update.event.properties["customProperties"] == [{"name": "colour", "value": "red"}]


# Balance and level


@pytest.mark.parametrize(
    ("payload", "balance"),
    [
        ({"points": 5, "lockedPoints": None, "statusPoints": None}, {"points": 5}),
        ({"points": "5", "lockedPoints": 0}, {"points": 5, "lockedPoints": 0}),
        ({"points": None}, None),
        ({}, None),
        ({"accountBalance": {"points": 5}, "level": {"currentStatePoints": 7}}, {"points": 5, "statusPoints": 7}),
        ({"points": 5, "statusPoints": 8, "level": {"currentStatePoints": 7}}, {"points": 5, "statusPoints": 8}),
    ],
)
def test_the_balance_holds_what_is_known_and_never_a_null(payload: Json, balance: Json) -> None:
    assert read(event("balance_changed", payload)).attributes.get("convercus_balance") == balance


@pytest.mark.parametrize("points", [True, "many", [], {"value": 5}, "1e999"])
def test_a_bad_number_of_points_is_left_out(points: Json) -> None:
    update = read(event("balance_changed", {"points": points, "lockedPoints": 1}))

    assert update.attributes["convercus_balance"] == {"lockedPoints": 1}
    assert [(refusal.part, refusal.field) for refusal in update.field_errors] == [
        ("event", "payload.points"),
        ("attributes", "payload.points"),
    ]


def test_the_points_of_a_coupon_are_no_balance() -> None:
    assert "convercus_balance" not in read(event("coupon_assigned", coupon(points=50))).attributes


@pytest.mark.parametrize(
    ("field", "value"), [("level", ["Gold"]), ("level", {"name": {}}), ("accountBalance", 120), ("accountBalance", "x")]
)
def test_a_level_or_balance_of_another_shape_is_refused(field: str, value: Json) -> None:
    update = read(event("account_created", account(**{field: value})))

    assert len(update.field_errors) == 1
    assert update.field_errors[0].part == "attributes"
    assert update.field_errors[0].field.startswith(f"payload.{field}")


@pytest.mark.parametrize("level", [None, {}, {"name": None}, {"name": " "}])
def test_a_level_without_a_name_leaves_the_tier_alone(level: Json) -> None:
    update = read(event("account_created", account(level=level)))

    assert "convercus_status_level" not in update.attributes
    assert update.field_errors == ()


# Transactions


def test_an_earn_transaction_is_a_purchase_beside_the_event() -> None:
    update = read(event("account_transaction", transaction()))

    assert update.event is not None
    assert update.purchase is not None
    assert update.purchase.product_id == "T-1"
    assert (update.purchase.price, update.purchase.currency, update.purchase.quantity) == (59.9, "EUR", 1)
    assert update.purchase.time == datetime(2026, 3, 1, 8, 58, tzinfo=UTC)
    assert update.purchase.properties == SALE | IDS | {"event_id": "E-1"}


@pytest.mark.parametrize(
    "changes",
    [
        {"transactionType": "PAYWITHPOINTSTRANSACTION"},
        {"transactionType": "PAYWITHPOINTS"},
        {"transactionType": "PayWithPoints_Transaction", "reversal": True},
        {"transactionType": "PAYWITHPOINTSTRANSACTIONREVERSAL"},
        {"transactionType": "REVERSAL", "linkedTransaction": {"transactionType": "PAYWITHPOINTS"}},
        {"transactionType": "SOMETHINGNEW"},
    ],
)
def test_points_payments_and_unknown_types_are_events_only(changes: dict[str, Json]) -> None:
    update = read(event("account_transaction", transaction(**changes)))

    assert update.purchase is None
    assert update.field_errors == ()
    assert update.event is not None
    assert update.event.properties["amount"] == 59.9


LINKED: Json = {"transactionId": "T-0", "transactionType": "EARNTRANSACTION"}


@pytest.mark.parametrize(
    ("changes", "product"),
    [
        ({"reversal": True, "linkedTransaction": {"transactionId": "T-0"}}, "T-0"),
        ({"reversal": "true", "linkedTransaction": "T-0"}, "T-0"),
        ({"reversal": True, "originalTransactionId": 7}, "7"),
        ({"reversal": {"transactionId": "T-0"}}, "T-0"),
        ({"transactionType": "EARNTRANSACTION_REVERSAL", "linkedTransaction": LINKED}, "T-0"),
        ({"transactionType": "EARNTRANSACTIONCANCELLATION", "linkedTransaction": LINKED}, "T-0"),
        ({"transactionType": "CANCEL_EARNTRANSACTION", "linkedTransaction": LINKED}, "T-0"),
        ({"transactionType": "Reversal", "linkedTransaction": LINKED}, "T-0"),
        ({"amount": -59.9, "linkedTransaction": LINKED}, "T-0"),
        ({"amount": -59.9, "reversal": True, "linkedTransaction": LINKED}, "T-0"),
        ({"status": "CANCELLED"}, "T-1"),
        ({"cancelled": True}, "T-1"),
        ({"reversal": True}, "T-1"),
    ],
)
def test_taking_an_earn_transaction_back_is_a_negative_purchase_of_the_original(
    changes: dict[str, Json], product: str
) -> None:
    update = read(event("account_transaction", transaction(**changes)))

    assert update.purchase is not None
    assert (update.purchase.product_id, update.purchase.price) == (product, -59.9)


@pytest.mark.parametrize("flag", [False, None, "false", 0, "0", {}])
def test_a_transaction_that_is_not_taken_back_keeps_its_own_id(flag: Json) -> None:
    update = read(event("account_transaction", transaction(reversal=flag, linkedTransaction=LINKED)))

    assert update.purchase is not None
    assert (update.purchase.product_id, update.purchase.price) == ("T-1", 59.9)


@pytest.mark.parametrize(
    ("changes", "rules", "currency"),
    [
        ({"currencyCode": "usd"}, ConvercusRules(default_currency="EUR"), "USD"),
        ({"currencyCode": None}, ConvercusRules(default_currency="EUR"), "EUR"),
        ({"currencyCode": ""}, ConvercusRules(default_currency="CHF"), "CHF"),
    ],
)
def test_a_missing_currency_is_the_programs(changes: dict[str, Json], rules: ConvercusRules, currency: str) -> None:
    update = read(event("account_transaction", transaction(**changes)), rules)

    assert update.purchase is not None
    assert update.purchase.currency == currency


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"currencyCode": None}, "payload.currencyCode"),
        ({"currencyCode": "EURO"}, "payload.currencyCode"),
        ({"amount": None}, "payload.amount"),
        ({"amount": True}, "payload.amount"),
        ({"amount": "12,50"}, "payload.amount"),
        ({"amount": float("inf")}, "payload.amount"),
        ({"amount": 10**400}, "payload.amount"),
        ({"transactionId": None}, "payload.transactionId"),
        ({"transactionId": {}}, "payload.transactionId"),
        ({"transactionType": None}, "payload.transactionType"),
        ({"transactionType": "REVERSAL"}, "payload.transactionType"),
        ({"transactionTime": "0001-01-01T00:00:00Z"}, "payload.transactionTime"),
    ],
)
def test_a_purchase_that_cannot_be_made_is_refused_and_the_event_goes_on(changes: dict[str, Json], field: str) -> None:
    update = read(event("account_transaction", transaction(**changes)))

    assert update.purchase is None
    assert [refusal.field for refusal in update.field_errors if refusal.part == "purchase"] == [field]
    assert update.event is not None
    assert update.event.properties["externalId"] == "receipt-1"


def test_an_amount_may_come_as_a_string() -> None:
    update = read(event("account_transaction", transaction(amount="59.90")))

    assert update.purchase is not None
    assert update.event is not None
    assert update.purchase.price == 59.9
    assert update.event.properties["amount"] == 59.9


def test_a_purchase_without_a_time_of_its_own_happened_with_the_event() -> None:
    update = read(event("account_transaction", transaction(transactionTime="yesterday")))

    assert update.purchase is not None
    assert update.purchase.time == NINE
    assert update.field_errors == (FieldError("event", "payload.transactionTime", "is not a time"),)


# Times


@pytest.mark.parametrize(
    ("occurred", "time"),
    [
        (None, JUST_AFTER),
        ("", JUST_AFTER),
        ("2026-03-01T10:00:00+01:00", NINE),
        (1772355600000, NINE),
        ("2026-03-01T09:05:02Z", NINE + timedelta(seconds=302)),
        ("2026-03-01T09:05:03Z", JUST_AFTER),
        ("9999-12-31T23:59:59Z", JUST_AFTER),
    ],
)
def test_a_missing_time_or_one_too_far_ahead_is_the_arrival(occurred: Json, time: datetime) -> None:
    update = read(event("user_logged_in", occurredAt=occurred))

    assert update.time == time
    assert update.event is not None
    assert update.event.time == time


# What is refused as a whole


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"eventType": None}, "eventType"),
        ({"eventType": " "}, "eventType"),
        ({"eventType": "points_expired"}, "eventType"),
        ({"eventType": ["user_created"]}, "eventType"),
        ({"occurredAt": "2026-13-01"}, "occurredAt"),
        ({"occurredAt": {}}, "occurredAt"),
        ({"occurredAt": "0001-01-01T00:00:00Z"}, "occurredAt"),
        ({"occurredAt": 10**5}, "occurredAt"),
        ({"eventId": {}}, "eventId"),
        ({"payload": "text"}, "payload"),
        ({"payload": [{}]}, "payload"),
    ],
)
def test_an_event_that_cannot_be_placed_is_refused(changes: dict[str, Json], field: str) -> None:
    with pytest.raises(Invalid) as caught:
        read(event("user_logged_in", **changes))

    assert caught.value.field == field


@pytest.mark.parametrize(
    "function", [convercus.member, convercus.alias, convercus.aliases_of, convercus.event_id, read]
)
@pytest.mark.parametrize("sent", [None, 5, "text", ["E-1"]])
def test_what_is_no_object_is_refused_as_an_event(function: Any, sent: Json) -> None:
    with pytest.raises(Invalid, match="record"):
        function(sent)


def test_a_record_holds_one_event_or_many() -> None:
    one, other = event("user_logged_in"), event("user_logged_out")

    assert convercus.events(one) == [one]
    assert convercus.events([one, other]) == [one, other]
    assert convercus.events([]) == []


@pytest.mark.parametrize("record", [None, True, 5, 1.5, "text"])
def test_a_record_of_another_kind_is_refused(record: Json) -> None:
    with pytest.raises(Invalid, match="record"):
        convercus.events(record)


def test_a_huge_event_is_read() -> None:
    properties: Json = [{"name": f"p{index}", "value": "x" * 100} for index in range(5_000)]
    data = json.dumps(event("user_changed", {"customProperties": properties})).encode()

    sent = convercus.events(parsing.parse_json(data))[0]

    assert isinstance(sent, dict)
    assert len(read(sent).custom) == 5_000


# Whatever is sent

OTHER_FIELDS = (
    "membership user account transaction token name value type flag allowedOptins declinedOptIns linkedTransaction "
    "previousLevel originalTransactionId balance partner"
)
FIELDS = st.sampled_from(sorted({*membership(), *account(), *transaction(), *coupon(), *OTHER_FIELDS.split()}))
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(
        ["OWNER", "EARNTRANSACTION", "REVERSAL", "EUR", "DE", "Newsletter", "2026-03-01", "\ud800", "\x00"]
    )
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS | st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)
ENVELOPES = st.fixed_dictionaries(
    {"eventType": st.sampled_from([kind for kind, *_ in ALL_TYPES])},
    optional={
        "eventId": SCALARS,
        "occurredAt": SCALARS | st.datetimes().map(str),
        "accountId": VALUES,
        "userId": VALUES,
        "partnerId": VALUES,
        "payload": VALUES | st.dictionaries(FIELDS, VALUES, max_size=6),
    },
)


@given(ENVELOPES)
@example(event("account_created", {"memberships": "OWNER"}))
@example(event("account_created", {"account": {"memberships": [None, 5, {"memberRole": 5}]}}))
@example(event("account_transaction", transaction(amount=10**400)))
def test_whatever_is_sent_is_read_or_refused(sent: dict[str, Any]) -> None:
    try:
        convercus.aliases_of(sent)
        update = read(sent, member=convercus.member(sent) or convercus.alias(sent) or "none")
    except Invalid:
        return

    assert update.time <= JUST_AFTER + parsing.MAX_AHEAD
    assert set(update.profile) <= {*PROFILE, "push_subscription"}
    balance = update.attributes.get("convercus_balance", {})
    assert isinstance(balance, dict)
    assert None not in balance.values()
    assert update.event is not None
    assert None not in update.event.properties.values()


def test_a_reversal_that_names_no_original_refunds_no_order() -> None:
    update = read(event("account_transaction", transaction(reversal=True)))

    assert update.purchase
    assert (update.purchase.order_id, update.purchase.is_refund) == ("", True)


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([{"productId": "P1", "name": "Tea", "quantity": 2, "price": "4.10"}], [("P1", "Tea", 2, 4.1)]),
        ([{"articleNumber": 7, "price": 3}], [("7", "", 1, 3.0)]),
        ([{"productId": "P1", "price": 1}, {"name": "no id", "price": 2}], []),
        ([{"productId": "P1", "price": 1, "quantity": 0.5}], []),
        ([{"productId": "P1", "price": 1}] * 101, []),
        ("tea", []),
        (["tea"], []),
    ],
)
def test_line_items_are_read_all_or_none(items: Any, expected: list[tuple[str, str, int, float]]) -> None:
    update = read(event("account_transaction", transaction(lineItems=items)))

    assert update.purchase
    assert [(it.product_id, it.name, it.quantity, it.price) for it in update.purchase.items] == expected
