#!/usr/bin/env bash
# Makes sure that cert-manager's controllers are there and prints the folder of `certmanager`, which Go builds from the
# module beside this file, and of `crds`, cert-manager's own definitions.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
module=github.com/cert-manager/cert-manager

about=cert-manager
# shellcheck source=tests/tools.sh
. "$here/../tools.sh"

version=$(sed -n "s|^\t$module v||p" "$here/go.mod")
# Named by its text too: a changed program is another one.
sum=$(cat "$here/main.go" "$here/go.mod" | sha256sum | cut -c1-12)
cached "certmanager/$version-$sum"

if [ ! -x "$folder/certmanager" ]; then
  building "the controllers of cert-manager $version (once; a few minutes with cold caches)"
  cd "$here"
  go mod download $module >&2
  mkdir -p "$folder/crds"
  install -m 644 "$(go list -m -f '{{.Dir}}' $module)"/deploy/crds/*.yaml "$folder/crds"
  CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o "$folder/.certmanager" . >&2
  mv "$folder/.certmanager" "$folder/certmanager"
fi
echo "$folder"
