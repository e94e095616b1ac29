"""Find the empty frames of fixed cameras: by their background, by a filter, and by both.

    python benchmarks/cameras.py [--no-filter]

The frames are those of the two box cameras of ``../shared/data/organism_or_not``, which are the
only ones there with enough frames of one camera.  The filter is ``efficientnet_lite0`` with a new
head, learned from labels alone on the other photos: it never saw a frame of either camera.  A
threshold that keeps 98 % or 95 % of the animals is chosen on one camera and judged on the other.
The default rule (:func:`rs_runtime.cameras.evidence`) is judged too; its threshold was chosen by
looking at both cameras.  Then the same with few frames: the share of empty frames among 8 to 32
that are taken at random.

What is in the work folder already is not made again.  Writes ``results/cameras.json`` and ``.md``.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
from common import SHARED, grid, on, options, publish
from numpy.typing import NDArray

from rs_runtime.background import SIDE, read_thumbnail, thumbnail
from rs_runtime.cameras import evidence, judge_frames
from rs_runtime.filter import Filter
from rs_runtime.kit.kit import open_kit
from rs_runtime.photos.preprocess import Preprocessing
from rs_toolkit.config.distillation import DistillConfig
from rs_toolkit.config.training import TrainConfig
from rs_toolkit.environment import quiet_tensorflow
from rs_toolkit.progress import ConsoleProgress, Progress

PHOTOS, BIRDS = SHARED / "data" / "organism_or_not", SHARED / "data" / "birds"
CAMERAS = ("vj_ga_hu_1", "vj_ga_hu_2")
KEEP = (0.98, 0.95)
SETTINGS = DistillConfig(
    student="efficientnet_lite0",
    student_weights="package",
    train_from="head",
    imgsz=224,
    epochs=8,
    patience=8,
)
WAYS = ("background", "filter", "both")
Scores = dict[str, NDArray[np.float64]]


def rows() -> list[dict[str, str]]:
    """Return the table of the photos."""
    with (PHOTOS / "metadata.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def camera_of(row: dict[str, str]) -> str | None:
    """Return the camera of a photo, None if it is of neither."""
    name = Path(row["file_path"]).name
    return next((camera for camera in CAMERAS if name.startswith(camera)), None)


def kit_with_filter(work: Path, progress: Progress) -> Path:
    """Return a kit with a filter that was learned on all photos but those of the cameras."""
    from rs_export import ExportSettings, export_run
    from rs_train.classifier.train import train
    from rs_train.student.distill import distill

    for kind in ("organism", "other"):
        chosen = [row for row in rows() if row["kind"] == kind and camera_of(row) is None]
        for row in chosen:
            link = work / kind / row["file_path"]
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.is_symlink():
                link.symlink_to(PHOTOS / row["file_path"])
        with (work / kind / "metadata.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["file_path", "label"])
            table.writerows([row["file_path"], row["source"]] for row in chosen)
    data, others, out = (work / name for name in ("organism", "other", "filter"))
    folder = distill(data, SETTINGS, out, not_organism=others, resume=True, progress=progress)
    nothing = TrainConfig(weights="none", backbone="xception-mini", imgsz=64, epochs=0)
    run = train(BIRDS, nothing, work / "run", resume=True, progress=progress)
    settings = ExportSettings(recipes=("onnx_u8s8",), filter=str(folder), mend=False)
    return export_run(run, settings, progress=progress).kit


def probabilities(kit: Path, photos: list[Path]) -> NDArray[np.float64]:
    """Return the filter's probabilities of an organism."""
    with open_kit(kit) as opened:
        loaded = Filter(opened, "onnxruntime")
    found = [loaded.judge(loaded.preprocessing.load(photo)[None])[0] for photo in photos]
    return np.array(found, np.float64)


def frame_of(photo: Path) -> NDArray[np.uint8]:
    """Return the values of a photo's thumbnail."""
    return read_thumbnail(thumbnail(Preprocessing(size=SIDE).load(photo)))


def background_scores(frames: list[NDArray[np.uint8]]) -> NDArray[np.float64]:
    """Return the score of each frame of a camera; all must have one."""
    return np.array([score for _, score, _ in judge_frames(frames)], np.float64)


def both(scores: NDArray[np.float64], filtered: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """Return the evidence of something, of the score and of the filter if there is one."""
    judged = [None] * len(scores) if filtered is None else filtered.tolist()
    return np.array([evidence(s, p) for s, p in zip(scores, judged, strict=True)])


def auroc(score: NDArray[np.float64], shown: NDArray[np.bool_]) -> float:
    """Return the probability that an animal's score is above that of an empty frame."""
    animals, empties = score[shown][:, None], score[~shown][None]
    return float(((animals > empties) + 0.5 * (animals == empties)).mean())


def kept_at(score: NDArray[np.float64], shown: NDArray[np.bool_], keep: float) -> float:
    """Return the highest threshold at or above which this share of the animals is."""
    animals = np.sort(score[shown])
    return float(animals[int(np.floor((1 - keep) * len(animals) + 1e-9))])


def at(score: NDArray[np.float64], shown: NDArray[np.bool_], threshold: float) -> dict[str, float]:
    """Return the shares of empty frames found and of animals kept."""
    return {
        "empties_found": float((score[~shown] < threshold).mean()),
        "animals_kept": float((score[shown] >= threshold).mean()),
        "threshold": threshold,
    }


def judged(name: str, of: dict[str, Scores], shown: dict[str, NDArray[np.bool_]]) -> dict[str, Any]:
    """Return what each way finds on a camera, with thresholds of the other camera."""
    (other,) = (camera for camera in CAMERAS if camera != name)
    found: dict[str, Any] = {
        "empties": int((~shown[name]).sum()),
        "animals": int(shown[name].sum()),
    }
    for way, score in of[name].items():
        found[way] = {"auroc": auroc(score, shown[name])}
        for keep in KEEP:
            threshold = kept_at(of[other][way], shown[other], keep)
            found[way][f"keep_{keep}"] = at(score, shown[name], threshold)
    found["rule"] = at(both(of[name]["background"], None), shown[name], 0.0)
    if "both" in of[name]:
        found["rule_with_filter"] = at(of[name]["both"], shown[name], 0.0)
    return found


def few_frames(
    frames: list[NDArray[np.uint8]], shown: NDArray[np.bool_], counts: tuple[int, ...]
) -> list[dict[str, Any]]:
    """Return what the rule finds with few frames, of which a sixth shows an animal."""
    generator = np.random.default_rng(0)
    animals, empties = np.flatnonzero(shown), np.flatnonzero(~shown)
    found = []
    for count in counts:
        part, score = max(1, count // 6), []
        for _ in range(30):
            chosen = [*generator.choice(animals, part, False)]
            chosen += [*generator.choice(empties, count - part, False)]
            chosen.sort()
            score.append(background_scores([frames[place] for place in chosen]))
            score[-1] = np.stack([both(score[-1], None), shown[chosen]])
        values = np.concatenate(score, axis=1)
        found.append({"frames": count, **at(values[0], values[1].astype(bool), 0.0)})
    return found


def measured(kit: Path | None) -> dict[str, Any]:
    """Measure both cameras."""
    of: dict[str, Scores] = {}
    shown, frames = {}, {}
    for camera in CAMERAS:
        mine = [row for row in rows() if camera_of(row) == camera]
        # In the order in which the camera took them.
        mine.sort(key=lambda row: Path(row["file_path"]).name)
        photos = [PHOTOS / row["file_path"] for row in mine]
        shown[camera] = np.array([row["kind"] == "organism" for row in mine])
        frames[camera] = [frame_of(photo) for photo in photos]
        score = background_scores(frames[camera])
        of[camera] = {"background": score}
        if kit is not None:
            filtered = probabilities(kit, photos)
            of[camera] |= {"filter": filtered, "both": both(score, filtered)}
    return {
        "cameras": {camera: judged(camera, of, shown) for camera in CAMERAS},
        "few": {
            camera: few_frames(frames[camera], shown[camera], (8, 12, 16, 32)) for camera in CAMERAS
        },
        "filter": None if kit is None else SETTINGS.to_dict(),
    }


def table(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    names, lines, rules, few = list(result["cameras"]), [], [], []
    for camera in names:
        found = result["cameras"][camera]
        for way in (way for way in WAYS if way in found):
            cells = [found[way][f"keep_{keep}"] for keep in KEEP]
            numbers = [c[key] for c in cells for key in ("animals_kept", "empties_found")]
            lines.append([camera, way, found[way]["auroc"], *numbers])
        for rule in (rule for rule in ("rule", "rule_with_filter") if rule in found):
            said = "with filter" if "filter" in rule else "background alone"
            cell = found[rule]
            rules.append([camera, said, cell["animals_kept"], cell["empties_found"]])
        few += [
            [camera, item["frames"], item["animals_kept"], item["empties_found"]]
            for item in result["few"][camera]
        ]
    sizes = "; ".join(
        f"{name}: {result['cameras'][name]['empties']} empty frames, "
        f"{result['cameras'][name]['animals']} with an animal"
        for name in names
    )
    without = "" if result["filter"] else "\n\nA filter was not measured in this run."
    wanted = [part for keep in KEEP for part in (f"animals kept at {keep:.0%}", "empties found")]
    return f"""# Empty frames of fixed cameras

{on(result["machine"])}. {sizes}. Two cameras in boxes, infrared: with so few frames and cameras, \
these numbers say that the way works, not how well it works elsewhere.{without}

A threshold that keeps 98 % or 95 % of the animals of the *other* camera:

{grid(["camera", "way", "AUROC", *wanted], lines)}

The rule of `rs-classify --cameras`, whose threshold was chosen by looking at both cameras:

{grid(["camera", "rule", "animals kept", "empties found"], rules)}

The rule without a filter, on few frames (a sixth of them with an animal), 30 times at random:

{grid(["camera", "frames", "animals kept", "empties found"], few)}
"""


def main() -> None:
    """Run the benchmark."""
    parser = options(__doc__, work="cameras")
    parser.add_argument("--no-filter", action="store_true")
    chosen = parser.parse_args()
    kit = None
    if not chosen.no_filter:
        quiet_tensorflow()
        with ConsoleProgress() as progress:
            kit = kit_with_filter(chosen.work, progress)
    publish("cameras", measured(kit), table)


if __name__ == "__main__":
    main()
