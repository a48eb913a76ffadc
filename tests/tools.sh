# What the scripts that fetch or build the suites' tools have in common; sourced by them, after they have set `about`,
# which begins each of their messages.

say() { echo "$about: $*" >&2; }
die() { say "$*"; exit 1; }

# Installs the Debian packages of those programs that are not on the PATH, "program:package" each.
programs() {
  local missing=() pair
  for pair in "$@"; do
    command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}")
  done
  packages ${missing[@]+"${missing[@]}"}
}

# Installs Debian packages.
packages() {
  [ "$#" -gt 0 ] || return 0
  command -v apt-get >/dev/null || die "not there: $*; install what these Debian packages hold"
  [ "$(id -u)" = 0 ] || die "not there: $*; install with: sudo apt-get install $*"
  say "installing $*"
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"; } >&2
}

# Makes a folder of the cache outside the repository, holds its lock until the script ends, since two suites that start
# together build once, and sets `folder` to it.
cached() {
  folder=${XDG_CACHE_HOME:-$HOME/.cache}/tagwarden/$1
  mkdir -p "$folder"
  exec 9>"$folder/.lock"
  flock 9
}

# Says that Go is about to build something, or that there is no Go.
building() {
  command -v go >/dev/null || die "Go is needed for building $1, and there is no go on the PATH; install it"
  say "building $1"
}
