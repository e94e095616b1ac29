#!/usr/bin/env bash
# Set up rs-toolkit in .venv and run the main job once: sample, train, export --int8, classify.
# RS_PYTHON picks another interpreter (3.11 or 3.12); RS_VENV another environment folder (a whole path).
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${RS_VENV:-$PWD/.venv}

step() { printf '\n==> %s\n' "$*"; "$@"; }

if [ ! -x "$venv/bin/pip" ]; then
    python=${RS_PYTHON:-python3}
    if ! "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))'; then
        echo "quickstart.sh: training needs Python 3.11 or 3.12; name one, such as RS_PYTHON=python3.12" >&2
        exit 2
    fi
    step "$python" -m venv "$venv"
fi
step "$venv/bin/pip" install --quiet --disable-pip-version-check --constraint requirements.lock uv
# Modules are compiled now: in containers that set PYTHONDONTWRITEBYTECODE, each start of TensorFlow
# would take 10 s longer.
export UV_COMPILE_BYTECODE=${UV_COMPILE_BYTECODE-1}
packages=(--quiet --constraint requirements.lock --editable '.[toolkit,dev]')
if ! step "$venv/bin/uv" pip install --python "$venv/bin/python" "${packages[@]}"; then
    echo "quickstart.sh: uv does not find all packages; trying pip, which may know another index"
    step "$venv/bin/pip" install --disable-pip-version-check "${packages[@]}"
fi
export PATH="$venv/bin:$PATH"

run=runs/quickstart
if [ -f "$run/metrics.json" ]; then
    echo "==> $run is trained already (delete it to train again)"
elif [ -f "$run/config.json" ]; then
    step rs-toolkit train --resume "$run"
else
    step rs-toolkit train --out "$run"
fi
step rs-toolkit export "$run" --int8
photo=$(python - <<'PY'
from rs_toolkit.folders.run import Run
from pathlib import Path
run = Run.open(Path("runs/quickstart"))
print(run.data_root / run.split("test")[0][0].path)
PY
)
step rs-classify "$photo" --kit "$run/export/quickstart.rskit"
