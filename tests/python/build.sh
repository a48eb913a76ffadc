#!/usr/bin/env bash
# Makes sure that the Python programs and modules of tests/python/requirements.txt are there and prints the folder of
# `python` and `pre-commit`: that of a virtual environment, kept outside the repository.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
about="Python tools"
# shellcheck source=tests/tools.sh
. "$here/../tools.sh"

command -v python3 >/dev/null && python3 -c 'import ensurepip, venv' 2>/dev/null || packages python3 python3-venv

# Another Python, or other versions, make another folder.
key=$({ python3 --version; cat "$here/requirements.txt"; } | sha256sum | cut -c1-12)
cached "python/$key"

if [ ! -e "$folder/complete" ]; then
  say "installing what tests/python/requirements.txt lists"
  python3 -m venv --clear "$folder/venv" >&2
  "$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -r "$here/requirements.txt" >&2
  touch "$folder/complete"
fi
echo "$folder/venv/bin"
