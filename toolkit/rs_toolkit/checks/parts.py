"""What is done with each photo, before photos are compared: in parts, or on a Ray cluster.

Pixels, features and a filter's answers go into the cache, by content.  A command for all photos
then finds them there, and does itself what is missing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from rs_runtime.errors import reason
from rs_runtime.shards import Shard
from rs_toolkit.checks.organisms import OrganismFilter, judge_organisms, read_filter
from rs_toolkit.checks.run import Embed
from rs_toolkit.config.training import TrainConfig
from rs_toolkit.data.photos import Dataset, Photo, PhotoCache, default_cache_dir
from rs_toolkit.data.readers import index_and_tell, read_and_tell, require_data
from rs_toolkit.progress import Progress
from rs_toolkit.ray_cluster import (
    RESTARTS,
    Workers,
    connected,
    one_core_each,
    rows_of,
    whole_machines,
)

__all__ = ["PartWorker", "PhotoWork", "work_on_ray"]

# So many parts for each core, so that no core waits long for the last part.
_PARTS = 8


@dataclass(frozen=True)
class PhotoWork:
    """What to do with each photo of a data set, on any machine that has it under the same path.

    Parameters
    ----------
    data, config
        As for :func:`rs_toolkit.clean.run.clean`.
    embedder
        Returns what computes features; it is called where they are computed.  None: none are.
    organisms
        A filter folder or kit; None: no filter looks at the photos.
    """

    data: Path
    config: TrainConfig
    embedder: Callable[[], Embed] | None = None
    organisms: Path | None = None

    @property
    def by_kit(self) -> bool:
        """Whether the filter is a kit's, which takes one core; a folder's takes TensorFlow."""
        return self.organisms is not None and self.organisms.is_file()

    @property
    def needs_tensorflow(self) -> bool:
        """Whether TensorFlow computes something, if it is not known yet."""
        return self.embedder is not None or (self.organisms is not None and not self.by_kit)


class PartWorker:
    """Does the work on parts of a data set; what it reads and loads, it keeps for the next part.

    Errors are those of :func:`rs_toolkit.data.readers.open_data`, of
    :func:`rs_toolkit.checks.organisms.read_filter` and of the embedder.
    """

    def __init__(self, work: PhotoWork, progress: Progress) -> None:
        self._work, self._progress = work, progress

    def read(self, part: Shard) -> int:
        """Do with the photos of a part what takes one core; return their number."""
        photos = self._decoded(part)
        if self._work.by_kit:
            self._judge(photos)
        return len(photos)

    def compute(self, part: Shard) -> int:
        """Do what takes TensorFlow; return the number of photos."""
        photos = self._decoded(part)
        readable = [photo for photo in photos if photo.error is None]
        if self._embed is not None and readable:
            self._embed(readable, self._dataset.root, self._cache)
        if not self._work.by_kit:
            self._judge(photos)
        return len(photos)

    def _decoded(self, part: Shard) -> tuple[Photo, ...]:
        photos = tuple(photo for photo in self._dataset.photos if part.holds(photo.path))
        dataset = replace(self._dataset, photos=photos)
        return index_and_tell(dataset, self._cache, self._progress)

    def _judge(self, photos: Sequence[Photo]) -> None:
        if self._filter is not None:
            root, folder = self._dataset.root, self._cache.directory
            judge_organisms(photos, root, folder, self._filter, self._progress)

    @cached_property
    def _dataset(self) -> Dataset:
        return read_and_tell(self._work.data, self._progress, self._work.config.keep_names)

    @cached_property
    def _cache(self) -> PhotoCache:
        config = self._work.config
        cache = PhotoCache.default(config.imgsz, config.resize, config.strict_photos)
        if self._filter is None:
            return cache
        # Each photo is decoded once for both.
        return replace(cache, beside=(*cache.beside, self._filter.preprocessing))

    @cached_property
    def _embed(self) -> Embed | None:
        return None if self._work.embedder is None else self._work.embedder()

    @cached_property
    def _filter(self) -> OrganismFilter | None:
        return None if self._work.organisms is None else read_filter(self._work.organisms)


def work_on_ray(work: PhotoWork, address: str, *, progress: Progress) -> None:
    """Do the work on a Ray cluster, whose machines share the photos and the cache.

    What takes TensorFlow is done by one process for each machine or GPU, the rest by one for each
    core.  A part that fails is left to the command that wants its photos, and a note says so.

    Raises
    ------
    DataError
        There is no such data.
    EngineMissingError, RuntimeKitError
        As for :func:`rs_toolkit.ray_cluster.connected`.
    """
    require_data(work.data)
    work = replace(work, data=work.data.resolve())
    with connected(address, None) as ray:
        decode = one_core_each(ray)
        parts = _PARTS * decode.most
        _pass(ray, work, decode, parts, "read", progress)
        if work.needs_tensorflow:
            _pass(ray, work, whole_machines(ray), parts, "compute", progress)


def _pass(
    ray: Any, work: PhotoWork, workers: Workers, parts: int, step: str, progress: Progress
) -> None:
    numbers = [{"part": number + 1} for number in range(parts)]
    done = ray.data.from_items(numbers, override_num_blocks=parts).map(
        _OnRay,
        fn_constructor_args=(work, step, parts, str(default_cache_dir().resolve())),
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=min(parts, workers.most)),
        ray_remote_args_fn=lambda: RESTARTS,
        **workers.each,
    )
    finished, problems = 0, []
    for count, row in enumerate(rows_of(ray, done), 1):
        problems += [row["problem"]] if row["problem"] else []
        finished += not row["problem"]
        progress.update(f"parts on Ray: {step}", count, parts)
    if finished < parts:
        why = problems[0] if problems else "its worker died"
        progress.note(
            f"{parts - finished} of {parts} parts failed on Ray, and are done here: {why}"
        )


class _OnRay:
    """A process of Ray."""

    def __init__(self, work: PhotoWork, step: str, parts: int, cache: str) -> None:
        os.environ["RS_CACHE"] = cache
        self._worker, self._step, self._parts = PartWorker(work, Progress()), step, parts

    def __call__(self, row: dict[str, Any]) -> dict[str, str]:
        part = Shard(int(row["part"]), self._parts)
        try:
            (self._worker.read if self._step == "read" else self._worker.compute)(part)
        except Exception as error:
            return {"problem": reason(error) or type(error).__name__}
        return {"problem": ""}
