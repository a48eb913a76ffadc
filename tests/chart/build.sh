#!/usr/bin/env bash
# Makes sure that the tools of the chart's tests are there and prints the folder of `helm`, which Go builds.
# `promtool`, of Debian's package prometheus, is installed where it is missing.
set -euo pipefail
helm=v3.21.4

here=$(cd "$(dirname "$0")" && pwd)
about="chart tools"
# shellcheck source=tests/tools.sh
. "$here/../tools.sh"

programs promtool:prometheus

cached "chart/helm-$helm"

if [ ! -x "$folder/helm" ]; then
  building helm
  GOBIN=$folder CGO_ENABLED=0 go install -ldflags "-s -w" "helm.sh/helm/v3/cmd/helm@$helm" >&2
fi
echo "$folder"
