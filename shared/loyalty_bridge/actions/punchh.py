"""What a campaign may have done on Punchh: sign a member up, and let a coupon campaign make a code."""

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

from loyalty_bridge.actions.idempotency import Answer
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
from loyalty_bridge.programs.connection import PUNCHH_ADMIN_KEY, PUNCHH_CLIENT_SECRET, PUNCHH_COUPON_TOKEN

if TYPE_CHECKING:
    from loyalty_bridge.actions.clients import PunchhClient
    from loyalty_bridge.actions.context import ActionContext
    from loyalty_bridge.actions.idempotency import Record
    from loyalty_bridge.settings import SignupSettings

SIGNUP_MEMBER = "signup_member"
_CLOCK_SKEW = 60.0
"""Seconds by which Punchh's clock may be behind ours."""

_DEVICES = uuid.UUID("5b0f8b5a-6a0e-4c7e-9d3b-0d6a3f1f7c11")
_NO_DEVICES = frozenset({"", "none", "null", "undefined", "00000000-0000-0000-0000-000000000000"})
"""Among them what Android tells as advertising id of who has opted out: https://support.google.com/googleplay/android-developer/answer/6048248."""

_logger = logging.getLogger(__name__)


def device_id(told: str, program: str, external_id: str) -> str:
    """Give the id of a member's device: what the caller tells, else one that is stable and the member's alone.

    Punchh lets a few guests share a device, and gives a device its signup reward once.

    Raises
    ------
    Invalid
        What the caller tells cannot be a header.
    """
    told = told.strip()
    if told.lower() in _NO_DEVICES or "{{" in told:
        return str(uuid.uuid5(_DEVICES, f"{program}#{external_id}"))
    if not punchh.HEADER.fullmatch(told):
        raise Invalid("punchh-app-device-id", "is not printable, or longer than 256 characters")
    return told


def signup_member(
    settings: SignupSettings,
    caller: ActionContext[PunchhClient],
    user: Mapping[str, Any],
    *,
    device_id: str,
    user_agent: str | None,
    generation: str,
    rebinds: bool = False,
) -> Answer:
    """Sign a member up; the answer has the ``userId``, and says when the member is an ``existing`` one.

    An e-mail address proves nothing: whoever knows one may name it. So an account that is there already gets the
    external id only when Punchh says that it has none; the answer then has its ``userId``, and otherwise has not. When
    the outcome of a signup is unknown, an account that is no older than the signup is taken for its result. A refusal
    is not kept: a corrected signup of the same member is sent to Punchh again.

    Parameters
    ----------
    user
        Punchh's fields without passwords.
    generation
        The program's, under which the member's ids are remembered.
    rebinds
        The program's addresses are verified: an existing account gets the external id in place of the one it has.

    Raises
    ------
    Invalid
        Punchh wants a field that is missing.
    UpstreamRejected, KeyReused, InProgress, NotSent, OutcomeUnknown, Unavailable
        As `journal.perform`.
    """
    api, external_id = caller.client.api, user["external_source_id"]
    if api.flavour == "mobile" and (absent := [name for name in ("first_name", "last_name") if name not in user]):
        raise Invalid(f"user.{absent[0]}", "is missing, and the mobile API wants it")

    began = time.time()

    def look(seen: Record | None) -> Answer | None:
        return _found(caller, user, rebinds=rebinds, since=seen.since if seen else began)

    def act(_: str) -> Answer:
        try:
            return Answer(200, {"userId": _signed_up(caller, user, device_id, user_agent)})
        except UpstreamRejected as refusal:
            if refusal.code != punchh.ALREADY_MEMBER:
                raise
            return _existing(caller, user, rebinds=rebinds)
        except OutcomeUnknown:
            with suppress(Unavailable, UpstreamRejected):  # a look-up that fails tells nothing
                if found := look(None):
                    return found
            raise

    about, signing = {"external_source_id": external_id}, caller.client.credentials[PUNCHH_CLIENT_SECRET].send
    try:
        answer = caller.perform(
            SIGNUP_MEMBER, act, about, look, ready=lambda: signing.admit(caller.deadline), keeps_refusals=False
        )
    except KeyReused:
        raise KeyReused("this external_source_id came before, with other data") from None
    finally:
        signing.release(caller.deadline)
    if user_id := answer.body.get("userId"):
        _learn(settings, caller, generation, user_id, external_id)
    return answer


def _learn(
    settings: SignupSettings, caller: ActionContext[PunchhClient], generation: str, user_id: str, external_id: str
) -> None:
    try:
        taught = AliasAssertion(generation, alias_of(user_id), external_id, datetime.now(UTC), "member")
        identities.learn(settings, [taught], caller.deadline)
    except Unavailable as error:  # the member's first event teaches it
        _logger.warning("that a member is known by another id could not be written down: %s", error)


def _signed_up(
    caller: ActionContext[PunchhClient], user: Mapping[str, Any], device_id: str, user_agent: str | None
) -> str:
    signing = caller.client.credentials[PUNCHH_CLIENT_SECRET]
    user_id = punchh.signup(
        signing.send,
        caller.client.api,
        user,
        secret=signing.value,
        password=f"{secrets.token_urlsafe(24)}aA1!",  # of every kind that a business may ask for
        device_id=device_id,
        user_agent=user_agent,
        deadline=caller.deadline,
    )
    return str(user_id)


def _existing(caller: ActionContext[PunchhClient], user: Mapping[str, Any], *, rebinds: bool) -> Answer:
    try:
        found = _found(caller, user, rebinds=rebinds, since=math.inf)
    except OutcomeUnknown as error:  # setting the id once more does no harm
        raise NotSent(str(error)) from error
    return Answer(200, {**(found.body if found else {}), "existing": True})


def _found(
    caller: ActionContext[PunchhClient], user: Mapping[str, Any], *, rebinds: bool, since: float
) -> Answer | None:
    """Find the account of the e-mail address, and connect it when it may be; None when nothing can be said.

    Parameters
    ----------
    since
        An account that is no older (epoch seconds) is the one that was signed up.
    """
    client, until = caller.client, caller.deadline
    admin = client.credentials.get(PUNCHH_ADMIN_KEY)
    if admin is None:
        return None
    guest = punchh.user_information(admin.send, client.api, admin_key=admin.value, deadline=until, email=user["email"])
    if guest is None or guest.email.strip().lower() not in {"", user["email"].lower()}:
        return None  # an account of another address is not the one that was asked for
    told = Answer(200, {"userId": str(guest.user_id)})
    is_new = guest.joined is not None and guest.joined >= since - _CLOCK_SKEW
    if guest.external_source_id == user["external_source_id"] or (guest.external_source_id is None and is_new):
        return told
    if guest.external_source_id != "" and not rebinds:
        return Answer(200, {"existing": True}) if since == math.inf or guest.joined is not None else None
    known = replace(guest, email=guest.email or user["email"])  # the business may keep it from its interfaces
    source = {name: user[name] for name in ("external_source",) if name in user}
    punchh.set_external_source_id(
        admin.send,
        msgspec.structs.replace(client.api, **source),
        known,
        user["external_source_id"],
        admin_key=admin.value,
        deadline=until,
    )
    return told


def generate_code(client: PunchhClient, user_id: int, campaign: str, deadline: float) -> str:
    """Let a campaign generate a member's coupon code.

    Parameters
    ----------
    user_id
        Punchh's.
    campaign
        Punchh's id of it.
    deadline
        Of ``time.monotonic``.

    Raises
    ------
    Invalid
        Punchh does not know the user.
    NotConnected
        Punchh does not tell the user's e-mail address, by which the campaign knows who gets the code.
    UpstreamRejected
        The campaign gives the member no code; ConnectionBroken, NotSent, OutcomeUnknown: nobody says so.
    """
    admin, token = (client.credentials[name] for name in (PUNCHH_ADMIN_KEY, f"{PUNCHH_COUPON_TOKEN}{campaign}"))
    guest = punchh.user_information(admin.send, client.api, admin_key=admin.value, deadline=deadline, user_id=user_id)
    if guest is None:
        raise Invalid("accountId", "is not known to Punchh")
    if not guest.email:  # the business may keep it from its interfaces
        raise NotConnected("Punchh does not tell the member's e-mail address, which coupon codes need")
    return punchh.coupon_code(token.send, client.api, guest, campaign_id=campaign, token=token.value, deadline=deadline)
