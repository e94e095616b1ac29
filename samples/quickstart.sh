#!/usr/bin/env bash
# Set up rs-toolkit in .venv and run the main job once: sample, train, export --int8, classify.
# RS_PYTHON picks another interpreter (3.11 or 3.12); RS_VENV another environment folder (a whole path).
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${RS_VENV:-$PWD/.venv}

step() { printf '\n==> %s\n' "$*"; "$@"; }

[ -x "$venv/bin/pip" ] || step "${RS_PYTHON:-python3}" -m venv "$venv"
# pip compiles modules on one core; this takes all.  Without it every start of TensorFlow would take
# 10 s longer where PYTHONDONTWRITEBYTECODE is set, as it is in many containers.
step "$venv/bin/pip" install --quiet --no-compile --disable-pip-version-check \
    --constraint requirements.lock --editable '.[toolkit,dev]'
"$venv/bin/python" -m compileall -qq -j 0 "$venv/lib" || true
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
