#!/usr/bin/env bash
# Makes sure that what a whole node needs besides Kubernetes' own programs is there, and prints the folder of `pause`,
# the one program of our test images, which Go builds. containerd, runc, the CNI plugins and what kube-proxy calls are Debian
# packages. `crane` is that of tests/registries/build.sh, `helm` that of tests/chart/build.sh.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
about="node assets"
# shellcheck source=tests/tools.sh
. "$here/../tools.sh"

programs docker-registry:docker-registry containerd:containerd runc:runc nft:nftables conntrack:conntrack iptables:iptables ip:iproute2
[ -x /usr/lib/cni/bridge ] || packages containernetworking-plugins

# Named by its text: a changed program is another one.
sum=$(cat "$here/pause/main.go" "$here/pause/go.mod" | sha256sum | cut -c1-12)
cached "node/$sum"

if [ ! -x "$folder/pause" ]; then
  building pause
  (cd "$here/pause" && CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o "$folder/.pause" .) >&2
  mv "$folder/.pause" "$folder/pause"
fi
echo "$folder"
