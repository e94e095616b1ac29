"""Checkpoints as strangers send them."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from rs_toolkit.errors import WeightsError
from rs_train.teacher.teacher import load_teacher


@pytest.fixture
def refused(raw_clip, one_line):
    """A function that fails unless a checkpoint is refused in one line, which it returns."""

    def check(checkpoint: Path) -> str:
        with pytest.raises(WeightsError) as caught:
            load_teacher(str(raw_clip[0]), checkpoint)
        return one_line(str(caught.value))

    return check


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("suffix", [".pt", ".bin", ".pth"])
def test_a_training_checkpoint_is_the_same_teacher(
    raw_clip, state, tmp_path, torch, suffix, legacy
) -> None:
    path = tmp_path / f"epoch_1{suffix}"
    wrapped = {f"module.{name}": tensor for name, tensor in state.items()}
    saved = {"epoch": 1, "name": "tiny", "state_dict": wrapped}
    torch.save(saved, path, _use_new_zipfile_serialization=not legacy)
    plain = load_teacher(*map(str, raw_clip))
    assert load_teacher(str(raw_clip[0]), path).fingerprint == plain.fingerprint


class Planted:
    """A pickle of it runs a command."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return os.system, (f"touch {self.target}",)


@pytest.mark.parametrize("suffix", [".pt", ".bin", ".safetensors"])
@pytest.mark.parametrize("legacy", [False, True])
def test_code_in_a_checkpoint_never_runs(refused, state, tmp_path, torch, suffix, legacy) -> None:
    target, path = tmp_path / "ran", tmp_path / f"evil{suffix}"
    saved = {"state_dict": state, "note": Planted(target)}
    torch.save(saved, path, _use_new_zipfile_serialization=not legacy)
    assert "damaged, incomplete, or holds more than weights" in refused(path)
    assert not target.exists()
    # The attack is real: it works where nothing guards against it.
    torch.load(path.rename(tmp_path / "evil.pth"), weights_only=False)
    assert target.exists()


@pytest.mark.parametrize("share", [0.0, 0.0001, 0.3, 0.999])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_half_a_checkpoint_is_refused(
    refused, raw_clip, state, tmp_path, torch, suffix, share
) -> None:
    whole, part = tmp_path / f"whole{suffix}", tmp_path / f"part{suffix}"
    if suffix == ".pt":
        torch.save(state, whole)
    else:
        whole = raw_clip[1]
    data = whole.read_bytes()
    part.write_bytes(data[: int(len(data) * share)])
    assert ("damaged" if share else "0 bytes") in refused(part)


def test_files_that_are_no_checkpoint_are_refused(refused, tmp_path) -> None:
    (tmp_path / "folder.pt").mkdir()
    os.mkfifo(tmp_path / "pipe.pt")
    noise = np.random.default_rng(0).bytes(5000)
    for name in ("noise.pt", "noise.safetensors", "noise.h5"):
        (tmp_path / name).write_bytes(noise)
    (tmp_path / "deep.pt").write_bytes(b"\x80\x02" + b"(" * 100_000 + b"t" * 100_000 + b".")
    says = {
        "absent.pt": "cannot be read",
        "folder.pt": "no regular file",
        "pipe.pt": "no regular file",
        "noise.pt": "damaged",
        "noise.safetensors": "damaged",
        "noise.h5": "got suffix '.h5'",
        "deep.pt": "damaged",
    }
    for name, text in says.items():
        assert text in refused(tmp_path / name)


def test_what_unpacks_to_more_than_it_has_is_refused(refused, state, tmp_path, torch) -> None:
    torch.save(state, tmp_path / "plain.pt")
    packed, bomb = tmp_path / "packed.pt", tmp_path / "bomb.pt"
    with zipfile.ZipFile(tmp_path / "plain.pt") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        for name, data in members.items():
            target.writestr(name, data)
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr("bomb/data/0", bytes(50_000_000))
    assert bomb.stat().st_size < 100_000
    for path in (packed, bomb):
        assert "compressed" in refused(path)


def test_a_program_is_refused(refused, tmp_path, torch) -> None:
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "program.pt")
    assert "TorchScript" in refused(tmp_path / "program.pt")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda torch, s: s.popitem(), "lacks"),
        (lambda torch, s: s.update(extra=torch.zeros(1)), "unknown 'extra' and 0 other"),
        (lambda torch, s: s.update({"ln_final.bias": torch.zeros(9)}), "(9,), wanted"),
        (lambda torch, s: s.update({"ln_final.bias": torch.zeros(64).long()}), "torch.int64"),
        (lambda torch, s: s.update({"ln_final.bias": torch.full((64,), np.nan)}), "not finite"),
        (lambda torch, s: s.update({"ln_final.bias": torch.zeros(64).to_sparse()}), "no state"),
        (lambda torch, s: s.update({"ln_final.bias": torch.zeros(64, device="meta")}), "no state"),
        (lambda torch, s: s.update({"logit_scale": torch.tensor(99.0)}), "logit_scale"),
        (lambda torch, s: s.update({7: torch.zeros(1)}), "no state dict"),
        (lambda torch, s: s.update({"ln_final.bias": "text"}), "no state dict"),
        (lambda torch, s: s.clear(), "no state dict"),
    ],
)
def test_weights_of_another_model_are_refused(refused, state, tmp_path, torch, change, says):
    change(torch, state)
    torch.save(state, tmp_path / "other.pt")
    assert says in refused(tmp_path / "other.pt")


def test_weights_that_are_not_a_dictionary_are_refused(refused, tmp_path, torch) -> None:
    for number, value in enumerate((torch.zeros(3), [torch.zeros(3)], {"state_dict": {}}, None)):
        torch.save(value, tmp_path / f"{number}.pt")
        assert "no state dict" in refused(tmp_path / f"{number}.pt")
