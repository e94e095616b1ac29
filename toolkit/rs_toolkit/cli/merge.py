"""``rs-toolkit merge``: the journals of several parts of a run become one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["merge"]


def merge(
    out: Annotated[Path, typer.Argument(help="The journal to write.")],
    journals: Annotated[
        list[Path],
        typer.Argument(
            metavar="JOURNAL...", help="Journals of rs-classify --shard, with the same settings."
        ),
    ],
) -> None:
    """Merge the journals of several parts of a run.

    Then rs-classify with this journal, and without --shard, writes all answers as one run does;
    photos that no part has answered are classified then.

    Exit codes: 0 merged, 2 wrong usage, or journals that do not fit together, 130 interrupted.
    """
    from rs_runtime.shards import merge_journals

    done = merge_journals(out, journals)
    lost = f", {done.damaged:,} damaged lines left out" if done.damaged else ""
    print(f"{out}: {done.answers:,} answers of {len(journals):,} journals{lost}")
