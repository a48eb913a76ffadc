#!/usr/bin/env bash
# Makes sure that yaml-language-server is there, as tests/editor/package-lock.json pins it and all that it needs, and prints
# its path: in a folder outside the repository, filled by npm. `node` and `npm` are installed where they are missing.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
about="editor tools"
# shellcheck source=tests/tools.sh
. "$here/../tools.sh"

programs node:nodejs npm:npm

# Another Node, or other versions, make another folder.
key=$({ node --version; cat "$here/package-lock.json"; } | sha256sum | cut -c1-12)
cached "editor/$key"

if [ ! -e "$folder/complete" ]; then
  say "installing what tests/editor/package-lock.json lists"
  cp "$here/package.json" "$here/package-lock.json" "$folder/"
  # Nothing that comes along may run anything.
  (cd "$folder" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error) >&2
  touch "$folder/complete"
fi
echo "$folder/node_modules/yaml-language-server/bin/yaml-language-server"
