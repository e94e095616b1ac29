"""``rs-toolkit check``: what a data set holds, before anything is decided about it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from rs_runtime.shards import Shard
from rs_toolkit.audit.html import print_summary, write_audit
from rs_toolkit.audit.statistics import audit
from rs_toolkit.checks.run import Checks
from rs_toolkit.config.training import TrainConfig
from rs_toolkit.data.photos import PhotoCache, default_cache_dir
from rs_toolkit.data.readers import index_and_tell, open_data, read_and_tell
from rs_toolkit.data.taxonomy import printable
from rs_toolkit.errors import DataError
from rs_toolkit.progress import Progress
from rs_toolkit.splits.rank import settle_rank

__all__ = ["check", "read_on_ray", "read_part"]

# So many parts for each core, so that no core waits long for the last part.
_PARTS = 8


def read_part(data: Path, config: TrainConfig, part: Shard, *, progress: Progress) -> int:
    """Read and decode one part of a data set's photos into the cache; return how many.

    ``config`` is as for :func:`check`, which then takes them from the cache, as ``train`` and
    ``clean`` do.  Errors are those of :func:`rs_toolkit.data.readers.open_data`.
    """
    cache = PhotoCache.default(config.imgsz, config.resize, config.strict_photos)
    dataset = read_and_tell(data, progress, config.keep_names)
    photos = tuple(photo for photo in dataset.photos if part.holds(photo.path))
    index_and_tell(replace(dataset, photos=photos), cache, progress)
    return len(photos)


def read_on_ray(data: Path, config: TrainConfig, address: str, *, progress: Progress) -> int:
    """Do all parts of :func:`read_part` on a Ray cluster, whose machines share the cache.

    A part that fails is left to the command that wants its photos.  Errors are those of
    :func:`rs_toolkit.ray_cluster.connected`.
    """
    from rs_toolkit.ray_cluster import connected, rows_of

    with connected(address, None) as ray:
        parts = _PARTS * max(1, int(ray.cluster_resources().get("CPU", 1)))
        numbers = ray.data.from_items([{"part": k + 1} for k in range(parts)])
        done = numbers.repartition(parts).map(
            _read_in_worker, fn_args=(str(data.resolve()), config, parts, _cache_of()), num_cpus=1
        )
        photos = 0
        for count, row in enumerate(rows_of(ray, done)):
            photos += int(row["photos"])
            progress.update("parts read", count + 1, parts)
    return photos


def _cache_of() -> str:
    return str(default_cache_dir().resolve())


def _read_in_worker(
    row: dict[str, int], data: str, config: TrainConfig, parts: int, cache: str
) -> dict[str, int]:
    os.environ["RS_CACHE"] = cache
    part = Shard(int(row["part"]), parts)
    return {"photos": read_part(Path(data), config, part, progress=Progress())}


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
