"""Draw README's pictures, ``docs/pictures/*.png``, from a finished run and a clean folder.

    python docs/make_pictures.py RUN CLEAN PHOTO...

The committed pictures are of the synthetic sample::

    rs-toolkit sample
    rs-toolkit train rs-sample --out run --weights none --backbone xception-w25 --imgsz 64 \\
        --epochs 14 --learning-rate 0.002
    rs-toolkit export run --int8
    rs-toolkit clean rs-sample --imgsz 96 --weights xception_notop.weights.h5
    python docs/make_pictures.py run clean/rs-sample \\
        rs-sample/photos/anatidae/lacuficta_alba_00{2,1}.jpg

The review page needs chromium (Debian: ``apt-get install chromium``).
"""

from __future__ import annotations

import argparse
import io
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

PICTURES = Path(__file__).with_name("pictures")
MAX_BYTES = 100_000
WIDTH = 900
ROW = 140
INK, PAPER = (225, 225, 225), (30, 32, 36)


def answers(run: Path, photos: Sequence[Path]) -> Image.Image:
    """Return photos beside what ``rs-classify`` prints about them, one below the other."""
    (kit,) = (run / "export").glob("*.rskit")
    picture = Image.new("RGB", (WIDTH, ROW * len(photos)), PAPER)
    for row, photo in enumerate(photos):
        # Run in the photo's folder, because a long path would fill the width of the picture.
        command = ["rs-classify", photo.name, "--top", "3", "--kit"]
        done = subprocess.run(
            [*command, str(kit.resolve())],
            cwd=photo.parent, capture_output=True, text=True, check=True,
        )  # fmt: skip
        shown = Image.open(photo).convert("RGB")
        shown.thumbnail((ROW - 16, ROW - 16))
        picture.paste(shown, (8, row * ROW + (ROW - shown.height) // 2))
        text = f"$ {' '.join([*command, kit.name])}\n{done.stdout}"
        place = (ROW + 8, row * ROW + 20)
        ImageDraw.Draw(picture).multiline_text(place, text, INK, _font(12), spacing=8)
    return picture


def review(clean: Path, flag: str, item: int) -> Image.Image:
    """Return a screenshot of the review page at the given item (from 1) of those with a flag."""
    from playwright.sync_api import expect, sync_playwright

    command = ["rs-toolkit", "review", str(clean), "--no-browser"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    try:
        assert server.stderr is not None
        address = next(line.strip() for line in server.stderr if line.startswith("http://"))
        with sync_playwright() as started:
            browser = started.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox"]
            )
            page = browser.new_page(viewport={"width": 1100, "height": 760})
            page.goto(address)
            page.get_by_label("Flag").select_option(flag)
            for _ in range(item - 1):
                page.keyboard.press("ArrowRight")
            expect(page.locator("#count")).to_contain_text(f"{item} of")
            page.wait_for_load_state("networkidle")
            shot = page.screenshot()
            browser.close()
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(10)
    return Image.open(io.BytesIO(shot))


def save(picture: Image.Image, name: str) -> None:
    """Write a picture, at most WIDTH pixels wide, in as many colours as MAX_BYTES allow."""
    path, picture = PICTURES / f"{name}.png", picture.convert("RGB")
    if picture.width > WIDTH:
        size = (WIDTH, round(picture.height * WIDTH / picture.width))
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    for colours in (256, 128, 64, 32, 16):
        picture.quantize(colours).save(path, optimize=True)
        if path.stat().st_size < MAX_BYTES:
            print(f"{path}: {path.stat().st_size / 1000:.0f} kB, {colours} colours")
            return
    sys.exit(f"{path}: larger than {MAX_BYTES} bytes in 16 colours; show less on it")


def _font(size: int) -> Any:
    """Return the monospaced font that comes with matplotlib."""
    import matplotlib

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return ImageFont.truetype(str(folder / "DejaVuSansMono.ttf"), size)


def main() -> None:
    """Draw all three pictures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="run folder, exported")
    parser.add_argument("clean", type=Path, help="folder of rs-toolkit clean")
    parser.add_argument("photos", type=Path, nargs="+", help="photos to classify")
    parser.add_argument("--flag", default="label_noise", help="flag that the review page shows")
    parser.add_argument("--item", type=int, default=1, help="which of the photos with it, from 1")
    chosen = parser.parse_args()
    PICTURES.mkdir(exist_ok=True)
    save(Image.open(chosen.run / "export" / "accuracy_vs_size.png"), "accuracy_vs_size")
    save(answers(chosen.run, chosen.photos), "answer")
    save(review(chosen.clean, chosen.flag, chosen.item), "review")


if __name__ == "__main__":
    main()
