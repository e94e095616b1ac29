"""``rs-toolkit check``: what a data set holds, before anything is decided about it."""

from __future__ import annotations

from pathlib import Path

from rs_toolkit.audit.html import print_summary, write_audit
from rs_toolkit.audit.statistics import audit
from rs_toolkit.checks.run import Checks
from rs_toolkit.config.training import TrainConfig
from rs_toolkit.data.photos import PhotoCache
from rs_toolkit.data.readers import open_data
from rs_toolkit.data.taxonomy import printable
from rs_toolkit.errors import DataError
from rs_toolkit.progress import Progress
from rs_toolkit.splits.rank import settle_rank

__all__ = ["check"]


def check(data: Path, config: TrainConfig, out: Path, *, progress: Progress) -> Path:
    """Audit a data set: print a summary, and write ``audit.html`` and ``audit.json`` into ``out``.

    Duplicates are found by hashes alone, and labels are not compared; ``rs-toolkit clean`` does
    more.  Of ``config``, the rank, the names to keep, the image size, ``resize`` and
    ``strict_photos`` are used.  Returns the path of ``audit.html``.

    Raises
    ------
    DataError
        No photo can be read, which the report says too; or an error of
        :func:`rs_toolkit.data.readers.read_dataset`.
    """
    cache = PhotoCache.default(config.imgsz, config.resize, config.strict_photos)
    dataset, photos = open_data(data, cache, progress, config.keep_names)
    config = settle_rank(photos, config, progress)
    checks = Checks(photos, dataset.root, cache, None, progress)
    photos, duplicates = checks.duplicates()
    findings = [*duplicates, *checks.quality()]
    found = audit(photos, findings, config.rank, checks.flags, dataset.notes)
    _, page = write_audit(found, out, photos, checks.pixels, data.resolve().name)
    print_summary(found)
    if not found.readable:
        such = "".join(f", such as {path}: {why}" for path, why in found.unreadable[:1])
        raise DataError(
            f"{data}: none of the {found.rows} photos can be read{printable(such)}; see {page}"
        )
    return page
