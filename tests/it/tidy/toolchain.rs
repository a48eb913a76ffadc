//! One compiler: the image's builder has the version that rust-toolchain.toml names.

use super::Problems;

/// What the Dockerfile builds with, against what everything else builds with.
pub(super) fn one_compiler(toolchain: &str, dockerfile: &str) -> Problems {
    let channel = toolchain.lines().find_map(|line| line.strip_prefix("channel = \"")?.strip_suffix('"'));
    let Some(channel) = channel else {
        return vec!["rust-toolchain.toml: there is no channel; name one version".to_owned()];
    };
    let builder = dockerfile.lines().find_map(|line| line.strip_prefix("ARG RUST_IMAGE="));
    let Some(builder) = builder else {
        return vec!["Dockerfile: there is no 'ARG RUST_IMAGE='; the builder's image is named there".to_owned()];
    };
    let tag = builder.split('@').next().and_then(|name| name.rsplit_once(':')).map_or("", |(_, tag)| tag);
    let same = tag.strip_prefix(channel).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
    Vec::from_iter((!same).then(|| format!("Dockerfile: builds with '{builder}'; rust-toolchain.toml says {channel}")))
}

#[test]
fn the_builder_has_the_version_of_the_toolchain() {
    let toolchain = "[toolchain]\nchannel = \"1.95.0\"\n";
    let with = |image: &str| one_compiler(toolchain, &format!("ARG RUST_IMAGE={image}\nFROM ${{RUST_IMAGE}}\n"));
    for same in ["rust:1.95.0", "docker.io/library/rust:1.95.0-slim-trixie", "rust:1.95.0-slim@sha256:abc"] {
        assert!(with(same).is_empty(), "{same}");
    }
    for other in ["rust:1.96.0-slim", "rust", "rust:1.95.01", "rust:latest", "rust@sha256:abc"] {
        assert_eq!(with(other).len(), 1, "{other}");
    }
    assert_eq!(one_compiler(toolchain, "FROM rust:1.95.0\n").len(), 1);
    assert_eq!(one_compiler("", "ARG RUST_IMAGE=rust:1.95.0\n").len(), 1);
}
