"""Show an audit to people: a summary on the terminal, and one self-contained HTML page.

The page has no scripts and loads nothing; names and paths, which are untrusted, are escaped.
The same audit of the same photos gives the same bytes.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, astuple
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from PIL import Image

from rs_runtime.errors import PhotoError
from rs_toolkit.audit.plots import bars, long_tail, page, table, text
from rs_toolkit.audit.statistics import Audit, binned
from rs_toolkit.checks.findings import Finding
from rs_toolkit.data.photos import Photo
from rs_toolkit.data.taxonomy import printable
from rs_toolkit.errors import DataError
from rs_toolkit.files import atomic_write, write_json

__all__ = ["print_summary", "print_table", "thumbnail", "write_audit"]

Pixels = Callable[[Photo], NDArray[Any]]

_CLASS_SIZES = (5, 10, 20, 50, 100, 200, 500)
_MOST_LISTED = {"terminal": 5, "page": 200, "classes": 2000}
_RANK_HEAD = ("rank", "names", "labelled", "unlabelled")
_THUMBNAIL = 112
_QUALITY = 70
_MEANINGS = {
    "unreadable": "The file cannot be used, for the reason given.",
    "exact_duplicate": "The same bytes as another photo.",
    "near_duplicate": "Nearly the same picture as another photo.",
    "blank": "Almost no structure: an empty frame, or one far out of focus.",
    "dark": "Too little light to see much.",
    "blurred": "Nothing is sharp at 224 x 224 pixels.",
    "label_noise": "Similar photos have another label, so this one is probably wrong.",
    "not_organism": "The filter finds no organism in the photo.",
    "outlier": "Unlike the other photos of its class.",
}


def write_audit(
    audit: Audit, folder: Path, photos: Sequence[Photo], pixels: Pixels, title: str
) -> tuple[Path, Path]:
    """Write ``audit.json`` and ``audit.html`` into a folder, made if absent; return their paths.

    The page shows labels from ``photos``, and thumbnails of what ``pixels`` returns: a photo as
    uint8 RGB (S, S, 3).  A photo whose pixels cannot be read gets no thumbnail.
    """
    data, html = folder / "audit.json", folder / "audit.html"
    write_json(data, asdict(audit))
    with atomic_write(html) as temporary:
        temporary.write_text(_page(audit, photos, pixels, title), "utf-8", newline="\n")
    return data, html


def print_summary(audit: Audit) -> None:
    """Print the main figures as tables."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    for conflict in audit.conflicts[: _MOST_LISTED["terminal"]]:
        names = "; ".join(f"{path}: {name or 'none'}" for path, name in conflict.photos[:4])
        line = f"same bytes, different {conflict.rank}: {names}"
        console.print(Text(printable(line), style="red"), soft_wrap=True)
    if (more := len(audit.conflicts) - _MOST_LISTED["terminal"]) > 0:
        console.print(Text(f"… and {more:,} more of the same bytes, two labels", style="red"))
    print_table(("", ""), _figures(audit))
    print_table(_RANK_HEAD, _ranks(audit))
    flags = audit.flags.items()
    rows = [(_name(flag), f"{item.photos:,}", f"{item.share:.1%}") for flag, item in flags]
    print_table(("flag", "photos", "share"), rows)
    unreadable = list(audit.reasons.items())[: _MOST_LISTED["terminal"]]
    print_table(("why unreadable", "photos"), unreadable)


def print_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows as a table, without a head where all titles are empty; nothing if no rows."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not rows:
        return
    # Text, because rich would read "[red]" in a name as markup.
    shown = Table(show_header=any(head))
    for place, name in enumerate(head):
        shown.add_column(name, justify="right" if place else "left")
    for row in rows:
        shown.add_row(*(Text(printable(str(cell))) for cell in row))
    Console(highlight=False).print(shown)


def _figures(audit: Audit) -> list[tuple[str, str]]:
    """Return the main figures as (name, value)."""
    found = [
        ("photos listed", f"{audit.rows:,}"),
        ("readable", f"{audit.readable:,}"),
        (f"without {_name(audit.rank)}", f"{audit.ranks[audit.rank].unlabelled:,}"),
        (f"classes ({_name(audit.rank)})", f"{audit.ranks[audit.rank].names:,}"),
    ]
    if uneven := audit.imbalance:
        under = uneven.under.items()
        found += [
            ("largest, smallest class", f"{uneven.largest:,}, {uneven.smallest:,}"),
            ("largest : smallest", f"{uneven.ratio:.1f}"),
            ("Gini coefficient", f"{uneven.gini:.2f}"),
            ("effective classes", f"{uneven.effective_classes:.1f}"),
            *((f"classes under {limit} photos", f"{share:.0%}") for limit, share in under),
        ]
    for name, places in (("sites", audit.sites), ("observations", audit.observations)):
        if places:
            found.append((f"{name} (photos with one)", f"{places.names:,} ({places.photos:,})"))
    if audit.conflicts:
        found.append(("same bytes, two labels", f"{len(audit.conflicts):,}"))
    return found


def _name(rank: str) -> str:
    return rank.replace("_", " ")


def _ranks(audit: Audit) -> list[tuple[str, ...]]:
    counts = {_name(rank): astuple(item) for rank, item in audit.ranks.items()}
    return [(rank, *(f"{count:,}" for count in of)) for rank, of in counts.items()]


def _page(audit: Audit, photos: Sequence[Photo], pixels: Pixels, title: str) -> str:
    # Two rows may have the same path: the first that can be used is shown.
    known = {photo.path: photo for photo in reversed(photos) if photo.error is None}
    cards = (
        f'<div class="card"><b>{text(value)}</b>{text(name)}</div>\n'
        for name, value in _figures(audit)
    )
    parts = [
        f"<h1>{text(title)}: what the photos and labels are like</h1>\n",
        *_conflicts(audit),
        f'<div class="cards">{"".join(cards)}</div>\n',
        *_labels(audit),
        *_files(audit),
        *_flagged(audit, known, pixels),
    ]
    return page(f"{title}: audit", parts)


def _conflicts(audit: Audit) -> Iterator[str]:
    if not audit.conflicts:
        return
    yield '<h2 class="alarm">Same bytes, two labels</h2>\n'
    yield "<p>At most one label of each is right. The highest rank that differs is shown.</p>\n"
    rows = [
        (number if place == 0 else "", name or "none", _name(item.rank), path)
        for number, item in enumerate(audit.conflicts[: _MOST_LISTED["page"]], 1)
        for place, (path, name) in enumerate(item.photos)
    ]
    yield table(("", "label", "rank", "photo"), rows)
    yield _rest(len(audit.conflicts), "page")


def _rest(count: int, kind: str) -> str:
    more = count - _MOST_LISTED[kind]
    return f'<p class="dim">… and {more:,} more in audit.json</p>\n' if more > 0 else ""


def _labels(audit: Audit) -> Iterator[str]:
    yield "<h2>Labels</h2>\n"
    if audit.counted == "all":
        yield "<p>No photo can be read: labels are counted over all rows.</p>\n"
    sizes = [item.photos for item in audit.classes if item.photos]
    rank = _name(audit.rank)
    if sizes:
        yield '<div class="plots">'
        yield long_tail(f"Photos per {rank}, largest to smallest (logarithmic)", sizes)
        yield bars(f"Number of {rank} classes by their photos", binned(sizes, _CLASS_SIZES))
        yield "</div>\n"
    yield table(_RANK_HEAD, _ranks(audit), numbers=True)
    if audit.classes:
        rows = [astuple(item) for item in audit.classes]
        yield f"<details><summary>All {len(rows):,} classes ({rank})</summary>\n"
        shown = rows[: _MOST_LISTED["classes"]]
        yield table(("class", "photos", "unreadable"), shown, numbers=True)
        yield _rest(len(rows), "classes") + "</details>\n"


def _files(audit: Audit) -> Iterator[str]:
    if audit.notes:
        yield "<h2>Noticed while reading</h2>\n"
        yield table(("note",), [(note,) for note in audit.notes[: _MOST_LISTED["page"]]])
        yield _rest(len(audit.notes), "page")
    if sizes := audit.sizes:
        yield '<h2>Files</h2>\n<div class="plots">'
        yield bars("Photos by their shorter side (px)", sizes.shorter_side)
        yield bars("Photos by colour mode", audit.modes) + "</div>\n"
        names, spreads = ("width (px)", "height (px)", "file (bytes)"), astuple(sizes)[:3]
        rows = [(name, *map("{:,.0f}".format, of)) for name, of in zip(names, spreads, strict=True)]
        yield table(("", "minimum", "median", "maximum"), rows, numbers=True)
    if audit.unreadable:
        yield f"<h2>Unreadable: {len(audit.unreadable):,}</h2>\n"
        reasons = list(audit.reasons.items())[: _MOST_LISTED["page"]]
        yield table(("reason", "photos"), reasons, numbers=True)
        yield "<details><summary>Which</summary>\n"
        yield table(("photo", "reason"), audit.unreadable[: _MOST_LISTED["page"]])
        yield _rest(len(audit.unreadable), "page") + "</details>\n"


def _flagged(audit: Audit, known: dict[str, Photo], pixels: Pixels) -> Iterator[str]:
    if audit.flags:
        yield "<h2>What the checks found</h2>\n<p>Nothing is deleted or changed.</p>\n"
        yield bars("Photos by flag", {_name(k): item.photos for k, item in audit.flags.items()})
    for flag, item in audit.flags.items():
        # Unreadable photos are listed already, and have no picture to show.
        if not item.photos or flag == "unreadable":
            continue
        yield f"<h2>{text(_name(flag)).capitalize()}: {item.photos:,} ({item.share:.1%})</h2>\n"
        yield f'<p>{_MEANINGS[flag]}</p>\n<div class="photos">'
        for finding in item.worst:
            yield _figure(finding, known.get(finding.path), pixels, audit.rank)
        yield "</div>\n"
        if item.photos > len(item.worst):
            yield f'<p class="dim">Shown: the {len(item.worst)} with the highest scores.</p>\n'


def _figure(finding: Finding, photo: Photo | None, pixels: Pixels, rank: str) -> str:
    label = photo.label(rank) if photo else None
    lines = [finding.path, label or "no label", f"score {finding.score:.2f}", finding.detail]
    if finding.suggested_label:
        lines.append(f"suggested: {finding.suggested_label}")
    picture = thumbnail(photo, pixels) if photo else ""
    caption = "<br>".join(text(line) for line in lines if line)
    return f"<figure>{picture}<figcaption>{caption}</figcaption></figure>\n"


def thumbnail(photo: Photo, pixels: Pixels) -> str:
    """Return a photo as a small inline image; nothing where its pixels cannot be read."""
    try:
        image = Image.fromarray(pixels(photo))
    except (PhotoError, DataError, OSError):
        return ""
    image.thumbnail((_THUMBNAIL, _THUMBNAIL))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_QUALITY)
    data = base64.b64encode(buffer.getvalue()).decode()
    width, height = image.size
    return f'<img width="{width}" height="{height}" alt="" src="data:image/jpeg;base64,{data}">'
