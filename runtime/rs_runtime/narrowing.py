"""What narrows the classes of a kit's answers: a list of species, a place, and a language."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rs_runtime.errors import PlaceError
from rs_runtime.ranks import levels

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from rs_runtime.kit.manifest import Manifest
    from rs_runtime.places import Place

__all__ = ["Narrowing"]


class Narrowing:
    """Which of the kit's classes a model answers with, and under which names.

    Attributes
    ----------
    manifest
        The kit's, with the common names of the language that was asked for.
    allowed
        The classes that a list of species, or a place, allows, bool (classes,); None: all.
    expected
        The classes that may occur at a place, bool (classes,); None: no place.
    weights
        Factors on the probabilities of the classes, float32 (classes,): 1 where they are expected;
        None: no place, or one that leaves the others out.
    """

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = self._own_manifest = manifest
        self._levels = self._all_levels = levels(manifest.classes, manifest.rank)
        self.allowed: NDArray[np.bool_] | None = None
        self.expected: NDArray[np.bool_] | None = None
        self.weights: NDArray[np.float32] | None = None

    def restrict(self, species: str | Path | Iterable[str] | None) -> str | None:
        """Allow only the classes of a list of species, before photos are classified.

        A place that was expected before counts no more.

        Parameters
        ----------
        species
            A file, as for :func:`rs_runtime.species.read_species`, or names of any rank; None
            allows all classes.

        Returns
        -------
        str or None
            One line about names that the kit does not have, if there are any.

        Raises
        ------
        SpeciesListError
            The list cannot be read, or allows no class.
        """
        self.allowed, self._levels = None, self._all_levels
        self.expected = self.weights = None
        if species is None:
            return None
        from rs_runtime.species import allowed_classes, allowed_levels, read_species

        where = "species list"
        if isinstance(species, str | Path):
            where = f"species list {str(species)!r}"
            species = read_species(Path(species))
        found = allowed_classes(species, self.manifest.classes, where)
        self.allowed = found.classes
        self._levels = allowed_levels(self._all_levels, found.classes)
        return found.warning

    def expect(self, place: Place) -> str | None:
        """Make classes outside their range less probable, before photos are classified.

        It comes once after :meth:`restrict`, which may allow all classes.  Odds between classes are
        those of the model times the factors, as for a change of their prevalences (Saerens,
        Latinne, Decaestecker 2002, "Adjusting the Outputs of a Classifier to New a Priori
        Probabilities").

        Parameters
        ----------
        place
            Where the photos were taken, and how much less probable the others are.

        Returns
        -------
        str or None
            One line about classes without a range, if there are any.

        Raises
        ------
        PlaceError
            The kit has no such ranges, or no class is left.
        """
        from rs_runtime.places import expected_classes
        from rs_runtime.species import allowed_levels

        found = expected_classes(place, self.manifest.classes, self.manifest.name)
        both = found.classes if self.allowed is None else found.classes & self.allowed
        if not both.any():
            raise PlaceError(f"no class on the species list is expected in {place}; mend one")
        self.expected = found.classes
        if place.weight > 0:
            self.weights = np.where(found.classes, 1, place.weight).astype(np.float32)
        else:
            self.allowed = both
            self._levels = allowed_levels(self._all_levels, both)
        return found.warning

    def narrow(
        self,
        species: str | Path | Iterable[str] | None = None,
        place: Place | None = None,
        locale: str | None = None,
    ) -> list[str]:
        """Take what is known of the photos, before they are classified; return warnings.

        It replaces what was known before: without a place, or another of these, there is none.

        Parameters
        ----------
        species
            As for :meth:`restrict`: other classes are not answered with.
        place
            As for :meth:`expect`: classes outside their range are less probable.
        locale
            A language for common names, such as ``sw`` or ``pt-BR``: see
            :func:`rs_runtime.places.localized`.

        Raises
        ------
        SpeciesListError, PlaceError
            As for these methods.
        """
        self.manifest = self._own_manifest
        problems: list[str | None] = []
        if locale is not None:
            from rs_runtime.places import localized

            self.manifest, problem = localized(self.manifest, locale)
            problems.append(problem)
        problems.append(self.restrict(species))
        if place is not None:
            problems.append(self.expect(place))
        return [problem for problem in problems if problem]

    @property
    def favoured(self) -> NDArray[np.bool_] | None:
        """The classes that are on the list and expected at the place, bool (classes,).

        None: there is neither a list nor a place.
        """
        if self.expected is None or self.allowed is None:
            return self.allowed if self.expected is None else self.expected
        return self.expected & self.allowed
