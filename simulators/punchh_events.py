"""Punchh's webhook events: every documented family and type, with made-up payloads in Punchh's envelope.

Sources, below https://developers.partech.com/docs/dev-portal-webhooks-manager/: ``meta-fields`` and the pages of
``events``. What is odd there is odd here: a family printed ``_notifications``, or with a blank before it; times in
seconds beside times in milliseconds; balances as texts; nulls; ids that need 64 bits; live links in a payload.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

MARKETING = (
    *("anniversary_campaign", "challenge_campaign", "compression_campaign", "coupon_campaign"),
    *("post_checkin_campaign", "post_payment_campaign", "profile_update_campaign", "recall_campaign"),
    *("referral_campaign", "signup_campaign", "social_cause_campaign"),
)

_CHECKIN: dict[str, Any] = {
    "checkin_id": 26_050,
    "location_name": "Main Street",
    "store_number": "123",
    "receipt_amount": 20.5,
}
_GIFT_CARD: dict[str, Any] = {
    "gift_card_id": 771,
    "card_number": "4000 0000 0000 4321",
    "amount": "25.0",
    "current_balance": "40.0",
}
_PAYMENT_CARD = {"payment_card_id": 9001, "nickname": "Visa", "last_four": "1111", "expires_on": "2026-12-31"}
_EXPIRY = {"points_expiring": 20, "expiring_on": "2026-12-31", "remaining_days": 7}
_REWARD: dict[str, Any] = {"reward_id": 6973, "redeemable_id": 107, "name": "Free Burger", "status": "unredeemed"}
_INVITATION = {"invitation_id": 55, "invited_at": "2026-01-05T10:00:00Z"}

TRANSACTIONAL: Mapping[str, dict[str, Any]] = {
    "bumped_membership_level": {"membership_level": "Gold Level", "previous_membership_level": "Silver Level"},
    "business_migration_notification": {"migrated_points": 120},
    "card_completion": {"card_completed": True, "banked_rewards": 1},
    "checkin_retry_fail": _CHECKIN | {"reason": "Receipt not found"},
    "checkin_retry_success": _CHECKIN | {"points_earned": 20},
    "checkin_void": _CHECKIN | {"points_earned": 0},
    "update_checkin": _CHECKIN | {"points_earned": 25},
    "pending_checkin": _CHECKIN | {"pending_points": 20},
    "pos_scanner_checkin": _CHECKIN | {"bar_code": "0123456789"},
    "coupon_expiry_reminder": {"coupon_code": "SAVE10", "campaign_name": "Winter", "remaining_days": 3},
    "currency_expiry_reminder": {"banked_currency": "10.00", "remaining_days": 7},
    "confirmation_email": {"email_confirmation_url": "https://server.punchh.com/confirm?confirmation_token=abc123"},
    "eclub_registration": {"coupon_code": "WELCOME"},
    "feedback_reply": {"feedback_id": 31, "rating": 5, "reply": "Thank you!"},
    "game_reward_notification": {"game_name": "Scratch card", **_REWARD},
    "gift_card_auto_reload": _GIFT_CARD,
    "gift_card_auto_reload_disabled": _GIFT_CARD,
    "gift_card_auto_reload_enabled": _GIFT_CARD | {"threshold": "10.0"},
    "gift_card_auto_reload_payment_error": _GIFT_CARD | {"error": "Card declined"},
    "gift_card_pre_auto_reload_reminder": _GIFT_CARD,
    "gift_card_gifted": _GIFT_CARD | {"recipient_name": "Kim"},
    "gift_card_purchased": _GIFT_CARD,
    "gift_card_received": _GIFT_CARD | {"sender_name": "Kim"},
    "gift_card_redeemed": _GIFT_CARD | _CHECKIN,
    "gift_card_reloaded": _GIFT_CARD,
    "gift_card_shared": _GIFT_CARD | {"shared_with": "Kim"},
    "gift_card_sharing_revoked": _GIFT_CARD | {"shared_with": "Kim"},
    "gift_card_transferred": _GIFT_CARD | {"transferred_to": "Kim"},
    "gift_card_post_payment_error": _GIFT_CARD | {"error": "Card declined"},
    "invalid_receipt": {"receipt_number": "1466", "reason": "Unreadable"},
    "invitation_accepted": _INVITATION,
    "invitation_revoked": _INVITATION,
    "login_from_new_device": {"device": "Phone", "logged_in_at": "2026-01-05T10:00:00Z"},
    "loyalty_transfer": {"transferred_points": 50, "transferred_to": "Kim"},
    "migration_verification": {"verification_code": "123456"},
    "payment_card_expired": _PAYMENT_CARD,
    "payment_card_expiry_reminder": _PAYMENT_CARD,
    "payment_refunded": {"payment_id": 4711, "amount": "12.50", "reason": "Cancelled"},
    "points_expiry": _EXPIRY,
    "points_expiry_reminder": _EXPIRY,
    "points_to_reward": {"bank_value": "$10.00", "current_banked_reward": "20.00"},
    "redeemable_unlocked": {"redeemable_id": 107, "redeemable_name": "Free Burger", "points_required": 100},
    "redemption_applied": {"redemption_id": 149_207_972, "redeemable_name": "Free Burger", **_CHECKIN},
    "reset_password_instruction": {"reset_password_url": "https://server.punchh.com/reset?reset_password_token=abc123"},
    "reset_passcode_instruction": {"reset_passcode_url": "https://server.punchh.com/passcode?token=abc123"},
    "reward_notification": _REWARD | {"remaining_days": 30, "reward_points_redeemed": 100},
    "reward_expiry_reminder": _REWARD | {"remaining_days": 3},
    "user_signup": {"email_confirmation_url": "https://server.punchh.com/confirm?confirmation_token=abc123"},
    "visit_expiry_reminder": {"visits_expiring": 2, "remaining_days": 7},
    "wifi_registration": {"location_name": "Main Street", "ssid": "guests"},
}
"""Type → its own fields beside the user."""

CATALOGUE: tuple[tuple[str, str, str], ...] = (
    *(("users", "", action) for action in ("create", "update")),
    *(("checkins", kind, "create") for kind in ("loyalty", "gift")),
    *((family, "", "create") for family in ("redemptions", "rewards", "redeemables")),
    *(("coupons", "", action) for action in ("discount", "unlock")),
    ("user_coupon_redemptions", "", "create"),
    *(("marketing_notifications", kind, "create") for kind in MARKETING),
    *(("transactional_notifications", kind, "create") for kind in TRANSACTIONAL),
    ("users", "", "delete"),
)
"""Family, type, action of every documented event. Of coupons the third is their type: both are created."""

_PRINTED_SHORT = frozenset({
    "checkin_retry_success", "checkin_void", "update_checkin", "pending_checkin", "payment_refunded",
    "gift_card_gifted", "gift_card_post_payment_error", "gift_card_purchased", "gift_card_received",
    "gift_card_redeemed", "gift_card_reloaded", "gift_card_shared", "gift_card_sharing_revoked",
    "gift_card_transferred", "invitation_accepted", "invitation_revoked", "login_from_new_device", "loyalty_transfer",
    "migration_verification", "wifi_registration",
})  # fmt: skip
_WITH_EXTERNAL_ID = ("eclub_registration", "points_to_reward")
_PAYLOAD_IS_USER = ("user_signup", "confirmation_email")


@dataclass(frozen=True, slots=True)
class Guest:
    """Somebody whom the events are about."""

    user_id: int
    email: str
    first_name: str
    last_name: str
    external_source_id: str


def guest(number: int) -> Guest:
    """Make somebody up; the same for the same number."""
    first, last = ("Ann", "Bo", "Cy", "Dee", "Eli")[number % 5], ("Ash", "Birch", "Cole", "Dunn")[number % 4]
    email = f"{first}.{last}.{number}@example.com".lower()
    return Guest(5_000_000_000 + number, email, first, last, f"cust-{number:05}")


def every_event(about: Guest, at: float) -> Iterator[dict[str, Any]]:
    """Make one event of each kind, a second apart; `at` in epoch seconds."""
    for position, kind in enumerate(CATALOGUE):
        yield event(about, at + position, *kind)


def event(about: Guest, at: float, family: str, kind: str = "", action: str = "create") -> dict[str, Any]:
    """Make an event: family, type and action as in `CATALOGUE`; `at` in epoch seconds."""
    printed = {"feedback_reply": f" {family}"}.get(kind, "_notifications" if kind in _PRINTED_SHORT else family)
    envelope = {
        "content_id": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{about.user_id} {family} {kind} {action} {at}")),
        "timestamp": int(at) if family in ("checkins", "transactional_notifications") else int(at * 1000),
        "business_id": 7,
        "business_uuid": "5f1c7a52-6c5e-4a63-9b0a-2a3a2d0a7f10",
        "event_name": printed,
        "event_type": kind,
        "action": "create" if family == "coupons" else action,
        "payload": _payload(about, at, family, kind, action),
    }
    return envelope if family == "checkins" else envelope | {"business_slug": "demo-diner"}


def _payload(about: Guest, at: float, family: str, kind: str, action: str) -> dict[str, Any]:
    times = {"created_at": _iso(at), "updated_at": _iso(at)}
    later = _iso(at + 30 * 86_400)
    user = {"user": _user(about, at)}
    make: Mapping[str, Callable[[], dict[str, Any]]] = {
        "users": lambda: _guest_payload(about, at, action),
        "checkins": lambda: times | _checkin(about, at, kind),
        "redemptions": lambda: times | _redemption(about, later),
        "rewards": lambda: times | _reward(later) | user,
        "redeemables": lambda: times | _REDEEMABLE,
        "coupons": lambda: times | _coupon(action, later) | user | {"email": about.email},
        "user_coupon_redemptions": lambda: times | _coupon_redemption(_iso(at), later) | user,
        "marketing_notifications": lambda: _marketing(kind) | user,
        "transactional_notifications": lambda: _transactional(about, at, kind),
    }
    return make[family]()


def _transactional(about: Guest, at: float, kind: str) -> dict[str, Any]:
    if kind in _PAYLOAD_IS_USER:
        return _guest_payload(about, at, "create") | TRANSACTIONAL[kind]
    user = _user(about, at)
    if kind in _WITH_EXTERNAL_ID:
        user |= {"external_source": "customer_id", "external_source_id": about.external_source_id}
    return {"first_name": about.first_name, **TRANSACTIONAL[kind], "user": user}


def _iso(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _balance(about: Guest) -> dict[str, Any]:
    points = about.user_id % 500
    return {
        "banked_currency": None, "current_membership_level_name": "Silver Level", "last_visit": None,
        "loyalty_points": points, "net_balance": points, "net_debits": 0, "pending_points": 0,
        "total_credits": points, "total_debits": "0.0", "total_lifetime_points": points, "total_point_credits": points,
        "total_redeemable_visits": None, "total_visits": 3, "unbanked_points": None, "unredeemed_cards": None,
        "user_id": about.user_id,
    }  # fmt: skip


def _user(about: Guest, at: float) -> dict[str, Any]:
    """Make the user as most events carry it: without the id in other systems."""
    return {
        "account_balance": _balance(about), "anniversary": None, "avatar_remote_url": None, "birthday": "1990-04-01",
        "email": about.email, "first_name": about.first_name, "gender": "female", "guest_type": "Loyalty",
        "last_activity_at": _iso(at), "last_name": about.last_name, "marketing_email_subscription": True,
        "marketing_pn_subscription": True, "phone": "5043277269", "preferred_locale": "en", "secondary_email": None,
        "signup_channel": "MobileEmail", "sms_subscription": False, "unsubscribe_reason": None, "unsubscribed": False,
        "user_id": about.user_id, "user_status": "active",
    }  # fmt: skip


def _guest_payload(about: Guest, at: float, action: str) -> dict[str, Any]:
    joined = datetime.fromtimestamp(at, UTC) - timedelta(days=400)
    return _user(about, at) | {
        "business_id": 7, "business_uuid": "5f1c7a52-6c5e-4a63-9b0a-2a3a2d0a7f10", "fb_uid": None,
        "address_line1": "1 Main Street", "city": "Springfield", "state": "IL", "zip_code": "62701", "title": None,
        "external_source": "customer_id", "external_source_id": about.external_source_id,
        "referral_code": f"REF{about.user_id}", "favourite_store_numbers": "202,234", "sign_in_count": 0,
        "joined_at": f"{joined:%Y-%m-%dT%H:%M:%SZ}", "created_at": f"{joined:%Y-%m-%dT%H:%M:%SZ}",
        "updated_at": _iso(at), "previous_changes": {"create": ["id", "email"], "update": ["zip_code"]}.get(action, []),
        "user_status": "deactivated" if action == "delete" else "active",
        "user_relations": [
            {"user_relation_id": 1234, "relation": "spouse", "name": "Kim", "birthday": "1991-01-01"},
        ],
        "fav_locations": [
            {"user_id": about.user_id, "location_id": 1, "business_id": 7, "channel": "Favourite"},
        ],
    }  # fmt: skip


def _checkin(about: Guest, at: float, kind: str) -> dict[str, Any]:
    common = {"user_id": about.user_id, "business_id": 7, "status": kind, "gift_reason": None, "expired_at": None}
    if kind == "gift":
        return common | {
            "checkin_id": 26_051, "gifted_by_id": 12, "gifted_by_type": "Admin", "gifted_for_id": 105,
            "gifted_for_type": "Campaign", "gift_reason": "Sorry for the wait", "points_earned": 50,
            "expiring_on": "2027-01-31",
        }  # fmt: skip
    item = {
        "item_amount": 0.33, "item_name": "Fries", "item_qty": 3, "menu_family": "811", "menu_item_id": "659",
        "menu_item_type": "M", "menu_major_group": "506", "serial_number": "1",
    }  # fmt: skip
    return common | {
        "checkin_type": "BarcodeCheckin", "location_id": 1617, "location_name": "Main Street", "store_number": "123",
        "channel": "Mobile", "redemption_id": 0, "approved": True, "verified_at": None, "receipt_amount": 20.0,
        "receipt_number": "1466", "receipt_date": _iso(at - 600), "campaign_type": None, "campaign_id": None,
        "campaign_name": None, "gifted_for_id": None, "gifted_by_id": None, "bar_code": f"{int(at)}",
        "punchh_key": f"{about.user_id}{int(at)}", "visits_earned": None, "points_earned": 20, "points_spent": 0,
        "first_punchh_at_business": False, "first_punchh_at_location": False, "menu_items": [item],
    }  # fmt: skip


def _redemption(about: Guest, later: str) -> dict[str, Any]:
    item = {"item_name": "Burger", "item_qty": 1, "item_amount": 13.86, "menu_item_id": "22"}
    code = {
        "redemption_code_id": 1111, "status": "redeemable", "discount": 10, "processed_at": None,
        "receipt_amount": None, "subtotal_amount": None, "transaction_no": None, "location_id": 311_031,
        "redeemed_menu_items": [item],
    }  # fmt: skip
    # Neither this user nor the payload has an id in the samples.
    user = {"email": about.email, "first_name": about.first_name, "last_name": about.last_name, "secondary_email": None}
    return {
        "additional_properties": "{}", "bar_code": None, "channel": "POS", "expired_at": None, "expiring_on": later,
        "internal_tracking_code": "1725845", "location_id": 311_031, "location_name": "Main Street",
        "store_number": "401", "points_requested": 10, "redeemed_points": None, "redeemable_id": 493,
        "redeemable_name": "Free Burger", "redemption_id": 149_207_972, "redemption_status": "redeemable",
        "redemption_type": "RewardRedemption", "reward_id": 592_777_297, "redemption_code_id": 1111,
        "redemption_code": code, "user": user,
    }  # fmt: skip


def _reward(later: str) -> dict[str, Any]:
    return {
        "becomes_available_at": "2026-01-05T07:01:11-07:00", "campaign_id": 105, "campaign_name": "Welcome",
        "campaign_type": "SignupCampaign", "description": "One free burger", "discount_amount": None,
        "discount_channel": "all", "expiring_at": later, "expiring_at_tz": None, "franchisee_id": None,
        "gift_reason": "Welcome", "gifted_for_id": 105, "gifted_for_type": "Campaign", "meta_data": "meta1,meta2",
        "name": "Free Burger", "read_at": None, "redeemable_id": 107, "redemption_id": None, "reward_id": 6973,
        "reward_image_url": "https://example.com/burger.png", "reward_points_redeemed": 100, "reward_properties": "",
        "status": "unredeemed", "store_numbers": [],
    }  # fmt: skip


_REDEEMABLE = {
    "redeemable_id": 107, "name": "Free Burger", "description": "One free burger", "status": "activated",
    "discount_amount": None, "discount_channel": "all", "points_required_to_redeem": 100, "expiry_date": None,
    "expiry_days": 30, "end_time": None, "redemption_expiry": None, "applicable_as_loyalty_redemption": True,
    "redeemable_image_url": "https://example.com/burger.png", "redeemable_properties": "", "meta_data": "",
}  # fmt: skip


def _coupon(kind: str, later: str) -> dict[str, Any]:
    return {
        "coupon_id": 1, "code": "SAVE10", "coupon_type": kind, "status": "issued", "coupon_campaign_id": 58_293,
        "campaign_name": "Winter", "applicable_flat_discount": 2.5, "applicable_percentage_discount": 0,
        "expiry_at": later, "redeemed_menu_items": [], "discount": None, "receipt_amount": None, "processed_at": None,
        "redeemable": _REDEEMABLE if kind == "unlock" else None, "transaction_no": None,
    }  # fmt: skip


def _coupon_redemption(now: str, later: str) -> dict[str, Any]:
    return _coupon("discount", later) | {
        "user_coupon_redemption_id": 77, "status": "honored", "discount": 2.5, "processed_at": now,
        "receipt_amount": "20.0", "receipt_subtotal_amount": 18.5, "receipt_datetime": now, "employee_id": None,
        "location_id": 1617,
    }  # fmt: skip


def _marketing(kind: str) -> dict[str, Any]:
    extras: dict[str, dict[str, Any]] = {
        "challenge_campaign": {"challenge_steps": 3, "completed_steps": 1},
        "referral_campaign": {"referral_points": 25},
        "social_cause_campaign": {"donation_amount": "5.0", "donation_type": "points"},
        "coupon_campaign": {"coupon_code": "SAVE10", "coupon_end_date": "2026-12-31"},
    }
    return {
        "campaign_id": 18, "campaign_name": f"The {kind}".replace("_", " "), "campaign_type": "NotificationBearing",
        "checkin_id": 26_050 if kind.startswith("post_") else None, "gift_reason": None, "gifted_amount": None,
        "points": 2, "reward_id": 6974, "reward_name": "Free Fries", "reward_expiring_at": None,
        "reward_expiring_at_tz": None, "location_name": "", **extras.get(kind, {}),
    }  # fmt: skip
