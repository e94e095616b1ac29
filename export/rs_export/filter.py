"""The export task of a filter, which says whether a photo shows an organism at all.

The student that ``rs-toolkit distill`` trained is converted, and each variant is compared with it.
Every variant has its own Platt scaling, fitted on the validation photos; all share the thresholds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from rs_export.recipes import RECIPES, Recipe
from rs_export.result import About, Calibration, Scores
from rs_export.task import Side, Task, model_info
from rs_runtime.filter import NOT_ORGANISM, ORGANISM, organism_log_odds, organism_probability
from rs_runtime.kit.manifest import FilterClass
from rs_toolkit.errors import ExportError
from rs_toolkit.folders.filter import FilterFolder
from rs_toolkit.metrics.binary import auroc
from rs_toolkit.metrics.calibration import fit_platt
from rs_toolkit.metrics.noninferiority import Verdict
from rs_toolkit.metrics.paired import compare_filters

__all__ = ["filter_recipes", "filter_scores", "filter_task", "filter_verdict"]

MARGINS = {"auroc": 0.01, "right_answers": 0.02}
"""How much a variant of a filter may lose, 0 to 1; see :func:`compare_filters`."""

_RECIPES = {"litert": ("tflite_fp32", "tflite_int8"), "onnxruntime": ("onnx_fp32", "onnx_u8s8")}
_LAST = {
    "litert": (
        ("weights alone in 8 bits", RECIPES["tflite_dynamic_int8"]),
        ("weights alone in 16 bits", RECIPES["tflite_fp16"]),
    )
}


def filter_recipes(recipes: Sequence[Recipe]) -> list[Recipe]:
    """Return a filter's recipes for all engines that a classifier's recipes use."""
    engines = dict.fromkeys(recipe.engine for recipe in recipes)
    return [RECIPES[name] for engine in engines for name in _RECIPES[engine]]


def filter_task(source: FilterFolder) -> Task:
    """Return the export task of a filter; :func:`filter_scores` documents ``Scores.row``.

    There is no training with rounding; the last resort in TFLite is to round only the weights.
    ExportError: there are no training photos, or the test photos are not of both kinds.
    """
    organism, about = source.organism, _about(source)
    organisms = ", ".join(item.name for item in about.classes if item.organism)
    return Task(
        about=about,
        reference="student",
        size=(source.path / "student.keras").stat().st_size,
        load=source.load_model,
        photos=source.side,
        pixels=source.pixels,
        calibrate=lambda logits, truth, _: _platt(organism_log_odds(logits, organism), truth),
        scores=lambda logits, fitted, side: filter_scores(
            logits, fitted, side, organism, source.thresholds
        ),
        verdict=lambda before, after, fitted, side, error: filter_verdict(
            before, after, fitted, side, organism, source.thresholds, error
        ),
        info=lambda fitted: model_info(
            about,
            name=f"{about.name} filter",
            description=(
                "Probability that a photo shows an organism: sigmoid(log_odds / "
                f"{fitted.temperature:.6g} + {fitted.bias:.6g}), where log_odds is logsumexp of "
                f"the logits of {organisms}, minus logsumexp of the other logits"
            ),
            temperature=1.0,
        ),
        headline=("auroc", "flagged", "agreement", "cosine"),
        kinds=2,
        prefix="filter_",
        last_steps=_LAST,
    )


def filter_scores(
    logits: NDArray[np.float32],
    calibration: Calibration,
    side: Side,
    organism: NDArray[np.bool_],
    thresholds: Mapping[str, float],
) -> Scores:
    """Compare a model with the student on photos with and without organisms.

    ``Scores.row`` holds

    - cosine: mean cosine similarity of the logits to the student's, -1 to 1, after subtracting the
      student's mean logits from both, because these tell no photo from another;
    - agreement: share of the photos with the student's verdict;
    - auroc: area under the ROC curve of the log odds, organisms against others;
    - flagged, found: share of the organisms, and of the others, with the verdict ``not_organism``;
    - uncertain: share of the photos with the verdict ``uncertain``.

    Parameters
    ----------
    logits, calibration : the model's; logits are float32 (n, K)
    side : the photos' truth, bool (n,), and the student's logits and calibration
    organism : which of the K classes are organisms, bool (K,)
    """
    odds, wanted_odds = (organism_log_odds(values, organism) for values in (logits, side.logits))
    given = _verdicts(odds, calibration, thresholds)
    wanted = _verdicts(wanted_odds, side.calibration, thresholds)
    truth = side.labels
    return Scores(
        {
            "cosine": _mean_cosine(logits, side.logits),
            "agreement": float((given == wanted).mean()),
            "auroc": auroc(odds, truth),
            "flagged": float((given[truth] < 0).mean()),
            "found": float((given[~truth] < 0).mean()),
            "uncertain": float((given == 0).mean()),
        }
    )


def filter_verdict(
    reference: NDArray[np.float32],
    logits: NDArray[np.float32],
    calibration: Calibration,
    side: Side,
    organism: NDArray[np.bool_],
    thresholds: Mapping[str, float],
    error: float,
) -> Verdict:
    """Compare a variant's logits with the student's, (n, V, K) each; V looks at each photo."""

    def answers(
        values: NDArray[np.float32], fitted: Calibration
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        odds = np.stack([organism_log_odds(look, organism) for look in np.moveaxis(values, 1, 0)])
        given = np.stack([_verdicts(look, fitted, thresholds) for look in odds])
        return odds.T / fitted.temperature + fitted.bias, given.T

    both = answers(reference, side.calibration), answers(logits, calibration)
    return compare_filters(side.labels, side.groups, *both, MARGINS, error)


def _about(source: FilterFolder) -> About:
    given = source.calibration
    return About(
        name=source.student,
        folder=str(source.path),
        rank="prompt class",
        classes=tuple(FilterClass(**item) for item in source.classes),
        preprocessing=source.preprocessing,
        calibration=Calibration(given["temperature"], bias=given["bias"]),
        data_fingerprint=source.data_fingerprint,
        counts=_counted(source),
        thresholds=source.thresholds,
        teacher=source.teacher,
    )


def _platt(odds: NDArray[np.float64], truth: NDArray[np.bool_]) -> Calibration:
    temperature, bias = fit_platt(odds, truth)
    return Calibration(temperature, bias=bias)


def _verdicts(
    odds: NDArray[np.float64], calibration: Calibration, thresholds: Mapping[str, float]
) -> NDArray[np.int64]:
    """Return -1 (no organism), 0 (uncertain) or 1 for each photo."""
    probability = organism_probability(odds, calibration.temperature, calibration.bias)
    return np.digitize(probability, [thresholds[NOT_ORGANISM], thresholds[ORGANISM]]) - 1


def _mean_cosine(logits: NDArray[np.float32], reference: NDArray[np.float32]) -> float:
    from sklearn.metrics.pairwise import paired_cosine_distances

    centre = reference.mean(axis=0, dtype=np.float64)
    return 1 - float(paired_cosine_distances(logits - centre, reference - centre).mean())


def _counted(source: FilterFolder) -> dict[str, dict[str, int]]:
    """Return the numbers of organisms and others by split; ExportError: there are too few."""
    counts = {}
    for split in ("train", "val", "test"):
        truth = source.side(split)[1]
        counts[split] = {"organisms": int(truth.sum()), "others": int((~truth).sum())}
    for split, least in (("train", max), ("test", min)):
        if not least(counts[split].values()):
            raise ExportError(
                f"{source.path}: {counts[split]['organisms']} organisms and "
                f"{counts[split]['others']} others among the {split} photos, wanted "
                f"{'some of both' if least is min else 'some'}; distil again with more photos"
            )
    return counts
