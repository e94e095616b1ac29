"""Sets, recipes and parts that ``birds_training.py`` measures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from birds_training_rows import mark

from rs_toolkit.config.training import TrainConfig

Settings = dict[str, Any]
SEEDS = (0, 1, 2)
MAIN = ("probe", "stage_1", "best")
BY_SPECIES = {"stratify_by": "common_name"}
SPECIES = {"rank": "common_name"}
SETS: dict[str, tuple[str, Settings]] = {
    # Four photos of each species.
    "birds": ("birds", {"rank": "family", "test": 0.25, **BY_SPECIES}),
    "birds-new-species": ("birds", {"rank": "family", "test": 0.25, "group_by": "species"}),
    "cub": ("cub", {"rank": "family", **BY_SPECIES}),
    "cub-species": ("cub", SPECIES),
    "butterflies": ("butterflies", SPECIES),
}
"""Folder in ``../shared/data`` and settings of the split."""
GENTLE: Settings = {"epochs": 12, "patience": 0, "average": "ema", "refit": "val"}
# From block1 on is every block, with batch normalization frozen; ``all`` would train that too, and
# then weights cannot be averaged.  The search had batches of 64 and rates of 3e-4 and 1e-3; here
# they are divided by sqrt(2).
FULL: Settings = {
    **GENTLE, "epochs": 20, "learning_rate": 2e-4, "fine_tune_from": "block1", "layer_decay": 0.8,
    "crop_scale": 0.35,
}  # fmt: skip
RECIPES: dict[str, Settings] = {
    "birds": FULL,
    # The harder the fine-tuning, the worse it was for species never seen.
    "birds-new-species": GENTLE,
    "cub": FULL,
    "cub-species": {**FULL, "learning_rate": 7e-4, "cutmix": 1.0},
    "butterflies": {**FULL, "loss": "balanced_softmax", "balance": 0.0, "cutmix": 1.0},
}
PARTS: dict[str, Settings] = {
    "all blocks": {"fine_tune_from": "auto"},
    "rates that fall towards the input": {"layer_decay": 1.0},
    "higher rate": {"learning_rate": 1e-4},
    "no early stop": {"patience": 6},
    "averaged weights": {"average": "none"},
    "refit": {"refit": "none"},
    "oversampling": {"balance": 0.0},
    "balanced softmax": {"loss": "cross_entropy"},
    "cutmix": {"cutmix": 0.0},
    "smaller crops": {"crop_scale": 0.0},
    "augmentation": {"augment": 0.0, "crop_scale": 0.0, "cutmix": 0.0},
    "label smoothing": {"label_smoothing": 0.0},
    "dropout": {"dropout": 0.0},
    "weight decay": {"weight_decay": 0.0},
}
"""What each part of a recipe is replaced by, in the training without it."""


class Task(NamedTuple):
    """One training: a part of MAIN, or the recipe without one of PARTS."""

    name: str
    part: str
    seed: int
    imgsz: int
    epochs: int

    @property
    def settings(self) -> Settings:
        """Settings of the training, without the path of the weights."""
        recipe = RECIPES[self.name]
        if self.part == "probe":
            recipe = {"balance": 1.0, "refit": "val"}
        elif self.part == "stage_1":
            recipe = {"balance": recipe.get("balance", TrainConfig.balance), "refit": "val"}
        recipe = {**recipe, **PARTS.get(self.part, {}), **SETS[self.name][1]}
        return {**recipe, "imgsz": self.imgsz, "epochs": self.epochs, "seed": self.seed}

    @property
    def folder(self) -> str:
        """Name of the run, which depends on all settings."""
        part = self.part.replace(" ", "-")
        return f"{self.name}/{self.seed}/{part}-{self.imgsz}px-{mark(self.settings)}"


def parts_of(name: str) -> list[str]:
    """Return the parts to measure on a set: MAIN, and those that its recipe has."""
    recipe = TrainConfig(**RECIPES[name])
    without = (
        part for part, now in PARTS.items() if any(getattr(recipe, k) != now[k] for k in now)
    )
    return [*MAIN, *without]


def tasks(chosen: Any) -> Iterator[Task]:
    """Yield what is to be done: first MAIN for all sets and seeds, then the parts."""
    for main in (True, False):
        for seed in chosen.seeds:
            for name in chosen.sets:
                for part in parts_of(name):
                    if part in (chosen.parts or (part,)) and (part in MAIN) == main:
                        epochs = chosen.epochs or RECIPES[name]["epochs"]
                        epochs = 0 if part in MAIN[:2] else epochs
                        yield Task(name, part, seed, chosen.imgsz, epochs)
