//! Images made on the spot: a configuration with labels, a manifest without layers, and an index over several platforms.

use bytes::Bytes;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::image::DigestBuf;

/// The media type of an image's manifest.
pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// The media type of an index.
pub(super) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// A layer that is nothing: what the OCI image specification asks for where there is no content.
const EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// An image to be made: equal ones have equal digests.
#[derive(Clone, Copy, Debug)]
pub struct ExampleImage<'a> {
    /// `os/architecture`; with more than one the image is an index.
    pub platforms: &'a [&'a str],
    /// The labels of its configuration; what makes one build differ from another.
    pub labels: &'a [(&'a str, &'a str)],
}

/// A document and what it is.
pub(super) struct Document {
    /// Its address.
    pub digest: DigestBuf,
    /// Its media type.
    pub media_type: &'static str,
    /// The bytes that the digest is of.
    pub body: Bytes,
}

/// Everything that an image is.
pub(super) struct Made {
    /// What a tag names.
    pub top: DigestBuf,
    /// Manifests, and the index if there is one.
    pub manifests: Vec<Document>,
    /// Configurations and layers.
    pub blobs: Vec<Document>,
}

impl ExampleImage<'_> {
    /// Makes the documents.
    pub(super) fn make(&self) -> anyhow::Result<Made> {
        let empty = document(EMPTY, &json!({}))?;
        let mut made = Made { top: empty.digest.clone(), manifests: Vec::new(), blobs: Vec::new() };
        let mut children = Vec::new();
        for platform in self.platforms {
            let (os, architecture) = platform.split_once('/').unwrap_or(("linux", platform));
            let labels: Value = self.labels.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
            let config = document(
                CONFIG,
                &json!({
                    "os": os,
                    "architecture": architecture,
                    "config": {"Labels": labels},
                    "rootfs": {"type": "layers", "diff_ids": []},
                }),
            )?;
            let manifest = document(
                MANIFEST,
                &json!({
                    "schemaVersion": 2,
                    "mediaType": MANIFEST,
                    "config": descriptor(&config),
                    "layers": [descriptor(&empty)],
                }),
            )?;
            let mut child = descriptor(&manifest);
            child["platform"] = json!({"os": os, "architecture": architecture});
            children.push(child);
            made.top = manifest.digest.clone();
            made.manifests.push(manifest);
            made.blobs.push(config);
        }
        if self.platforms.len() > 1 {
            let index =
                document(INDEX, &json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": Value::from(children)}))?;
            made.top = index.digest.clone();
            made.manifests.push(index);
        }
        made.blobs.push(empty);
        Ok(made)
    }
}

fn document(media_type: &'static str, content: &Value) -> anyhow::Result<Document> {
    let body = Bytes::from(content.to_string());
    let digest = DigestBuf::parse(&format!("sha256:{:x}", Sha256::digest(&body)))?;
    Ok(Document { digest, media_type, body })
}

fn descriptor(document: &Document) -> Value {
    json!({"mediaType": document.media_type, "digest": document.digest.as_str(), "size": document.body.len()})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_names_its_images_and_their_labels() {
        let image = ExampleImage { platforms: &["linux/amd64", "linux/arm64"], labels: &[("a", "b")] };
        let made = image.make().unwrap();
        let index = made.manifests.last().unwrap();
        assert_eq!((made.manifests.len(), &index.digest), (3, &made.top));
        let read: Value = serde_json::from_slice(&index.body).unwrap();
        let architectures: Vec<_> =
            read["manifests"].as_array().unwrap().iter().map(|c| &c["platform"]["architecture"]).collect();
        assert_eq!(architectures, ["amd64", "arm64"]);
        let config: Value = serde_json::from_slice(&made.blobs[0].body).unwrap();
        assert_eq!(config["config"]["Labels"]["a"], "b");
    }

    #[test]
    fn equal_images_are_equal_and_other_labels_make_another() {
        let image = |label| ExampleImage { platforms: &["linux/amd64"], labels: &[("v", label)] }.make().unwrap();
        assert_eq!(image("1").top, image("1").top);
        assert_ne!(image("1").top, image("2").top);
        assert_eq!(image("1").manifests.len(), 1, "one platform needs no index");
    }
}
