"""Everything this library raises on purpose.

BridgeError
├── Refused            never acceptable as it is; the sender has to change it
├── SavedMeanwhile     somebody else changed what was to be saved; read again, decide again
├── NotConnected       the program is unknown or its connection is not complete; the operator has to act
└── Unavailable        may succeed later; nobody has to change anything
    ├── NotSent            the request certainly did not reach the other side
    └── OutcomeUnknown     the request may or may not have been carried out

Two questions tell them apart: is a repeat useful, and whose turn is it.
"""


class BridgeError(Exception):
    """Base of every error raised on purpose."""


class Refused(BridgeError):
    """A record, or a part of one, that can never be accepted as it is.

    Parameters
    ----------
    field
        Path of the offending field, such as ``payload.amount``; ``record`` when the whole is unusable.
    reason
        What is wrong with it, without the value itself (it may be personal data).
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class SavedMeanwhile(BridgeError):
    """Somebody else saved the connection after it was read."""


class NotConnected(BridgeError):
    """The program is unknown, or its connection is not complete."""


class Unavailable(BridgeError):
    """The other side did not answer as it should; a repeat is useful."""


class NotSent(Unavailable):
    """The request certainly did not reach the other side."""


class OutcomeUnknown(Unavailable):
    """The request was sent; whether it was carried out is not known."""
