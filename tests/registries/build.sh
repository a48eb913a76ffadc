#!/usr/bin/env bash
# Makes sure that the registries and tools of the suite are there and prints the folder of those that Go builds:
# CNCF distribution 3 (`registry`) and `crane`. Debian's `docker-registry` (CNCF distribution 2.8) and `ip`, for the tests
# that need a network of their own, are installed as packages.
set -euo pipefail
registry=v3.1.1
crane=v0.21.9

say() { echo "registry assets: $*" >&2; }
die() { say "$*"; exit 1; }

missing=""
for pair in docker-registry:docker-registry ip:iproute2; do
  command -v "${pair%%:*}" >/dev/null || missing="$missing ${pair#*:}"
done
if [ -n "$missing" ]; then
  command -v apt-get >/dev/null || die "not on the PATH:$missing; install what these Debian packages hold"
  [ "$(id -u)" = 0 ] || die "not on the PATH:$missing; install with: sudo apt-get install$missing"
  say "installing$missing"
  # shellcheck disable=SC2086 # a list of names
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing; } >&2
fi

folder=${XDG_CACHE_HOME:-$HOME/.cache}/tagwarden/registries/$registry-$crane
mkdir -p "$folder"
exec 9>"$folder/.lock"
flock 9 # two suites that start together build once

build() {
  [ ! -x "$folder/$1" ] || return 0
  command -v go >/dev/null || die "$1 has to be built and there is no go on the PATH; install Go"
  say "building $1"
  GOBIN=$folder CGO_ENABLED=0 go install -ldflags "-s -w" "$2" >&2
}
build registry "github.com/distribution/distribution/v3/cmd/registry@$registry"
build crane "github.com/google/go-containerregistry/cmd/crane@$crane"
echo "$folder"
