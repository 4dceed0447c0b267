"""The exceptions of this library.

BridgeError
├── Invalid            a field is invalid; the sender has to change it
│   └── PayloadTooLarge    the request holds more than one call may; the sender has to split it
├── Unauthorized       no valid key for the program; the sender has to get one
├── OutOfScope         the key belongs to the program but does not allow this call; the sender has to use another
├── Forbidden          a foreign page may have sent the request in the operator's name
├── KeyReused          the idempotency key belongs to another request; the sender has to choose a new one
├── UpstreamRejected   the loyalty platform rejected an action; a repeat does not help
├── NotFound           the requested item does not exist
├── Conflict           the item has changed since it was read; read it again, then decide
├── NotConnected       the program is unknown or its connection is incomplete; the operator has to complete it
└── Unavailable        a repeat may succeed
    ├── NotSent            the request was certainly not carried out
    │   └── ConnectionBroken   no request can succeed until an operator repairs the connection
    │       └── Unreadable         this version of the bridge cannot read the program's settings
    ├── InProgress         an equal request is still running
    └── OutcomeUnknown     the request may or may not have been carried out

The tree answers two questions: does a repeat help, and who has to act?
"""

from __future__ import annotations

from collections.abc import Mapping


class BridgeError(Exception):
    """Base class of all errors of this library.

    The text holds no personal data, because it is logged and stored.

    Attributes
    ----------
    word
        Machine-readable name in answers and in the activity.
    record
        Id of the idempotency record of the action; empty for errors of anything else.
    """

    word: str = "internal_error"
    record: str = ""


class Invalid(BridgeError):
    """A field of a record or request is invalid.

    Parameters
    ----------
    field
        Path of the invalid field, such as ``payload.amount``; ``record`` when the whole record is unusable.
    reason
        Why it is invalid, without its value (which may be personal data).
    unquoted
        Replaces field and reason in logs and error history when they quote the sender.
    """

    word = "invalid_request"

    def __init__(self, field: str, reason: str, *, unquoted: str = "") -> None:
        super().__init__(unquoted or f"{field}: {reason}")
        self.field = field
        self.reason = reason


class PayloadTooLarge(Invalid):
    """The request holds more than one call may."""

    word = "too_large"


class Unauthorized(BridgeError):
    """The request has no valid key for its program, or its operator is not signed in. The text never says why."""

    word = "unauthorized"

    def __init__(self, message: str = "no valid key for this program") -> None:
        super().__init__(message)


class OutOfScope(BridgeError):
    """The key belongs to the program but does not allow this kind of call."""

    word = "out_of_scope"


class Forbidden(BridgeError):
    """A foreign page may have sent the change in the operator's name."""

    word = "forbidden"


class KeyReused(BridgeError):
    """The idempotency key has been used for another request."""

    word = "key_reused"


class UpstreamRejected(BridgeError):
    """The loyalty platform understood an action and rejected it: it was not carried out, and a repeat does not help.

    Rejected credentials raise `ConnectionBroken` instead: they say nothing about the action.

    Parameters
    ----------
    status
        HTTP status of the platform's reply.
    code
        The platform's error code, such as ``COUPON_NOT_FOUND``; empty when it has none.
    reason
        Explanation for people, without personal data.
    """

    def __init__(self, status: int, code: str, reason: str) -> None:
        super().__init__(f"{status} {code}".rstrip())
        self.word = "not_found" if status == 404 else "upstream_refused"
        self.status = status
        self.code = code
        self.reason = reason


class NotFound(BridgeError):
    """The requested item does not exist."""

    word = "not_found"


class Conflict(BridgeError):
    """The item has changed since it was read."""

    word = "conflict"


class NotConnected(BridgeError):
    """The program is unknown, or its connection is incomplete."""

    word = "not_connected"


class Unavailable(BridgeError):
    """A platform or store did not answer as it should; a repeat may succeed.

    Parameters
    ----------
    retry_after
        Seconds to wait before a repeat, if known.
    """

    word = "unavailable"

    def __init__(self, reason: str, *, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class NotSent(Unavailable):
    """The request was certainly not carried out: it did not arrive, or was rejected unread."""

    word = "not_sent"


class ConnectionBroken(NotSent):
    """The platform accepts nothing from this program until an operator repairs its credentials or address."""

    word = "connection_broken"


class Unreadable(ConnectionBroken):
    """This version of the bridge cannot read the program's settings; an operator has to save the connection again."""


class InProgress(Unavailable):
    """An equal request is still running."""

    word = "in_progress"


class OutcomeUnknown(Unavailable):
    """The request was sent, but its result is unknown.

    Parameters
    ----------
    about
        Further ids by which the platform's own records show the result.
    """

    word = "outcome_unknown"

    def __init__(self, reason: str, about: Mapping[str, str] | None = None) -> None:
        super().__init__(reason)
        self.about = about or {}
