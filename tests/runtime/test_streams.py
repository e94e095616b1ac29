"""Commands whose standard streams are closed or cannot be written, and users without a home."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rs_runtime.errors import OutputClosedError, OutputError
from rs_runtime.streams import standard_streams

pytestmark = pytest.mark.skipif(os.name != "posix", reason="uses a POSIX shell")
FULL = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")


@pytest.fixture
def shell(onnx_kit, colour_photos, tmp_path):
    """Return a function that runs rs-classify in a shell, and gives code, output and complaints."""

    def run(redirections: str, *arguments: object) -> tuple[int, str, str]:
        seen = [tmp_path / name for name in ("out.txt", "err.txt")]
        for path in seen:
            path.unlink(missing_ok=True)
        shell_ = ["sh", "-c", f'exec "$@" >"$OUT" 2>"$ERR" {redirections}', "sh"]
        command = [sys.executable, "-m", "rs_runtime", "--kit", str(onnx_kit)]
        done = subprocess.run(
            [*shell_, *command, *map(str, arguments)],
            env={**os.environ, "OUT": str(seen[0]), "ERR": str(seen[1])},
            timeout=120,
        )
        return done.returncode, *(path.read_text() for path in seen)

    return run


@pytest.mark.parametrize("streams", ["2>&-", "<&- 2>&-", pytest.param("2>/dev/full", marks=FULL)])
def test_answers_do_not_need_standard_error(shell, colour_photos, streams) -> None:
    code, out, _ = shell(streams, colour_photos, colour_photos / "absent.jpg")
    assert code == 1 and out.count("things") >= 3
    assert shell(streams, colour_photos / "a.jpg", "--json")[0] == 0
    assert shell(streams, "--no-such-option")[0] == 2


@pytest.mark.parametrize(
    "streams",
    [">&-", "<&- >&-", "1</dev/null", pytest.param(">/dev/full", marks=FULL)],
)
@pytest.mark.parametrize("option", ["--json", "--help", "--version"])
def test_output_that_is_lost_is_an_error(shell, colour_photos, one_line, streams, option) -> None:
    code, _, err = shell(f"</dev/null {streams}", colour_photos, option)
    assert code == 2
    assert "output" in one_line(err, "rs-classify")


def test_nothing_at_all_can_be_written(shell, colour_photos) -> None:
    assert shell("<&- >&- 2>&-", colour_photos)[0] == 2


@pytest.mark.parametrize("problem", [BrokenPipeError(), OSError(28, "No space left on device")])
def test_what_cannot_be_written_is_raised_in_the_block(monkeypatch, problem) -> None:
    class Lost:
        def write(self, text: str) -> int:
            raise problem

        def flush(self) -> None:
            pass

    monkeypatch.setattr(sys, "stdout", Lost())
    monkeypatch.setattr(sys, "stderr", Lost())
    before = sys.stdout, sys.stderr
    kind = OutputClosedError if isinstance(problem, BrokenPipeError) else OutputError
    with pytest.raises(kind), standard_streams():
        print("complaints are dropped", file=sys.stderr)
        print("answers are not")
    assert (sys.stdout, sys.stderr) == before


def test_classifying_needs_no_home_and_no_known_user(onnx_kit, colour_photos) -> None:
    # As for a user id without an entry in the system's list of users.
    script = (
        "import pwd, sys\n"
        "def unknown(*_): raise KeyError('uid not found')\n"
        "pwd.getpwuid = pwd.getpwnam = unknown\n"
        "from rs_runtime.cli import main; raise SystemExit(main())"
    )
    environment = {key: value for key, value in os.environ.items() if key != "HOME"}
    command = [sys.executable, "-c", script, "--kit", str(onnx_kit), str(colour_photos)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "") and "things" in done.stdout


def test_without_a_temporary_folder_only_packed_kits_fail(
    onnx_kit, colour_photos, one_line, tmp_path
) -> None:
    import lzma

    packed = Path(f"{onnx_kit}.xz")
    packed.write_bytes(lzma.compress(onnx_kit.read_bytes()))
    script = (
        f"import tempfile; tempfile._candidate_tempdir_list = lambda: [{str(tmp_path / 'no')!r}]\n"
        "from rs_runtime.cli import main; raise SystemExit(main())"
    )
    for kit, code in ((onnx_kit, 0), (packed, 2)):
        command = [sys.executable, "-c", script, "--kit", str(kit), str(colour_photos)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == code
    message = one_line(done.stderr, "rs-classify")
    assert str(tmp_path / "no") in message and "TMPDIR" in message
