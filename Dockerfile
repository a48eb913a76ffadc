# The image of Tagwarden: one static program in an empty file system, run by a user that is nobody else's.
#
#   docker buildx build --platform linux/amd64,linux/arm64 --build-arg VERSION=0.1.0 --build-arg REVISION="$(git rev-parse HEAD)" .
#
# `make image` builds the last stage of this same file from a program that cargo built here, and pulls nothing.

# A release names the digest as well (--build-arg RUST_IMAGE=docker.io/library/rust:1.95.0-slim-trixie@sha256:...): whoever
# releases reads it from the registry that day, for the digest of a base image that receives security fixes is of no use
# once it is old. Nothing of this stage but the program reaches the image. The version is that of rust-toolchain.toml (a
# test compares them); that file stays out of the build, because rustup would download the linters it names.
ARG RUST_IMAGE=docker.io/library/rust:1.95.0-slim-trixie

# Each platform builds its own program, emulated or on a machine of its kind: Debian has no C cross compiler for musl, which
# aws-lc needs.
FROM ${RUST_IMAGE} AS builder
RUN apt-get update -qq && \
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends build-essential cmake musl-tools && \
    rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
ARG TARGETARCH
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/source/target,id=target-${TARGETARCH},sharing=locked \
    case "${TARGETARCH}" in \
      amd64) target=x86_64-unknown-linux-musl ;; \
      arm64) target=aarch64-unknown-linux-musl ;; \
      *) echo "TARGETARCH is '${TARGETARCH}'; tagwarden is built for amd64 and arm64: name one of them by --platform" >&2; exit 1 ;; \
    esac && \
    rustup target add "$target" && \
    cargo build --release --locked --bin tagwarden --target "$target" && \
    install -m 0755 "target/$target/release/tagwarden" /tagwarden

# Nothing else is needed: registries' root certificates are in the program, the API server's come with the service account,
# and names resolve without /etc/nsswitch.conf. What is not here (a shell, a package manager, a certificate file) needs no
# update. root owns the program, so that the process cannot write over it.
FROM scratch
ARG VERSION=0.0.0
ARG REVISION=unknown
ARG SOURCE=https://tagwarden.dev
LABEL org.opencontainers.image.title="tagwarden" \
      org.opencontainers.image.description="A Kubernetes admission webhook that enforces image-tag policy" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=builder /tagwarden /tagwarden
# Numbers, because there is no /etc/passwd and runAsNonRoot looks at nothing else.
USER 65532:65532
ENTRYPOINT ["/tagwarden"]
CMD ["serve"]
