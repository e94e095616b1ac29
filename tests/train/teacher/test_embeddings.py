from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from rs_toolkit.data.photos import Photo
from rs_toolkit.data.taxonomy import Taxon
from rs_toolkit.progress import Progress
from rs_train.teacher.embeddings import photo_view, teacher_embeddings, text_weights
from rs_train.teacher.prompts import read_prompts
from rs_train.teacher.teacher import Teacher, load_teacher

PROMPTS = '[organism.a]\nnames=["a duck", "an owl"]\n[not_organism.b]\nnames=["a map"]\n'


@pytest.fixture(scope="module")
def teacher(raw_clip) -> Teacher:
    return load_teacher(str(raw_clip[0]), raw_clip[1])


@pytest.fixture
def photos() -> list[Photo]:
    return [Photo(path=f"{n}.png", taxon=Taxon(), sha256=f"{n:064x}") for n in range(70)]


@pytest.fixture
def asked() -> list[str]:
    """Paths of the photos whose pixels were looked at."""
    return []


@pytest.fixture
def embed(teacher, tmp_path, asked):
    """A function from photos to embeddings, with a cache of its own."""

    def pixels(photo: Photo):
        asked.append(photo.path)
        generator = np.random.default_rng(int(photo.sha256, 16))
        return generator.integers(0, 256, (64, 64, 3), np.uint8)

    def run(photos, *, by: Teacher = teacher, cache="cache", see=pixels, **settings):
        return teacher_embeddings(by, photos, see, tmp_path / cache, Progress(), **settings)

    run.pixels = pixels
    return run


def test_a_second_run_embeds_nothing(embed, photos, asked) -> None:
    first = embed(photos)
    assert first.shape == (70, 1, 64) and first.dtype == np.float32
    assert sorted(asked) == sorted(photo.path for photo in photos)
    asked.clear()
    np.testing.assert_array_equal(embed(photos[::-1]), first[::-1])
    assert asked == []


def test_embeddings_are_the_teachers_whatever_else_is_missing(embed, photos, teacher) -> None:
    whole = embed(photos)
    plain = teacher.embed_images(np.stack([embed.pixels(photo) for photo in photos]))
    np.testing.assert_allclose(whole[:, 0], plain, atol=1e-6)
    np.testing.assert_array_equal(embed(photos[40:43], cache="other"), whole[40:43])


def test_killed_at_half_it_goes_on(embed, photos, asked) -> None:
    def killed(photo: Photo):
        if len(asked) >= 50:
            raise KeyboardInterrupt
        return embed.pixels(photo)

    with pytest.raises(KeyboardInterrupt):
        embed(photos, see=killed)
    asked.clear()
    resumed = embed(photos)
    assert asked == [photo.path for photo in photos[32:]]
    np.testing.assert_array_equal(resumed, embed(photos, cache="other"))


@pytest.mark.parametrize("damage", ["empty", "half", "text", "archive", "shape", "type", "nan"])
def test_damaged_files_are_made_again(embed, photos, asked, tmp_path, damage) -> None:
    first = embed(photos[:5])
    file = next(tmp_path.rglob(f"{photos[3].sha256}.npy"))
    saved = np.load(file)
    if damage in ("empty", "half", "text"):
        size = file.stat().st_size // 2
        data = {"empty": b"", "half": file.read_bytes()[:size], "text": b"no array"}
        file.write_bytes(data[damage])
    elif damage == "archive":
        with file.open("wb") as opened:
            np.savez(opened, saved)
    else:
        changed = {"shape": saved[:, 1:], "type": saved.astype(float), "nan": saved * np.nan}
        np.save(file, changed[damage])
    asked.clear()
    np.testing.assert_array_equal(embed(photos[:5]), first)
    assert asked == ["3.png"]
    np.testing.assert_array_equal(np.load(file), saved)


def test_another_teacher_shares_nothing(embed, photos, teacher, asked) -> None:
    embed(photos[:3])
    asked.clear()
    embed(photos[:3], by=dataclasses.replace(teacher, fingerprint="0" * 16))
    assert len(asked) == 3


def test_a_box_is_another_photo(embed, photos, asked) -> None:
    boxed = dataclasses.replace(photos[0], box="0,0,0.5,0.5")
    embed([photos[0], boxed])
    assert len(asked) == 2


def test_views_are_embedded_once_and_share_the_first(embed, photos, asked, teacher) -> None:
    plain = embed(photos[:4])
    asked.clear()
    views = embed(photos[:4], views=3)
    assert views.shape == (4, 3, 64)
    np.testing.assert_array_equal(views[:, :1], plain)
    assert len(asked) == 4
    np.testing.assert_array_equal(embed(photos[:4], views=3), views)
    np.testing.assert_array_equal(embed(photos[:4]), plain)
    assert len(asked) == 4
    shown = photo_view(embed.pixels(photos[2]), photos[2].content, 2, seed=0)
    np.testing.assert_allclose(views[2, 2], teacher.embed_images(shown[None])[0], atol=1e-6)
    assert not np.array_equal(embed(photos[:4], views=3, seed=1)[:, 1], views[:, 1])


def test_no_views_are_refused(embed, photos) -> None:
    with pytest.raises(ValueError, match="views must be 1 or more"):
        embed(photos, views=0)


def test_no_photos_have_no_embeddings(embed) -> None:
    assert embed([], views=2).shape == (0, 2, 64)


def test_a_view_shows_the_same_part_at_any_size() -> None:
    x, y = np.meshgrid(np.linspace(0, 255, 256), np.linspace(0, 255, 256))
    large = np.stack([x, y, x], axis=-1).astype(np.uint8)
    small = large[2::4, 2::4]
    for number in range(1, 20):
        seen = [photo_view(pixels, "ab", number) for pixels in (large, small)]
        assert seen[0].shape == large.shape and seen[1].shape == small.shape
        np.testing.assert_allclose(seen[0][2::4, 2::4].astype(int), seen[1], atol=8)
    assert np.array_equal(photo_view(large, "ab", 0), large)


def test_views_differ_by_photo_number_and_seed() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    keys = [("ab", 1, 0), ("ab", 2, 0), ("ab", 1, 1), ("ac", 1, 0), ("ab", 11, 0), ("ab", 1, 10)]
    assert len({photo_view(pixels, *key).tobytes() for key in keys}) == len(keys)
    assert np.array_equal(photo_view(pixels, "ab", 1, 0), photo_view(pixels, "ab", 1, 0))


def test_views_are_crops_of_the_promised_area_and_half_are_mirrored() -> None:
    ramp = np.repeat(np.linspace(0, 255, 200)[None, :, None], 200, axis=0)
    pixels = np.repeat(ramp, 3, axis=2).astype(np.uint8)
    rows = [photo_view(pixels, f"{n}", 1)[0, :, 0].astype(int) for n in range(200)]
    spans = np.array([row[-1] - row[0] for row in rows]) / 255
    assert 0.3 < (spans < 0).mean() < 0.7
    assert np.all((np.abs(spans) ** 2 > 0.38) & (np.abs(spans) <= 1))


def test_class_weights_are_the_mean_of_unit_prompts(teacher, tmp_path) -> None:
    (tmp_path / "p.toml").write_text(PROMPTS)
    weights = text_weights(teacher, read_prompts(tmp_path / "p.toml"), tmp_path)
    mean = teacher.embed_texts(["a duck", "an owl"]).mean(axis=0)
    np.testing.assert_allclose(weights[0], mean / np.linalg.norm(mean), atol=1e-6)
    np.testing.assert_allclose(weights[1], teacher.embed_texts(["a map"])[0], atol=1e-6)
    logits = teacher.logits(weights, weights)
    np.testing.assert_allclose(np.diag(logits), teacher.logit_scale, rtol=1e-5)
    assert logits.shape == (2, 2) and logits[0, 1] == pytest.approx(logits[1, 0])


def test_changed_prompts_are_scored_without_embedding_photos(
    embed, photos, asked, teacher, tmp_path, monkeypatch
) -> None:
    read = []
    texts = Teacher.embed_texts
    monkeypatch.setattr(
        Teacher, "embed_texts", lambda self, items: read.append(len(items)) or texts(self, items)
    )
    path, cache = tmp_path / "p.toml", tmp_path / "cache"
    path.write_text(PROMPTS)
    first = text_weights(teacher, read_prompts(path), cache)
    before = embed(photos[:3])
    asked.clear()
    np.testing.assert_array_equal(text_weights(teacher, read_prompts(path), cache), first)
    assert read == [2, 1]
    path.write_text(PROMPTS.replace("map", "chart"))
    second = text_weights(teacher, read_prompts(path), cache)
    # The class that did not change is not embedded again.
    assert read == [2, 1, 1] and not np.array_equal(first[1], second[1])
    np.testing.assert_array_equal(embed(photos[:3]), before)
    assert asked == []
    for file in (cache / "results").rglob("*.npy"):
        file.write_bytes(b"damaged")
    for text, wanted in ((PROMPTS, first), (PROMPTS.replace("map", "chart"), second)):
        path.write_text(text)
        np.testing.assert_array_equal(text_weights(teacher, read_prompts(path), cache), wanted)
