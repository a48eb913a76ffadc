//! What an image says of itself, on every platform that its index lists.

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::Instant;

use super::json::malformed;
use super::manifest::{Child, Contents, Role, annotation, contents};
use super::{Asking, Manifest, Remote, config};
use crate::image::Platform;
use crate::policy::{BASE_NAME, ImageFacts, PlatformFacts};
use crate::registry::credentials::Login;
use crate::registry::failure::Failure;

/// Platforms that an image may have whose facts are asked for; those with the most have fewer than twenty.
pub(in crate::registry) const PLATFORMS: usize = 32;

/// How many of them are asked for at one time.
pub(in crate::registry) const AT_ONCE: usize = 4;

/// Bytes that all platforms of an image may say of themselves together.
const BYTES: usize = 1 << 20;

impl Remote {
    /// Labels, base image and date of every image behind a digest; each document is hashed.
    ///
    /// What runtimes would run on some machine is in it, or the answer is none: a nested index, an entry that is no image,
    /// and a platform too many are protocol failures. Left out are entries for `unknown/unknown`, as which BuildKit
    /// lists attestations: no machine is one.
    ///
    /// # Errors
    /// Any class.
    pub async fn image(
        &self,
        repository: &str,
        digest: &str,
        login: &Login,
        deadline: Instant,
    ) -> Result<ImageFacts, Failure> {
        let asking = Asking { repository, login, deadline };
        let top = self.manifest(repository, digest, login, deadline).await?;
        let platforms = match contents(&top)? {
            Contents::Image { .. } => vec![self.platform(asking, None, &top).await?],
            Contents::Index(children) => {
                let listed = listed(&children)?;
                let asked: Vec<_> = listed.into_iter().map(|child| self.child(asking, child)).collect();
                stream::iter(asked).buffered(AT_ONCE).try_collect().await?
            }
        };
        let facts = ImageFacts { platforms };
        if facts.bytes() > BYTES {
            return Err(malformed("is an image with too many labels"));
        }
        Ok(facts)
    }

    async fn child(&self, asking: Asking<'_>, child: &Child<'_>) -> Result<PlatformFacts, Failure> {
        let Asking { repository, login, deadline } = asking;
        let platform = child.platform.as_ref().map(|platform| platform.name()).transpose()?;
        let manifest = self.manifest(repository, child.digest.as_str(), login, deadline).await?;
        self.platform(asking, platform, &manifest).await
    }

    /// The facts of one image; its platform is that of the index, else that of its configuration.
    async fn platform(
        &self,
        asking: Asking<'_>,
        platform: Option<String>,
        manifest: &Manifest,
    ) -> Result<PlatformFacts, Failure> {
        let Contents::Image { config } = contents(manifest)? else {
            return Err(malformed("is an index where an image should be"));
        };
        let config = self.config(asking, &config).await?;
        let name = match platform {
            Some(name) => name,
            None => config::platform(&config)?,
        };
        let platform = Platform::parse(&name).ok_or_else(|| malformed("names a platform that is none"))?;
        Ok(PlatformFacts {
            platform,
            digest: manifest.head.digest.clone(),
            labels: config::labels(&config)?,
            base: annotation(manifest, BASE_NAME)?,
            created: config::created(&config)?,
        })
    }
}

/// The images of an index; fails where a runtime could find another.
pub(super) fn listed<'c, 'a>(children: &'c [Child<'a>]) -> Result<Vec<&'c Child<'a>>, Failure> {
    let is_unknown = |child: &Child<'_>| child.platform.as_ref().is_some_and(|platform| platform.is_unknown());
    let listed: Vec<&Child<'_>> = children.iter().filter(|child| !is_unknown(child)).collect();
    if listed.iter().any(|child| child.role == Role::Other) {
        return Err(malformed("is an index with an entry that is no image"));
    }
    match listed.len() {
        0 => Err(malformed("is an index without an image")),
        1..=PLATFORMS => Ok(listed),
        _ => Err(malformed(&format!("is an index of more than {PLATFORMS} platforms"))),
    }
}
