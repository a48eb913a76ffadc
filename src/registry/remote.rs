//! One registry: the distribution protocol over the client, with its challenge and tokens remembered.

pub(super) mod answer;
mod config;
pub(super) mod image;
mod inspect;
mod json;
mod manifest;
pub(super) mod site;
mod tags;

#[cfg(test)]
mod tests;

use bytes::Bytes;
use http::header::ACCEPT;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use tokio::time::Instant;

pub use self::inspect::Inspection;

use self::answer::{ERROR_BYTES, Server, refusal};
use self::manifest::{Contents, Role, contents};
use self::site::Site;
use self::tags::Listing;
use super::auth::{Auth, Learned, Origin};
use super::client::{Client, Errand, Incoming, Outgoing};
use super::credentials::Login;
use super::failure::{Failure, FailureKind};
use super::settings::{RegistrySettings, Settings};
use crate::image::{Digest, DigestBuf};
use crate::policy::ImageLabels;

/// Bytes of a manifest, a configuration, or a page of tags.
const DOCUMENT_BYTES: usize = 4 << 20;

/// How often a request is sent: without proof, with a token that was kept, with a fresh one.
const SENDS: usize = 3;

/// One registry host. Shared by all lookups at it; tokens are kept by (identity, repository).
pub(super) struct Remote {
    client: Client,
    site: Site,
    auth: Auth,
}

/// What a manifest request says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Of what the tag names: the index, where the image has several platforms.
    pub digest: DigestBuf,
    /// The Content-Type without parameters.
    pub media_type: String,
}

/// A manifest or index, hashed and found to be what its digest says.
#[derive(Clone, Debug)]
pub(super) struct Manifest {
    /// Digest and media type.
    pub head: Head,
    /// The document.
    pub body: Bytes,
}

/// Who asks about what, and for how long.
#[derive(Clone, Copy)]
struct Asking<'a> {
    repository: &'a str,
    login: &'a Login,
    deadline: Instant,
}

impl Remote {
    /// For a host that policies name.
    ///
    /// # Errors
    /// One sentence: a file of its settings cannot be read, or its endpoint is no address.
    pub fn new(host: &str, registry: Option<&RegistrySettings>, settings: &Settings) -> Result<Self, String> {
        Remote::over(Client::new(host, registry, settings)?, host, registry, settings)
    }

    /// The same over a client that is there.
    ///
    /// # Errors
    /// One sentence: its endpoint is no address.
    pub fn over(
        client: Client,
        host: &str,
        registry: Option<&RegistrySettings>,
        settings: &Settings,
    ) -> Result<Self, String> {
        let site = Site::new(host, registry)?;
        let auth = Auth::new(site.clone(), registry, settings);
        Ok(Remote { client, site, auth })
    }

    /// The digest of a tag: one HEAD, a GET only where HEAD does not say.
    ///
    /// # Errors
    /// Any class.
    pub async fn head(&self, repository: &str, tag: &str, login: &Login, deadline: Instant) -> Result<Head, Failure> {
        let asking = Asking { repository, login, deadline };
        let uri = self.manifest_uri(repository, tag)?;
        let answer = self.ask(asking, Method::HEAD, uri, Errand::Registry).await?;
        let said = match answer.status {
            StatusCode::OK => manifest::head(&answer.headers, wanted(tag)?)?,
            StatusCode::METHOD_NOT_ALLOWED => None,
            _ => return Err(refusal(Server::Registry, &answer)),
        };
        match said {
            Some(head) => Ok(head),
            None => Ok(self.manifest(repository, tag, login, deadline).await?.head),
        }
    }

    /// A manifest by tag or digest (`reference`).
    ///
    /// # Errors
    /// Any class.
    pub async fn manifest(
        &self,
        repository: &str,
        reference: &str,
        login: &Login,
        deadline: Instant,
    ) -> Result<Manifest, Failure> {
        let asking = Asking { repository, login, deadline };
        let answer = self.get(asking, self.manifest_uri(repository, reference)?, Errand::Registry).await?;
        manifest::manifest(answer, wanted(reference)?)
    }

    /// The labels of an image; of an index, those of linux/amd64, else of the first child that is an image.
    ///
    /// # Errors
    /// Any class.
    pub async fn labels(
        &self,
        repository: &str,
        digest: &str,
        login: &Login,
        deadline: Instant,
    ) -> Result<ImageLabels, Failure> {
        let asking = Asking { repository, login, deadline };
        let top = self.manifest(repository, digest, login, deadline).await?;
        let config = match contents(&top)? {
            Contents::Image { config } => config,
            Contents::Index(mut children) => {
                children.retain(|child| child.role == Role::Image);
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
        config::labels(&self.config(asking, &config).await?)
    }

    /// The names of all tags, sorted, at most 10,000; more is a failure. Pages are followed within the registry.
    ///
    /// # Errors
    /// Any class.
    pub async fn tags(&self, repository: &str, login: &Login, deadline: Instant) -> Result<Vec<String>, Failure> {
        let asking = Asking { repository, login, deadline };
        let mut listing = Listing::new(&self.site, repository);
        let mut next = Some(listing.first()?);
        while let Some(uri) = next {
            next = listing.add(&self.get(asking, uri, Errand::Registry).await?)?;
        }
        Ok(listing.finish())
    }

    /// `os/architecture[/variant]` of every image of an index, or of the one image.
    ///
    /// # Errors
    /// Any class.
    pub async fn platforms(
        &self,
        repository: &str,
        manifest: &Manifest,
        login: &Login,
        deadline: Instant,
    ) -> Result<Vec<String>, Failure> {
        let asking = Asking { repository, login, deadline };
        match contents(manifest)? {
            Contents::Index(children) => {
                let images = children.iter().filter(|child| child.role == Role::Image);
                images.filter_map(|child| child.platform.as_ref()).map(|platform| platform.name()).collect()
            }
            Contents::Image { config } => Ok(vec![config::platform(&self.config(asking, &config).await?)?]),
        }
    }

    fn manifest_uri(&self, repository: &str, reference: &str) -> Result<Uri, Failure> {
        self.site.uri(&self.site.path(repository, &format!("manifests/{reference}")), "")
    }

    /// An image's configuration, hashed.
    async fn config(&self, asking: Asking<'_>, digest: &DigestBuf) -> Result<Bytes, Failure> {
        let uri = self.site.uri(&self.site.path(asking.repository, &format!("blobs/{digest}")), "")?;
        let answer = self.get(asking, uri, Errand::Blob).await?;
        if let Some(expected) = wanted(digest.as_str())? {
            manifest::check(&answer.body, expected)?;
        }
        Ok(answer.body)
    }

    async fn get(&self, asking: Asking<'_>, uri: Uri, errand: Errand) -> Result<Incoming, Failure> {
        let answer = self.ask(asking, Method::GET, uri, errand).await?;
        if answer.status == StatusCode::OK { Ok(answer) } else { Err(refusal(Server::Registry, &answer)) }
    }

    /// Sends a request with the proof that the registry asks for. A proof that may be out of date, or is none of what the
    /// registry asks for now, is replaced once; what is answered then stands.
    async fn ask(&self, asking: Asking<'_>, method: Method, uri: Uri, errand: Errand) -> Result<Incoming, Failure> {
        let Asking { repository, login, deadline } = asking;
        let mut sends = 0;
        loop {
            let proof = self.auth.prove(&self.client, repository, login, deadline).await?;
            let accept = if errand == Errand::Blob { "*/*" } else { manifest::ACCEPT };
            let mut headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]);
            proof.set(&mut headers);
            let limit = if method == Method::HEAD { ERROR_BYTES } else { DOCUMENT_BYTES };
            let request =
                Outgoing { method: method.clone(), uri: uri.clone(), headers, body: Bytes::new(), limit, errand };
            let answer = self.client.send(request, deadline).await?;
            sends += 1;
            let again = match (answer.status, proof.origin) {
                (StatusCode::UNAUTHORIZED, Origin::Only) => false,
                (StatusCode::UNAUTHORIZED, Origin::Absent) => {
                    self.auth.learn(&answer.headers)?;
                    true
                }
                (StatusCode::UNAUTHORIZED, origin) => {
                    self.auth.forget(&proof).await;
                    // A challenge that will not do leaves the one that is known.
                    let learned = self.auth.learn(&answer.headers).unwrap_or(Learned::Known);
                    origin == Origin::Kept || learned == Learned::New
                }
                // Some registries say so of a token that has run out.
                (StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST, Origin::Kept) => {
                    self.auth.forget(&proof).await;
                    true
                }
                _ => false,
            };
            if !again || sends == SENDS {
                return Ok(answer);
            }
        }
    }
}

/// The digest that a reference is; none, if it is a tag.
fn wanted(reference: &str) -> Result<Option<Digest<'_>>, Failure> {
    if !reference.contains(':') {
        return Ok(None);
    }
    Digest::parse(reference).map(Some).map_err(|_| Failure::new(FailureKind::Protocol, "the digest asked for is none"))
}
