"""``rs-toolkit check``: what a data set holds, before anything is decided about it."""

from __future__ import annotations

from pathlib import Path

from rs_runtime.photos.preprocess import Preprocessing
from rs_toolkit.audit.html import print_summary, write_audit
from rs_toolkit.audit.statistics import audit
from rs_toolkit.checks.run import Checks
from rs_toolkit.config.training import TrainConfig
from rs_toolkit.data.photos import PhotoCache, default_cache_dir
from rs_toolkit.data.readers import open_data
from rs_toolkit.progress import Progress

__all__ = ["check"]


def check(data: Path, config: TrainConfig, out: Path, *, progress: Progress) -> Path:
    """Audit a data set, print a summary, and return the page that was written.

    Duplicates are looked for by hashes alone; labels are compared by ``rs-toolkit clean``.  Of
    ``config`` the rank and the size of images count.  ``audit.html`` and ``audit.json`` are
    written into ``out``.

    Raises as :func:`rs_toolkit.data.readers.read_dataset` does.
    """
    cache = PhotoCache(default_cache_dir(), Preprocessing(size=config.imgsz, resize=config.resize))
    dataset, photos = open_data(data, cache, progress)
    checks = Checks(photos, dataset.root, cache, None, progress)
    photos, duplicates = checks.duplicates()
    findings = [*duplicates, *checks.quality()]
    found = audit(photos, findings, config.rank, checked=checks.flags)
    _, page = write_audit(found, out, photos, checks.pixels, data.resolve().name)
    print_summary(found)
    return page
