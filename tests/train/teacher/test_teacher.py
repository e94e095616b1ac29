from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from rs_runtime.filter import organism_log_odds
from rs_runtime.photos.preprocess import Preprocessing
from rs_toolkit.errors import ConfigError, WeightsError
from rs_toolkit.files import read_json, write_json
from rs_train.teacher.architecture import TEACHERS, architecture
from rs_train.teacher.embeddings import text_weights
from rs_train.teacher.prompts import read_prompts
from rs_train.teacher.teacher import load_teacher

TEXTS = ["a photo of a duck.", "a page of text " * 40, "Ä page, 3 °C"]


@pytest.fixture(scope="module")
def raw(raw_clip):
    return load_teacher(str(raw_clip[0]), raw_clip[1])


@pytest.fixture(scope="module")
def photos():
    return np.random.default_rng(0).integers(0, 256, (40, 64, 64, 3), np.uint8)


def auroc(scores, truth) -> float:
    """Return the chance that a true photo scores higher than one that is not."""
    higher = scores[truth][:, None] - scores[~truth][None, :]
    return float((np.sign(higher) / 2 + 0.5).mean())


def test_the_tiny_clip_tells_organisms_without_training_on_them(
    tiny_clip, clip_tools, repository, tmp_path
) -> None:
    teacher = load_teacher(str(tiny_clip[0]), tiny_clip[1])
    prompts = read_prompts(repository / "samples" / "prompts-sample.toml")
    pixels, _, organism = clip_tools["captioned"](120, seed=12345)
    texts = text_weights(teacher, prompts, tmp_path)
    logits = teacher.logits(teacher.embed_images(pixels), texts)
    odds = organism_log_odds(logits, np.array([item.organism for item in prompts.classes]))
    assert auroc(odds, organism) >= 0.95


def test_attributes(raw) -> None:
    assert (raw.size, raw.dim, raw.device) == (64, 64, raw.device)
    assert len(raw.fingerprint) == 16 and raw.logit_scale == pytest.approx(1 / 0.07, rel=1e-5)
    assert raw.preprocessing == Preprocessing(64, "crop")


def test_embeddings_are_those_of_open_clip(raw, raw_clip, photos, torch) -> None:
    import open_clip
    from open_clip.transform import PreprocessCfg, image_transform_v2
    from safetensors.torch import load_file

    model = open_clip.CLIP(**read_json(raw_clip[0])).eval()
    model.load_state_dict(load_file(raw_clip[1]))
    prepare = image_transform_v2(PreprocessCfg(size=64), is_train=False)
    with torch.no_grad():
        images = torch.stack([prepare(Image.fromarray(item)) for item in photos])
        seen = model.encode_image(images, normalize=True).numpy()
        tokens = open_clip.tokenizer.SimpleTokenizer(context_length=24)(TEXTS)
        read = model.encode_text(tokens, normalize=True).numpy()
    close = 1e-5 if raw.device == "cpu" else 2e-2
    for found, wanted in ((raw.embed_images(photos), seen), (raw.embed_texts(TEXTS), read)):
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, wanted, atol=close)
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert raw.embed_images(photos[:0]).shape == (0, 64)


@pytest.mark.parametrize("wrong", [np.zeros((1, 32, 32, 3), np.uint8), np.zeros((1, 64, 64, 3))])
def test_other_pixels_are_refused(raw, wrong) -> None:
    with pytest.raises(ValueError, match="pixels must be uint8"):
        raw.embed_images(wrong)


def test_the_fingerprint_follows_weights_and_architecture(raw, raw_clip, state, tmp_path) -> None:
    from safetensors.torch import save_file

    config = tmp_path / "quick.json"
    write_json(config, read_json(raw_clip[0]) | {"quick_gelu": True})
    state["visual.conv1.weight"][0, 0, 0, 0] += 1e-3
    save_file(state, tmp_path / "other.safetensors")
    found = {
        raw.fingerprint,
        load_teacher(str(config), raw_clip[1]).fingerprint,
        load_teacher(str(raw_clip[0]), tmp_path / "other.safetensors").fingerprint,
    }
    assert len(found) == 3


def test_offline_the_message_says_what_to_fetch(monkeypatch, torch, one_line) -> None:
    import urllib.request

    import huggingface_hub

    def absent(*args, **settings):
        raise FileNotFoundError("not here\nsecond line")

    def offline(*args, **settings):
        raise OSError("Name or service not known")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", absent)
    monkeypatch.setattr(urllib.request, "urlopen", offline)
    with pytest.raises(WeightsError) as caught:
        load_teacher("BioCLIP")
    line = one_line(str(caught.value))
    for text in ("not known", "https://huggingface.co/imageomics/bioclip", "--teacher-weights"):
        assert text in line


def test_downloaded_weights_are_used(monkeypatch, raw_clip, raw, torch) -> None:
    import dataclasses

    import huggingface_hub

    from rs_train.teacher import teacher

    asked = []
    plan = dataclasses.replace(architecture(str(raw_clip[0])), repository="owner/name")
    monkeypatch.setattr(teacher, "architecture", lambda name: plan)
    monkeypatch.setattr(
        huggingface_hub,
        "hf_hub_download",
        lambda *names, **settings: asked.append(names) or str(raw_clip[1]),
    )
    assert load_teacher("any").fingerprint == raw.fingerprint
    assert asked == [("owner/name", "open_clip_model.safetensors")]


def test_names(torch) -> None:
    plans = {name: architecture(name) for name in TEACHERS}
    assert {name: (plan.size, plan.resize) for name, plan in plans.items()} == {
        "ViT-B-32": (224, "crop"),
        "ViT-B-16": (224, "crop"),
        "BioCLIP": (224, "crop"),
        "MobileCLIP-S1": (256, "crop"),
        "MobileCLIP-S2": (256, "crop"),
    }
    assert all(plan.repository for plan in plans.values())
    assert plans["MobileCLIP-S1"].mean == (0, 0, 0) and plans["MobileCLIP-S1"].std == (1, 1, 1)
    assert plans["BioCLIP"].mean == pytest.approx((0.48145466, 0.4578275, 0.40821073))
    assert architecture("ViT-B-32:openai").config["quick_gelu"] is True
    assert architecture("ViT-L-14:imageomics/bioclip-2").repository == "imageomics/bioclip-2"
    assert architecture("ViT-L-14:laion2b_s32b_b82k").mean == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("ViT-B-33", "BioCLIP"),
        ("ViT-B-32:nobody", "ViT-B-32:openai"),
        ("ViT-L-14", "differ in preprocessing"),
        ("ViT-B-16-SigLIP", "tokenizer"),
        ("roberta-ViT-B-32", "tokenizer"),
        ("coca_ViT-B-32", "no plain CLIP"),
        ("", "BioCLIP"),
    ],
)
def test_other_names_are_one_line(torch, one_line, name, says) -> None:
    with pytest.raises(ConfigError) as caught:
        load_teacher(name)
    assert says in one_line(str(caught.value))


def test_an_architecture_alone_asks_which_weights(torch, one_line) -> None:
    with pytest.raises(WeightsError) as caught:
        load_teacher("ViT-S-16")
    assert "--teacher-weights" in one_line(str(caught.value))
    with pytest.raises(WeightsError) as caught:
        load_teacher("RN50")
    assert "RN50:openai" in one_line(str(caught.value))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"text_cfg": 3}, "no open_clip configuration"),
        ({"text_cfg": {"context_length": None}}, "context"),
        ({"embed_dim": "64"}, "embed_dim"),
        ({"embed_dim": True}, "embed_dim"),
        ({"vision_cfg": {"image_size": [64, 32]}}, "image_size"),
        ({"vision_cfg": {"image_size": 10**9}}, "image_size"),
        ({"text_cfg": {"context_length": 24, "vocab_size": 100}}, "49408"),
        ({"text_cfg": {"context_length": 24, "vocab_size": "100"}}, "49408"),
        ({"text_cfg": {"context_length": 24, "hf_tokenizer_name": "bert"}}, "bert"),
        (
            {"text_cfg": {"context_length": 24, "tokenizer_kwargs": {"bpe_path": "/etc/passwd"}}},
            "/etc/passwd",
        ),
        ({"vision_cfg": {"image_size": 64, "timm_model_name": "hf-hub:evil/model"}}, "no plain"),
        ({"multimodal_cfg": {}}, "no plain"),
        ({"evil": 1}, "cannot build it"),
        ({"vision_cfg": {"image_size": 64, "width": 10**6, "layers": 12}}, "3 billion"),
        ({"vision_cfg": {"image_size": 64, "timm_model_name": "no_such_model"}}, "cannot build"),
    ],
)
def test_a_wrong_configuration_is_one_line(raw_clip, tmp_path, one_line, change, says) -> None:
    path = tmp_path / "odd.json"
    write_json(path, read_json(raw_clip[0]) | change)
    with pytest.raises(ConfigError) as caught:
        load_teacher(str(path), raw_clip[1])
    assert says in one_line(str(caught.value))


@pytest.mark.parametrize(
    "text", ["", "[1]", "{", "[" * 99_999, "7", " " * 100_001, '{"model_cfg": 3}', "\ud800"]
)
def test_a_file_that_is_no_configuration_is_one_line(torch, tmp_path, one_line, text) -> None:
    path = tmp_path / "odd.json"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    for name in (path, tmp_path, tmp_path / "absent.json"):
        with pytest.raises(ConfigError) as caught:
            load_teacher(str(name) if name.suffix else f"{name}/.json")
        one_line(str(caught.value))


def test_pixels_are_as_the_configuration_says(raw_clip, tmp_path, torch) -> None:
    path = tmp_path / "open_clip_config.json"
    pixels = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25], "resize_mode": "squash"}
    path.write_text(json.dumps({"model_cfg": read_json(raw_clip[0]), "preprocess_cfg": pixels}))
    plan = architecture(str(path))
    assert (plan.mean, plan.std, plan.resize) == ((0.5,) * 3, (0.25,) * 3, "squash")
    path.write_text(json.dumps({"model_cfg": read_json(raw_clip[0]), "preprocess_cfg": {"std": 0}}))
    assert architecture(str(path)).std[0] == pytest.approx(0.26862954)
    for wrong in (
        {"std": [1, 1, 0]},
        {"mean": [1]},
        {"resize_mode": "tilt"},
        {"mean": "abc"},
        {"mean": [np.nan] * 3},
        3,
    ):
        path.write_text(json.dumps({"model_cfg": read_json(raw_clip[0]), "preprocess_cfg": wrong}))
        with pytest.raises(ConfigError):
            architecture(str(path))
