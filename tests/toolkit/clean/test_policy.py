from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rs_toolkit.checks.findings import Finding, read_findings, write_findings
from rs_toolkit.clean.policy import Policy, Rule, apply_policy
from rs_toolkit.clean.report import tally, write_clean_report
from rs_toolkit.data.photos import Photo
from rs_toolkit.data.taxonomy import Taxon
from rs_toolkit.errors import ConfigError


def photos_of(sizes: dict[str, int], side: str = "train") -> list[Photo]:
    return [
        Photo(f"{label}/{n}.jpg", Taxon(phylum="chordata", family=label), split=side)
        for label, count in sizes.items()
        for n in range(count)
    ]


def noise(path: str, score: float = 0.99, weight: float = 0.0) -> Finding:
    return Finding(path, "label_noise", score, "other", weight)


def weights(photos: tuple[Photo, ...]) -> dict[str, float]:
    return {photo.path: photo.weight for photo in photos}


def test_a_class_loses_at_most_its_share_to_the_worst_findings() -> None:
    photos = photos_of({"felidae": 20})
    findings = [noise(f"felidae/{n}.jpg", score=n / 100) for n in range(10)]
    after, decided = apply_policy(photos, findings, Policy(), "family")
    lost = {path: 1 - weight for path, weight in weights(after).items() if weight < 1}
    assert lost == {"felidae/9.jpg": 1, "felidae/8.jpg": 1}
    assert [item.weight for item in decided if item.wanted == 0] == [
        weights(after)[item.path] for item in decided
    ]
    assert len(decided) == 10


def test_what_no_longer_fits_is_weighed_down_by_what_is_left() -> None:
    photos = photos_of({"felidae": 15})
    findings = [noise("felidae/1.jpg", 0.9), noise("felidae/0.jpg", 0.8)]
    after = weights(apply_policy(photos, findings, Policy(), "family")[0])
    assert after["felidae/1.jpg"] == 0
    assert after["felidae/0.jpg"] == pytest.approx(0.5)


def test_a_burst_counts_as_one_photo_as_in_training() -> None:
    """Counted photo by photo, a wrongly labelled burst of 11 kept 8 of its photos."""
    photos = photos_of({"felidae": 25})
    photos = [replace(p, group="burst") if n < 11 else p for n, p in enumerate(photos)]
    findings = [noise(photo.path) for photo in photos[:11]]
    after, _ = apply_policy(photos, findings, Policy(), "family")
    assert [photo.weight for photo in after] == [0] * 11 + [1] * 14
    # 15 photos, of which a tenth is 1.5; then half a photo is left for another.
    findings += [noise("felidae/20.jpg", 0.5), noise("felidae/21.jpg", 0.4)]
    after, _ = apply_policy(photos, findings, Policy(), "family")
    assert weights(after)["felidae/20.jpg"] == pytest.approx(0.5)
    assert weights(after)["felidae/21.jpg"] == 1
    assert tally(after, (), "family")["felidae"].lost == pytest.approx(1.5)


def test_a_group_in_a_class_that_may_lose_nothing_keeps_its_photos() -> None:
    photos = [replace(photo, group="burst") for photo in photos_of({"felidae": 9})]
    after, _ = apply_policy(photos, [noise(p.path) for p in photos], Policy(), "family")
    assert after == tuple(photos)


def test_small_classes_keep_their_floor() -> None:
    photos = photos_of({"rare": 5, "rarer": 2, "six": 6})
    findings = [noise(photo.path) for photo in photos]
    after, _ = apply_policy(photos, findings, Policy(max_loss=1.0), "family")
    kept = {name: sum(p.weight for p in after if p.taxon.family == name) for name in
            ("rare", "rarer", "six")}  # fmt: skip
    assert kept == {"rare": 5, "rarer": 2, "six": 5}


@pytest.mark.parametrize("side", ["val", "test", None])
def test_other_photos_are_never_touched(side) -> None:
    photos = photos_of({"felidae": 100}, side)
    findings = [noise(photo.path) for photo in photos]
    after, decided = apply_policy(photos, findings, Policy(), "family")
    assert after == tuple(photos) and decided == ()


def test_rules_say_which_findings_count() -> None:
    photos = photos_of({"felidae": 100})
    findings = [
        Finding("felidae/0.jpg", "blank", 0.9),
        Finding("felidae/1.jpg", "blank", 0.2),
        Finding("felidae/2.jpg", "dark", 0.9, suggested_weight=0.5),
        Finding("felidae/3.jpg", "outlier", 1.0, suggested_weight=0.0),
        Finding("felidae/4.jpg", "unreadable", 1.0, suggested_weight=0.0),
        Finding("absent.jpg", "blank", 1.0),
    ]
    rules = {"blank": {"min_score": 0.5}, "unreadable": {"action": "drop"}}
    policy = Policy.from_dict(rules)
    after = weights(apply_policy(photos, findings, policy, "family")[0])
    assert [after[f"felidae/{n}.jpg"] for n in range(5)] == [0, 1, 0.5, 1, 1]


def test_what_review_took_is_not_given_back() -> None:
    photos = photos_of({"felidae": 20})
    photos[0] = replace(photos[0], weight=0.0)
    after = weights(apply_policy(photos, [noise("felidae/1.jpg")], Policy(), "family")[0])
    assert after["felidae/0.jpg"] == after["felidae/1.jpg"] == 0


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.sampled_from("abcde"), st.integers(1, 40), min_size=1),
    st.lists(st.tuples(st.integers(0, 200), st.floats(0, 1), st.floats(0, 1)), max_size=60),
    st.floats(0, 1),
    st.integers(1, 20),
    st.integers(1, 4),
)
def test_no_class_loses_more_than_its_cap(sizes, picks, max_loss, min_photos, burst) -> None:
    photos = photos_of(sizes)
    if burst > 1:
        photos = [replace(p, group=f"g{n // burst}") for n, p in enumerate(photos)]
    findings = [noise(photos[n % len(photos)].path, score, weight) for n, score, weight in picks]
    policy = Policy(max_loss=max_loss, min_photos=min_photos)
    after, _ = apply_policy(photos, findings, policy, "family")
    for label in sizes:
        own: dict[str, list[float]] = defaultdict(list)
        for photo in after:
            if photo.taxon.family == label:
                own[photo.group or photo.path].append(photo.weight)
        count, lost = len(own), sum(1 - max(weights) for weights in own.values())
        assert lost <= max_loss * count + 1e-9
        assert count - lost >= min(count, min_photos) - 1e-9


@pytest.mark.parametrize(
    "values",
    [
        {"max_loss": 1.5},
        {"max_loss": True},
        {"max_loss": float("nan")},
        {"min_photos": 0},
        {"min_photos": 2.5},
        {"noise": {}},
        {"blank": 0.5},
        {"blank": {"action": "delete"}},
        {"blank": {"min_score": "high"}},
        {"blank": {"weight": 0.5}},
        {"rules": {}},
    ],
)
def test_bad_policies_are_refused(values, one_line) -> None:
    with pytest.raises(ConfigError) as caught:
        Policy.from_dict(values)
    one_line(str(caught.value))


def test_policies_round_trip_as_toml() -> None:
    policy = Policy.from_dict({"max_loss": 0.2, "outlier": {"action": "drop", "min_score": 0.9}})
    assert policy.rules["outlier"] == Rule("drop", 0.9)
    plain = policy.to_dict()
    assert Policy.from_dict({**plain.pop("rules"), **plain}) == policy


def test_the_report_counts_by_class_and_phylum(tmp_path) -> None:
    photos = photos_of({"felidae": 20, "odd|name": 6})
    findings = [noise("felidae/0.jpg"), noise("felidae/1.jpg", weight=0.25)]
    after, decided = apply_policy(photos, findings, Policy(), "family")
    rows = tally(after, decided, "family")
    assert (rows["felidae"].kept, rows["felidae"].weighed, rows["felidae"].dropped) == (18, 1, 1)
    assert rows["felidae"].lost == pytest.approx(1.75)
    assert tally(after, decided, "phylum")["chordata"].why == {"label_noise": 2}
    write_clean_report(tmp_path, after, findings, decided, Policy(), "family")
    text = (tmp_path / "clean.md").read_text()
    assert "| felidae | 20 | 18 | 1 | 1 | 1.75 | label_noise 2 |" in text
    assert "odd\\|name" in text
    assert (tmp_path / "decided.csv").read_text().splitlines()[1] == (
        "felidae/0.jpg,felidae,0,0,label_noise"
    )


def test_findings_round_trip(tmp_path) -> None:
    findings = (noise("a"), Finding("b", "dark", 0.5, detail="2 % of the light"))
    write_findings(tmp_path / "f.parquet", findings)
    assert read_findings(tmp_path / "f.parquet") == findings


@pytest.mark.parametrize("wrong", [{"score": 1.5}, {"score": float("nan")}, {"flag": "odd"},
                                   {"suggested_weight": -0.1}])  # fmt: skip
def test_findings_out_of_range_are_refused(wrong) -> None:
    with pytest.raises(ValueError, match="finding a"):
        Finding(**{"path": "a", "flag": "dark", "score": 0.5, **wrong})


def test_the_rule_of_confident_learning_can_be_chosen() -> None:
    assert Policy.from_dict({"label_filter": "both"}).label_filter == "both"
    with pytest.raises(ConfigError, match="wanted one of prune_by_class"):
        Policy.from_dict({"label_filter": "guess"})
