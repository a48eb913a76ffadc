#!/usr/bin/env bash
# Makes sure that what a whole node needs besides Kubernetes' own programs is there, and prints the folder of `pause`,
# the one program of our test images, which Go builds. containerd, runc, the CNI plugins and what kube-proxy calls are Debian
# packages. `crane` is that of tests/registries/build.sh, `helm` that of tests/chart/build.sh.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

say() { echo "node assets: $*" >&2; }
die() { say "$*"; exit 1; }

missing=""
for pair in docker-registry:docker-registry containerd:containerd runc:runc nft:nftables conntrack:conntrack iptables:iptables ip:iproute2; do
  command -v "${pair%%:*}" >/dev/null || missing="$missing ${pair#*:}"
done
[ -x /usr/lib/cni/bridge ] || missing="$missing containernetworking-plugins"
if [ -n "$missing" ]; then
  command -v apt-get >/dev/null || die "not there:$missing; install what these Debian packages hold"
  [ "$(id -u)" = 0 ] || die "not there:$missing; install with: sudo apt-get install$missing"
  say "installing$missing"
  # shellcheck disable=SC2086 # a list of names
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing; } >&2
fi

# Named by its text: a changed program is another one.
sum=$(cat "$here/pause/main.go" "$here/pause/go.mod" | sha256sum | cut -c1-12)
folder=${XDG_CACHE_HOME:-$HOME/.cache}/tagwarden/node/$sum
mkdir -p "$folder"
exec 9>"$folder/.lock"
flock 9 # two suites that start together build once

if [ ! -x "$folder/pause" ]; then
  command -v go >/dev/null || die "pause has to be built and there is no go on the PATH; install Go"
  say "building pause"
  (cd "$here/pause" && CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o "$folder/.pause" .) >&2
  mv "$folder/.pause" "$folder/pause"
fi
echo "$folder"
