//! Manifests and indexes: what the registry says of them, and what of it is believed.

use std::borrow::Cow;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName};
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use super::json::{fields, malformed, typed};
use super::{Head, Manifest};
use crate::image::{Algorithm, Digest, DigestBuf, MAX_REFERENCE_BYTES};
use crate::registry::client::Incoming;
use crate::registry::failure::Failure;

const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// What containerd accepts when it resolves a tag (`core/remotes/docker/resolver.go`), to the letter: registries answer
/// with another digest to another list.
pub(super) const ACCEPT: &str = "application/vnd.docker.distribution.manifest.v2+json, \
                                 application/vnd.docker.distribution.manifest.list.v2+json, \
                                 application/vnd.oci.image.manifest.v1+json, \
                                 application/vnd.oci.image.index.v1+json, */*";

/// Configurations that are those of images.
const CONFIGS: [&str; 2] =
    ["application/vnd.docker.container.image.v1+json", "application/vnd.oci.image.config.v1+json"];

/// By it BuildKit marks what is no image but belongs to one (an attestation).
const ATTACHED: &str = "vnd.docker.reference.type";

/// Children that an index may have; the largest seen have some dozens.
const CHILDREN: usize = 1000;

/// The header that names what was asked for.
const DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// What is inside a manifest.
pub(super) enum Contents<'a> {
    /// An index's entries.
    Index(Vec<Child<'a>>),
    /// An image's configuration.
    Image {
        /// Its digest.
        config: DigestBuf,
    },
}

/// An entry of an index.
pub(super) struct Child<'a> {
    /// What it is.
    pub role: Role,
    /// Of its manifest.
    pub digest: DigestBuf,
    /// For which machines it is, if the index says.
    pub platform: Option<Platform<'a>>,
}

/// What an entry of an index is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The manifest of an image.
    Image,
    /// A manifest that is marked as belonging to an image: an attestation.
    Attached,
    /// Something else: an index, an artifact.
    Other,
}

/// For which machines an image is.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Platform<'a> {
    #[serde(borrow, default)]
    os: Cow<'a, str>,
    #[serde(borrow, default)]
    architecture: Cow<'a, str>,
    #[serde(borrow, default)]
    variant: Option<Cow<'a, str>>,
}

impl Platform<'_> {
    /// Whether it is linux/amd64.
    pub fn is_common(&self) -> bool {
        self.os == "linux" && self.architecture == "amd64"
    }

    /// Whether it is for no machine at all, as BuildKit says of attestations.
    pub fn is_unknown(&self) -> bool {
        self.os == "unknown" && self.architecture == "unknown"
    }

    /// `linux/arm64/v8`.
    ///
    /// # Errors
    /// Protocol: it is made of other characters than platforms are.
    pub fn name(&self) -> Result<String, Failure> {
        let variant = self.variant.as_deref().filter(|variant| !variant.is_empty());
        let parts: Vec<&str> = [&*self.os, &*self.architecture].into_iter().chain(variant).collect();
        let plain = |part: &&str| {
            (1..=64).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        };
        if parts.iter().all(plain) { Ok(parts.join("/")) } else { Err(malformed("names a platform that is none")) }
    }
}

/// What the headers of an answer say, if they say enough.
///
/// # Errors
/// Protocol: they say what cannot be.
pub(super) fn head(headers: &HeaderMap, wanted: Option<Digest<'_>>) -> Result<Option<Head>, Failure> {
    let (digest, media_type) = (digest(headers)?, media_type(headers)?);
    if let (Some(digest), Some(wanted)) = (&digest, wanted) {
        agree(digest, wanted)?;
    }
    Ok(digest.zip(media_type).map(|(digest, media_type)| Head { digest, media_type }))
}

/// The document of an answer, if it is what was asked for and what the headers say.
///
/// # Errors
/// Protocol.
pub(super) fn manifest(answer: Incoming, wanted: Option<Digest<'_>>) -> Result<Manifest, Failure> {
    let (said, media_type) = (digest(&answer.headers)?, media_type(&answer.headers)?);
    let said = said.as_ref().map(|digest| Digest::parse(digest.as_str())).transpose().map_err(|_| bad_digest())?;
    for expected in [wanted, said].into_iter().flatten() {
        check(&answer.body, expected)?;
    }
    let digest = match wanted.or(said) {
        Some(digest) => digest.into(),
        None => hash(&answer.body, Algorithm::Sha256)?,
    };
    let media_type = match (media_type, own_media_type(&answer.body)?) {
        (Some(header), Some(own)) if header != own => {
            return Err(malformed("has a Content-Type that contradicts its mediaType"));
        }
        (Some(media_type), _) | (None, Some(media_type)) => media_type,
        (None, None) => return Err(malformed("does not say what it is")),
    };
    let manifest = Manifest { head: Head { digest, media_type }, body: answer.body };
    contents(&manifest)?;
    Ok(manifest)
}

/// What is inside a manifest.
///
/// # Errors
/// Protocol: it is not what its media type says, or is two things at once (GHSA-mc8v-mgrf-8f4m).
pub(super) fn contents(manifest: &Manifest) -> Result<Contents<'_>, Failure> {
    let names = ["schemaVersion", "manifests", "layers", "config", "fsLayers"];
    let [schema, manifests, layers, config, legacy] = fields(&manifest.body, names)?;
    if typed::<u64>(schema)? != Some(2) || legacy.is_some() {
        return Err(malformed("is a manifest of a schema other than 2"));
    }
    match (is_index(&manifest.head.media_type), manifests, layers, config) {
        (true, Some(manifests), None, None) => Ok(Contents::Index(children(manifests)?)),
        (false, None, Some(layers), Some(config)) => {
            // Only their number is of interest here, and that it is a list.
            typed::<Vec<serde::de::IgnoredAny>>(Some(layers))?;
            let (config, media_type) = descriptor(config)?;
            if !CONFIGS.contains(&media_type.as_str()) {
                return Err(malformed("is a manifest, but not of an image"));
            }
            Ok(Contents::Image { config })
        }
        _ => Err(malformed("is not what its Content-Type says, or is an image and an index at once")),
    }
}

/// An annotation of a manifest (OCI image specification, "Annotations"), if it has that.
///
/// # Errors
/// Protocol: it is no text, longer than any name of an image, or there in several spellings.
pub(super) fn annotation(manifest: &Manifest, name: &str) -> Result<Option<String>, Failure> {
    let [annotations] = fields(&manifest.body, ["annotations"])?;
    let Some(annotations) = annotations.filter(|annotations| annotations.get() != "null") else { return Ok(None) };
    let value: Option<String> = typed(fields(annotations.get().as_bytes(), [name])?[0])?;
    match value {
        Some(value) if value.len() > MAX_REFERENCE_BYTES => Err(malformed("has an annotation that is too long")),
        value => Ok(value),
    }
}

/// Whether a media type is that of an index.
fn is_index(media_type: &str) -> bool {
    matches!(media_type, DOCKER_LIST | OCI_INDEX)
}

/// The entries of an index.
fn children(manifests: &RawValue) -> Result<Vec<Child<'_>>, Failure> {
    let entries: Vec<&RawValue> = typed(Some(manifests))?.unwrap_or_default();
    if entries.len() > CHILDREN {
        return Err(malformed("is an index of too many images"));
    }
    let mut children = Vec::new();
    for entry in entries {
        let (digest, media_type) = descriptor(entry)?;
        let [platform, annotations] = fields(entry.get().as_bytes(), ["platform", "annotations"])?;
        let platform = typed::<Platform<'_>>(platform)?;
        let attached = match annotations.filter(|annotations| annotations.get() != "null") {
            Some(annotations) => fields(annotations.get().as_bytes(), [ATTACHED])?[0].is_some(),
            None => false,
        };
        let role = match media_type.as_str() {
            DOCKER_MANIFEST | OCI_MANIFEST if attached => Role::Attached,
            DOCKER_MANIFEST | OCI_MANIFEST => Role::Image,
            _ => Role::Other,
        };
        children.push(Child { role, digest, platform });
    }
    Ok(children)
}

/// Digest and media type of what a descriptor points to.
fn descriptor(value: &RawValue) -> Result<(DigestBuf, String), Failure> {
    let [digest, media_type] = fields(value.get().as_bytes(), ["digest", "mediaType"])?;
    let digest: Cow<'_, str> = typed(digest)?.ok_or_else(bad_digest)?;
    let media_type: Cow<'_, str> = typed(media_type)?.unwrap_or_default();
    Ok((DigestBuf::parse(&digest).map_err(|_| bad_digest())?, media_type.to_ascii_lowercase()))
}

fn own_media_type(body: &[u8]) -> Result<Option<String>, Failure> {
    let [own] = fields(body, ["mediaType"])?;
    let own: Option<Cow<'_, str>> = typed(own)?;
    own.filter(|own| !own.is_empty()).map(|own| known(&own)).transpose()
}

fn media_type(headers: &HeaderMap) -> Result<Option<String>, Failure> {
    let Some(value) = only(headers, &CONTENT_TYPE)? else { return Ok(None) };
    known(value.split(';').next().unwrap_or_default().trim()).map(Some)
}

/// One of the four media types that are answers. Media types know no case.
fn known(media_type: &str) -> Result<String, Failure> {
    let media_type = media_type.to_ascii_lowercase();
    if [DOCKER_MANIFEST, DOCKER_LIST, OCI_MANIFEST, OCI_INDEX].contains(&media_type.as_str()) {
        return Ok(media_type);
    }
    Err(malformed("is no image manifest or index of a kind that is in use").saying(media_type.as_bytes()))
}

fn digest(headers: &HeaderMap) -> Result<Option<DigestBuf>, Failure> {
    let Some(value) = only(headers, &DIGEST)? else { return Ok(None) };
    DigestBuf::parse(value).map(Some).map_err(|_| bad_digest().saying(value.as_bytes()))
}

/// The value of a header that stands once.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, Failure> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    match (value.to_str(), values.next()) {
        (Ok(value), None) => Ok(Some(value)),
        _ => Err(malformed("has a header twice, or one that is not text")),
    }
}

/// Fails unless `body` has the digest `expected`.
///
/// # Errors
/// Protocol.
pub(super) fn check(body: &[u8], expected: Digest<'_>) -> Result<(), Failure> {
    agree(&hash(body, expected.algorithm())?, expected)
}

fn agree(digest: &DigestBuf, expected: Digest<'_>) -> Result<(), Failure> {
    if *digest == expected { Ok(()) } else { Err(malformed("has another digest than it should have")) }
}

pub(super) fn hash(body: &[u8], algorithm: Algorithm) -> Result<DigestBuf, Failure> {
    let bytes = match algorithm {
        Algorithm::Sha256 => Sha256::digest(body).to_vec(),
        Algorithm::Sha384 => Sha384::digest(body).to_vec(),
        Algorithm::Sha512 => Sha512::digest(body).to_vec(),
    };
    let hex: String = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(hex_digit).collect();
    DigestBuf::parse(&format!("{}:{hex}", algorithm.name())).map_err(|_| bad_digest())
}

fn hex_digit(nibble: u8) -> char {
    char::from_digit(u32::from(nibble), 16).unwrap_or('0')
}

fn bad_digest() -> Failure {
    malformed("has a digest that is none")
}
