#!/usr/bin/env bash
# Install the [clip] extra without CUDA: a CPU build of torch first, then what depends on it.
# RS_TORCH_INDEX names another package index that holds CPU builds.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${RS_VENV:-.venv}
"$venv/bin/pip" install --index-url "${RS_TORCH_INDEX:-https://download.pytorch.org/whl/cpu}" \
    'torch==2.13.0' ||
    "$venv/bin/pip" install 'torch==2.13.0'
if "$venv/bin/pip" freeze | grep -qi '^nvidia-'; then
    echo "install-clip.sh: pip fetched CUDA packages; set RS_TORCH_INDEX to an index of CPU builds" >&2
    exit 1
fi
"$venv/bin/pip" install --constraint requirements.lock --editable '.[clip]'
