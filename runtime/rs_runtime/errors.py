"""The errors that the runtime raises on purpose.

Each message is one line: what, where, got, wanted, and the fix.  ``exit_code`` is the exit code of
an ``rs-toolkit`` command that the error ends.
"""

from __future__ import annotations

__all__ = [
    "EngineError",
    "EngineMissingError",
    "FilterError",
    "InputError",
    "JournalError",
    "KitError",
    "KitFormatError",
    "KitIntegrityError",
    "KitNotFoundError",
    "KitSignatureError",
    "KitVersionError",
    "OutputClosedError",
    "OutputError",
    "PhotoError",
    "PhotoTooLargeError",
    "RuntimeKitError",
    "UnreadablePhotoError",
    "reason",
]


def reason(error: BaseException) -> str:
    """Return another library's error as one printable line of at most 200 characters."""
    line = " ".join(str(error).split()) or type(error).__name__
    return "".join(letter if letter.isprintable() else "?" for letter in line[:200])


class RuntimeKitError(Exception):
    """Base of every error that the runtime raises on purpose."""

    exit_code = 2


class OutputError(RuntimeKitError):
    """What was asked for cannot be written: standard output, a file, or a format's table."""


class OutputClosedError(OutputError):
    """The reader of standard output has closed it; not a fault that needs a message."""

    exit_code = 141  # 128 + the number of SIGPIPE, as shells have it


class JournalError(RuntimeKitError):
    """The file is no journal, or another command uses it."""


class InputError(RuntimeKitError):
    """What was given beside photos, such as a list of them or a detector's boxes, is no such."""


class PhotoError(RuntimeKitError):
    """One photo cannot be used; the others still can, and the command goes on."""

    exit_code = 1


class UnreadablePhotoError(PhotoError):
    """The file is missing, is no image, or is damaged beyond decoding."""


class PhotoTooLargeError(PhotoError):
    """The photo exceeds the limits on bytes or pixels (decompression bomb)."""


class KitError(RuntimeKitError):
    """The kit cannot be used."""


class KitNotFoundError(KitError):
    """There is no kit at the given path, or no kit was found."""


class KitFormatError(KitError):
    """The file is not a kit, is malformed, or lacks what was asked of it."""


class KitVersionError(KitError):
    """This runtime cannot read the kit's major version of the schema."""


class KitIntegrityError(KitError):
    """The kit is damaged: a hash, a size or a header differs from what it must be."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"{problem}; copy it again")


class KitSignatureError(KitError):
    """The kit's signature is missing, wrong, or cannot be checked, or a key is unusable."""


class EngineError(RuntimeKitError):
    """The inference engine refused the model or failed to run it."""


class EngineMissingError(EngineError):
    """No installed engine can run any variant of the kit."""


class FilterError(EngineError):
    """The filter's model was refused, failed, or does not fit its kit; classifying can go on."""
