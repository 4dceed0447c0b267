"""Actions on Punchh: sign a member up, and generate a coupon code."""

from __future__ import annotations

import logging
import math
import secrets
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from loyalty_bridge.actions.answer import Answer
from loyalty_bridge.errors import (
    Invalid,
    KeyReused,
    NotConnected,
    NotSent,
    OutcomeUnknown,
    Unavailable,
    UpstreamRejected,
)
from loyalty_bridge.pipeline import identities
from loyalty_bridge.pipeline.identities import AliasAssertion
from loyalty_bridge.platforms.punchh import client as punchh
from loyalty_bridge.platforms.punchh.events import alias_of
from loyalty_bridge.platforms.punchh.settings import ADMIN_KEY, CLIENT_SECRET, COUPON_TOKEN_PREFIX

if TYPE_CHECKING:
    from loyalty_bridge.actions.clients import PunchhClient
    from loyalty_bridge.actions.context import ActionContext
    from loyalty_bridge.actions.idempotency_store import Record
    from loyalty_bridge.settings import SignupSettings

SIGNUP_MEMBER = "signup_member"
_CLOCK_SKEW = 60.0
"""Seconds by which Punchh's clock may be behind ours."""

_DEVICES = uuid.UUID("5b0f8b5a-6a0e-4c7e-9d3b-0d6a3f1f7c11")
_NO_DEVICES = frozenset({"", "none", "null", "undefined", "00000000-0000-0000-0000-000000000000"})
"""Texts that mean "no device", in lower case. The zeros are the advertising id of an Android user who has opted out:
https://support.google.com/googleplay/android-developer/answer/6048248."""

_logger = logging.getLogger(__name__)


def device_id(requested: str, program: str, external_id: str) -> str:
    """Return the id of a member's device: the caller's, or one that is stable and unique for the member.

    Punchh lets only a few guests share a device, and gives its signup reward once per device.

    Raises
    ------
    Invalid
        The caller's device id cannot be a header.
    """
    requested = requested.strip()
    if requested.lower() in _NO_DEVICES or "{{" in requested:
        return str(uuid.uuid5(_DEVICES, f"{program}#{external_id}"))
    if not punchh.HEADER.fullmatch(requested):
        raise Invalid("punchh-app-device-id", "is not printable, or longer than 256 characters")
    return requested


def signup_member(
    settings: SignupSettings,
    context: ActionContext[PunchhClient],
    user: Mapping[str, Any],
    *,
    device_id: str,
    user_agent: str | None,
    generation: str,
    rebinds: bool = False,
) -> Answer:
    """Sign a member up; the answer holds the ``userId``, and ``existing`` if the account was there before.

    An e-mail address proves nothing, because anyone can name it. So an existing account gets the external id only if
    Punchh reports that it has none; otherwise the answer has no ``userId``. If the outcome of a signup is unknown, an
    account that is no older than the signup counts as its result. A rejection is not stored: a corrected signup of the
    same member is sent.

    Parameters
    ----------
    user
        Punchh's fields without passwords.
    generation
        The program's generation, under which the member's ids are stored.
    rebinds
        The program verifies addresses: an existing account gets the external id even if it has another one.

    Raises
    ------
    Invalid
        A field is missing that Punchh requires.
    UpstreamRejected, KeyReused, InProgress, NotSent, OutcomeUnknown, Unavailable
        As `idempotency.execute`.
    """
    api, external_id = context.client.api, user["external_source_id"]
    if api.flavour == "mobile" and (absent := [name for name in ("first_name", "last_name") if name not in user]):
        raise Invalid(f"user.{absent[0]}", "is missing; the mobile API requires it")

    began = time.time()

    def reconcile(record: Record | None) -> Answer | None:
        return _found(context, user, rebinds=rebinds, since=record.since if record else began)

    def send(_: str) -> Answer:
        try:
            return Answer(200, {"userId": _sign_up(context, user, device_id, user_agent)})
        except UpstreamRejected as rejection:
            if rejection.code != punchh.ALREADY_MEMBER:
                raise
            return _existing(context, user, rebinds=rebinds)
        except OutcomeUnknown:
            with suppress(Unavailable, UpstreamRejected):  # a search that fails proves nothing
                if answer := reconcile(None):
                    return answer
            raise

    about, signing = {"external_source_id": external_id}, context.client.credentials[CLIENT_SECRET].send
    try:
        answer = context.execute(
            SIGNUP_MEMBER,
            send,
            about,
            reconcile,
            prepare=lambda: signing.admit(context.deadline),
            stores_rejections=False,
        )
    except KeyReused:
        raise KeyReused("this external_source_id was signed up before, with other data") from None
    finally:
        signing.release(context.deadline)
    if user_id := answer.body.get("userId"):
        _learn(settings, context, generation, user_id, external_id)
    return answer


def _learn(
    settings: SignupSettings, context: ActionContext[PunchhClient], generation: str, user_id: str, external_id: str
) -> None:
    try:
        assertion = AliasAssertion(generation, alias_of(user_id), external_id, datetime.now(UTC), "member")
        identities.learn(settings, [assertion], context.deadline)
    except Unavailable as error:  # the member's first event holds both ids, too
        _logger.warning("ids of a member not stored: %s", error)


def _sign_up(
    context: ActionContext[PunchhClient], user: Mapping[str, Any], device_id: str, user_agent: str | None
) -> str:
    signing = context.client.credentials[CLIENT_SECRET]
    user_id = punchh.signup(
        signing.send,
        context.client.api,
        user,
        secret=signing.value,
        password=f"{secrets.token_urlsafe(24)}aA1!",  # with every kind of character that a business may require
        device_id=device_id,
        user_agent=user_agent,
        deadline=context.deadline,
    )
    return str(user_id)


def _existing(context: ActionContext[PunchhClient], user: Mapping[str, Any], *, rebinds: bool) -> Answer:
    try:
        found = _found(context, user, rebinds=rebinds, since=math.inf)
    except OutcomeUnknown as error:  # setting the id again is harmless
        raise NotSent(str(error)) from error
    return Answer(200, {**(found.body if found else {}), "existing": True})


def _found(
    context: ActionContext[PunchhClient], user: Mapping[str, Any], *, rebinds: bool, since: float
) -> Answer | None:
    """Find the account of the e-mail address and set its external id if allowed; None if Punchh does not say enough.

    Parameters
    ----------
    since
        Start of the signup (epoch seconds): an account that is no older is its result.
    """
    client, until = context.client, context.deadline
    admin = client.credentials.get(ADMIN_KEY)
    if admin is None:
        return None
    guest = punchh.user_information(admin.send, client.api, admin_key=admin.value, deadline=until, email=user["email"])
    if guest is None or guest.email.strip().lower() not in {"", user["email"].lower()}:
        return None  # the account of another address
    answer = Answer(200, {"userId": str(guest.user_id)})
    is_new = guest.joined is not None and guest.joined >= since - _CLOCK_SKEW
    if guest.external_source_id == user["external_source_id"] or (guest.external_source_id is None and is_new):
        return answer
    if guest.external_source_id != "" and not rebinds:
        return Answer(200, {"existing": True}) if since == math.inf or guest.joined is not None else None
    known = replace(guest, email=guest.email or user["email"])  # the business may hide it in its interfaces
    source = {name: user[name] for name in ("external_source",) if name in user}
    punchh.set_external_source_id(
        admin.send,
        msgspec.structs.replace(client.api, **source),
        known,
        user["external_source_id"],
        admin_key=admin.value,
        deadline=until,
    )
    return answer


def generate_code(client: PunchhClient, user_id: int, campaign: str, deadline: float) -> str:
    """Generate a member's coupon code in a campaign.

    Parameters
    ----------
    user_id
        Punchh's id of the member.
    campaign
        Punchh's id of the campaign.
    deadline
        Of ``time.monotonic``.

    Raises
    ------
    Invalid
        Punchh does not know the user.
    NotConnected
        Punchh does not return the user's e-mail address, which the campaign needs.
    UpstreamRejected
        The campaign rejects the member.
    ConnectionBroken, NotSent, OutcomeUnknown
        There is no clear answer.
    """
    admin, token = (client.credentials[name] for name in (ADMIN_KEY, f"{COUPON_TOKEN_PREFIX}{campaign}"))
    guest = punchh.user_information(admin.send, client.api, admin_key=admin.value, deadline=deadline, user_id=user_id)
    if guest is None:
        raise Invalid("accountId", "is not known to Punchh")
    if not guest.email:  # the business may hide it in its interfaces
        raise NotConnected(
            "Punchh does not return the member's e-mail address, which coupon codes need; allow it in Punchh"
        )
    return punchh.coupon_code(token.send, client.api, guest, campaign_id=campaign, token=token.value, deadline=deadline)
