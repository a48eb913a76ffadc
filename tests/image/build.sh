#!/usr/bin/env bash
# Builds the image for this machine's architecture as an OCI archive, without pulling anything: cargo makes the static
# program, buildah the last stage of the Dockerfile with that program in the place of its builder. Prints the archive's path
# and the image's digest, "PATH sha256:...". IMAGE_OUT names the archive (default: image/tagwarden.tar in cargo's target
# folder). The same program at the same commit gives the same digest.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
cd "$root"
about=image
# shellcheck source=tests/tools.sh
. "$here/../tools.sh"

programs buildah:buildah musl-gcc:musl-tools

case "$(uname -m)" in
  x86_64) architecture=amd64 triple=x86_64-unknown-linux-musl ;;
  aarch64) architecture=arm64 triple=aarch64-unknown-linux-musl ;;
  *) die "tagwarden is built for x86_64 and aarch64; this machine is $(uname -m)" ;;
esac
rustc --print target-libdir --target "$triple" | xargs test -d || rustup target add "$triple" >&2

target=${CARGO_TARGET_DIR:-$root/target}
say "building the program for $triple (once; some minutes with an empty target folder)"
"${CARGO:-cargo}" build --release --locked --bin tagwarden --target "$triple" >&2

revision=unknown created=0
if head=$(git rev-parse --verify -q HEAD 2>/dev/null); then
  revision=$head created=$(git log -1 --format=%ct)
  # The label must not name a commit that this is not.
  git diff --quiet HEAD -- || revision=$head-dirty
fi
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)

archive=${IMAGE_OUT:-$target/image/tagwarden.tar}
mkdir -p "$(dirname "$archive")"
work=$(mktemp -d "$(dirname "$archive")/.image.XXXXXX")
trap 'rm -rf "$work"' EXIT # the storage is this run's own: nothing of an earlier one can end up in the image
mkdir "$work/builder"
install -m 0755 "$target/$triple/release/tagwarden" "$work/builder/tagwarden"

store() { buildah --root "$work/storage" --runroot "$work/run" --storage-driver vfs "$@"; }
name=tagwarden:v$version
say "building $name for linux/$architecture"
store build --quiet --isolation chroot --format oci --arch "$architecture" --timestamp "${SOURCE_DATE_EPOCH:-$created}" \
  --build-context "builder=$work/builder" --build-arg "VERSION=$version" --build-arg "REVISION=$revision" \
  --tag "$name" --file Dockerfile . >"$work/log" 2>&1 || { cat "$work/log" >&2; die "buildah could not build the image"; }
store push --quiet --digestfile "$work/digest" "$name" "oci-archive:$work/image.tar:$name" >"$work/log" 2>&1 ||
  { cat "$work/log" >&2; die "buildah could not write the archive"; }
"$here/check.sh" "$work/image.tar" "$version" "$revision"
mv "$work/image.tar" "$archive"
echo "$archive $(cat "$work/digest")"
