"""``rs-toolkit distill``: the filter that tells organisms from everything else."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from rs_toolkit.cli import options
from rs_toolkit.config.base import load_settings
from rs_toolkit.errors import ConfigError

__all__ = ["distill"]

FILTERS_DIR = Path("filters")


def distill(
    data: Annotated[
        Path | None,
        typer.Argument(help="Photos of organisms, in a layout that train takes (docs/data.md)."),
    ] = None,
    not_organism: Annotated[
        Path | None,
        typer.Option(
            help="Photos that show no organism: documents, empty frames, people …; their labels do "
            "not matter."
        ),
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(help="An open_clip model, such as BioCLIP; none: learn from labels alone."),
    ] = None,
    teacher_weights: Annotated[
        Path | None, typer.Option(help="The teacher's weights: .safetensors, .pt or .bin.")
    ] = None,
    prompts: Annotated[
        Path | None, typer.Option(help="TOML file of what photos may show (docs/filter.md).")
    ] = None,
    student: Annotated[
        str | None,
        typer.Option(help=f"mobilenetv2-w50 (default), or another of: {options.BACKBONES}."),
    ] = None,
    student_weights: Annotated[str | None, typer.Option(help=options.WEIGHTS)] = None,
    train_from: Annotated[
        str | None, typer.Option(help="all layers, or the head on frozen features.")
    ] = None,
    imgsz: options.Pixels = None,
    epochs: Annotated[int | None, typer.Option(help="Most epochs.")] = None,
    batch_size: options.BatchSize = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak rate.")] = None,
    splits_from: options.SplitsFrom = None,
    seed: options.Seed = None,
    out: Annotated[Path | None, options.folder_option("filters/NAME", "Filter folder.")] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Continue the interrupted one in this folder.")
    ] = None,
) -> None:
    """Train a filter: does a photo show an organism at all?

    The filter has a few megabytes, learns from a CLIP teacher or from labels alone, and is
    calibrated. How many organisms it wrongly flags is measured by family. Writes a filter folder,
    which clean and export take.

    Exit codes: 0 trained, 2 wrong usage, data or settings, 130 interrupted (--resume continues).
    """
    given = {name: value for name, value in locals().items() if value is not None}
    from rs_toolkit.config.distillation import DistillConfig

    if resume is not None:
        if len(given) > 1:
            raise ConfigError("--resume takes every setting from the folder; leave the others out")
        from rs_train.run_folder import settings_begun

        settings, data, not_organism = settings_begun(resume, DistillConfig)
        _distill(data, settings, resume, not_organism, resume=True)
        return
    if data is None:
        raise ConfigError("distill: which photos? give DATA, or --resume FOLDER")
    flags = options.settings_among(given, DistillConfig) | {
        # A name of a model, or a configuration file.
        "teacher": options.resolved(teacher) if teacher and Path(teacher).is_file() else teacher,
        "teacher_weights": options.resolved(teacher_weights),
        "prompts": options.resolved(prompts),
        "student_weights": options.resolved(student_weights),
    }
    settings = load_settings(DistillConfig, flags)
    _distill(
        data, settings, out or options.free_folder(FILTERS_DIR, data), not_organism, resume=False
    )


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
