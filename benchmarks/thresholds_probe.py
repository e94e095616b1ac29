"""Linear probes on frozen features, and photos of unknown families, for ``thresholds.py``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rs_runtime.kit.manifest import ClassInfo
from rs_runtime.kit.sets import UNKNOWN_SCORES
from rs_runtime.photos.preprocess import Preprocessing
from rs_runtime.sets import unknown_score
from rs_toolkit.data.groups import group_photos
from rs_toolkit.data.photos import Photo
from rs_toolkit.data.readers import read_dataset
from rs_toolkit.files import read_json, write_json
from rs_toolkit.folders.run import Run
from rs_toolkit.metrics.binary import auroc
from rs_toolkit.metrics.calibration import fit_temperature
from rs_toolkit.metrics.unknown import SCORE

SIZE = 224
STRENGTH = 0.01
FOLDS = 5
_BATCH = 16

Floats = NDArray[np.float32]


class Probe(NamedTuple):
    """A probe's classes, and its logits, true classes and groups of validation and test photos."""

    rank: str
    classes: tuple[ClassInfo, ...]
    val: tuple[NDArray[Any], NDArray[Any], NDArray[Any]]
    test: tuple[NDArray[Any], NDArray[Any], NDArray[Any]]


def probe_of(data: Path, rank: str, weights: Path, work: Path) -> Probe:
    """Return a linear probe on 60 % of the photos; 15 % are for validation and 25 % for the test.

    ``rank`` is ``family`` or ``common_name``.  Classes that are not among the 60 % are left out.
    """
    photos = read_dataset(data).photos
    names = np.array([str(photo.label(rank)) for photo in photos])
    side = np.random.default_rng(0).choice(3, len(photos), p=(0.6, 0.15, 0.25))
    file = work / f"probe-{data.name}-{rank}.npz"
    if not file.is_file():
        logits, _, known = _probe(_features(data, photos, weights, work), names, side == 0)
        np.savez(file, logits, known)
    logits, known = np.load(file).values()
    taxa = {name: photo.taxon for name, photo in zip(names, photos, strict=True)}
    classes = []
    for number, name in enumerate(known):
        taxon = {"family": str(taxa[name].family), "phylum": str(taxa[name].phylum)}
        classes.append(ClassInfo(number, str(name), None, taxon))
    groups = group_photos(photos).numbers
    parts = []
    for number in (1, 2):
        rows = (side == number) & np.isin(names, known)
        labels = np.searchsorted(known, names[rows])
        parts.append((logits[rows].astype(np.float32), labels, groups[rows]))
    return Probe(rank, tuple(classes), *parts)


def held_out_families(data: Path, weights: Path, work: Path) -> list[dict[str, Any]]:
    """Return a row: means over five linear probes, each fitted without a fifth of the families.

    Of each family's photos 60 % are for fitting, 15 % for the temperature, and 25 % are the known
    ones; all photos of the families held out are the unknown ones.
    """
    if not data.is_dir():
        return []
    photos = read_dataset(data).photos
    features = _features(data, photos, weights, work)
    family, side, order, _ = _divided(photos)
    rows = []
    for fold in range(FOLDS):
        file = work / f"held-out-{data.name}-{fold}.json"
        if not file.is_file():
            write_json(file, _fold(features, family, side, order[fold::FOLDS]))
        rows.append(read_json(file))
    means = {key: float(np.mean([row["scores"][key] for row in rows])) for key in rows[0]["scores"]}
    return [
        {
            "set": f"{data.name}, linear probe, a fifth of the families held out",
            **{key: sum(row[key] for row in rows) for key in ("known", "unknown")},
            "accuracy": float(np.mean([row["accuracy"] for row in rows])),
            "auroc": means[SCORE],
            "scores": means,
        }
    ]


def left_out(data: Path, fold: int) -> set[str]:
    """Return the names of the families that a fold of :func:`held_out_families` leaves out."""
    _, _, order, names = _divided(read_dataset(data).photos)
    return {str(names[place]) for place in order[fold::FOLDS]}


def _divided(
    photos: Sequence[Photo],
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return family and side of each photo, the families in random order, and their names."""
    names, family = np.unique([str(photo.taxon.family) for photo in photos], return_inverse=True)
    generator = np.random.default_rng(1)
    side = generator.choice(3, len(photos), p=(0.6, 0.15, 0.25))
    return family, side, generator.permutation(len(names)), names


def other_photos(run: Run, data: Path, work: Path) -> list[dict[str, Any]]:
    """Return a row: a trained model on photos of another data set, of families it knows or not.

    Every third photo is taken: one or two of each species of ``birds``.
    """
    if not data.is_dir():
        return []
    photos = read_dataset(data).photos[::3]
    file = work / f"{run.name}-on-{data.name}.npy"
    if not file.is_file():
        model = run.load_model()
        np.save(file, _outputs(data, photos, run.preprocessing, model.predict_on_batch))
    logits = np.load(file)
    number = {item["name"]: item["id"] for item in run.classes}
    labels = np.array([number.get(str(photo.taxon.family), -1) for photo in photos])
    known = labels >= 0
    scores = _scores(logits, known, run.temperature)
    right = logits[known].argmax(axis=1) == labels[known]
    return [
        {
            "set": f"{run.name} on {data.name}: families of the model, and all others",
            "known": int(known.sum()),
            "unknown": int((~known).sum()),
            "accuracy": float(right.mean()),
            "auroc": scores[SCORE],
            "scores": scores,
        }
    ]


def _fold(
    features: Floats, family: NDArray[Any], side: NDArray[Any], held_out: NDArray[Any]
) -> dict[str, Any]:
    """Fit a probe without the families held out, and return what its scores are worth."""
    unknown = np.isin(family, held_out)
    fitted = ~unknown & (side == 0)
    logits, scaled, classes = _probe(features, family, fitted)
    places = {name: place for place, name in enumerate(classes)}
    labels = np.array([places.get(name, -1) for name in family])
    val = ~unknown & (side == 1) & (labels >= 0)
    chosen = unknown | ((side == 2) & (labels >= 0))
    temperature = fit_temperature(logits[val], labels[val])
    known = ~unknown[chosen]
    scores = _scores(logits[chosen], known, temperature)
    for name, table in (("logits", logits), ("features", scaled)):
        means = np.stack(
            [table[fitted & (labels == place)].mean(axis=0) for place in places.values()]
        )
        scores[f"class mean of {name}"] = auroc(_nearest(table[chosen], means), known)
    right = logits[chosen][known].argmax(axis=1) == labels[chosen][known]
    return {
        "known": int(known.sum()), "unknown": int((~known).sum()),
        "accuracy": float(right.mean()), "scores": scores,
    }  # fmt: skip


def _probe(
    features: Floats, labels: NDArray[Any], fitted: NDArray[np.bool_]
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Fit a class-balanced logistic regression; return its logits, scaled features and classes."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scaled = StandardScaler().fit(features[fitted]).transform(features)
    probe = LogisticRegression(C=STRENGTH, class_weight="balanced", max_iter=300)
    probe.fit(scaled[fitted], labels[fitted])
    return probe.decision_function(scaled), scaled, probe.classes_


def _scores(logits: NDArray[Any], known: NDArray[np.bool_], temperature: float) -> dict[str, float]:
    """Return the AUROC of each score that a runtime can compute from logits alone."""
    return {name: auroc(unknown_score(logits, temperature, name), known) for name in UNKNOWN_SCORES}


def _nearest(rows: NDArray[Any], means: NDArray[Any]) -> NDArray[Any]:
    """Return the largest cosine similarity of each row to a class mean."""
    one, other = (part / np.linalg.norm(part, axis=1, keepdims=True) for part in (rows, means))
    return np.asarray((one @ other.T).max(axis=1))


def _features(data: Path, photos: list[Photo], weights: Path, work: Path) -> Floats:
    """Return the features (n, 2048) of frozen Xception, which are kept in ``work``."""
    file = work / f"features-{data.name}.npy"
    if not file.is_file():
        import keras

        from rs_export.convert import Converter
        from rs_export.recipes import RECIPES
        from rs_runtime.engines.engine import load_engine
        from rs_train.classifier.backbones import build_backbone, load_backbone_weights

        body = build_backbone("xception", SIZE)
        load_backbone_weights(body, "xception", str(weights))
        pooled = keras.layers.GlobalAveragePooling2D()(body.output)
        with Converter(keras.Model(body.input, pooled), lambda _: np.empty(0)) as converter:
            model = converter.convert(RECIPES["onnx_fp32"])
        engine = load_engine("onnxruntime", model)
        np.save(file, _outputs(data, photos, Preprocessing(SIZE), engine.logits))
    return np.asarray(np.load(file))


def _outputs(root: Path, photos: list[Photo], prepare: Preprocessing, model: Any) -> Floats:
    parts = []
    for at in range(0, len(photos), _BATCH):
        pixels = np.stack([prepare.load(root / photo.path) for photo in photos[at : at + _BATCH]])
        parts.append(np.asarray(model(prepare.model_input(pixels))))
    return np.concatenate(parts)
