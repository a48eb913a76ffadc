//! Images to serve: manifests, indexes, configurations, their digests; and bodies that blow up when they are unpacked.

use hyper::body::Bytes;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

pub const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub const SCHEMA_1: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// The digest of these bytes.
pub fn digest_of(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// A document and what it says that it is.
#[derive(Clone, Debug)]
pub struct Document {
    pub media_type: String,
    pub body: Bytes,
}

impl Document {
    pub fn new(media_type: &str, body: impl Into<Bytes>) -> Self {
        Document { media_type: media_type.to_owned(), body: body.into() }
    }

    pub fn json(media_type: &str, value: &Value) -> Self {
        Document::new(media_type, value.to_string())
    }

    pub fn digest(&self) -> String {
        digest_of(&self.body)
    }

    pub fn descriptor(&self) -> Value {
        json!({"mediaType": self.media_type, "digest": self.digest(), "size": self.body.len()})
    }
}

/// An image's configuration; `seed` makes it unlike others.
pub fn config(seed: &str, labels: &Value) -> Document {
    let value = json!({"architecture": "amd64", "os": "linux", "author": seed, "config": {"Labels": labels},
        "rootfs": {"type": "layers", "diff_ids": []}});
    Document::json(CONFIG, &value)
}

/// The manifest of an image with this configuration.
pub fn image(config: &Document) -> Document {
    let value = json!({"schemaVersion": 2, "mediaType": IMAGE, "config": config.descriptor(), "layers": []});
    Document::json(IMAGE, &value)
}

/// An index of these images, one for each of a few platforms.
pub fn index(children: &[Document]) -> Document {
    let children: Vec<Value> = children
        .iter()
        .zip(["amd64", "arm64", "s390x"])
        .map(|(child, architecture)| {
            let mut descriptor = child.descriptor();
            descriptor["platform"] = json!({"os": "linux", "architecture": architecture});
            descriptor
        })
        .collect();
    Document::json(INDEX, &json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": children}))
}

/// A few hundred kilobytes of gzip (RFC 1952) that unpack to so many MiB of zeros.
pub fn gzip_bomb(mebibytes: usize) -> Vec<u8> {
    let mut bytes = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    bytes.extend(deflate_bomb(mebibytes));
    bytes.extend([0; 8]);
    bytes
}

/// The same as a zlib stream (RFC 1950), which is what `Content-Encoding: deflate` means.
pub fn zlib_bomb(mebibytes: usize) -> Vec<u8> {
    let mut bytes = vec![0x78, 0x9c];
    bytes.extend(deflate_bomb(mebibytes));
    bytes
}

/// One block of fixed Huffman codes (RFC 1951, section 3.2.6): a zero, then copies of the 258 bytes before, 13 bits each.
fn deflate_bomb(mebibytes: usize) -> Vec<u8> {
    let mut bits = Bits::default();
    bits.push_all([1, 1, 0]);
    bits.push_all([0, 0, 1, 1, 0, 0, 0, 0]);
    for _ in 0..mebibytes * (1 << 20) / 258 {
        bits.push_all([1, 1, 0, 0, 0, 1, 0, 1]);
        bits.push_all([0; 5]);
    }
    bits.push_all([0; 7]);
    bits.bytes
}

#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    used: usize,
}

impl Bits {
    fn push_all(&mut self, bits: impl IntoIterator<Item = u8>) {
        for bit in bits {
            if self.used.is_multiple_of(8) {
                self.bytes.push(0);
            }
            *self.bytes.last_mut().unwrap() |= bit << (self.used % 8);
            self.used += 1;
        }
    }
}

/// Zstandard (RFC 8878, section 3.1.1): blocks of the kind "repeat this byte", 128 KiB each, four bytes long.
pub fn zstd_bomb(mebibytes: usize) -> Vec<u8> {
    let mut bytes = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x38];
    let blocks = mebibytes * 8;
    for block in 1..=blocks {
        let last = u32::from(block == blocks);
        let head = (((128_u32 << 10) << 3) | (1 << 1) | last).to_le_bytes();
        bytes.extend_from_slice(&head[..3]);
        bytes.push(0);
    }
    bytes
}

/// What bombs are made of is what they are said to be, as far as a program that everyone has can tell.
#[test]
fn a_gzip_bomb_unpacks_to_what_it_claims() {
    use std::io::Write as _;
    let mut child = std::process::Command::new("sh")
        .args(["-c", "gzip -dc 2>/dev/null | wc -c"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&gzip_bomb(8)).unwrap();
    let output = child.wait_with_output().unwrap();
    let unpacked: usize = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
    assert_eq!(unpacked, 1 + 8 * (1 << 20) / 258 * 258);
}
