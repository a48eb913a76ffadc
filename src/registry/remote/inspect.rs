//! What a release's lock says of an image: its digest, its children by platform, and the commit that it names.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::image::listed;
use super::manifest::{Contents, contents};
use super::{Asking, Remote, config, json};
use crate::image::DigestBuf;
use crate::policy::REVISION;
use crate::registry::credentials::Login;
use crate::registry::failure::Failure;

/// What a lock says of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// The digest of what the reference names: the index, where it has several platforms.
    pub digest: DigestBuf,
    /// The digests of an index's images by `os/architecture[/variant]`; empty: it is no index.
    pub platforms: BTreeMap<String, DigestBuf>,
    /// The label `org.opencontainers.image.revision`: of linux/amd64, else of the first image.
    pub revision: Option<String>,
}

impl Remote {
    /// Index, one image of it and that one's configuration: three requests; two where there is no index.
    ///
    /// # Errors
    /// Any class.
    pub async fn inspect(
        &self,
        repository: &str,
        reference: &str,
        login: &Login,
        deadline: Instant,
    ) -> Result<Inspection, Failure> {
        let asking = Asking { repository, login, deadline };
        let top = self.manifest(repository, reference, login, deadline).await?;
        let mut platforms = BTreeMap::new();
        let config = match contents(&top)? {
            Contents::Image { config } => config,
            Contents::Index(children) => {
                let children = listed(&children)?;
                for child in &children {
                    let Some(platform) = &child.platform else { continue };
                    // Of several for one platform (versions of Windows) runtimes try the first one first.
                    platforms.entry(platform.name()?).or_insert_with(|| child.digest.clone());
                }
                let common = children.iter().find(|child| child.platform.as_ref().is_some_and(|p| p.is_common()));
                let child =
                    common.or(children.first()).ok_or_else(|| json::malformed("is an index without an image"))?;
                let child = self.manifest(repository, child.digest.as_str(), login, deadline).await?;
                match contents(&child)? {
                    Contents::Image { config } => config,
                    Contents::Index(_) => return Err(json::malformed("is an index where an image should be")),
                }
            }
        };
        let mut labels = config::labels(&self.config(asking, &config).await?)?;
        let revision = labels.remove(REVISION).filter(|revision| !revision.is_empty());
        Ok(Inspection { digest: top.head.digest, platforms, revision })
    }
}
