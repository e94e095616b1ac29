#!/usr/bin/env bash
# Install the [clip] extra without CUDA: a CPU build of torch first, then what depends on it.
# RS_TORCH_INDEX names another package index that holds CPU builds.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${RS_VENV:-.venv}
index=${RS_TORCH_INDEX:-https://download.pytorch.org/whl/cpu}
options=(--quiet --constraint requirements.lock)
# uv, which quickstart.sh installs, takes a tenth of pip's time.  It reads UV_FIND_LINKS, not pip's
# settings, so what it does not find is left to pip.
export UV_FIND_LINKS=${UV_FIND_LINKS-${PIP_FIND_LINKS-}}
with_uv() { "$venv/bin/uv" pip install --python "$venv/bin/python" "${options[@]}" "$@"; }
with_pip() { "$venv/bin/pip" install --disable-pip-version-check "${options[@]}" "$@"; }
cpu_build() {
    with_uv --index-url "$index" torch ||
        with_pip --retries 1 --timeout 15 --index-url "$index" torch ||
        { [ -n "$UV_FIND_LINKS" ] && with_uv torch; }
}

# What the first tries complain of matters only if the last fails too.
first=$(mktemp)
trap 'rm -f "$first"' EXIT
if ! cpu_build >"$first" 2>&1; then
    echo "install-clip.sh: no CPU build of torch to be had from $index; trying pip's own index"
    with_pip torch || { cat "$first" >&2; exit 1; }
fi
if "$venv/bin/pip" freeze | grep -qi '^nvidia-'; then
    echo "install-clip.sh: CUDA packages were fetched; set RS_TORCH_INDEX to an index of CPU builds" >&2
    exit 1
fi
with_uv --editable '.[clip]' 2>"$first" || with_pip --editable '.[clip]'
