#!/usr/bin/env bash
# Makes sure that the programs of the suite against a real API server are there and prints their
# folder: KUBEBUILDER_ASSETS if set, else a cache outside the repository, filled once by Go from the
# module beside this file. etcd comes from that folder or the PATH, on Debian from a package.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
programs="kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubelet kubectl"

about="cluster assets"
# shellcheck source=tests/tools.sh
. "$here/../../tools.sh"

if [ ! -x "${KUBEBUILDER_ASSETS:-}/etcd" ] && ! command -v etcd >/dev/null; then
  packages etcd-server
fi

if [ -n "${KUBEBUILDER_ASSETS:-}" ]; then
  for program in $programs; do
    [ -x "$KUBEBUILDER_ASSETS/$program" ] ||
      die "KUBEBUILDER_ASSETS ($KUBEBUILDER_ASSETS) holds no $program; add it, or unset the variable to build one"
  done
  echo "$KUBEBUILDER_ASSETS"
  exit
fi

version=$(sed -n 's/^require k8s.io\/kubernetes v//p' "$here/go.mod")
cached "assets/$version"

# Helm and others read the version; a plain `go build` leaves it at v0.0.0.
at=k8s.io/component-base/version
minor=${version#*.}
flags="-s -w -X $at.gitVersion=v$version -X $at.gitMajor=${version%%.*} -X $at.gitMinor=${minor%%.*}"
for program in $programs; do
  [ ! -x "$folder/$program" ] || continue
  command -v go >/dev/null || die "$program has to be built and there is no go on the PATH; install Go, or set KUBEBUILDER_ASSETS"
  say "building $program $version (once; a few minutes with cold caches)"
  (cd "$here" && CGO_ENABLED=0 go build -ldflags "$flags" -o "$folder/.$program" "k8s.io/kubernetes/cmd/$program") >&2
  mv "$folder/.$program" "$folder/$program"
done
echo "$folder"
