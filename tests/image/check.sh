#!/usr/bin/env bash
# Looks at an image as whoever runs it gets it: check.sh ARCHIVE VERSION REVISION. Who it runs as, what it starts, its
# labels, that it holds one static program under the size limit and nothing else, and that the program runs where there is
# nothing else. All that is wrong is said before it fails. `make image` ends with it.
set -euo pipefail
archive=$1 version=$2 revision=$3
limit_mib=20

problems=0
wrong() { echo "image: $*" >&2; problems=$((problems + 1)); }
expect() { [ "$2" = "$3" ] || wrong "$1 is '$2', expected: '$3'; see the Dockerfile's last stage"; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
store() { buildah --root "$work/storage" --runroot "$work/run" --storage-driver vfs "$@"; }

image=$(store pull --quiet "oci-archive:$archive")
field() { store inspect --type image --format "$1" "$image"; }
label() { field "{{index .OCIv1.Config.Labels \"org.opencontainers.image.$1\"}}"; }
expect "the user" "$(field '{{.OCIv1.Config.User}}')" 65532:65532
expect "the entrypoint" "$(field '{{.OCIv1.Config.Entrypoint}}')" "[/tagwarden]"
expect "the command" "$(field '{{.OCIv1.Config.Cmd}}')" "[serve]"
expect "the label title" "$(label title)" tagwarden
expect "the label licenses" "$(label licenses)" Apache-2.0
expect "the label version" "$(label version)" "$version"
expect "the label revision" "$(label revision)" "$revision"
for name in source description; do
  [ -n "$(label $name)" ] || wrong "the label $name is empty; see the Dockerfile's last stage"
done

# The layers as they are in the archive; unpacked in order they are what a container sees.
mkdir "$work/archive" "$work/rootfs"
tar -xf "$archive" -C "$work/archive"
for layer in $(field '{{range .OCIv1.RootFS.DiffIDs}}{{.}} {{end}}'); do
  for blob in "$work"/archive/blobs/sha256/*; do
    if [ "$(gzip -dc "$blob" 2>/dev/null | sha256sum | cut -d' ' -f1)" = "${layer#sha256:}" ]; then
      gzip -dc "$blob" | tar -x -C "$work/rootfs"
    fi
  done
done
expect "the list of files" "$(cd "$work/rootfs" && find . -mindepth 1 -printf '%M %P\n' | sort | paste -sd,)" "-rwxr-xr-x tagwarden"

program=$work/rootfs/tagwarden
size=$(stat -c %s "$program")
[ "$size" -le $((limit_mib * 1024 * 1024)) ] ||
  wrong "the program has $size bytes, more than $limit_mib MiB; look for what a new dependency brings (cargo tree, cargo bloat)"
if readelf -lW "$program" | grep -q INTERP || readelf -dW "$program" | grep -q NEEDED; then
  wrong "the program is linked dynamically, and the image holds no loader and no libraries; build it for a musl target"
fi

# In an empty root, as the image's user: no /etc, no /proc, no /tmp, no certificates.
alone() {
  if [ "$(id -u)" = 0 ]; then chroot --userspec=65532:65532 "$work/rootfs" "$@"; else unshare -r chroot "$work/rootfs" "$@"; fi
}
chmod 0755 "$work" # mktemp lets nobody else in
expect "the answer to --version" "$(alone /tagwarden --version 2>&1)" "tagwarden $version"
expect "the verdict on nginx:latest" "$(alone /tagwarden explain --offline nginx:latest >/dev/null 2>&1; echo "exit $?")" "exit 0"

if [ "$problems" -gt 0 ]; then
  echo "image: $problems checks failed" >&2
  exit 1
fi
printf 'image: checked: %s bytes in all, the archive %s\n' "$size" "$(stat -c %s "$archive")" >&2
