"""Cleaning: index photos, check and group them, split, and lower weights within a policy's caps.

A clean folder holds::

    index.parquet      every photo: group, split, weight
    findings.parquet   every finding, of every check
    clean.json         the data set, all settings, and the classes
    clean.md           kept, weighed down and dropped photos by class and phylum, and why
    decided.csv        every training photo whose weight a finding asks to lower
    splits.json        photos in each split, and what could not be done as asked
    audit.html         counts, figures and thumbnails (also audit.json)
    decisions.jsonl    what a person decided in ``rs-toolkit review``; read here, never written

Cleaning again into the same folder applies the decisions made since; photos keep their splits.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rs_toolkit.audit.html import write_audit
from rs_toolkit.audit.statistics import audit
from rs_toolkit.checks.findings import Finding, write_findings
from rs_toolkit.checks.organisms import OrganismFilter, judge_organisms, organism_findings
from rs_toolkit.checks.run import Checks, Embed
from rs_toolkit.clean.policy import Decided, Policy, apply_policy
from rs_toolkit.clean.report import write_clean_report
from rs_toolkit.config.training import TrainConfig
from rs_toolkit.data.index import fingerprint, write_index
from rs_toolkit.data.photos import Photo, PhotoCache
from rs_toolkit.data.readers import CLEAN_FILE, open_data
from rs_toolkit.environment import versions
from rs_toolkit.errors import ConfigError, DataError
from rs_toolkit.files import read_json, write_json
from rs_toolkit.progress import Progress
from rs_toolkit.review.journal import JOURNAL, read_decisions
from rs_toolkit.review.verdicts import apart, apply_decisions, settled
from rs_toolkit.splits.rank import settle_rank
from rs_toolkit.splits.table import make_splits

__all__ = ["Cleaned", "clean", "recorded_clean"]


@dataclass(frozen=True)
class Cleaned:
    """Photos with groups, splits and weights, all findings, and what the policy did."""

    photos: tuple[Photo, ...]
    findings: tuple[Finding, ...]
    decided: tuple[Decided, ...]

    @property
    def summary(self) -> str:
        """Findings, groups and what the policy did, in one line."""
        flags = Counter(item.flag for item in self.findings)
        listed = ", ".join(f"{flag.replace('_', ' ')} {count}" for flag, count in flags.items())
        groups = len({photo.group for photo in self.photos if photo.group})
        dropped = sum(item.weight == 0 for item in self.decided)
        weighed = sum(0 < item.weight < 1 for item in self.decided)
        return (
            f"{len(self.photos)} photos, {groups} groups; {listed or 'nothing found'}; "
            f"training photos dropped {dropped}, weighed down {weighed}"
        )


def clean(
    data: Path,
    config: TrainConfig,
    policy: Policy,
    out: Path,
    *,
    embed: Embed | None = None,
    organisms: OrganismFilter | None = None,
    progress: Progress | None = None,
) -> Cleaned:
    """Clean a data set into the folder ``out``; nothing in the data set is changed.

    Parameters
    ----------
    data
        As :func:`rs_toolkit.data.readers.read_dataset` takes it.
    config
        Settings of the training that is to follow; used are the rank, the image size, and how
        photos are resized and split.
    embed
        Computes the features by which photos are compared; None: duplicates are found by hashes
        alone, label noise and outliers are not looked for.
    organisms
        Filter that tells which photos show an organism; None: that is not checked.

    Raises
    ------
    DataError, MetadataError
        There is no photo to clean, or a file of the data or of ``out`` is damaged.
    OSError
        A file cannot be written.
    """
    progress, start = progress or Progress(), time.monotonic()
    cache = PhotoCache.default(config.imgsz, config.resize, config.strict_photos)
    dataset, photos = open_data(data, cache, progress, config.keep_names)
    config = settle_rank(photos, config, progress)
    decisions = read_decisions(out / JOURNAL, photos, progress.note)
    photos = apply_decisions(photos, decisions, config.rank, progress.note)
    checks = Checks(photos, dataset.root, cache, embed, progress)
    grouped, duplicates = checks.duplicates(apart(decisions))
    photos = photos if config.group_by == "photo" else grouped
    earlier = str(out) if (out / "index.parquet").exists() else ""
    photos, splits = make_splits(photos, replace(config, splits_from=config.splits_from or earlier))
    told = (*splits.notes(), splits.question)
    for note in told:
        progress.note(note)
    looked_for, empty = checks.flags, list[Finding]()
    if organisms is not None:
        looked_for = (*looked_for, "not_organism")
        photos = judge_organisms(photos, dataset.root, cache.directory, organisms, progress)
        empty = organism_findings(photos, organisms.thresholds)
    labels = checks.labels(photos, config, policy.label_filter)
    findings = (*duplicates, *checks.quality(), *empty, *labels)
    judged = settled(decisions)
    standing = [item for item in findings if item.path not in judged]
    photos, decided = apply_policy(photos, standing, policy, config.rank)
    write_json(out / "splits.json", asdict(splits))
    write_findings(out / "findings.parquet", findings)
    write_clean_report(out, photos, findings, decided, policy, config.rank)
    found = audit(photos, findings, config.rank, looked_for, (*dataset.notes, *told))
    write_audit(found, out, photos, checks.pixels, data.resolve().name)
    write_index(out / "index.parquet", photos)
    # Written last: a folder that has this file is complete.
    write_json(
        out / CLEAN_FILE,
        {
            "data": str(data.resolve()),
            "filter": str(organisms.path) if organisms and organisms.path else None,
            "policy": policy.to_dict(),
            "settings": config.to_dict(),
            "data_root": str(dataset.root.resolve()),
            **_facts(photos, findings, config.rank),
            "splits": splits.photos,
            "seconds": round(time.monotonic() - start, 1),
        },
    )
    return Cleaned(photos, findings, decided)


def _facts(photos: Sequence[Photo], findings: Sequence[Finding], rank: str) -> dict[str, Any]:
    classes = {photo.label(rank) for photo in photos if photo.split}
    return {
        "rank": rank,
        "classes": sorted(name for name in classes if name),
        "data_fingerprint": fingerprint(photos),
        "findings": dict(Counter(item.flag for item in findings)),
        "versions": versions(),
    }


def recorded_clean(folder: Path) -> tuple[Path, TrainConfig, Policy, Path | None]:
    """Return the data, settings, policy and filter that a clean folder was made with.

    Raises
    ------
    DataError
        The folder was not cleaned to the end, or its ``clean.json`` is damaged.
    """
    path = folder / CLEAN_FILE
    try:
        saved = read_json(path)
        organisms = Path(saved["filter"]) if saved["filter"] else None
        config, rules = TrainConfig(**saved["settings"]), dict(saved["policy"])
        rules |= rules.pop("rules")
        return Path(saved["data"]), config, Policy.from_dict(rules), organisms
    except FileNotFoundError:
        raise DataError(
            f"{folder}: nothing to repeat (no {CLEAN_FILE} in it); use: rs-toolkit clean DATA"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ConfigError) as error:
        raise DataError(
            f"{path}: its settings cannot be read ({type(error).__name__}: {error}); clean again "
            f"with: rs-toolkit clean DATA --out {folder}"
        ) from None
