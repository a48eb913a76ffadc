//! Proofs of our own pins: what lets `/validate` believe, for a minute, that a tag had the digest that `/mutate` wrote.
//!
//! The annotation is a JSON map, `list/container` to `v1:KEY-ID:EXPIRY:MAC`. The MAC (HMAC-SHA256) is over namespace,
//! list, container, repository, tag, digest and expiry; they stand in the object already and are not repeated, so there
//! is nothing in the annotation to disagree with it. Anybody may write the annotation, and only who knows the key writes
//! one that counts. A proof says that tag and digest agreed; everything else about the image is judged as ever.

use super::request::Text;
use crate::image::Reference;
use crate::policy::{ImageUse, List, Seconds};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use std::collections::HashMap;
use std::fmt::{self, Write as _};

/// The bytes of a key.
pub const PIN_KEY_BYTES: usize = 32;
/// How long a proof counts, in seconds: the time between our own two endpoints, other webhooks and queues counted in.
pub const PROOF_LIFETIME: Seconds = 60;
/// How far the clocks of two replicas may be apart, in seconds. A proof that expires later than a clock can explain is none.
const CLOCK_SKEW: Seconds = 60;
/// The most that is read: what all annotations of an object may have together (`TotalAnnotationSizeLimitB`).
pub(super) const MAX_ANNOTATION_BYTES: usize = 256 << 10;

/// What the MACs of proofs, and of nothing else under this key, begin with.
const PROOF_DOMAIN: &[u8] = b"tagwarden.dev/pins proof v1";
/// What a proof takes up until the year 2286.
const PROOF_BYTES: usize = 3 + 8 + 1 + 10 + 1 + 64;
const KEY_ID_DOMAIN: &[u8] = b"tagwarden.dev/pins key id v1";

/// The key of proofs: the first signs, all of them verify. What they are is not shown.
#[derive(Clone, Copy)]
pub struct PinKeys<'k> {
    /// Signs.
    pub current: &'k [u8; PIN_KEY_BYTES],
    /// Verify as well: keys that signed until moments ago.
    pub earlier: &'k [&'k [u8; PIN_KEY_BYTES]],
}

/// `list/container`: how our annotations name an image. None for one without a name, and for a configured place.
#[must_use]
pub fn slot(list: List, container: Option<&str>) -> Option<String> {
    let list = match list {
        List::InitContainers => "initContainers",
        List::Containers => "containers",
        List::EphemeralContainers => "ephemeralContainers",
        List::Volumes => "volumes",
        List::Configured => return None,
    };
    container.filter(|name| !name.is_empty()).map(|name| [list, "/", name].concat())
}

/// The proof that the tag of `pinned` had its digest at `now`; none where it has not both.
#[must_use]
pub fn prove(keys: &PinKeys<'_>, namespace: &str, slot: &str, pinned: &Reference<'_>, now: Seconds) -> Option<String> {
    let expires = now.checked_add(PROOF_LIFETIME)?;
    let mac = mac(keys.current, namespace, slot, pinned, expires)?.finalize().into_bytes();
    let mut proof = String::with_capacity(PROOF_BYTES);
    // Writing to a String cannot fail.
    let _ = write!(proof, "v1:{}:{expires}:{}", key_id(keys.current)?, Hex(mac.into()));
    Some(proof)
}

/// The annotation as it was read: nothing in it counts before it is verified.
#[derive(Default)]
pub struct Proofs<'a>(HashMap<Text<'a>, Text<'a>>);

impl<'a> Proofs<'a> {
    /// Reads the annotation. What is no map of strings, or larger than annotations can be, proves nothing.
    #[must_use]
    pub fn read(annotation: &'a str) -> Self {
        if annotation.len() > MAX_ANNOTATION_BYTES {
            return Proofs::default();
        }
        serde_json::from_str(annotation).map(Proofs).unwrap_or_default()
    }

    /// The proof that this image, in this place of an object in this namespace, was pinned by us moments ago.
    #[must_use]
    pub fn of(&self, keys: &PinKeys<'_>, namespace: &str, image: &ImageUse<'_>, now: Seconds) -> Option<&str> {
        let reference = image.reference.as_ref().ok()?;
        let slot = slot(image.list, image.container)?;
        let text = &*self.0.get(slot.as_str())?.0;
        verify(keys, namespace, &slot, reference, text, now).then_some(text)
    }
}

/// Keys look up as plain text.
impl std::borrow::Borrow<str> for Text<'_> {
    fn borrow(&self) -> &str {
        &self.0
    }
}

fn verify(keys: &PinKeys<'_>, namespace: &str, slot: &str, pinned: &Reference<'_>, text: &str, now: Seconds) -> bool {
    let Some((id, expires, tag)) = parts(text) else {
        return false;
    };
    if expires < now || expires > now.saturating_add(PROOF_LIFETIME + CLOCK_SKEW) {
        return false;
    }
    let mut known = std::iter::once(&keys.current).chain(keys.earlier);
    known.any(|key| {
        key_id(key).is_some_and(|known| known.is(id))
            // Compares in constant time.
            && mac(key, namespace, slot, pinned, expires).is_some_and(|mac| mac.verify_slice(&tag).is_ok())
    })
}

/// Key id, expiry and MAC. One spelling of each only.
fn parts(text: &str) -> Option<(&str, Seconds, [u8; 32])> {
    let (id, rest) = text.strip_prefix("v1:")?.split_once(':')?;
    let (expires, mac) = rest.split_once(':')?;
    let expires: Seconds = expires.parse().ok().filter(|parsed: &Seconds| parsed.to_string() == expires)?;
    Some((id, expires, unhex(mac)?))
}

/// Every part with its length before it, so that no two different lists of parts read alike.
fn mac(
    key: &[u8; PIN_KEY_BYTES],
    namespace: &str,
    slot: &str,
    pinned: &Reference<'_>,
    expires: Seconds,
) -> Option<Hmac<Sha256>> {
    let name = pinned.name();
    let (tag, digest) = (pinned.tag()?, pinned.digest()?);
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    mac.update(PROOF_DOMAIN);
    for part in [namespace, slot, &name, tag, digest.as_str()] {
        // Nothing is proven of a Pod without a namespace, say.
        if part.is_empty() {
            return None;
        }
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part.as_bytes());
    }
    mac.update(&expires.to_be_bytes());
    Some(mac)
}

/// Tells keys apart, and tells nothing about them.
fn key_id(key: &[u8; PIN_KEY_BYTES]) -> Option<Hex<4>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    mac.update(KEY_ID_DOMAIN);
    mac.finalize().into_bytes().first_chunk().copied().map(Hex)
}

/// Bytes that are shown as lower-case hex digits.
struct Hex<const N: usize>([u8; N]);

impl<const N: usize> Hex<N> {
    /// The digits of a half byte.
    const DIGITS: &[u8; 16] = b"0123456789abcdef";

    /// Whether these are the digits.
    fn is(&self, digits: &str) -> bool {
        self.digits().eq(digits.bytes())
    }

    fn digits(&self) -> impl Iterator<Item = u8> {
        self.0.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|half| Self::DIGITS[usize::from(half)])
    }
}

impl<const N: usize> fmt::Display for Hex<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.digits().try_for_each(|digit| f.write_char(char::from(digit)))
    }
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let bytes = text.as_bytes();
    let mut out = [0; 32];
    if bytes.len() != 64 || !bytes.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let digit = |byte: u8| if byte.is_ascii_digit() { byte - b'0' } else { byte - b'a' + 10 };
    for (to, pair) in out.iter_mut().zip(bytes.chunks_exact(2)) {
        *to = (digit(pair[0]) << 4) | digit(pair[1]);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::{MAX_ANNOTATION_BYTES, PIN_KEY_BYTES, PROOF_LIFETIME, PinKeys, Proofs, prove, slot};
    use crate::image::Reference;
    use crate::policy::{FieldPath, ImageUse, List};
    use serde_json::json;

    const KEY: [u8; PIN_KEY_BYTES] = [7; PIN_KEY_BYTES];
    const OTHER: [u8; PIN_KEY_BYTES] = [8; PIN_KEY_BYTES];
    const NOW: i64 = 1_800_000_000;

    fn keys(current: &[u8; PIN_KEY_BYTES]) -> PinKeys<'_> {
        PinKeys { current, earlier: &[] }
    }

    fn image(tag: &str, hex: &str) -> String {
        format!("registry.example.com/acme/api:{tag}@sha256:{}", hex.repeat(32))
    }

    fn of<'a>(list: List, container: &'a str, image: &'a str) -> ImageUse<'a> {
        ImageUse {
            list,
            container: Some(container),
            field: FieldPath::PodSpec { spec: "spec".into(), list, index: 0 },
            image,
            reference: Reference::parse(image),
            pin_proven: false,
        }
    }

    /// An annotation with our proof for container `api` in namespace `shop`.
    fn annotation(image: &str) -> String {
        let reference = Reference::parse(image).unwrap();
        let proof = prove(&keys(&KEY), "shop", "containers/api", &reference, NOW).unwrap();
        json!({"containers/api": proof}).to_string()
    }

    fn proven(annotation: &str, namespace: &str, image: &ImageUse<'_>, now: i64) -> bool {
        Proofs::read(annotation).of(&keys(&KEY), namespace, image, now).is_some()
    }

    #[test]
    fn row_64_a_proof_counts_for_exactly_what_was_pinned_for_a_minute() {
        let pinned = image("v1.4.2", "ab");
        let text = annotation(&pinned);
        let api = of(List::Containers, "api", &pinned);
        assert!(proven(&text, "shop", &api, NOW));
        assert!(proven(&text, "shop", &api, NOW + PROOF_LIFETIME));
        assert!(!proven(&text, "shop", &api, NOW + PROOF_LIFETIME + 1), "expired");
        assert!(!proven(&text, "shop", &api, NOW - 61), "from a future that no clock explains");
        assert!(!proven(&text, "bank", &api, NOW), "another namespace");
        assert!(!proven(&text, "", &api, NOW), "no namespace");
        for (list, container, image) in [
            (List::Containers, "api", image("v1.4.3", "ab")),
            (List::Containers, "api", image("v1.4.2", "cd")),
            (List::Containers, "api", pinned.replace("acme/api", "acme/apj")),
            (List::Containers, "api", pinned.replace("registry.", "mirror.")),
            (List::Containers, "api", pinned.replace(":v1.4.2", "")),
            (List::Containers, "api", "registry.example.com/acme/api:v1.4.2".to_owned()),
            (List::Containers, "web", pinned.clone()),
            (List::InitContainers, "api", pinned.clone()),
            (List::Volumes, "api", pinned.clone()),
        ] {
            assert!(!proven(&text, "shop", &of(list, container, &image), NOW), "{list:?} {container} {image}");
            // Nor where the attacker moves the entry to where it would be looked for.
            let moved = text.replace("containers/api", &slot(list, Some(container)).unwrap());
            assert!(!proven(&moved, "shop", &of(list, container, &image), NOW), "{list:?} {container} {image}");
        }
    }

    #[test]
    fn row_64_nothing_that_a_user_can_write_is_a_proof() {
        let pinned = image("v1.4.2", "ab");
        let api = of(List::Containers, "api", &pinned);
        let good = annotation(&pinned);
        let proof =
            serde_json::from_str::<serde_json::Value>(&good).unwrap()["containers/api"].as_str().unwrap().to_owned();
        let (head, mac) = proof.rsplit_once(':').unwrap();
        let expiry = (NOW + PROOF_LIFETIME).to_string();
        for forged in [
            String::new(),
            "true".to_owned(),
            "v1:".to_owned(),
            format!("{head}:"),
            format!("{head}:{}", "0".repeat(64)),
            format!("{head}:{}", mac.to_uppercase()),
            format!("{head}:{}", &mac[..62]),
            format!("{head}:{mac}00"),
            format!("{head}:{mac} "),
            proof.replace("v1:", "v2:"),
            proof.replace(&expiry, &(NOW + PROOF_LIFETIME + 30).to_string()),
            proof.replace(&expiry, &format!("+{expiry}")),
            proof.replace(&expiry, &format!("0{expiry}")),
            proof.replace(&expiry, "99999999999999999999"),
            format!("v1:00000000:{expiry}:{mac}"),
        ] {
            let annotation = json!({"containers/api": forged}).to_string();
            assert!(!proven(&annotation, "shop", &api, NOW), "{forged}");
        }
        for annotation in ["", "null", "[]", "{", r#"{"containers/api": 7}"#, r#"{"containers/api": null}"#] {
            assert!(!proven(annotation, "shop", &api, NOW), "{annotation}");
        }
        assert!(proven(&good, "shop", &api, NOW));
    }

    #[test]
    fn a_key_that_was_replaced_still_verifies_and_a_foreign_one_never_does() {
        let pinned = image("v1.4.2", "ab");
        let text = annotation(&pinned);
        let api = of(List::Containers, "api", &pinned);
        let proofs = Proofs::read(&text);
        assert!(proofs.of(&PinKeys { current: &OTHER, earlier: &[&KEY] }, "shop", &api, NOW).is_some());
        assert!(proofs.of(&keys(&OTHER), "shop", &api, NOW).is_none());
        assert!(proofs.of(&PinKeys { current: &OTHER, earlier: &[&[9; 32]] }, "shop", &api, NOW).is_none());
    }

    #[test]
    fn what_is_read_is_bounded_and_what_is_nameless_is_not_proven() {
        let pinned = image("v1.4.2", "ab");
        let api = of(List::Containers, "api", &pinned);
        let good = annotation(&pinned);
        let padded = |bytes: usize| good.replacen('{', &format!("{{{}", " ".repeat(bytes - good.len())), 1);
        assert!(proven(&padded(MAX_ANNOTATION_BYTES), "shop", &api, NOW));
        assert!(!proven(&padded(MAX_ANNOTATION_BYTES + 1), "shop", &api, NOW));
        let nameless = ImageUse { container: None, ..api };
        assert!(!proven(&good, "shop", &nameless, NOW));
        assert_eq!(slot(List::Configured, Some("a")), None);
        assert_eq!(slot(List::Containers, Some("")), None);
        let untagged = pinned.replace(":v1.4.2", "");
        let reference = Reference::parse(&untagged).unwrap();
        assert_eq!(prove(&keys(&KEY), "shop", "containers/api", &reference, NOW), None);
    }
}
