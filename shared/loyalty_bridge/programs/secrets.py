"""Secrets of a program: encrypted with the program as encryption context, and cached when decrypted."""

from __future__ import annotations

import threading

from loyalty_bridge import clocks
from loyalty_bridge.infra import aws

_KEEP_SECONDS = 300.0
_MOST_KEPT = 500
_decrypted: dict[tuple[str, bytes], tuple[clocks.Moment, str]] = {}
"""Oldest first."""
_lock = threading.Lock()


def encrypt(key: str, program: str, secret: str) -> bytes:
    """Encrypt a secret; it can be decrypted for this program only.

    Parameters
    ----------
    key
        Id or ARN of the KMS key.
    """
    with aws.reaching("the program's secret"):
        reply = aws.kms().encrypt(KeyId=key, Plaintext=secret.encode(), EncryptionContext={"program": program})
    return reply["CiphertextBlob"]


def decrypt(program: str, ciphertext: bytes) -> str:
    """Decrypt a secret of the program; no call when this container did it within five minutes."""
    with _lock:
        for key, (since, _) in list(_decrypted.items()):
            if clocks.is_past(since, _KEEP_SECONDS):
                del _decrypted[key]
    if kept := _decrypted.get((program, ciphertext)):
        return kept[1]
    with aws.reaching("the program's secret"):
        reply = aws.kms().decrypt(CiphertextBlob=ciphertext, EncryptionContext={"program": program})
    secret = reply["Plaintext"].decode()
    with _lock:
        while len(_decrypted) >= _MOST_KEPT:
            del _decrypted[next(iter(_decrypted))]
        _decrypted[program, ciphertext] = (clocks.moment(), secret)
    return secret
