"""Run odd photos, tables and surroundings through check, train, clean and rs-classify.

    python benchmarks/odd_inputs.py [--shared DIR] [--work DIR] [--only NAME ...]

``--shared`` has ``cases/`` (scripts that draw odd inputs, one instance of a kind of fault each) and
the photos ``data/odd_files`` and ``data/edge_cases``.  Odd photos are put beside drawn ones into
one data set each; every odd table is a data set of its own, and so is every folder of classes.
``train`` runs without an epoch, which reads, splits, evaluates and writes all that it writes.
Many tables' photos are one picture with other noise: train and clean rightly refuse to split them.

Writes ``results/odd-inputs.json`` and ``.md``: ``files`` says of each photo or data set what every
command made of it, ``commands`` what the scripts that run commands themselves printed;
``tracebacks`` and ``hangs`` name commands that ended with one, or took longer than 300 seconds.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common import SHARED, grid, options, publish

from rs_toolkit.data.index import read_index
from rs_toolkit.files import read_json
from rs_toolkit.sample import generate_sample

LIMIT = 300.0
# A line of a traceback; some of the scripts fail themselves, with a traceback of their own.
OWN_FRAME = re.compile(r'File "[^"]*rs_(toolkit|train|export|runtime)/')
CLEAN = ("--rank", "species", "--imgsz", "64", "--weights", "none")
TRAIN = (*CLEAN, "--backbone", "xception-w25", "--epochs", "0")
TABLES = ("09_csv_files", "12_coco", "14_classes")
SINGLE = ("15_r_na", "21_two_labels")
PHOTOS = "01_07_photos"
USED = "used"
COMMANDS = ("check", "train", "clean", "classify")


@dataclass
class Runs:
    """The commands that were run, and those that ended badly."""

    work: Path
    tracebacks: list[str] = field(default_factory=list)
    hangs: list[str] = field(default_factory=list)

    def run(self, name: str, *command: str, **variables: str) -> tuple[int, str, str]:
        """Run a command; return its exit code, standard output and standard error."""
        surroundings = {**os.environ, "RS_CACHE": str(self.work / "cache"), **variables}
        begun = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=surroundings,
            cwd=self.work,
            start_new_session=True,
        )
        try:
            found = begun.communicate(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            os.killpg(begun.pid, signal.SIGKILL)
            begun.communicate()
            self.hangs.append(name)
            return -1, "", f"took longer than {LIMIT:.0f} s"
        out, err = (text.decode("utf-8", "replace") for text in found)
        if OWN_FRAME.search(out + err) or begun.returncode < 0:
            self.tracebacks.append(name)
        return begun.returncode, out, err

    def toolkit(self, data: Path, name: str, command: str, *more: str) -> tuple[str, Path]:
        """Run a command of rs-toolkit on a data set; return how it ended, and its folder."""
        out = self.work / "out" / command / name
        shutil.rmtree(out, ignore_errors=True)
        call = ("rs-toolkit", command, str(data), *more, "--out", str(out))
        code, _, errors = self.run(f"{command} {name}", *call)
        last = (errors.strip().splitlines() or [""])[-1]
        return (USED if code == 0 else f"exit {code}: {_short(last, self.work)}"), out


def _short(text: str, work: Path) -> str:
    """Return a message without the work folder's path, as one line."""
    return " ".join(text.replace(str(work), "…").split())[:300]


def photo_set(runs: Runs, name: str, odd: Iterable[Path], kit: Path) -> list[dict[str, Any]]:
    """Run the commands on odd photos, which are one class, beside two classes of drawn ones."""
    data = runs.work / "data" / name
    shutil.rmtree(data, ignore_errors=True)
    good = runs.work / "sample" / "photos"
    for number, path in enumerate(sorted(good.rglob("*.jpg"))[:24]):
        (folder := data / f"Genus sp{number % 2}").mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / f"{number}.jpg")
    (folder := data / "Odd odd").mkdir()
    for path in sorted(odd):
        shutil.copy(path, folder / path.name)
    checked, audit = runs.toolkit(data, name, "check", *CLEAN[:4])
    trained, run = runs.toolkit(data, name, "train", *TRAIN)
    cleaned, clean = runs.toolkit(data, name, "clean", *CLEAN)
    _, lines, _ = runs.run(
        f"classify {name}", "rs-classify", str(folder), "--kit", str(kit), "--json"
    )
    refused = dict(read_json(audit / "audit.json")["unreadable"]) if checked == USED else {}
    indexed = {"train": (trained, run), "clean": (cleaned, clean)}
    errors = {
        command: {p.path: p.error for p in read_index(out / "index.parquet")}
        if ended == USED
        else {}
        for command, (ended, out) in indexed.items()
    }
    answers = {Path(item["path"]).name: item for item in map(json.loads, lines.splitlines())}
    return [
        {
            "name": f"{name}/{path.name}",
            "check": refused.get(f"Odd odd/{path.name}", checked),
            **{
                command: errors[command].get(f"Odd odd/{path.name}", ended) or USED
                for command, (ended, _) in indexed.items()
            },
            "classify": _answer(answers.get(path.name), runs.work),
        }
        for path in sorted(folder.iterdir())
    ]


def _answer(found: dict[str, Any] | None, work: Path) -> str:
    if found is None:
        return "no line"
    if "error" in found:
        return _short(str(found["error"]), work)
    return f"{USED}, {found['note']}" if found.get("note") else USED


def data_set(runs: Runs, data: Path, name: str) -> dict[str, Any]:
    """Run the commands on a data set; say how each ended, and how many photos it could use."""
    row: dict[str, Any] = {"name": name}
    options_of = {"check": CLEAN[:4], "train": TRAIN, "clean": CLEAN}
    for command, more in options_of.items():
        row[command], out = runs.toolkit(data, name.replace("/", "-"), command, *more)
        if command == "check" and (audit := out / "audit.json").is_file():
            found = read_json(audit)
            row |= {"rows": found["rows"], "readable": found["readable"], "notes": found["notes"]}
    return row


def draw(runs: Runs, cases: Path, name: str) -> Path:
    """Draw the inputs of a case; return their folder."""
    out = runs.work / "cases" / name
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    subprocess.run([sys.executable, str(cases / name / "make.py"), str(out)], check=True)
    return out


def kit_of(runs: Runs) -> Path:
    """Return a kit of an untrained model, made from the sample."""
    sample, run = runs.work / "sample", runs.work / "kit"
    if not sample.exists():
        generate_sample(sample, photos=120)
    if not (kit := run / "export" / "kit.rskit").exists():
        for command in (
            ("train", str(sample), *TRAIN, "--out", str(run)),
            ("export", str(run), "--recipe", "tflite_fp32", "--recipe", "onnx_fp32"),
        ):
            code, _, errors = runs.run("kit", "rs-toolkit", *command)
            if code:
                raise SystemExit(f"the kit cannot be made: {errors}")
    return kit


def scripts(runs: Runs, cases: Path, kit: Path, wanted: Sequence[str]) -> list[dict[str, Any]]:
    """Run the cases that run commands themselves; return what they printed."""
    found = []
    for script in sorted(cases.glob("*/make.sh")):
        name = script.parent.name
        if not wanted or name in wanted:
            _, out, err = runs.run(name, "bash", str(script), KIT=str(kit))
            lines = [_short(line, runs.work) for line in (out + err).splitlines() if line.strip()]
            found.append({"name": name, "printed": lines})
    return found


def table(result: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    head = ("input", *COMMANDS, "rows", "readable")
    rows = [
        [
            *(str(item.get(key, "")).replace("|", "/") for key in ("name", *COMMANDS)),
            item.get("rows"),
            item.get("readable"),
        ]
        for item in result["files"]
    ]
    printed = "\n".join(
        f"### {item['name']}\n\n```\n" + "\n".join(item["printed"]) + "\n```\n"
        for item in result["commands"]
    )
    return (
        f"# Odd inputs\n\n{len(rows)} photos and data sets, {len(result['commands'])} scripts: "
        f"tracebacks: {len(result['tracebacks'])}, hangs: {len(result['hangs'])}.\n\n"
        f"{grid(head, rows)}\n\n## Scripts\n\n{printed}"
    )


def main() -> None:
    """Run all, and write the results."""
    parser = options(__doc__, work="odd-inputs")
    parser.add_argument("--shared", type=Path, default=SHARED)
    parser.add_argument("--only", nargs="*", default=[], help="names of cases or of photo sets")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    runs, cases = Runs(given.work.resolve()), given.shared.resolve() / "cases"
    kit, files = kit_of(runs), list[dict[str, Any]]()
    chosen = [name for name in (*TABLES, *SINGLE) if not given.only or name in given.only]
    for name in ("odd_files", "edge_cases", PHOTOS):
        if not given.only or name in given.only:
            folder = draw(runs, cases, name) if name == PHOTOS else cases.parent / "data" / name
            odd = [path for path in folder.iterdir() if path.suffix not in (".csv", ".md")]
            files += photo_set(runs, name, odd, kit)
    for name in chosen:
        drawn = draw(runs, cases, name)
        for data in sorted(drawn.iterdir()) if name in TABLES else [drawn]:
            shown = f"{name}/{data.name}" if name in TABLES else name
            files.append(data_set(runs, data, shown))
            print(files[-1], flush=True)
    commands = scripts(runs, cases, kit, given.only)
    found = {
        "files": files,
        "commands": commands,
        "tracebacks": runs.tracebacks,
        "hangs": runs.hangs,
    }
    publish("odd-inputs" if not given.only else "odd-inputs-part", found, table)


if __name__ == "__main__":
    main()
