#!/usr/bin/env bash
# Makes sure that the registries and tools of the suite are there and prints the folder of those that Go builds:
# CNCF distribution 3 (`registry`) and `crane`. Debian's `docker-registry` (CNCF distribution 2.8) and `ip`, for the tests
# that need a network of their own, are installed as packages.
set -euo pipefail
registry=v3.1.1
crane=v0.21.9

here=$(cd "$(dirname "$0")" && pwd)
about="registry assets"
# shellcheck source=tests/tools.sh
. "$here/../tools.sh"

programs docker-registry:docker-registry ip:iproute2

cached "registries/$registry-$crane"

build() {
  [ ! -x "$folder/$1" ] || return 0
  building "$1"
  GOBIN=$folder CGO_ENABLED=0 go install -ldflags "-s -w" "$2" >&2
}
build registry "github.com/distribution/distribution/v3/cmd/registry@$registry"
build crane "github.com/google/go-containerregistry/cmd/crane@$crane"
echo "$folder"
