"""``rs-toolkit distill``: trains a filter that tells photos with an organism from others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from rs_toolkit.cli import options
from rs_toolkit.config.base import load_settings
from rs_toolkit.config.distillation import DistillConfig
from rs_toolkit.errors import ConfigError
from rs_toolkit.folders.claim import claimed

__all__ = ["distill"]


@options.takes_settings(DistillConfig)
def distill(
    data: Annotated[
        Path | None,
        typer.Argument(help="Photos of organisms, in a layout that train takes (docs/data.md)."),
    ] = None,
    not_organism: Annotated[
        Path | None,
        typer.Option(help="Photos of documents, empty frames, people …, with or without labels."),
    ] = None,
    blanks: str | None = None,
    teacher: str | None = None,
    teacher_weights: Path | None = None,
    prompts: Path | None = None,
    student: str | None = None,
    student_weights: str | None = None,
    train_from: str | None = None,
    imgsz: int | None = None,
    keep_names: str | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    group_by: str | None = None,
    splits_from: str | None = None,
    seed: int | None = None,
    strict_photos: bool | None = None,
    out: Annotated[Path | None, options.folder_option("filters/NAME", "Filter folder.")] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Continue the interrupted training in this folder.")
    ] = None,
) -> None:
    """Train a filter: does a photo show an organism at all?

    The filter is a network of a few megabytes. It learns from a CLIP teacher or from labels alone,
    and is calibrated. The share of organisms that it wrongly flags is measured for each family.
    Writes a filter folder, which clean and export take.

    Exit codes: 0 trained, 2 wrong usage, data or settings, 130 interrupted (--resume continues).
    """
    given = {name: value for name, value in locals().items() if value is not None}
    if resume is not None:
        if len(given) > 1:
            raise ConfigError("--resume takes every setting from the folder; leave the others out")
        from rs_train.run_folder import settings_begun

        settings, data, not_organism = settings_begun(resume, DistillConfig)
        with claimed(resume):
            _distill(data, settings, resume, not_organism, resume=True)
        return
    if data is None:
        raise ConfigError("distill: got no photos; give DATA, or --resume FOLDER")
    flags = options.settings_among(given, DistillConfig)
    for name in ("teacher", "teacher_weights", "prompts", "student_weights"):
        # A teacher is the name of a model, or a .json file that describes one.
        if name in flags and (name != "teacher" or Path(flags[name]).is_file()):
            flags[name] = options.resolved(flags[name])
    settings = load_settings(DistillConfig, flags)
    with options.new_folder(out, "filters", data) as folder:
        _distill(data, settings, folder, not_organism, resume=False)


def _distill(
    data: Path, settings: Any, out: Path, not_organism: Path | None, *, resume: bool
) -> None:
    from rs_toolkit.environment import quiet_tensorflow
    from rs_toolkit.folders.filter import FilterFolder

    quiet_tensorflow()
    from rs_train.student.distill import distill as distill_filter

    with options.resumable("distill", out) as progress:
        distill_filter(
            data, settings, out, not_organism=not_organism, resume=resume, progress=progress
        )
    test = FilterFolder.open(out).metrics["test"]
    print(
        f"test ({test['organisms']} organisms, {test['others']} others): AUROC "
        f"{test['auroc']:.4f}, organisms flagged {test['flagged']:.2%}, others found "
        f"{test['found']:.1%}"
    )
    print(out)
