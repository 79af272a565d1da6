"""Checks signatures of digests with CloudTrail's public keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.errors import SetupError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

MISSING_LIBRARY = "Checking signatures needs the library cryptography: install trailsink[verify]."


def check_library() -> None:
    """Raise SetupError unless signatures can be checked."""
    try:
        import cryptography  # noqa: F401, PLC0415 - an extra, so not installed everywhere
    except ImportError as error:
        raise SetupError(MISSING_LIBRARY) from error


def load_key(der: bytes) -> RSAPublicKey:
    """Load an RSA key from DER, as PKCS#1 or as SubjectPublicKeyInfo: AWS has published both.

    Raises ValueError for anything else.
    """
    check_library()
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - an extra
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_der_public_key  # noqa: PLC0415

    try:
        key = load_der_public_key(der)
    except UnsupportedAlgorithm as error:
        raise ValueError("not a public key of RSA") from error
    if not isinstance(key, RSAPublicKey):
        raise ValueError("not a public key of RSA")  # noqa: TRY004 - of the content, not of the argument
    return key


def is_signed(key: RSAPublicKey, signature: str, text: bytes) -> bool:
    """Return whether a signature, in hexadecimal, is the key's of this text: RSASSA-PKCS1-v1_5 with SHA-256."""
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - an extra
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15  # noqa: PLC0415
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415

    try:
        key.verify(bytes.fromhex(signature), text, PKCS1v15(), SHA256())
    except (InvalidSignature, ValueError):
        return False
    return True
