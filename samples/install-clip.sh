#!/usr/bin/env bash
# Install the [clip] extra without CUDA: a CPU build of torch first, then what depends on it.
# RS_TORCH_INDEX names another package index that holds CPU builds.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${RS_VENV:-.venv}
pip=("$venv/bin/pip" install --quiet --disable-pip-version-check --constraint requirements.lock)
index=${RS_TORCH_INDEX:-https://download.pytorch.org/whl/cpu}
# What the first try complains of matters only if the second fails too.
first=$(mktemp)
trap 'rm -f "$first"' EXIT
if ! "${pip[@]}" --retries 1 --timeout 15 --index-url "$index" torch >"$first" 2>&1; then
    echo "install-clip.sh: no CPU build of torch to be had from $index; trying pip's own index"
    "${pip[@]}" torch || { cat "$first" >&2; exit 1; }
fi
if "$venv/bin/pip" freeze | grep -qi '^nvidia-'; then
    echo "install-clip.sh: pip fetched CUDA packages; set RS_TORCH_INDEX to an index of CPU builds" >&2
    exit 1
fi
"${pip[@]}" --editable '.[clip]'
