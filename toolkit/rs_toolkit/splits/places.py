"""Which question the test photos answer: how good at the same places, or at new ones?

A model knows the backgrounds of the cameras that it was trained on, and is better there than
elsewhere (Beery, Van Horn and Perona 2018, "Recognition in terra incognita").
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rs_toolkit.data.photos import Photo

__all__ = ["Places", "places_of_folds", "places_of_test"]

_ANSWERS = {
    "same": "how good at the same places as in training?",
    "new": "how good at new places?",
    "unknown": "how good at photos like those of training, perhaps of the same places?",
}


@dataclass(frozen=True)
class Places:
    """Where the test photos were taken, compared with the training photos.

    ``places`` is ``same`` if any test photo's site is one of training, ``new`` if none is, and
    ``unknown`` if no test photo or no training photo has a site.  ``test_photos`` counts all of
    them, ``with_site`` those whose site is known, ``at_trained_sites`` those at a site of training.
    """

    places: str
    test_photos: int
    with_site: int
    at_trained_sites: int

    @property
    def text(self) -> str:
        """The question that a number measured on the test photos answers, in one line."""
        if self.places == "unknown":
            why = "(no site is known)"
        elif self.places == "new":
            rest = self.test_photos - self.with_site
            more = f"; {rest} have no site" if rest else ""
            why = f"(no test photo is from a site of training{more})"
        else:
            why = (
                f"({self.at_trained_sites} of {self.with_site} test photos with a site are from "
                "sites of training; to learn how good at new ones, use --group-by site)"
            )
        return f"{_ANSWERS[self.places]} {why}"

    def to_dict(self) -> dict[str, str | int]:
        """Return JSON values for ``metrics.json``: the fields and the text."""
        return {**vars(self), "text": self.text}


def places_of_test(photos: Iterable[Photo]) -> Places:
    """Compare the sites of test photos with those of training photos, by :attr:`Photo.split`."""
    photos = list(photos)
    trained = {photo.site for photo in photos if photo.split == "train" and photo.site}
    test = [photo.site for photo in photos if photo.split == "test"]
    return _places(test, [site in trained for site in test], bool(trained))


def places_of_folds(
    photos: Sequence[Photo], folds: Sequence[int], judged: Sequence[bool]
) -> Places:
    """Compare the sites of the ``judged`` photos with those of all photos in other folds."""
    found: dict[str, set[int]] = {}
    for photo, fold in zip(photos, folds, strict=True):
        if photo.site:
            found.setdefault(photo.site, set()).add(fold)
    test = [photo.site for photo, own in zip(photos, judged, strict=True) if own]
    trained = [site is not None and len(found.get(site, ())) > 1 for site in test]
    return _places(test, trained, len(set().union(*found.values())) > 1)


def _places(sites: Sequence[str | None], trained: Sequence[bool], known: bool) -> Places:
    """Summarize the sites of test photos; ``known`` says whether training knows any site."""
    with_site, seen = sum(map(bool, sites)), sum(trained)
    places = "unknown" if not (known and with_site) else "same" if seen else "new"
    return Places(places, len(sites), with_site, seen)
