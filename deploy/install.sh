#!/bin/sh
# Install what the app needs into a new environment: deploy/install.sh DIRECTORY
# TORCH_INDEX: the index of torch's builds for processors; empty: the standard one.
set -eu
target=$1
here=$(dirname "$0")
lock=$here/../requirements.lock
python3 -m venv "$target"
rest=$(mktemp)
trap 'rm -f "$rest"' EXIT
# Everything but torch has the hashes of the lock file. Torch's builds for processors are other
# files than the locked ones, of the same versions.
python3 "$here/without_torch.py" "$lock" > "$rest"
"$target/bin/pip" install --no-cache-dir --disable-pip-version-check -q --no-deps \
    --require-hashes -r "$rest"
# shellcheck disable=SC2046,SC2086  # two arguments, or none
"$target/bin/pip" install --no-cache-dir --disable-pip-version-check -q \
    ${TORCH_INDEX:+--index-url $TORCH_INDEX} \
    $(python3 "$here/without_torch.py" --torch "$lock")
"$target/bin/pip" check
