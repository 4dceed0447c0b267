"""Secrets of a program: encrypted with the program as context, decrypted rarely, shown never."""

from __future__ import annotations

import time

from loyalty_bridge import aws

_KEEP_SECONDS = 300.0
_decrypted: dict[tuple[str, bytes], tuple[float, str]] = {}


def encrypt(key: str, program: str, secret: str) -> bytes:
    """Encrypt a secret so that it opens for this program only.

    Parameters
    ----------
    key
        Id or ARN of the KMS key.

    Raises
    ------
    Unavailable
        KMS does not encrypt it.
    """
    with aws.reaching("the program's secret"):
        reply = aws.kms().encrypt(KeyId=key, Plaintext=secret.encode(), EncryptionContext={"program": program})
    return reply["CiphertextBlob"]


def decrypt(program: str, ciphertext: bytes) -> str:
    """Decrypt a secret of the program; no call when this container did it within five minutes.

    Raises
    ------
    Unavailable
        KMS does not open it.
    """
    now = time.monotonic()
    kept = _decrypted.get((program, ciphertext))
    if kept and kept[0] > now:
        return kept[1]
    with aws.reaching("the program's secret"):
        reply = aws.kms().decrypt(CiphertextBlob=ciphertext, EncryptionContext={"program": program})
    secret = reply["Plaintext"].decode()
    _decrypted[program, ciphertext] = (now + _KEEP_SECONDS, secret)
    return secret
