//! The seam to a registry: a question out, an answer back; tests put a registry of their own behind it.

use std::pin::Pin;
use std::sync::Arc;

use tokio::time::Instant;

use super::Description;
use crate::registry::cache::{Kind, Value};
use crate::registry::credentials::Login;
use crate::registry::failure::Failure;
use crate::registry::remote::{Inspection, Remote};
use crate::registry::settings::{RegistrySettings, Settings};

/// An answer to come.
pub(super) type Reply<T> = Pin<Box<dyn Future<Output = Result<T, Failure>> + Send>>;

/// A question to one registry.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub repository: Box<str>,
    pub kind: Kind,
    /// The tag or digest; empty for lists.
    pub item: Box<str>,
}

/// One registry.
pub(super) trait Ask: Send + Sync {
    /// The answer, by `deadline`.
    fn ask(self: Arc<Self>, question: Question, login: Login, deadline: Instant) -> Reply<Value>;

    /// What `item` names, with its platforms.
    fn describe(self: Arc<Self>, question: Question, login: Login, deadline: Instant) -> Reply<Description>;

    /// What a release's lock says of `item`.
    fn inspect(self: Arc<Self>, question: Question, login: Login, deadline: Instant) -> Reply<Inspection>;
}

/// Makes the registry of a host.
pub(super) type Open = dyn Fn(&str, Option<&RegistrySettings>, &Settings) -> Result<Arc<dyn Ask>, String> + Send + Sync;

/// The real ones.
pub(super) fn remote(
    host: &str,
    registry: Option<&RegistrySettings>,
    settings: &Settings,
) -> Result<Arc<dyn Ask>, String> {
    Ok(Arc::new(Remote::new(host, registry, settings)?))
}

impl Ask for Remote {
    fn ask(self: Arc<Self>, question: Question, login: Login, deadline: Instant) -> Reply<Value> {
        Box::pin(async move {
            let Question { repository, kind, item } = &question;
            Ok(match kind {
                Kind::Digest => Value::Digest(self.head(repository, item, &login, deadline).await?.digest),
                Kind::Labels => Value::Labels(Arc::new(self.labels(repository, item, &login, deadline).await?)),
                Kind::Image => Value::Image(Arc::new(self.image(repository, item, &login, deadline).await?)),
                Kind::Tags => Value::Tags(Arc::new(self.tags(repository, &login, deadline).await?)),
            })
        })
    }

    fn describe(self: Arc<Self>, question: Question, login: Login, deadline: Instant) -> Reply<Description> {
        Box::pin(async move {
            let Question { repository, item, .. } = &question;
            let manifest = self.manifest(repository, item, &login, deadline).await?;
            let platforms = self.platforms(repository, &manifest, &login, deadline).await?;
            let head = manifest.head;
            Ok(Description {
                digest: head.digest,
                media_type: head.media_type,
                platforms,
                login: login.origin.into_owned(),
            })
        })
    }

    fn inspect(self: Arc<Self>, question: Question, login: Login, deadline: Instant) -> Reply<Inspection> {
        Box::pin(async move {
            let Question { repository, item, .. } = &question;
            Remote::inspect(&self, repository, item, &login, deadline).await
        })
    }
}
