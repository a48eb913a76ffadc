#!/usr/bin/env bash
# Makes sure that the tools of the chart's tests are there and prints the folder of `helm`, which Go builds.
# `promtool`, of Debian's package prometheus, is installed where it is missing.
set -euo pipefail
helm=v3.21.4

say() { echo "chart tools: $*" >&2; }
die() { say "$*"; exit 1; }

if ! command -v promtool >/dev/null; then
  command -v apt-get >/dev/null || die "not on the PATH: promtool; install Prometheus"
  [ "$(id -u)" = 0 ] || die "not on the PATH: promtool; install with: sudo apt-get install prometheus"
  say "installing prometheus, for promtool"
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends prometheus; } >&2
fi

folder=${XDG_CACHE_HOME:-$HOME/.cache}/tagwarden/chart/helm-$helm
mkdir -p "$folder"
exec 9>"$folder/.lock"
flock 9 # two suites that start together build once

if [ ! -x "$folder/helm" ]; then
  command -v go >/dev/null || die "helm has to be built and there is no go on the PATH; install Go"
  say "building helm"
  GOBIN=$folder CGO_ENABLED=0 go install -ldflags "-s -w" "helm.sh/helm/v3/cmd/helm@$helm" >&2
fi
echo "$folder"
