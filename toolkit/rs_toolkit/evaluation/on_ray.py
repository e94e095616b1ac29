"""Classify on a Ray cluster, or on this machine's cores by Ray: the answers go into the journal.

The command then prints them from there, so that everything it writes is what it would be without
Ray, and a run that was interrupted goes on.  A photo that no worker has answered is left to the
command itself, which then says why.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rs_runtime.cli import open_classifier
from rs_runtime.errors import JournalError, RuntimeKitError
from rs_runtime.journal import photo_key, settings_of
from rs_runtime.journal_file import Journal, answer_line, key_of
from rs_runtime.kit.kit import find_kit
from rs_runtime.results import Failure, Prediction
from rs_runtime.run import Run, keep_for
from rs_toolkit.evaluation.remote import is_remote, with_remote
from rs_toolkit.ray_cluster import (
    RESTARTS,
    Workers,
    connected,
    one_core_each,
    rows_of,
    whole_machines,
)

if TYPE_CHECKING:
    from rs_runtime.classify import Classifier

__all__ = ["fill_journal"]

# So many photos are one job of Ray, for which the workers load the kit once: it bounds the memory
# that this process takes.
_WINDOW = 200_000
_BATCH = 16
# Options that open photos once more, as files.
_READ_AGAIN = ("page", "sort_into", "explain")


def fill_journal(
    classifier: Classifier,
    options: argparse.Namespace,
    address: str,
    opening: Callable[[], Classifier] | None = None,
) -> None:
    """Classify on Ray what the journal does not hold yet, and keep the answers there.

    Parameters
    ----------
    classifier
        What this process would classify with; workers must have the same settings.
    options
        Those of ``rs-classify``; addresses among the photos are replaced by what is there, as
        :func:`rs_toolkit.evaluation.remote.with_remote` does it.
    address
        Of a cluster, or ``auto`` or ``local``.
    opening
        Opens the same classifier in a worker, where TensorFlow runs it; None: its kit is opened.

    Raises
    ------
    EngineMissingError
        Ray is not installed.
    RuntimeKitError
        The options leave Ray nothing to do, the cluster cannot be reached, or its workers fail.
    JournalError
        As for :class:`rs_runtime.journal_file.Journal`; or the settings of a worker differ.
    """
    if options.journal is None or options.watch is not None or Path("-") in options.photos:
        raise RuntimeKitError(
            "Ray keeps its answers in a --journal, and looks for the photos before they are "
            "classified: give a journal, no --watch, and no list on standard input"
        )
    again = [name for name in _READ_AGAIN if getattr(options, name) is not None]
    if again and any(map(is_remote, options.photos)):
        name = again[0].replace("_", "-")
        raise RuntimeKitError(f"--{name} opens photos as files; leave it out for those of a store")
    options.photos = with_remote(options.photos)
    keep_for(classifier, options)
    settings, run = settings_of(classifier, options.top), Run(options)
    begun = time.monotonic()
    try:
        with (
            Journal(options.journal, settings) as journal,
            connected(address, options.threads) as ray,
        ):
            workers = whole_machines(ray) if opening else one_core_each(ray)
            kit = None if opening else ray.put(find_kit(options.kit).read_bytes())
            opens = opening or partial(_opened_kit, kit, _for_workers(options))
            job = _Job(opens, _kept(classifier), options.top, key_of(settings))
            for photos in _windows(_unanswered(run, journal, classifier.frames)):
                for row in _rows(ray, photos, job, workers):
                    if row:
                        journal.add_line(row)
                    run.progress.step()
                    if run.is_late():
                        return
    except KeyboardInterrupt:
        run.say_how_to_go_on("interrupted")
        raise
    finally:
        run.progress.clear()
        if options.max_runtime is not None:
            options.max_runtime = max(0.0, options.max_runtime - (time.monotonic() - begun))


def _unanswered(run: Run, journal: Journal, frames: int) -> Iterator[object]:
    for photo in run.photos():
        if photo is None or isinstance(photo, Failure | Prediction):
            continue
        key = photo_key(photo, frames)
        if key and journal.find(key) is None:
            yield photo


def _windows(photos: Iterator[object]) -> Iterator[list[object]]:
    while window := list(islice(photos, _WINDOW)):
        yield window


def _rows(ray: Any, photos: list[object], job: _Job, workers: Workers) -> Iterator[bytes]:
    """Yield a line for the journal of each photo, empty of one without an answer, in any order."""
    most = min(workers.most, -(-len(photos) // _BATCH))
    answers = ray.data.from_items([{"photo": photo} for photo in photos]).map_batches(
        _Worker,
        fn_constructor_args=(job,),
        batch_size=_BATCH,
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=most),
        ray_remote_args_fn=lambda: RESTARTS,
        **workers.each,
    )
    for row in rows_of(ray, answers):
        yield row["line"]


def _for_workers(options: argparse.Namespace) -> argparse.Namespace:
    """Return the options for a worker, which has one core, and no file but the kit and photos."""
    changed: dict[str, Any] = {"threads": 1, "photos": [], "before": None}
    if options.species is not None:
        from rs_runtime.species import read_species

        changed["species"] = read_species(options.species)
    return argparse.Namespace(**{**vars(options), **changed})


def _opened_kit(kit: Any, options: argparse.Namespace) -> Classifier:
    """Open a kit, of which ``kit`` are the bytes, in Ray's object store."""
    import ray

    with tempfile.TemporaryDirectory(prefix="rs-classify-") as folder:
        file = Path(folder) / "worker.rskit"
        file.write_bytes(ray.get(kit))
        return open_classifier(file, options)


class _Job(NamedTuple):
    """What a worker is told: how it opens the classifier, what is set of it, and ``top``.

    ``key`` is that of the settings that its answers must have.
    """

    opening: Callable[[], Classifier]
    attributes: dict[str, Any]
    top: int
    key: str


# Is set of a classifier once it is open.
_KEPT = ("keep_thumbnails", "keep_all", "strict_photos", "frames")


def _kept(classifier: Classifier) -> dict[str, Any]:
    return {name: getattr(classifier, name) for name in _KEPT}


class _Worker:
    """A process of Ray that holds a model."""

    def __init__(self, job: _Job) -> None:
        self._job, self._classifier = job, job.opening()
        for name, value in job.attributes.items():
            setattr(self._classifier, name, value)
        if key_of(settings_of(self._classifier, job.top)) != job.key:
            raise JournalError(
                "a worker of Ray has another release of rs-toolkit, or another engine, than this "
                "machine; install the same everywhere, and name the model (--variant)"
            )

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[bytes]]:
        return {"line": [self._line(photo) for photo in batch["photo"]]}

    def _line(self, photo: Any) -> bytes:
        key = photo_key(photo, self._classifier.frames)
        (found,) = self._classifier.classify_many([photo], self._job.top)
        if key is None or not isinstance(found, Prediction):
            return b""
        return answer_line(key, found, self._job.key)
