//! What the demo's registry holds before anything happens: the images behind `policies/pinning`.

use super::registry::{ExampleImage, ExampleRegistry};
use crate::image::DigestBuf;

/// The host that the policies name; the server is configured to ask the example registry in its place.
pub(super) const HOST: &str = "registry.example.com";
/// The platforms of every image.
const PLATFORMS: &[&str] = &["linux/amd64", "linux/arm64"];

/// An image: its repository, the tags that name it, and the label that makes it differ from others.
type Build = (&'static str, &'static [&'static str], &'static str);

/// All of them.
const BUILDS: &[Build] = &[
    ("acme/api", &["v1.4.1"], "1.4.1"),
    ("acme/api", &["v1.4.2"], "1.4.2"),
    ("acme/api", &["v1.4.3"], "1.4.3"),
    ("acme/web", &["v2.3.0", "env-prod"], "2.3.0"),
    ("acme/worker", &["v0.9.0"], "0.9.0"),
    ("acme/worker", &["env-prod"], "0.9.1-unreleased"),
    ("acme/batch", &["v3.0.0"], "3.0.0"),
];

/// Puts everything on the shelf.
pub(super) fn fill(registry: &ExampleRegistry) -> anyhow::Result<()> {
    BUILDS.iter().try_for_each(|(repository, tags, version)| push(registry, repository, tags, version).map(drop))
}

/// Pushes one image as a build would, and lets tags name it.
pub(super) fn push(
    registry: &ExampleRegistry,
    repository: &str,
    tags: &[&str],
    version: &str,
) -> anyhow::Result<DigestBuf> {
    let labels = [("org.opencontainers.image.version", version)];
    let digest = registry.push(repository, &ExampleImage { platforms: PLATFORMS, labels: &labels })?;
    tags.iter().for_each(|tag| registry.tag(repository, tag, &digest));
    Ok(digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Age, Answer, Asked, Budget, FactsFile, Lookup};

    /// `check --facts` judges the example as the demo's registry does.
    #[tokio::test]
    async fn the_facts_of_the_example_are_what_the_registry_says() {
        let text = include_str!("../../../policies/pinning/facts/registry.yaml");
        let facts = FactsFile::read(&[("registry.yaml", text)]).unwrap_or_else(|problems| panic!("{problems:?}"));
        let registry = ExampleRegistry::start(1_800_000_000).await.unwrap();
        for (repository, tags, version) in BUILDS {
            let digest = push(&registry, repository, tags, version).unwrap();
            let name = format!("{HOST}/{repository}");
            for tag in *tags {
                let what = Asked::Digest { tag, floating: false, age: Age::Remembered, budget: Budget::Review };
                let Answer::Digest(Ok(known)) = facts.answer(&Lookup { name: &name, what }) else {
                    panic!("the facts lack {name}:{tag}, which is {digest}");
                };
                assert_eq!(known.digest, digest, "{name}:{tag}");
            }
        }
    }
}
