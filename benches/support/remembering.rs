//! A registry in this process that has the images of the review, and a resolver that may ask it: what it has asked once
//! it remembers.

use std::collections::BTreeSet;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tagwarden::cli::{ExampleImage, ExampleRegistry};
use tagwarden::config::{Config, Overrides};
use tagwarden::metrics::Metrics;
use tagwarden::policy::{Facts, Plan};
use tagwarden::registry::{Asker, Resolver};
use tokio::time::Instant;

use super::scene::REVIEW;

const IMAGES: [(&str, &str); 3] = [("acme/api", "v1.4.2"), ("acme/proxy", "v2.0.1"), ("acme/metrics", "3f9c2d1")];

/// The registry, who asks it, and the review as `/mutate` would leave it.
pub struct Remembering {
    pub registry: ExampleRegistry,
    pub resolver: Resolver,
    pub pinned: String,
}

impl Remembering {
    /// Starts the registry, in the runtime that this is called in. Nothing has been asked yet.
    ///
    /// # Errors
    /// No port, or no folder for a certificate.
    pub async fn start() -> Result<Self, Box<dyn Error>> {
        let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?;
        let registry = ExampleRegistry::start(now).await?;
        let folder = tempfile::tempdir()?;
        let ca = folder.path().join("ca.crt");
        std::fs::write(&ca, registry.authority())?;
        let text = format!(
            "registries: [{{host: registry.example.com, endpoint: \"{}\", private: true, ca: {}}}]\n",
            registry.endpoint(),
            ca.display()
        );
        let config = Config::from_text("bench.yaml", &text, &Overrides::default())?;
        let hosts = BTreeSet::from(["registry.example.com".to_owned()]);
        let resolver = Resolver::new(config.registry, hosts, Arc::new(Metrics::new()?))?;
        let mut pinned = REVIEW.to_owned();
        for (repository, tag) in IMAGES {
            let image = ExampleImage { platforms: &["linux/amd64"], labels: &[("of", repository)] };
            let digest = registry.push(repository, &image)?;
            registry.tag(repository, tag, &digest);
            let image = format!("registry.example.com/{repository}:{tag}");
            pinned = pinned.replace(&format!("\"{image}\""), &format!("\"{image}@{digest}\""));
        }
        Ok(Remembering { registry, resolver, pinned })
    }

    /// What the plan asks for.
    pub async fn facts(&self, plan: &Plan<'_>) -> Facts {
        let asker = Asker { namespace: Some("shop"), ..Asker::default() };
        self.resolver.facts(plan, asker, Instant::now() + Duration::from_secs(5)).await
    }
}
