"""rs-toolkit where streams are closed, or the user has no home or no temporary folder."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from PIL import Image

from rs_toolkit.cli.options import resolved
from rs_toolkit.data.photos import default_cache_dir
from rs_toolkit.errors import ConfigError
from rs_toolkit.files import atomic_write

pytestmark = pytest.mark.skipif(os.name != "posix", reason="uses a POSIX shell")


@pytest.fixture
def toolkit(tmp_path):
    """Return a function that runs rs-toolkit in a shell; it returns code, output and complaints."""

    def run(redirections: str, *arguments: object, before: str = "") -> tuple[int, str, str]:
        seen = [tmp_path / name for name in ("out.txt", "err.txt")]
        for path in seen:
            path.unlink(missing_ok=True)
        script = f"{before}\nfrom rs_toolkit.__main__ import main; main()"
        shell = ["sh", "-c", f'exec "$@" >"$OUT" 2>"$ERR" {redirections}', "sh"]
        done = subprocess.run(
            [*shell, sys.executable, "-c", script, *map(str, arguments)],
            env={**os.environ, "OUT": str(seen[0]), "ERR": str(seen[1])},
            cwd=tmp_path,
            timeout=240,
        )
        return done.returncode, *(path.read_text() for path in seen)

    return run


@pytest.mark.parametrize("streams", ["2>&-", "2>/dev/full"])
@pytest.mark.parametrize("arguments", [("check", "absent"), ("check", "--odd"), ("--odd",)])
def test_an_error_that_nobody_can_read_has_its_exit_code(toolkit, streams, arguments) -> None:
    assert toolkit(streams, *arguments)[0] == 2


@pytest.mark.parametrize("streams", [">&-", ">/dev/full"])
@pytest.mark.parametrize("arguments", [("--version",), ("train", "--help")])
def test_output_that_is_lost_is_an_error(toolkit, one_line, streams, arguments) -> None:
    code, _, err = toolkit(streams, *arguments)
    assert code == 2 and "output" in one_line(err, "rs-toolkit")


def test_a_reader_that_closes_the_output_is_no_error_of_ours() -> None:
    command = [sys.executable, "-m", "rs_toolkit", "train", "--help"]
    done = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done.stdout is not None and done.stderr is not None
    done.stdout.close()
    assert (done.stderr.read(), done.wait(120)) == (b"", 141)
    done.stderr.close()


def test_progress_that_cannot_be_written_stops_nothing(toolkit, shapes, tmp_path) -> None:
    code, out, _ = toolkit("2>/dev/full", "split", shapes, "--out", tmp_path / "s.csv")
    assert code == 0 and out.endswith("s.csv\n") and (tmp_path / "s.csv").is_file()


def test_no_home_folder_is_told_with_the_setting_that_helps(monkeypatch, one_line) -> None:
    import pwd

    def unknown(_: int) -> None:
        raise KeyError("uid not found")

    monkeypatch.delenv("RS_CACHE")
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with pytest.raises(ConfigError, match="RS_CACHE") as caught:
        default_cache_dir()
    one_line(str(caught.value))
    for path in ("~/w.h5", "~no such user/w.h5"):
        with pytest.raises(ConfigError, match="give the whole path"):
            resolved(path)


def test_no_temporary_folder_is_told_with_the_setting_that_helps(
    toolkit, shapes, one_line, tmp_path, monkeypatch
) -> None:
    # Near-duplicates that are remembered need no temporary file.
    monkeypatch.setenv("RS_CACHE", str(tmp_path / "cache"))
    before = (
        f"import tempfile; tempfile._candidate_tempdir_list = lambda: [{str(tmp_path / 'no')!r}]"
    )
    code, _, err = toolkit("", "check", shapes, "--out", tmp_path / "check", before=before)
    message = one_line(err, "rs-toolkit", notes=True)
    assert code == 2 and str(tmp_path / "no") in message and "TMPDIR" in message


def test_the_error_of_a_full_disk_names_the_folder(tmp_path) -> None:
    with pytest.raises(OSError) as caught, atomic_write(tmp_path / "kit.rskit.xz"):
        raise OSError(28, "No space left on device")
    assert caught.value.filename == str(tmp_path)


def test_odd_metadata_of_a_photo_is_no_warning_of_python(toolkit, tmp_path) -> None:
    for name in ("a", "b"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        image = Image.new("RGB", (80, 60), "red" if name == "a" else "blue")
        exif = b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01"
        image.save(tmp_path / "photos" / name / "x.jpg", exif=exif)
    code, _, err = toolkit("", "check", tmp_path / "photos", "--out", tmp_path / "check")
    assert code == 0 and "Warning" not in err and "EXIF" not in err


def test_too_little_memory_is_one_line(toolkit, shapes, one_line) -> None:
    before = (
        "import rs_toolkit.data.readers as readers\n"
        "def exhausted(*_): raise MemoryError\n"
        "readers.read_dataset = exhausted"
    )
    code, _, err = toolkit("", "split", shapes, before=before)
    assert code == 2 and "memory" in one_line(err, "rs-toolkit")
