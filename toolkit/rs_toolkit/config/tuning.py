"""Settings of ``rs-toolkit tune``, beside those of the training that it tunes."""

from __future__ import annotations

from dataclasses import dataclass

from rs_toolkit.config.base import Settings, number, text
from rs_toolkit.errors import ConfigError

__all__ = ["TuneConfig"]


@dataclass(frozen=True)
class TuneConfig(Settings):
    """What a study tries, and how it judges that."""

    stage: int = number(
        1,
        1,
        2,
        "what is tuned: 1 the linear layer, on frozen features; 2 fine-tuning, by whole trainings",
    )
    folds: int = number(5, 2, 20, "stage 1: number of folds of the training and validation photos")
    only: str = text(
        "", "settings to tune, separated by commas; without it all that docs/tuning.md lists"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.stage != 1 and self.folds != TuneConfig.folds:
            raise ConfigError(
                f"folds: got {self.folds} with stage 2, whose trials are judged on the validation "
                "photos; leave it out, or tune --stage 1"
            )
