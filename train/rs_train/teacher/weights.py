"""A CLIP model's weights: read from a file that nobody vouches for, or downloaded.

No code in a file is ever run: safetensors holds arrays alone, and torch reads other files with
``weights_only=True``.  What does not fit the model, to the last tensor, is refused.
"""

from __future__ import annotations

import stat
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rs_toolkit.errors import WeightsError
from rs_toolkit.files import sha256_file

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["OPTION", "download_weights", "fit_weights", "load_all", "read_weights", "short"]

OPTION = "--teacher-weights FILE"
_ADVICE = f"give the architecture that it was trained as: --teacher NAME, or check {OPTION}"
_MAX_BYTES = 10_000_000_000
_SAFE, _PICKLED = ".safetensors", (".pt", ".pth", ".bin")
# What open_clip's repositories call their weights, the preferred one first.
_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")


def read_weights(path: Path, sha256: str | None = None, option: str = OPTION) -> dict[str, Tensor]:
    """Read the tensors of a checkpoint by name.

    Parameters
    ----------
    path
        ``.safetensors``, or ``.pt``, ``.pth`` or ``.bin`` as ``torch.save`` writes them: a state
        dict, or a training checkpoint that holds one as ``state_dict``.
    sha256
        The 64 hexadecimal digits that the file must have; None: any.
    option
        The command line's, that gave the file, for messages.

    Raises
    ------
    WeightsError
        The file is missing, empty, larger than 10 GB, damaged, of another kind or hash, a
        TorchScript program, or holds anything but tensors.
    """
    _check_file(path, sha256, option)
    try:
        found = _safe(path) if path.suffix == _SAFE else _pickled(path)
    except WeightsError:
        raise
    except Exception as error:
        # Whatever safetensors, zip or pickle stumbled over: the file is no sound checkpoint.
        raise WeightsError(
            f"{path}: damaged, incomplete, or holds more than weights ({short(error)}); "
            "download it again, as .safetensors if there is one"
        ) from None
    while isinstance(found, dict) and isinstance(found.get("state_dict"), dict):
        found = found["state_dict"]
    if not isinstance(found, dict) or not found or not all(map(_is_weight, found.items())):
        raise WeightsError(f"{path}: holds no state dict of plain tensors; is it a checkpoint?")
    # Data-parallel training leaves this prefix.
    return {name.removeprefix("module."): tensor for name, tensor in found.items()}


def _check_file(path: Path, sha256: str | None, option: str) -> None:
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path}: cannot be read ({short(error)}); check {option}") from None
    if not stat.S_ISREG(status.st_mode):
        raise WeightsError(f"{path}: is no regular file; check {option}")
    if path.suffix not in (_SAFE, *_PICKLED):
        wanted = ", ".join((_SAFE, *_PICKLED))
        raise WeightsError(f"{path}: got suffix {path.suffix!r}, wanted one of {wanted}")
    if not 0 < status.st_size <= _MAX_BYTES:
        raise WeightsError(
            f"{path}: has {status.st_size} bytes, wanted 1 to {_MAX_BYTES}; is it a checkpoint?"
        )
    if sha256 is not None:
        try:
            found = sha256_file(path)
        except OSError as error:
            raise WeightsError(f"{path}: cannot be read ({short(error)})") from None
        if found != sha256.lower():
            raise WeightsError(
                f"{path}: its sha256 is {found}, wanted {sha256}; it is damaged or another file"
            )


def _safe(path: Path) -> Any:
    from safetensors.torch import load_file

    return load_file(path, device="cpu")


def _pickled(path: Path) -> Any:
    import torch

    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
        if any(member.filename.endswith("/constants.pkl") for member in members):
            raise WeightsError(
                f"{path}: is a TorchScript program, wanted weights alone; "
                "download the .safetensors of the same model"
            )
        # torch.save never compresses; what does may unpack to any size.
        packed = any(member.compress_type != zipfile.ZIP_STORED for member in members)
        if packed or sum(member.file_size for member in members) > _MAX_BYTES:
            raise WeightsError(f"{path}: is compressed, which torch.save never does; refused")
    return torch.load(path, map_location="cpu", weights_only=True)


def _is_weight(item: tuple[Any, Any]) -> bool:
    import torch

    name, tensor = item
    return (
        isinstance(name, str)
        and isinstance(tensor, torch.Tensor)
        and tensor.layout == torch.strided
        and tensor.device.type == "cpu"
        and not tensor.is_quantized
    )


def fit_weights(model: nn.Module, weights: dict[str, Tensor], path: Path) -> None:
    """Load weights into an open_clip model, all or none.

    Apple's names of MobileCLIP and those of older open_clip are understood.

    Raises
    ------
    WeightsError
        A tensor is missing, unknown, of another shape or kind, or not finite.
    """
    load_all(model, _renamed(model, weights, path), path, _ADVICE)


def load_all(model: nn.Module, found: dict[str, Tensor], path: Path, advice: str) -> None:
    """Load tensors that have the model's own names, all or none.

    Parameters
    ----------
    model
        What they are for.
    found
        Tensors by name.
    path
        The file that they are from, for messages.
    advice
        What to do about tensors that do not fit.

    Raises
    ------
    WeightsError
        A tensor is missing, unknown, of another shape or kind, or not finite.
    """
    wanted = model.state_dict()
    for what, names in (
        ("lacks", wanted.keys() - found.keys()),
        ("has the unknown", found.keys() - wanted.keys()),
    ):
        if names:
            others = f"{min(names)[:100]!r} and {len(names) - 1} other tensors"
            raise WeightsError(f"{path}: {what} {others}; {advice}")
    for name, tensor in found.items():
        got, fits = tuple(tensor.shape), tuple(wanted[name].shape)
        if got != fits or tensor.is_floating_point() != wanted[name].is_floating_point():
            raise WeightsError(
                f"{path}: {name!r} is {tensor.dtype} {got}, "
                f"wanted {wanted[name].dtype} {fits}; {advice}"
            )
        if not tensor.isfinite().all():
            raise WeightsError(f"{path}: {name!r} holds values that are not finite; get it again")
    model.load_state_dict(found)


def _renamed(model: nn.Module, weights: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Return the weights under the names that the model has for them."""
    from open_clip.convert import convert_state_dict
    from open_clip.model import convert_to_custom_text_state_dict

    try:
        found = dict(convert_state_dict(model, weights))
        if "positional_embedding" in found and not hasattr(model, "positional_embedding"):
            found = convert_to_custom_text_state_dict(found)
    except Exception as error:
        raise WeightsError(f"{path}: is of another model ({short(error)}); {_ADVICE}") from None
    scale = found.get("logit_scale")
    if scale is not None and scale.numel() == 1:
        # Older checkpoints have shape (1,), newer ones ().
        found["logit_scale"] = scale.reshape(model.state_dict()["logit_scale"].shape)
    return found


def download_weights(repository: str) -> Path:
    """Return a local copy of the weights of a Hugging Face repository, downloaded at most once.

    Raises
    ------
    WeightsError
        There is no network, or no such file; the message says what to download elsewhere.
    """
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    import huggingface_hub
    from huggingface_hub.constants import ENDPOINT

    for name in _FILES:
        try:
            return Path(huggingface_hub.hf_hub_download(repository, name, local_files_only=True))
        except Exception:
            continue
    reason = ""
    try:
        # One quick question: the client asks for a minute before it believes in no network.
        urlopen(Request(f"{ENDPOINT}/{repository}", method="HEAD"), timeout=10).close()
        for name in _FILES:
            try:
                return Path(huggingface_hub.hf_hub_download(repository, name))
            except Exception as error:
                reason = reason or short(error)
    except HTTPError as error:
        reason = f"HTTP {error.code}"
    except (OSError, ValueError) as error:
        reason = short(error)
    raise WeightsError(
        f"weights of {repository}: cannot be downloaded ({reason}); on a connected machine fetch "
        f"{_FILES[0]} (or {_FILES[1]}) from https://huggingface.co/{repository}, then: {OPTION}"
    )


def short(error: BaseException) -> str:
    """Return the first line of an error's message, printable, 160 characters at most."""
    lines = (str(error).strip() or type(error).__name__).splitlines()
    line = "".join(character if character.isprintable() else "?" for character in lines[0])
    return line if len(line) <= 160 else f"{line[:157]}..."
