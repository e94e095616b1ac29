"""What shortens a cold start on two cores: a model read, and a photo decoded, beside imports."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from rs_runtime.engines.limits import cores

if TYPE_CHECKING:
    import numpy as np

    from rs_runtime.ahead import Ahead
    from rs_runtime.kit.kit import Kit
    from rs_runtime.kit.manifest import Manifest
    from rs_runtime.photos.photo import PhotoInfo

    Loaded = tuple[list[np.ndarray], PhotoInfo]

__all__ = ["decode_ahead", "read_ahead"]


def read_ahead(kit: Kit, engine: str, name: str | None) -> None:
    """Begin to read the model that will run, if that is known without importing an engine.

    ``engine`` and ``name`` are those of :func:`rs_runtime.kit.variants.choose`.
    """
    if cores() < 2:
        return
    manifest = kit.manifest
    offers = [item for item in manifest.variants if engine in ("auto", item.engine)]
    if engine == "auto" and name is None:
        from rs_runtime.fastest import fastest_variant

        name = fastest_variant(kit, False)
    if name is None and len({item.engine for item in offers}) == 1:
        name = manifest.default_variants.get(offers[0].engine, offers[0].name)
    for member in [item.member for item in offers if item.name == name]:
        kit.read_ahead(member)


def decode_ahead(photo: Path | None, manifest: Manifest, filter: str) -> Ahead[Loaded] | None:
    """Begin to decode a photo for a kit's models; None where that gains nothing.

    ``filter`` is as for :meth:`Classifier.open`.
    """
    if photo is None or cores() < 2:
        return None
    from rs_runtime.ahead import Ahead
    from rs_runtime.photos.preprocess import load_each

    # Imported in the thread, they would wait for what is imported meanwhile.  Most photos are JPEG.
    for module in ("rs_runtime.photos.photo", "PIL.JpegImagePlugin"):
        import_module(module)
    judge = None if filter == "off" else manifest.filter
    models = [manifest.preprocessing, *([judge.preprocessing] if judge else [])]
    return Ahead((photo, models), lambda: load_each(photo, models))
