"""A CLIP model's weights: read from an untrusted file, or downloaded.

No code in a file is ever executed: safetensors files hold only arrays, and torch reads other files
with ``weights_only=True``.  Weights that do not fit the model in every tensor are refused.
"""

from __future__ import annotations

import stat
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rs_runtime.errors import reason
from rs_toolkit.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["OPTION", "download_weights", "fit_weights", "read_weights"]

OPTION = "--teacher-weights FILE"
_ADVICE = f"name the architecture of these weights: --teacher NAME, or check {OPTION}"
_MAX_BYTES = 10_000_000_000
_SAFE, _PICKLED = ".safetensors", (".pt", ".pth", ".bin")
# Names of the weights in repositories for open_clip, the preferred one first.
_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a checkpoint by name.

    The file is a ``.safetensors``, or a ``.pt``, ``.pth`` or ``.bin`` written by ``torch.save``:
    a state dict, or a training checkpoint with a key ``state_dict``.

    Raises
    ------
    WeightsError
        The file is missing, empty, larger than 10 GB, damaged, of another format, a TorchScript
        program, or holds anything but tensors.
    """
    from safetensors.torch import load_file

    _check_file(path)
    try:
        found: Any = load_file(path) if path.suffix == _SAFE else _pickled(path)
    except WeightsError:
        raise
    except Exception as error:
        # safetensors, zip and pickle raise errors of many kinds; each means a damaged file.
        raise WeightsError(
            f"{path}: damaged, incomplete, or holds more than weights ({reason(error)}); "
            "download it again, as .safetensors if there is one"
        ) from None
    while isinstance(found, dict) and isinstance(found.get("state_dict"), dict):
        found = found["state_dict"]
    if not isinstance(found, dict) or not found or not all(map(_is_weight, found.items())):
        raise WeightsError(f"{path}: holds no state dict of plain tensors; is it a checkpoint?")
    # Data-parallel training adds this prefix to the names.
    return {name.removeprefix("module."): tensor for name, tensor in found.items()}


def _check_file(path: Path) -> None:
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path}: cannot be read ({reason(error)}); check {OPTION}") from None
    if not stat.S_ISREG(status.st_mode):
        raise WeightsError(f"{path}: is no regular file; check {OPTION}")
    if path.suffix not in (_SAFE, *_PICKLED):
        wanted = " or ".join((_SAFE, *_PICKLED))
        raise WeightsError(f"{path}: got suffix {path.suffix!r}, wanted {wanted}; check {OPTION}")
    if not 0 < status.st_size <= _MAX_BYTES:
        raise WeightsError(
            f"{path}: got {status.st_size} bytes, wanted 1 to {_MAX_BYTES}; is it a checkpoint?"
        )


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
        # torch.save never compresses, and a compressed archive may unpack to any size.
        packed = any(member.compress_type != zipfile.ZIP_STORED for member in members)
        if packed or sum(member.file_size for member in members) > _MAX_BYTES:
            raise WeightsError(f"{path}: compressed, or unpacks to more than 10 GB; check {OPTION}")
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

    Names of Apple's MobileCLIP files and of older versions of open_clip are translated.

    Raises
    ------
    WeightsError
        A tensor is missing, unknown, of another shape or type, or not finite.
    """
    found = _renamed(model, weights, path)
    wanted = model.state_dict()
    lacking, unknown = wanted.keys() - found.keys(), found.keys() - wanted.keys()
    for what, names in (("lacks", lacking), ("has the unknown", unknown)):
        if names:
            others = f"{min(names)[:100]!r} and {len(names) - 1} other tensors"
            raise WeightsError(f"{path}: {what} {others}; {_ADVICE}")
    for name, tensor in found.items():
        got, fits = tuple(tensor.shape), tuple(wanted[name].shape)
        if got != fits or tensor.is_floating_point() != wanted[name].is_floating_point():
            raise WeightsError(
                f"{path}: {name!r}: got {tensor.dtype} {got}, "
                f"wanted {wanted[name].dtype} {fits}; {_ADVICE}"
            )
        if not tensor.isfinite().all():
            raise WeightsError(f"{path}: {name!r} has values that are not finite; check {OPTION}")
    model.load_state_dict(found)


def _renamed(model: nn.Module, weights: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Return the weights by the names of the model's own tensors."""
    from open_clip.convert import convert_state_dict
    from open_clip.model import convert_to_custom_text_state_dict

    try:
        found = dict(convert_state_dict(model, weights))
        if "positional_embedding" in found and not hasattr(model, "positional_embedding"):
            found = convert_to_custom_text_state_dict(found)
    except Exception as error:
        raise WeightsError(f"{path}: from another model ({reason(error)}); {_ADVICE}") from None
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
        There is no network, or no such file; the message says which file to fetch by other means.
    """
    from urllib.request import Request, urlopen

    import huggingface_hub
    from huggingface_hub.constants import ENDPOINT

    for name in _FILES:
        try:
            return Path(huggingface_hub.hf_hub_download(repository, name, local_files_only=True))
        except Exception:
            continue
    problem = ""
    try:
        # Try the network with one quick request: without one, the client would retry for a minute.
        urlopen(Request(f"{ENDPOINT}/{repository}", method="HEAD"), timeout=10).close()
        for name in _FILES:
            try:
                return Path(huggingface_hub.hf_hub_download(repository, name))
            except Exception as error:
                problem = problem or reason(error)
    except (OSError, ValueError) as error:
        problem = reason(error)
    raise WeightsError(
        f"weights of {repository}: cannot be downloaded ({problem}); on a connected machine fetch "
        f"{_FILES[0]} (or {_FILES[1]}) from https://huggingface.co/{repository}, then: {OPTION}"
    )
