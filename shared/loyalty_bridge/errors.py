"""Everything this library raises on purpose.

BridgeError
├── Refused            never acceptable as it is; the sender has to change it
│   └── TooLarge           more than is taken at once
├── Unauthorized       no valid key for the program; the sender has to get one
├── OutOfScope         the key is the program's, and not for this call; the sender has to take another
├── Forbidden          a foreign page may have asked for it in the operator's name
├── KeyReused          the idempotency key belongs to another request; the sender has to take another
├── UpstreamRefused    the loyalty platform said no to an action
├── NotFound           there is no such thing
├── SavedMeanwhile     somebody else changed what was to be saved; read again, decide again
├── NotConnected       the program is unknown or its connection is not complete; the operator has to act
└── Unavailable        may succeed later; nobody has to change anything
    ├── NotSent            the request was certainly not carried out
    │   └── ConnectionBroken   nor will any other be, until an operator mends the connection
    │       └── Unreadable         this version of the bridge cannot read the program's settings
    ├── InProgress         another request is just carrying the action out
    └── OutcomeUnknown     the request may or may not have been carried out

Two questions tell them apart: is a repeat useful, and whose turn is it.
"""

from __future__ import annotations

from collections.abc import Mapping


class BridgeError(Exception):
    """Base of every error raised on purpose. Its text holds no personal data: it is logged and kept.

    Attributes
    ----------
    word
        What it is called in answers and in the activity.
    record
        Id of the action that it is about, where there is one.
    """

    word: str = "internal_error"
    record: str = ""


class Refused(BridgeError):
    """A record, or a part of one, that can never be accepted as it is.

    Parameters
    ----------
    field
        Path of the offending field, such as ``payload.amount``; ``record`` when the whole is unusable.
    reason
        What is wrong with it, without the value itself (it may be personal data).
    unquoted
        The same for logs and error history, where field or reason repeat what the sender wrote.
    """

    word = "invalid_request"

    def __init__(self, field: str, reason: str, *, unquoted: str = "") -> None:
        super().__init__(unquoted or f"{field}: {reason}")
        self.field = field
        self.reason = reason


class TooLarge(Refused):
    """A request that holds more than is taken at once."""

    word = "too_large"


class Unauthorized(BridgeError):
    """The request has no valid key for its program, or its operator is not signed in; why is told to nobody."""

    word = "unauthorized"

    def __init__(self, message: str = "no valid key for this program") -> None:
        super().__init__(message)


class OutOfScope(BridgeError):
    """The key is one of the program's, and not for this kind of call."""

    word = "out_of_scope"


class Forbidden(BridgeError):
    """A change that a foreign page may have asked for in the operator's name."""

    word = "forbidden"


class KeyReused(BridgeError):
    """An idempotency key that came before, with another request."""

    word = "key_reused"


class UpstreamRefused(BridgeError):
    """The loyalty platform understood an action and said no: it was not carried out, and a repeat is of no use.

    A refusal of our own credentials is not one of these: it says nothing about the action.

    Parameters
    ----------
    status
        The platform's HTTP status.
    code
        The platform's word for it, such as ``COUPON_NOT_FOUND``; empty when it has none.
    reason
        The same for people, without personal data.
    """

    def __init__(self, status: int, code: str, reason: str) -> None:
        super().__init__(f"{status} {code}".rstrip())
        self.word = "not_found" if status == 404 else "upstream_refused"
        self.status = status
        self.code = code
        self.reason = reason


class NotFound(BridgeError):
    """There is no such thing."""

    word = "not_found"


class SavedMeanwhile(BridgeError):
    """Somebody else saved the connection after it was read."""

    word = "saved_meanwhile"


class NotConnected(BridgeError):
    """The program is unknown, or its connection is not complete."""

    word = "not_connected"


class Unavailable(BridgeError):
    """The other side did not answer as it should; a repeat is useful.

    Parameters
    ----------
    retry_after
        In how many seconds, where that is known.
    """

    word = "unavailable"

    def __init__(self, reason: str, *, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class NotSent(Unavailable):
    """The request was certainly not carried out: it did not reach the other side, or was turned away unread."""

    word = "not_sent"


class ConnectionBroken(NotSent):
    """The other side takes nothing of this program (credentials, address): the operator has to act."""

    word = "connection_broken"


class Unreadable(ConnectionBroken):
    """This version of the bridge cannot read a program's settings; an operator has to act."""


class InProgress(Unavailable):
    """An equal request is just being carried out."""

    word = "in_progress"


class OutcomeUnknown(Unavailable):
    """The request was sent; whether it was carried out, or with what result, is not known.

    Parameters
    ----------
    about
        Further ids by which it is found on the other side.
    """

    word = "outcome_unknown"

    def __init__(self, reason: str, about: Mapping[str, str] | None = None) -> None:
        super().__init__(reason)
        self.about = about or {}
