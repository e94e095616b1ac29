"""One HTML file about a run: counts, answers by taxon with thumbnails, and what failed.

It needs nothing else: thumbnails are in it, there are no scripts, and the page forbids its browser
to load anything.
"""

from __future__ import annotations

import base64
import html
import io
from dataclasses import dataclass, field
from pathlib import Path

from rs_runtime.console import counted, printable
from rs_runtime.errors import PhotoError
from rs_runtime.outputs.context import Context
from rs_runtime.outputs.labels import BLANK, FAILURE, TAXON, UNSURE, Label, folder_name
from rs_runtime.outputs.pending import PendingText
from rs_runtime.results import Result

__all__ = ["Page"]

# A thumbnail takes 5 to 10 kB, so the page stays below 5 MB.
_SIDE, _QUALITY = 176, 70
_OF_A_GROUP, _ON_A_PAGE, _FAILURES = 24, 480, 200
_ORDER = (TAXON, UNSURE, BLANK, FAILURE)

_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:;
 style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem }}
body {{ padding: 0 1rem }}
h2 {{ margin: 2.2rem 0 .4rem }} .few {{ color: #555 }}
.photos {{ display: flex; flex-wrap: wrap; gap: .8rem }}
figure {{ margin: 0; width: 11rem }} img {{ max-width: 11rem; display: block }}
figcaption {{ font-size: 12px; overflow-wrap: anywhere }}
table {{ border-collapse: collapse }} td, th {{ padding: .15rem .8rem .15rem 0; text-align: left }}
td.n {{ text-align: right }} li {{ overflow-wrap: anywhere }}
</style></head><body>
"""


@dataclass
class _Group:
    """Photos of one label; ``figures`` are HTML, of the first few photos."""

    label: Label
    count: int = 0
    figures: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)


class Page:
    """Writes the page when the run ends; photos are decoded once more for their thumbnails."""

    def __init__(self, context: Context, file: PendingText) -> None:
        self._context, self._file = context, file
        self._groups: dict[tuple[str, str], _Group] = {}
        self._shown = self._without = 0

    def add(self, found: Result) -> None:
        """Count one photo, and keep a thumbnail if there is room for it."""
        label = self._context.labels.of(found)
        key = label.kind, folder_name(label)
        group = self._groups.setdefault(key, _Group(label))
        group.count += 1
        path = self._context.relative(found.path)
        if label.kind == FAILURE:
            if len(group.lines) < _FAILURES:
                group.lines.append(f"<li>{_text(label.remark)}</li>")
        elif len(group.figures) < _OF_A_GROUP and self._shown < _ON_A_PAGE:
            self._shown += 1
            certain = "" if label.probability is None else f"{label.probability:.0%} "
            picture = _thumbnail(self._context.photo(found.path))
            self._without += not picture
            picture = picture or "<p>no picture</p>"
            caption = f'<b>{certain}</b>{_text(path)}<br><span class="few">{_text(label.remark)}'
            figure = f"<figure>{picture}<figcaption>{caption}</span></figcaption></figure>"
            group.figures.append(figure)

    def close(self, complete: bool) -> None:
        """Write the page, and put it in its place."""
        title = f"{Path(self._context.base).name or 'photos'}: answers of {self._context.model}"
        write, tell = self._file.write, self._context.tell
        groups = sorted(self._groups.items(), key=self._place)
        total = sum(group.count for _, group in groups)
        write(_HEAD.format(title=_text(title)))
        photos = counted(total, "photo")
        write(f"<h1>{_text(title)}</h1>\n<p>{photos}, {self._shown:,} of them shown here")
        write(f" (at most {_OF_A_GROUP} of a group and {_ON_A_PAGE} in all). ")
        write(
            f"{'' if complete else 'The run was interrupted. '}By {_text(self._context.software)};"
        )
        write(" no person has checked the answers.</p>\n<table>\n")
        for number, ((_, name), group) in enumerate(groups):
            row = f'<td><a href="#g{number}">{_text(name)}</a></td><td>{_title(group.label)}</td>'
            write(f'<tr>{row}<td class="n">{group.count:,}</td></tr>\n')
        write("</table>\n")
        for number, ((_, name), group) in enumerate(groups):
            shown = len(group.figures) + len(group.lines)
            write(f'<h2 id="g{number}">{_text(name)} <small>{_title(group.label)}</small></h2>\n')
            of = counted(group.count, "photo")
            write(f'<p class="few">{of}, {shown:,} shown</p>\n')
            if group.figures:
                write('<div class="photos">\n' + "\n".join(group.figures) + "\n</div>\n")
            if group.lines:
                write("<ul>\n" + "\n".join(group.lines) + "\n</ul>\n")
        write("</body></html>\n")
        less = f", {self._without:,} of them without a picture: videos, and photos that are gone"
        tell(
            f"wrote {str(self._file.close(complete))!r}: {self._shown:,} of {photos} shown"
            f"{less if self._without else ''}"
        )

    @staticmethod
    def _place(item: tuple[tuple[str, str], _Group]) -> tuple[int, int, str]:
        """Return what groups are sorted by: taxa first, the most frequent first."""
        (kind, name), group = item
        return _ORDER.index(kind), -group.count, name

    def discard(self) -> None:
        """Remove what was written."""
        self._file.discard()


def _text(text: str) -> str:
    """Return a text as HTML, with control characters escaped."""
    return html.escape(printable(text))


def _title(label: Label) -> str:
    """Return the rank and the common name of a group's taxon as HTML."""
    rank = (label.rank or "").replace("_", " ")
    return _text(", ".join(part for part in (rank, label.common_name) if part))


def _thumbnail(photo: Path | bytes | None) -> str:
    """Return a small picture as HTML; an empty text if the photo cannot be read again."""
    if photo is None:
        return ""
    from rs_runtime.photos.photo import decode

    try:
        image = decode(photo, _SIDE)[0]
        image.thumbnail((_SIDE, _SIDE))
        data = io.BytesIO()
        image.convert("RGB").save(data, "JPEG", quality=_QUALITY)
    except PhotoError:
        return ""
    encoded = base64.b64encode(data.getvalue()).decode("ascii")
    return f'<img alt="" loading="lazy" src="data:image/jpeg;base64,{encoded}">'
