#!/usr/bin/env bash
# Runs the node suite: makes sure of its programs and of the image, then runs the scenarios whose names hold one of the
# arguments, or all. With TAGWARDEN_E2E_KUBECONFIG they run in that cluster, with the image that TAGWARDEN_E2E_IMAGE names,
# and nothing but helm is built besides the suite itself.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

TAGWARDEN_CHART_TOOLS=$(tests/chart/build.sh)
export TAGWARDEN_CHART_TOOLS
if [ -z "${TAGWARDEN_E2E_KUBECONFIG:-}" ]; then
  KUBEBUILDER_ASSETS=$(tests/cluster/assets/build.sh)
  TAGWARDEN_REGISTRIES=$(tests/registries/build.sh)
  TAGWARDEN_NODE_PROGRAMS=$(tests/node/build.sh)
  TAGWARDEN_CERT_MANAGER=$(tests/certmanager/build.sh)
  # An image that is named is taken as it is; it must be an OCI archive, as `make image` writes it.
  if [ -z "${TAGWARDEN_IMAGE:-}" ]; then
    built=$(tests/image/build.sh)
    TAGWARDEN_IMAGE=${built% sha256:*}
  fi
  export KUBEBUILDER_ASSETS TAGWARDEN_REGISTRIES TAGWARDEN_NODE_PROGRAMS TAGWARDEN_CERT_MANAGER TAGWARDEN_IMAGE
fi
exec "${CARGO:-cargo}" test --locked --features e2e --config "target.'cfg(all())'.runner = '$PWD/tests/node/inside.sh'" --test node -- "$@"
