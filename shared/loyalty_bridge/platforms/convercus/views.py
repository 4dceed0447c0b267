"""What a look-up shows of a Convercus account: its profile and its coupons, as plain names for Liquid.

Names are those of https://www.braze.com/docs/partners/data_and_analytics/loyalty/convercus. A field that Convercus does
contain, or contains in an unknown form, is None: the message still has the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from loyalty_bridge.errors import Invalid
from loyalty_bridge.platforms import parsing

if TYPE_CHECKING:
    from loyalty_bridge.model import Json
    from loyalty_bridge.platforms.convercus.settings import ConvercusApi

FALLBACK_LANGUAGE = "en"

# Where a field is, the first place that has it counts; the settings name another one.
_PROFILE = {
    "member_id": ("accountId",),
    "first_name": ("owner.givenName",),
    "last_name": ("owner.familyName",),
    "email": ("owner.emailAddress",),
    "tier_name": ("level.name",),
    "tier_id": ("level.levelId", "level.id"),
    "points_balance": ("accountBalance.points",),
    "enrollment_date": ("owner.enrollmentDate", "owner.createdAt", "enrollmentDate", "createdAt"),
}
_COUPON = {
    "coupon_id": ("couponId",),
    "code": ("code", "externalReference"),
    "status": ("status", "state", "stateLevel"),
    "value": ("value", "points"),
}


def profile(details: Mapping[str, Json], account_id: str, api: ConvercusApi) -> dict[str, Json]:
    """Show who a member is and where the member stands.

    Parameters
    ----------
    details
        The account as `Client.account_details` reads it.
    account_id
        The requested account; replaces a missing id.
    api
        Its `profile` names other places of fields.
    """
    listed = details.get("memberships")
    memberships = [it for it in listed if isinstance(it, Mapping)] if isinstance(listed, Sequence) else []
    owners = [it for it in memberships if _word(it.get("memberRole")) == "owner"]
    # Who alone is on an account is its owner.
    source = {**details, "owner": (owners or (memberships if len(memberships) == 1 else []) or [{}])[0]}
    found = {name: _first(source, _places(api.profile, name, usual)) for name, usual in _PROFILE.items()}
    return {name: _scalar(value) for name, value in found.items()} | {
        "member_id": _scalar(found["member_id"]) or account_id,
        "points_balance": _number(found["points_balance"]),
        "enrollment_date": _date(found["enrollment_date"]),
    }


def coupons(
    rows: Iterable[Mapping[str, Json]], language: str, now: datetime, api: ConvercusApi
) -> list[dict[str, Json]]:
    """Show the coupons that can be redeemed now: in their time, in a state for it, and not used up.

    Parameters
    ----------
    rows
        Account coupons as `Client.account_coupons` reads them.
    language
        Of title and description, such as ``de`` or ``de-AT``; what is not there in it is shown in English, else in
        whatever language there is.
    now
        Aware.
    api
        Its `coupon` names other places of fields, its `inactive_states` what is not shown.
    """
    inactive = {_plain(state) for state in api.inactive_states}
    return [_coupon(row, language, api) for row in rows if _is_redeemable(row, now, inactive, api)]


def _is_redeemable(row: Mapping[str, Json], now: datetime, inactive: set[str], api: ConvercusApi) -> bool:
    if _word(_first(row, _places(api.coupon, "status", _COUPON["status"]))) in inactive:
        return False
    for used, most in (("redeemCount", "maxRedeemCount"), ("redeemCountGlobal", "maxRedeemCountGlobal")):
        limit = _number(row.get(most))
        # Of all members together, 0 is what an unlimited coupon says.
        if limit is not None and (limit or most == "maxRedeemCount") and (_number(row.get(used)) or 0) >= limit:
            return False
    try:
        begins, ends = _moment(row.get("validFrom")), _moment(row.get("validTo"))
    except Invalid:
        return False  # that it can be redeemed is not known
    # A day belongs to it wholly. The beginning of the calendar is how .NET and MySQL write that there is no end.
    lasts = ends is None or ends.year == 1 or now - timedelta(days=parsing.is_day(row.get("validTo"))) < ends
    return lasts and (begins is None or begins <= now)


def _coupon(row: Mapping[str, Json], language: str, api: ConvercusApi) -> dict[str, Json]:
    texts = row.get("i18nFields")
    localized = list(_by_language(texts, language)) if isinstance(texts, Mapping) else []
    shown: dict[str, Json] = {
        name: _scalar(_first(row, _places(api.coupon, name, usual))) for name, usual in _COUPON.items()
    }
    if (amount := _number(shown["value"])) is not None:
        shown["value"] = amount
    for name, field in (("valid_from", "validFrom"), ("valid_to", "validTo")):
        shown[name] = _date(row.get(field))
    for name in ("title", "description"):
        texts_of_it = (_scalar(text.get(name)) for text in (*localized, row))
        shown[name] = next((text for text in texts_of_it if text is not None), None)
    return shown


def _by_language(texts: Mapping[str, Json], language: str) -> Iterator[Mapping[str, Json]]:
    """Return the texts in the language, in the language of any country, in English of any country, and then all.

    Of the countries, none comes first.
    """
    wanted = _tag(language)
    by_tag = {_tag(tag): text for tag, text in texts.items() if isinstance(text, Mapping)}
    if wanted in by_tag:
        yield by_tag[wanted]
    for base in (_base(wanted), FALLBACK_LANGUAGE):
        for tag in sorted(by_tag):
            if base and _base(tag) == base:
                yield by_tag[tag]
    yield from by_tag.values()


def _tag(language: str) -> str:
    return language.strip().lower().replace("_", "-")


def _base(tag: str) -> str:
    """Return the language of a tag, whichever of its codes the tag has."""
    try:
        return parsing.parse_language(tag, "")
    except Invalid:
        return tag.partition("-")[0]


def _places(settings: Mapping[str, str], name: str, usual: tuple[str, ...]) -> tuple[str, ...]:
    return (settings[name],) if name in settings else usual


def _first(source: Mapping[str, Json], places: tuple[str, ...]) -> Json:
    for place in places:
        value: Json = source
        for key in place.split("."):
            value = value.get(key) if isinstance(value, Mapping) else None
        if not parsing.is_blank(value):
            return value
    return None


def _scalar(value: Json) -> Json:
    if isinstance(value, bool):
        return value
    try:
        return parsing.parse_text(value, "") if isinstance(value, str) else parsing.parse_number(value, "")
    except Invalid:
        return None


def _number(value: Json) -> int | float | None:
    try:
        return parsing.parse_number(value, "")
    except Invalid:
        return None


def _plain(text: str) -> str:
    return text.strip().lower().replace(" ", "_").replace("-", "_")


def _word(value: Json) -> str:
    return _plain(value) if isinstance(value, str) else ""


def _date(value: Json) -> str | None:
    """Show a time in ISO 8601, a day as it is."""
    try:
        moment = parsing.parse_time(value, "")
    except Invalid:
        return None
    shown = moment.isoformat(timespec="seconds").replace("+00:00", "Z")
    return shown[:10] if parsing.is_day(value) else shown


def _moment(value: Json) -> datetime | None:
    return None if parsing.is_blank(value) else parsing.parse_time(value, "")
