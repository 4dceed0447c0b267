"""Receive webhook deliveries of loyalty platforms: authenticate the sender, and publish each event on its own.

Deliveries arrive from a REST API of API Gateway, as events of its proxy integration:
https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html. Events that can
never be used are parked as rejected and answered like the others, because a repeat would not help.

The sender waits for the answer, so events are read only as far as their member; the forwarder does the rest.
"""

from __future__ import annotations

import base64
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from aws_lambda_powertools.metrics import MetricUnit

from loyalty_bridge.activity import buffer
from loyalty_bridge.activity.recorder import endpoint, redact
from loyalty_bridge.errors import Invalid, Unauthorized, Unavailable
from loyalty_bridge.event_queue import publisher
from loyalty_bridge.event_queue.envelope import SourceRecord, group_of, single, split
from loyalty_bridge.http_api import responses
from loyalty_bridge.model import PARTS, FieldError
from loyalty_bridge.parking import parked_records
from loyalty_bridge.parking.parked_records import ParkedRecord
from loyalty_bridge.platforms.settings import WEBHOOK_CREDENTIALS, WebhookSettings
from loyalty_bridge.platforms.webhook_auth import is_authentic
from loyalty_bridge.programs import repository, secrets
from loyalty_bridge.programs.connection import check_program_id

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from loyalty_bridge.model import Json
    from loyalty_bridge.programs.connection import Program
    from loyalty_bridge.settings import DeliverySettings


MAX_EVENTS = 5000
"""Limit for one delivery: ten times the size of a Brevo batch (https://developers.brevo.com/docs/batch-webhooks)."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a delivery ended.

    Attributes
    ----------
    program
        Program id of the URL; the program need not exist.
    counts
        Metrics by name.
    problem
        Why the delivery was not accepted, without personal data.
    refused
        Events that can never be used.
    seconds
        Duration of the call.
    """

    status: int
    program: str
    counts: Counter[str]
    problem: str = ""
    refused: Sequence[ParkedRecord] = ()
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class _Delivery:
    """A webhook request.

    Attributes
    ----------
    headers
        Names in lower case.
    targets
        Forms of the URI that the sender may have signed, each with its query.
    event_name
        Last part of the URL if it names the event; otherwise empty.
    """

    program: str
    event_name: str
    headers: Mapping[str, str]
    targets: tuple[str, ...]
    body: bytes = field(repr=False)
    received: datetime


def receive(event: Mapping[str, Any], platform: str, settings: DeliverySettings, *, not_stored: int) -> Outcome:
    """Receive a delivery; with 200 all its events are stored durably.

    The answer for an unknown program, or one of another loyalty platform, is the same as for a wrong credential: 401.

    Parameters
    ----------
    event
        Event of a REST API's proxy integration.
    not_stored
        Status after which this sender repeats a delivery for the longest time.
    """
    began = time.monotonic()
    outcome = _receive(_from_event(event), platform, settings, not_stored)
    return replace(outcome, seconds=time.monotonic() - began)


def _receive(delivery: _Delivery, platform: str, settings: DeliverySettings, not_stored: int) -> Outcome:
    called = delivery.program[:64]
    try:
        program = _authenticate(settings, delivery, platform)
        accepted, rejected = _split(program, delivery)
        if accepted:
            publisher.publish(settings, publisher.grouped(accepted))
        if rejected:
            parked_records.park(settings, "rejected", program.id, rejected, time.time())
    except Unauthorized:
        return Outcome(401, called, Counter(unauthorized=1), "no valid credential for this program")
    except Unavailable as error:
        return Outcome(not_stored, called, Counter(not_stored=1), str(error))
    return Outcome(200, called, Counter(accepted=len(accepted), rejected=len(rejected)), refused=rejected)


def health(event: Mapping[str, Any], platform: str, settings: DeliverySettings) -> Outcome:
    """Answer a request without a delivery: 404 for an unknown program, 401 for a wrong credential, otherwise 200.

    A sender that this answer activates would lose every event if its URL or credential were wrong. A request without a
    credential gets 200, and so does every request while a store does not answer.
    """
    delivery = _from_event(event)
    called = delivery.program[:64]
    try:
        program = _load_program(settings, delivery, platform)
        if delivery.headers.get("authorization", "").strip() and not _is_authentic(program, delivery):
            return Outcome(401, called, Counter(unauthorized=1), "no valid credential for this program")
    except Unauthorized:
        return Outcome(404, called, Counter(unknown_program=1), f"there is no such program of {platform}")
    except Unavailable:
        pass
    return Outcome(200, called, Counter())


def finish(outcome: Outcome, context: LambdaContext) -> responses.Response:
    """Count, log and record an outcome; return the response for the gateway."""
    for name, count in outcome.counts.items():
        responses.metrics.add_metric(f"webhook_{name}", MetricUnit.Count, count)
    responses.metrics.flush_metrics()
    shown = {"program": redact(outcome.program), **outcome.counts}
    if outcome.problem:
        # A defect is logged as an error, like those of the other functions.
        log = responses.logger.error if "failed" in outcome.counts else responses.logger.warning
        log("delivery not accepted", extra={**shown, "problem": outcome.problem})
    else:
        responses.logger.info("delivery accepted", extra=shown)
    _note(outcome, endpoint(context.function_name))
    return responses.response(outcome.status, outcome.counts)


def _note(outcome: Outcome, name: str) -> None:
    labels = buffer.program_labels(outcome.program)
    program, platform = labels.program, labels.loyalty
    result = next(iter(outcome.counts)) if outcome.problem else "ok"
    buffer.recorder.call(program, name, result, outcome.seconds)
    if outcome.problem:
        buffer.recorder.problem(program, name, platform, result, outcome.problem)
    for entry in outcome.refused:
        buffer.recorder.event(program, name, "received", "rejected")
        for field_error in entry.field_errors:
            reason = f"{field_error.field}: {field_error.reason}"
            buffer.recorder.problem(program, name, platform, "rejected", reason, entry.event_id)
    # A caller without a credential must not cause a write for each call.
    if result not in {"unauthorized", "unknown_program"} or buffer.is_due():
        buffer.flush()


def _from_event(event: Mapping[str, Any]) -> _Delivery:
    context, parameters = event["requestContext"], event["pathParameters"]
    headers = {name.lower(): values[-1] for name, values in (event["multiValueHeaders"] or {}).items()}
    body = event["body"] or ""
    try:
        data = base64.b64decode(body) if event["isBase64Encoded"] else body.encode(errors="surrogatepass")
    except ValueError:
        data = b""
    query = urlencode(event["multiValueQueryStringParameters"] or {}, doseq=True, quote_via=quote, errors="replace")
    # It is not documented which form of the URI a signature covers. The context has the path with the stage (or with
    # the mapping of a custom domain); a client with the stage in its base URL may leave it out.
    paths = dict.fromkeys((context["path"], event["path"]))
    targets = [*paths, *(f"https://{headers.get('host', '')}{path}" for path in paths)]
    return _Delivery(
        program=parameters["programId"],
        event_name=(parameters.get("eventName") or "").strip("/ "),
        headers=headers,
        targets=tuple(f"{uri}?{query}" if query else uri for uri in targets),
        body=data,
        received=datetime.fromtimestamp(context["requestTimeEpoch"] / 1000, UTC),
    )


def _authenticate(settings: DeliverySettings, delivery: _Delivery, platform: str) -> Program:
    """Load the program of a delivery and authenticate its sender.

    Raises
    ------
    Unauthorized
        The platform has no such program, or the delivery shows none of its credentials.
    """
    program = _load_program(settings, delivery, platform)
    if not _is_authentic(program, delivery):
        raise Unauthorized
    return program


def _load_program(settings: DeliverySettings, delivery: _Delivery, platform: str) -> Program:
    try:
        name = check_program_id(delivery.program)
    except Invalid:
        raise Unauthorized from None
    program = repository.load(settings, [name]).get(name)
    if program is None or program.connection.loyalty.platform != platform:
        raise Unauthorized
    buffer.register_program(program)
    return program


def _is_authentic(program: Program, delivery: _Delivery) -> bool:
    side = program.connection.loyalty
    values = [
        secrets.decrypt(program.id, program.secrets[name].ciphertext)
        for name in WEBHOOK_CREDENTIALS
        if name in program.secrets
    ]
    if not isinstance(side, WebhookSettings):
        return False
    known = [credential for secret in values for credential in side.credentials(secret)]
    return any(is_authentic(known, delivery.headers, target, delivery.body) for target in delivery.targets)


def _split(program: Program, delivery: _Delivery) -> tuple[list[tuple[SourceRecord, str]], list[ParkedRecord]]:
    """Split a delivery into events: those with a member, each with its ordered group, and the rejected ones."""
    whole = SourceRecord(program.id, delivery.body, delivery.received)
    if _has_too_many(delivery.body):
        return [], [_reject(whole, "", Invalid("record", f"holds more than {MAX_EVENTS} events"))]
    source, rules = program.source, program.connection.loyalty.rules
    accepted: list[tuple[SourceRecord, str]] = []
    elements, unusable = split(whole, source)
    rejected = [_reject(record, "", error) for record, error in unusable]
    for own, element in elements:
        record, event = own, element
        try:
            event = source.complete(element, delivery.event_name, delivery.received)
            if event is not element:
                record = single(whole, event)
            name = source.member(event, rules) or source.alias(event) or ""
            accepted.append((record, group_of(program.id, name)))
        except Invalid as error:
            rejected.append(_reject(record, _event_id(program, event), error))
    return accepted, rejected


def _has_too_many(body: bytes) -> bool:
    """Return whether an array has more elements than the function has time for."""
    if not body.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[") or body.count(b",") < MAX_EVENTS:
        return False
    with suppress(ValueError, RecursionError):
        return len(json.loads(body)) > MAX_EVENTS
    return True  # it is not JSON; finding out where would take as long


def _reject(record: SourceRecord, event_id: str, error: Invalid) -> ParkedRecord:
    reasons = (FieldError("event", error.field, error.reason),)
    return ParkedRecord(record, event_id, group_of(record.program, event_id), reasons, PARTS)


def _event_id(program: Program, event: Json) -> str:
    try:
        return program.source.event_id(event)
    except Invalid:
        return ""
