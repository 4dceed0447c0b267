"""Secrets of a program: encrypted with the program as context, decrypted rarely, shown never."""

from __future__ import annotations

from loyalty_bridge import aws, clocks

_KEEP_SECONDS = 300.0
_MOST_KEPT = 500
_decrypted: dict[tuple[str, bytes], tuple[clocks.Moment, str]] = {}
"""Oldest first."""


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
    for key, (since, _) in list(_decrypted.items()):
        if clocks.is_past(since, _KEEP_SECONDS):
            _decrypted.pop(key, None)
    if kept := _decrypted.get((program, ciphertext)):
        return kept[1]
    with aws.reaching("the program's secret"):
        reply = aws.kms().decrypt(CiphertextBlob=ciphertext, EncryptionContext={"program": program})
    secret = reply["Plaintext"].decode()
    while len(_decrypted) >= _MOST_KEPT:
        _decrypted.pop(next(iter(_decrypted)), None)
    _decrypted[program, ciphertext] = (clocks.moment(), secret)
    return secret
