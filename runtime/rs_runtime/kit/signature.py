"""Sign kits and check who made them: ed25519 (RFC 8032; docs/kit-format.md, Signature)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from rs_runtime.errors import KitSignatureError
from rs_runtime.files import atomic_write

__all__ = [
    "check_signature",
    "find_public_key",
    "generate_key",
    "signature_path",
    "write_signature",
]

# Signed together with a digest, so that a signature made for another purpose fits no kit: with that
# of the manifest, and before of the whole kit.
_CONTEXT = b"rskit-signature-v2\0"
_FIRST_CONTEXT = b"rskit-signature-v1\0"
_SIGNATURE_BYTES = 64
_MOST_FILE_BYTES = {"signature": 200, "public key": 16_384, "private key": 16_384}


def find_public_key(explicit: Path | None = None) -> Path | None:
    """Return the public key to check kits with: ``explicit``, else ``$RS_PUBLIC_KEY``, else None.

    An empty variable gives an unusable path, not None: a faulty script cannot skip the check.
    """
    named = os.environ.get("RS_PUBLIC_KEY")
    return explicit if explicit is not None or named is None else Path(os.path.expanduser(named))


def signature_path(kit: Path) -> Path:
    """Return the path of a kit's signature: NAME.rskit.sig, for NAME.rskit.xz too."""
    return kit.with_name(kit.name.removesuffix(".xz") + ".sig")


def check_signature(
    kit: Path, manifest_digest: bytes, whole_digest: Callable[[], bytes], public_key: Path
) -> None:
    """Check the signature file beside a kit.  The kit itself is not read.

    Parameters
    ----------
    kit
        The kit's path.
    manifest_digest, whole_digest
        :meth:`Kit.manifest_digest`'s 32 bytes, and :meth:`Kit.digest`, which is called only if the
        signature does not fit the manifest: the first signatures were of the whole kit.
    public_key
        A PEM file with the ed25519 key of someone whom the reader trusts.

    Raises
    ------
    KitSignatureError
        The signature is missing, malformed or wrong, the key is unusable, or the library
        cryptography is not installed.
    """
    key = _load_key(public_key, "public key")
    import base64

    path = signature_path(kit)
    text = _read(path, "signature").strip()
    try:
        signature = base64.b64decode(text, validate=True)
    except ValueError:
        signature = b""
    if len(signature) != _SIGNATURE_BYTES or base64.b64encode(signature) != text:
        raise KitSignatureError(
            f"signature {str(path)!r} is malformed: wanted one line, the base64 of 64 bytes; "
            "get the kit and its signature again"
        )
    fits = _fits(key, signature, _CONTEXT + manifest_digest)
    if not fits and not _fits(key, signature, _FIRST_CONTEXT + whole_digest()):
        raise KitSignatureError(
            f"kit {str(kit)!r} is not what the owner of {str(public_key)!r} signed: "
            f"{path.name!r} does not fit it; get both again, from someone you trust"
        )


def _fits(key: Any, signature: bytes, message: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        key.verify(signature, message)
    except InvalidSignature:
        return False
    return True


def write_signature(kit: Path, manifest_digest: bytes, private_key: Path) -> Path:
    """Sign the result of :meth:`Kit.manifest_digest`; return the path of the signature.

    Raises
    ------
    KitSignatureError
        The key is unusable, or the library cryptography is not installed.
    OSError
        The signature cannot be written; an older one is as it was.
    """
    import base64

    signature = _load_key(private_key, "private key").sign(_CONTEXT + manifest_digest)
    path = signature_path(kit)
    with atomic_write(path) as temporary:
        temporary.write_bytes(base64.b64encode(signature) + b"\n")
    return path


def generate_key(path: Path) -> tuple[Path, Path]:
    """Make a key pair and return both paths; an existing file is never overwritten.

    ``path`` is the private key (PEM, PKCS#8, unencrypted, mode 0600), and ``path`` with ``.pub``
    added the public key (PEM, SubjectPublicKeyInfo).

    Raises
    ------
    KitSignatureError
        One of the two exists, or the library cryptography is not installed.
    OSError
        A file cannot be written; neither is left behind.
    """
    with _library():
        from cryptography.hazmat.primitives import serialization as pem
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key, beside = Ed25519PrivateKey.generate(), path.with_name(path.name + ".pub")
    private = key.private_bytes(pem.Encoding.PEM, pem.PrivateFormat.PKCS8, pem.NoEncryption())
    public = key.public_key().public_bytes(pem.Encoding.PEM, pem.PublicFormat.SubjectPublicKeyInfo)
    with ExitStack() as undo:
        _create(path, private, 0o600, undo)
        _create(beside, public, 0o644, undo)
        undo.pop_all()
    return path, beside


def _create(path: Path, data: bytes, mode: int, undo: ExitStack) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError as error:
        raise KitSignatureError(
            f"{str(path)!r} exists already, and keys are not overwritten; choose another name"
        ) from error
    undo.callback(path.unlink)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _load_key(path: Path, what: str) -> Any:
    with _library():
        from cryptography.exceptions import InternalError, UnsupportedAlgorithm
        from cryptography.hazmat.primitives import serialization as pem
        from cryptography.hazmat.primitives.asymmetric import ed25519

    data = _read(path, what)
    key: object = None
    with suppress(ValueError, TypeError, UnsupportedAlgorithm, InternalError):
        if what == "public key":
            key = pem.load_pem_public_key(data)
        else:
            key = pem.load_pem_private_key(data, password=None)
    if not isinstance(key, ed25519.Ed25519PublicKey | ed25519.Ed25519PrivateKey):
        raise KitSignatureError(
            f"{what} {str(path)!r} is no ed25519 {what} in PEM without a password; "
            "make a pair with: rs-toolkit kit keygen"
        )
    return key


def _read(path: Path, what: str) -> bytes:
    most, problem = _MOST_FILE_BYTES[what], "does not exist"
    try:
        # Only regular files: opening a pipe would wait for its writer.
        if os.path.isfile(path):
            with path.open("rb") as file:
                data = file.read(most + 1)
            if len(data) <= most:
                return data
            problem = f"has more than {most} bytes"
        elif os.path.exists(path):
            problem = "is not a regular file"
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
    raise KitSignatureError(f"{what} {str(path)!r} {problem}; check the path, or ask its maker")


@contextmanager
def _library() -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise KitSignatureError(
            "signatures need the library cryptography; pip install 'rs-toolkit[sign]'"
        ) from error
