#!/usr/bin/env bash
# Runs a command in network, mount and process namespaces of its own, ready for a node: cargo's runner of the node suite.
#
# However the command ends, and however this script is ended, the kernel then kills every process in there (containers
# and their shims included) and drops every mount, interface and network namespace with them. Only a folder and control
# groups are left, and a shell outside removes those once the last process is gone. Names hold random letters, so
# several suites on one machine do not meet. With a cluster that exists (TAGWARDEN_E2E_KUBECONFIG) the command is just run.
set -euo pipefail

say() { echo "node: $*" >&2; }

# As process 1 of the new namespaces.
if [ "${1:-}" = --as-init ]; then
  shift
  mount --make-rshared /
  # What containerd, the kubelet and the CNI plugins keep at fixed places is private to this node.
  mount -t tmpfs tmpfs /run
  mkdir -p /run/netns
  for place in lib log; do
    mkdir -p "$TAGWARDEN_NODE_FOLDER/var/$place" "$TAGWARDEN_NODE_FOLDER/var/.$place"
    mount -t overlay overlay -o "lowerdir=/var/$place,upperdir=$TAGWARDEN_NODE_FOLDER/var/$place,workdir=$TAGWARDEN_NODE_FOLDER/var/.$place" "/var/$place"
  done
  # A bridge carries the node's address: no component accepts a node on loopback.
  ip link set lo up
  ip link add node0 type bridge
  ip address add 10.99.0.1/24 dev node0
  ip link set node0 up
  ip route add default dev node0
  echo 1 >/proc/sys/net/ipv4/ip_forward
  code=0
  "$@" || code=$?
  exit "$code"
fi

if [ -n "${TAGWARDEN_E2E_KUBECONFIG:-}" ]; then
  exec "$@"
fi
if [ "$(id -u)" != 0 ]; then
  say "a node needs root; run as root, or name a cluster that exists by TAGWARDEN_E2E_KUBECONFIG and TAGWARDEN_E2E_IMAGE"
  exit 1
fi

folder=$(mktemp -d "${TMPDIR:-/tmp}/tagwarden-node-XXXXXX")
group=$(basename "$folder")

# Every hierarchy of version 1, or the one of version 2.
groups() {
  local place
  for place in /sys/fs/cgroup /sys/fs/cgroup/*; do
    if [ -f "$place/cgroup.procs" ] && [ ! -L "$place" ] && { [ "$place" != /sys/fs/cgroup ] || [ -f "$place/cgroup.controllers" ]; }; then
      echo "$place"
      [ "$place" != /sys/fs/cgroup ] || return 0
    fi
  done
}

clean() {
  if [ -n "${TAGWARDEN_E2E_LOGS:-}" ]; then # to look at after a failure
    mkdir -p "$TAGWARDEN_E2E_LOGS"
    cp "$folder"/*.log "$TAGWARDEN_E2E_LOGS"
  fi
  local place try
  for try in 1 2 3 4 5 6 7 8 9 10; do # mounts and control groups linger for a moment after the last process
    rm -rf "$folder"
    for place in $(groups); do
      [ ! -d "$place/$group" ] || find "$place/$group" -depth -type d -exec rmdir {} +
    done
    [ -d "$folder" ] || compgen -G "/sys/fs/cgroup/*/$group" || return 0
    sleep 1
  done
}

# Holds the other end of a pipe that every process in there inherits; it closes when the last of them is gone.
exec 8> >(
  trap '' INT TERM HUP
  set +e
  exec >/dev/null 2>&1
  cat
  clean
)

for place in $(groups); do
  mkdir "$place/$group"
  if [ -f "$place/cgroup.controllers" ]; then
    for controller in $(cat "$place/cgroup.controllers"); do
      { echo "+$controller" >"$place/cgroup.subtree_control" && echo "+$controller" >"$place/$group/cgroup.subtree_control"; } 2>/dev/null || true
    done
  fi
  for file in cpuset.cpus cpuset.mems; do
    if [ -f "$place/$group/$file" ] && [ ! -f "$place/cgroup.controllers" ]; then cat "$place/$file" >"$place/$group/$file"; fi
  done
done

export TAGWARDEN_NODE_FOLDER=$folder TAGWARDEN_NODE_CGROUP=/$group
# If whoever called us dies, so does unshare, and with it everything.
exec setpriv --pdeathsig KILL unshare --net --mount --pid --fork --kill-child --mount-proc "$0" --as-init "$@"
