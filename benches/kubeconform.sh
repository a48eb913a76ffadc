#!/usr/bin/env bash
# Makes sure that kubeconform, which `check` is compared with, is there and prints its path; Go builds it.
set -euo pipefail
version=v0.8.0

here=$(cd "$(dirname "$0")" && pwd)
about="kubeconform"
# shellcheck source=tests/tools.sh
. "$here/../tests/tools.sh"

programs time:time
cached "kubeconform/$version"

if [ ! -x "$folder/kubeconform" ]; then
  building kubeconform
  GOBIN=$folder CGO_ENABLED=0 go install -ldflags "-s -w" "github.com/yannh/kubeconform/cmd/kubeconform@$version" >&2
fi
echo "$folder/kubeconform"
