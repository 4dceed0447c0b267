"""Handle action requests: authenticate, read the body, and give the action its context."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from loyalty_bridge.actions.clients import convercus_client, punchh_client
from loyalty_bridge.actions.context import ActionContext
from loyalty_bridge.actions.idempotency import RESERVE_SECONDS as WAITING_RESERVE
from loyalty_bridge.actions.punchh import SIGNUP_MEMBER
from loyalty_bridge.errors import Invalid, NotConnected
from loyalty_bridge.http_api import auth, requests, responses
from loyalty_bridge.platforms.convercus.settings import ConvercusSettings
from loyalty_bridge.platforms.punchh.settings import ADMIN_KEY, CLIENT_SECRET
from loyalty_bridge.platforms.registry import ENGAGEMENT
from loyalty_bridge.programs import access_token
from loyalty_bridge.settings import ActionSettings, load_settings

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext
    from pydantic import BaseModel

    from loyalty_bridge.actions.answer import Answer
    from loyalty_bridge.actions.clients import PunchhClient
    from loyalty_bridge.http_api.auth import Access
    from loyalty_bridge.http_api.request_schemas import SignupMember
    from loyalty_bridge.http_api.requests import ApiRequest
    from loyalty_bridge.platforms.convercus import client as convercus
    from loyalty_bridge.programs.connection import Program

S = TypeVar("S", bound=ActionSettings)
B = TypeVar("B", bound="BaseModel")
Handler = Callable[[dict[str, Any], "LambdaContext"], responses.Response]

RESERVE_SECONDS = 2.0
"""Part of the invocation's time that is kept for storing how an action ended."""
ANSWER_SECONDS = 0.3
"""The same for an action whose caller waits only a few seconds."""


@dataclass(frozen=True, slots=True)
class ActionRequest(Generic[S, B]):
    """An authenticated request for an action.

    Attributes
    ----------
    access
        The program, and the items that were read with the key.
    seconds_left
        Until the invocation ends.
    """

    settings: S
    call: ApiRequest
    access: Access
    body: B
    seconds_left: float

    def context(self, action: str, *parts: str | None) -> ActionContext[convercus.Client]:
        """Return the context of a Convercus action.

        Parameters
        ----------
        parts
            What the action acts on. A dispatch is shared by many members, so it is a key only together with these.

        Raises
        ------
        NotConnected
            The program is not set up for actions on Convercus.
        """
        body: Any = self.body
        content = body.model_dump(mode="json", exclude={"idempotency_key", "dispatch_id"})  # these two are the key
        return ActionContext(
            settings=self.settings,
            program=self.access.program.id,
            client=convercus_client(self.settings, self.access.program, self.access.token),
            key=requests.idempotency_key(self.call, body.idempotency_key, body.dispatch_id, action, *parts),
            fingerprint=requests.fingerprint(self.call, action, content),
            deadline=time.monotonic() + self.seconds_left - RESERVE_SECONDS,
            lease_expires_at=time.time() + self.seconds_left,
            repeat_window=self.access.program.connection.repeat_window,
        )


def handler(
    settings_type: type[S],
    body_type: type[B],
    act: Callable[[ActionRequest[S, B]], Answer],
    items: Sequence[str] = (access_token.ITEM,),
) -> Handler:
    """Make the Lambda handler of an action.

    Parameters
    ----------
    items
        Sort keys of the program's items that the action needs.
    """

    def work(call: ApiRequest, context: LambdaContext) -> Answer:
        read = load_settings(settings_type)  # type: ignore[arg-type]  # a class is hashable
        access = auth.authenticate(read, call.program, call.headers, items)
        body = requests.body(call, body_type)
        return act(ActionRequest(read, call, access, body, context.get_remaining_time_in_millis() / 1000))

    def handle(event: dict[str, Any], context: LambdaContext) -> responses.Response:
        return responses.answer(event, context, work)

    return handle


def signup_context(request: ActionRequest[S, SignupMember], limit: float) -> ActionContext[PunchhClient]:
    """Return the context of a signup; the member's external id is its idempotency key.

    Parameters
    ----------
    limit
        Seconds after the gateway's receipt in which the answer is due.

    Raises
    ------
    Invalid
        The program's engagement platform does not take the external id as the id of a user.
    NotConnected
        The program is not set up for signups.
    """
    program, user = request.access.program, request.body.user
    side, field = program.connection.engagement, "user.external_source_id"
    ENGAGEMENT[side.platform].check_id(user.external_source_id, field, side.rules)
    seconds_left = request.call.seconds_left(limit)
    return ActionContext(
        settings=request.settings,
        program=program.id,
        client=punchh_client(
            request.settings, program, request.access.items, needs=(CLIENT_SECRET,), uses=(ADMIN_KEY,)
        ),
        key=f"external_source_id:{user.external_source_id}",
        fingerprint=requests.fingerprint(request.call, SIGNUP_MEMBER, request.body.model_dump(mode="json")),
        deadline=time.monotonic() + seconds_left - ANSWER_SECONDS,
        lease_expires_at=time.time() + seconds_left + WAITING_RESERVE,
        repeat_window=program.connection.repeat_window,
    )


def convercus_side(program: Program) -> ConvercusSettings:
    """Return the Convercus settings of a program.

    Raises
    ------
    NotConnected
        The program's loyalty platform is not Convercus.
    """
    side = program.connection.loyalty
    if not isinstance(side, ConvercusSettings):
        raise NotConnected(f"the loyalty platform of {program.id} is not Convercus")
    return side


def check_limit(limit: int | None, requested: float, field: str) -> None:
    """Raise `Invalid` if a request exceeds a limit of the program."""
    if limit is not None and requested > limit:
        raise Invalid(field, f"is above the program's limit of {limit} in one call")
