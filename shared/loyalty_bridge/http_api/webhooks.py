"""The deliveries of loyalty platforms: who sends them is checked, and each event goes onto the transport on its own.

They come from a REST API of API Gateway, as the event of its proxy integration:
https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html. What can never be
used is kept as refused and answered like the rest, since no repeat would make it better.

No event is read further than to its member: that is the forwarder's work, and the sender waits.
"""

from __future__ import annotations

import base64
import hmac
import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote, urlencode

from aws_lambda_powertools.metrics import MetricUnit

from loyalty_bridge.activity import buffer
from loyalty_bridge.activity.recorder import endpoint, redact
from loyalty_bridge.errors import Invalid, Unauthorized, Unavailable
from loyalty_bridge.event_queue import publisher
from loyalty_bridge.event_queue.envelope import SourceRecord, group_of, single, split
from loyalty_bridge.http_api import responses
from loyalty_bridge.model import FieldError
from loyalty_bridge.parking import parked_records
from loyalty_bridge.parking.parked_records import ParkedRecord
from loyalty_bridge.pipeline.batch import PARTS
from loyalty_bridge.platforms.brevo import events as brevo
from loyalty_bridge.platforms.brevo.settings import BrevoSettings
from loyalty_bridge.platforms.punchh.settings import PunchhSettings
from loyalty_bridge.platforms.settings import WEBHOOK_CREDENTIALS
from loyalty_bridge.platforms.webhook_auth import Credential, is_punchh
from loyalty_bridge.programs import repository, secrets
from loyalty_bridge.programs.connection import program_id

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from loyalty_bridge.model import Json
    from loyalty_bridge.platforms.convercus.settings import ConvercusSettings
    from loyalty_bridge.programs.connection import Program
    from loyalty_bridge.settings import DeliverySettings

    Side = ConvercusSettings | PunchhSettings | BrevoSettings


MAX_EVENTS = 5000
"""Of one delivery; ten times what a batch of Brevo's holds: https://developers.brevo.com/docs/batch-webhooks."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a delivery is answered, and what is told of it.

    Attributes
    ----------
    program
        The program that the URL names; it need not exist.
    counts
        What happened, how often.
    problem
        Why it was not taken, without personal data.
    refused
        What of it can never be used.
    seconds
        How long it took.
    """

    status: int
    program: str
    counts: Counter[str]
    problem: str = ""
    refused: Sequence[ParkedRecord] = ()
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class _Delivery:
    """A request that came in.

    Attributes
    ----------
    headers
        By name in lower case.
    targets
        What the sender may call the URI, each a path with its query.
    event_name
        The last part of a URL that has one for each event; empty otherwise.
    """

    program: str
    event_name: str
    headers: Mapping[str, str]
    targets: tuple[str, ...]
    body: bytes = field(repr=False)
    received: datetime


def receive(
    event: Mapping[str, Any], platform: Literal["punchh", "brevo"], settings: DeliverySettings, *, not_stored: int
) -> Outcome:
    """Take a delivery; what it answers with 200 is stored durably.

    A program that is unknown, or of another loyalty platform, is answered like a wrong credential: 401.

    Parameters
    ----------
    event
        Of a REST API's proxy integration.
    not_stored
        The status by which this sender repeats a delivery for longest.
    """
    began = time.monotonic()
    outcome = _taken(_opened(event), platform, settings, not_stored)
    return replace(outcome, seconds=time.monotonic() - began)


def _taken(delivery: _Delivery, platform: str, settings: DeliverySettings, not_stored: int) -> Outcome:
    called = delivery.program[:64]
    try:
        program = _addressee(settings, delivery, platform)
        good, bad = _sorted(program, delivery)
        if good:
            publisher.publish(settings, publisher.grouped(good))
        if bad:
            parked_records.park(settings, "rejected", program.id, bad, time.time())
    except Unauthorized:
        return Outcome(401, called, Counter(unauthorized=1), "no valid credential for this program")
    except Unavailable as error:
        return Outcome(not_stored, called, Counter(not_stored=1), str(error))
    return Outcome(200, called, Counter(accepted=len(good), rejected=len(bad)), refused=bad)


def health(event: Mapping[str, Any], platform: Literal["punchh", "brevo"], settings: DeliverySettings) -> Outcome:
    """Answer a request that brings nothing: 404 for an unknown program, 401 for a wrong credential, otherwise 200.

    A sender that is activated by this answer would lose every event of a wrong URL or credential. One that shows no
    credential is not asked for any, and a store that does not answer says nothing about the sender.
    """
    delivery = _opened(event)
    called = delivery.program[:64]
    try:
        program = _found(settings, delivery, platform)
        if delivery.headers.get("authorization", "").strip() and not _is_sender(program, delivery):
            return Outcome(401, called, Counter(unauthorized=1), "no valid credential for this program")
    except Unauthorized:
        return Outcome(404, called, Counter(unknown_program=1), f"there is no such program of {platform}")
    except Unavailable:
        pass
    return Outcome(200, called, Counter())


def finish(outcome: Outcome, context: LambdaContext) -> responses.Response:
    """Count and log an outcome, and note it for the program's activity; gives what the gateway sends back."""
    for name, count in outcome.counts.items():
        responses.metrics.add_metric(f"webhook_{name}", MetricUnit.Count, count)
    responses.metrics.flush_metrics()
    shown = {"program": redact(outcome.program), **outcome.counts}
    if outcome.problem:
        # A defect of ours is looked for where those of the other functions are.
        log = responses.logger.error if "failed" in outcome.counts else responses.logger.warning
        log("delivery not taken", extra={**shown, "problem": outcome.problem})
    else:
        responses.logger.info("delivery taken", extra=shown)
    _note(outcome, endpoint(context.function_name))
    return responses.response(outcome.status, outcome.counts)


def _note(outcome: Outcome, name: str) -> None:
    known = buffer.program_labels(outcome.program)
    program, platform = known.program, known.loyalty
    result = next(iter(outcome.counts)) if outcome.problem else "ok"
    buffer.recorder.call(program, name, result, outcome.seconds)
    if outcome.problem:
        buffer.recorder.problem(program, name, platform, result, outcome.problem)
    for entry in outcome.refused:
        buffer.recorder.event(program, name, "received", "rejected")
        for one in entry.field_errors:
            reason = f"{one.field}: {one.reason}"
            buffer.recorder.problem(program, name, platform, "rejected", reason, entry.event_id)
    # Who has no credential does not make us write for each delivery.
    if result not in {"unauthorized", "unknown_program"} or buffer.is_due():
        buffer.flush()


def _opened(event: Mapping[str, Any]) -> _Delivery:
    context, parameters = event["requestContext"], event["pathParameters"]
    headers = {name.lower(): values[-1] for name, values in (event["multiValueHeaders"] or {}).items()}
    body = event["body"] or ""
    try:
        data = base64.b64decode(body) if event["isBase64Encoded"] else body.encode(errors="surrogatepass")
    except ValueError:
        data = b""
    query = urlencode(event["multiValueQueryStringParameters"] or {}, doseq=True, quote_via=quote, errors="replace")
    # What a signature calls the URI is not documented. The context has the path as it was called, with the stage (or
    # what a custom domain maps); a client that was told the stage as part of its base URL may leave it out.
    paths = dict.fromkeys((context["path"], event["path"]))
    called = [*paths, *(f"https://{headers.get('host', '')}{path}" for path in paths)]
    return _Delivery(
        program=parameters["programId"],
        event_name=(parameters.get("eventName") or "").strip("/ "),
        headers=headers,
        targets=tuple(f"{uri}?{query}" if query else uri for uri in called),
        body=data,
        received=datetime.fromtimestamp(context["requestTimeEpoch"] / 1000, UTC),
    )


def _addressee(settings: DeliverySettings, delivery: _Delivery, platform: str) -> Program:
    """Find the program that a delivery is for.

    Raises
    ------
    Unauthorized
        There is none of that platform, or the delivery shows none of its credentials.
    """
    program = _found(settings, delivery, platform)
    if not _is_sender(program, delivery):
        raise Unauthorized
    return program


def _found(settings: DeliverySettings, delivery: _Delivery, platform: str) -> Program:
    try:
        name = program_id(delivery.program)
    except Invalid:
        raise Unauthorized from None
    program = repository.load(settings, [name]).get(name)
    if program is None or program.connection.loyalty.platform != platform:
        raise Unauthorized
    buffer.register_program(program)
    return program


def _is_sender(program: Program, delivery: _Delivery) -> bool:
    side = program.connection.loyalty
    credentials = [
        secrets.decrypt(program.id, program.secrets[secret].ciphertext)
        for secret in WEBHOOK_CREDENTIALS
        if secret in program.secrets
    ]
    if isinstance(side, PunchhSettings):
        known = [*_punchh_credentials(side, credentials)]
        return any(is_punchh(known, delivery.headers, uri, delivery.body) for uri in delivery.targets)
    return isinstance(side, BrevoSettings) and any(_is_brevo(side, one, delivery.headers) for one in credentials)


def _punchh_credentials(side: PunchhSettings, credentials: Sequence[str]) -> Iterator[Credential]:
    for credential in credentials:
        if side.webhook_auth == "basic":
            user, _, password = credential.partition(":")
            yield Credential("basic", password, user)
        elif side.webhook_auth == "bearer":
            yield Credential("bearer", credential)
        else:
            yield Credential("hmac-sha256", credential)
            yield Credential("hmac-sha1", credential)


def _is_brevo(side: BrevoSettings, credential: str, headers: Mapping[str, str]) -> bool:
    """Tell whether a delivery shows a credential in one of the ways that Brevo has.

    Source: https://developers.brevo.com/docs/how-to-use-webhooks
    """
    scheme, _, rest = headers.get("authorization", "").strip().partition(" ")
    shown, wanted = rest.strip().encode(errors="replace"), credential.encode()
    match side.webhook_auth:
        case "basic":
            return scheme.lower() == "basic" and hmac.compare_digest(shown, base64.b64encode(wanted))
        case "bearer":
            return scheme.lower() == "bearer" and hmac.compare_digest(shown, wanted)
        case "header":
            return hmac.compare_digest(
                headers.get(side.webhook_header.lower(), "").strip().encode(errors="replace"), wanted
            )


def _sorted(program: Program, delivery: _Delivery) -> tuple[list[tuple[SourceRecord, str]], list[ParkedRecord]]:
    """Take a delivery apart into events: those that name a member, each with its ordered group, and the others."""
    whole = SourceRecord(program.id, delivery.body, delivery.received)
    if _are_too_many(delivery.body):
        return [], [_refused(whole, "", Invalid("record", f"holds more than {MAX_EVENTS} events"))]
    source, rules = program.source, program.connection.loyalty.rules
    good: list[tuple[SourceRecord, str]] = []
    told, unusable = split(whole, source)
    bad = [_refused(record, "", refusal) for record, refusal in unusable]
    for own, element in told:
        record, event = own, element
        try:
            if program.connection.loyalty.platform == "brevo":
                event = brevo.envelope(element, delivery.event_name or None, delivery.received)
                record = single(whole, event)
            name = source.member(event, rules) or source.alias(event) or ""
            good.append((record, group_of(program.id, name)))
        except Invalid as refusal:
            bad.append(_refused(record, _event_id(program, event), refusal))
    return good, bad


def _are_too_many(body: bytes) -> bool:
    """Tell whether an array has more elements than there is time for."""
    if not body.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[") or body.count(b",") < MAX_EVENTS:
        return False
    with suppress(ValueError, RecursionError):
        return len(json.loads(body)) > MAX_EVENTS
    return True  # it is not JSON; to say where would take as long


def _refused(record: SourceRecord, event_id: str, refusal: Invalid) -> ParkedRecord:
    reasons = (FieldError("event", refusal.field, refusal.reason),)
    return ParkedRecord(record, event_id, group_of(record.program, event_id), reasons, PARTS)


def _event_id(program: Program, event: Json) -> str:
    try:
        return program.source.event_id(event)
    except Invalid:
        return ""
