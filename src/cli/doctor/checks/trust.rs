//! Whether the API server accepts what each replica serves: caBundle, the authority, and the certificates.

use serde_json::Value;

use super::{Seen, count};
use crate::certs::{Distrust, Validity, chain, trusted, validity};
use crate::cli::doctor::causes::{
    AUTHORITY_ENDING, BUNDLE_BAD, BUNDLE_DISTRUSTS, BUNDLE_EDITED, BUNDLE_EMPTY, BUNDLE_ENDED, LEAF_ENDED, LEAF_ENDING,
    NO_AUTHORITY,
};
use crate::cli::doctor::json::{list, text};
use crate::cli::doctor::observe::{Observed, is_self_managed};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const DAY: i64 = 86_400;
/// A self-managed leaf has a third of its seven days left when it is renewed, so less than 36 hours are a sign; the
/// alert begins there too.
const LEAF_MARGIN: i64 = 36 * 3600;
/// Who renews files does it in time for this.
const FILE_MARGIN: i64 = 7 * DAY;

/// Every webhook's caBundle is there, holds, and vouches for every replica's certificate.
pub(super) fn bundles(observed: &Observed) -> Seen {
    let mut seen = Seen::default();
    let webhooks = webhooks(observed, &mut seen);
    let replicas = seen.read("Pods", &observed.replicas).map(Vec::as_slice).unwrap_or_default();
    let mut vouched = 0;
    for webhook in &webhooks {
        let Some(bundle) = readable(webhook, observed.now, &mut seen) else { continue };
        let host = format!(
            "{}.{}.svc",
            text(webhook, "/clientConfig/service/name"),
            text(webhook, "/clientConfig/service/namespace")
        );
        for replica in replicas {
            let served = match &replica.certificate {
                Ok(Some(served)) => chain(served.as_bytes()),
                Ok(None) => {
                    seen.unknown(&format!(
                        "the replica {} does not tell its certificate: it has none yet, or is older than this program",
                        replica.name
                    ));
                    continue;
                }
                Err(why) => {
                    seen.unknown(&format!("the certificate of {} cannot be asked for: {why}", replica.name));
                    continue;
                }
            };
            match trusted(&served, &bundle, Some(&host), observed.now) {
                Ok(()) => vouched += 1,
                Err(distrust) => {
                    let why = said(&distrust);
                    let name = text(webhook, "/name");
                    seen.finds(
                        BUNDLE_DISTRUSTS,
                        format!("caBundle of {name} and the certificate of {}: {why}", replica.name),
                    );
                }
            }
        }
    }
    if let Some(Ok(Ok(authority))) = &observed.authority {
        let expected = pems(authority.bundle.as_bytes());
        for webhook in &webhooks {
            let held = decoded(webhook).map(|bundle| pems(&bundle));
            if held.is_some_and(|held| !held.is_empty() && held != expected) {
                let name = text(webhook, "/name");
                seen.finds(BUNDLE_EDITED, format!("caBundle of {name} is not what the Secret tagwarden-ca holds"));
            }
        }
    }
    seen.findings.dedup_by(|later, first| later.message == first.message);
    if vouched == 0 && seen.findings.is_empty() {
        seen.unknown("there is no replica whose certificate could be compared");
    }
    seen.good(format!(
        "{} vouch for the certificates of {}",
        count(webhooks.len(), "caBundle"),
        count(replicas.len(), "replica")
    ));
    seen
}

/// Neither the authority nor a leaf is about to end.
pub(super) fn certificates(observed: &Observed) -> Seen {
    let mut seen = Seen::default();
    let now = observed.now;
    match &observed.authority {
        None => {}
        Some(Err(why)) => seen.unknown(&format!("cannot read the Secret tagwarden-ca: {why}")),
        Some(Ok(Err(why))) => seen.finds(NO_AUTHORITY, format!("the Secret tagwarden-ca is no authority: {why}")),
        Some(Ok(Ok(authority))) => {
            let left = authority.validity.not_after - now;
            // The rotation begins at two thirds; at five sixths it is late.
            let life = authority.validity.not_after - authority.validity.not_before;
            if left * 6 < life {
                seen.finds(AUTHORITY_ENDING, format!("the authority ends in {}", span(left)));
            } else {
                seen.good(format!("the authority has {} left", span(left)));
            }
        }
    }
    let margin = match observed.configuration() {
        Some(config) if is_self_managed(config) => LEAF_MARGIN,
        _ => FILE_MARGIN,
    };
    let mut shortest: Option<i64> = None;
    for replica in seen.read("Pods", &observed.replicas).map(Vec::as_slice).unwrap_or_default() {
        let served = match &replica.certificate {
            Ok(Some(served)) => validity(served.as_bytes()).ok(),
            _ => None,
        };
        // Older replicas tell the end only.
        let told = replica.number("tagwarden_certificate_expiry_timestamp_seconds");
        let Some(validity) = served.or_else(|| told.map(whole)) else {
            seen.unknown(&format!("the replica {} does not tell its certificate", replica.name));
            continue;
        };
        let left = validity.not_after - now;
        // A third of its life is left when it is renewed; one that lives for a day or an hour has a margin to fit.
        let margin = margin.min((validity.not_after - validity.two_thirds()) / 14 * 9);
        if left <= 0 {
            seen.finds(LEAF_ENDED, format!("the certificate of {} ended {} ago", replica.name, span(-left)));
        } else if left < margin {
            seen.finds(LEAF_ENDING, format!("the certificate of {} ends in {}", replica.name, span(left)));
        }
        shortest = Some(shortest.map_or(left, |shortest| shortest.min(left)));
    }
    if let Some(left) = shortest {
        seen.good(format!("those of the replicas at least {}", span(left)));
    } else if seen.findings.is_empty() {
        seen.unknown("there is no replica to ask");
    }
    seen
}

/// The end of one whose beginning is not known.
fn whole(end: f64) -> Validity {
    #[expect(clippy::cast_possible_truncation, reason = "seconds since the epoch")]
    let not_after = end as i64;
    Validity { not_before: 0, not_after }
}

/// The webhooks of both configurations.
fn webhooks<'o>(observed: &'o Observed, seen: &mut Seen) -> Vec<&'o Value> {
    let mut webhooks = Vec::new();
    for (what, read, ours) in [
        ("ValidatingWebhookConfigurations", &observed.validating, observed.our_validating()),
        ("MutatingWebhookConfigurations", &observed.mutating, observed.our_mutating()),
    ] {
        if seen.read(what, read).is_some() {
            webhooks.extend(ours.into_iter().flat_map(|ours| list(ours, "/webhooks")));
        }
    }
    webhooks
}

/// A caBundle that can be used at all.
fn readable(webhook: &Value, now: i64, seen: &mut Seen) -> Option<Vec<u8>> {
    let name = text(webhook, "/name");
    let Some(bundle) = decoded(webhook) else {
        seen.finds(BUNDLE_EMPTY, format!("the webhook {name} has no caBundle"));
        return None;
    };
    let authorities = pems(&bundle);
    if authorities.is_empty() {
        seen.finds(BUNDLE_BAD, format!("the caBundle of {name} holds no PEM certificate"));
        return None;
    }
    let ends: Vec<i64> =
        authorities.iter().filter_map(|pem| validity(pem.as_bytes()).ok()).map(|v| v.not_after).collect();
    match ends.iter().max() {
        None => seen.finds(BUNDLE_BAD, format!("the caBundle of {name} holds what is no certificate")),
        Some(last) if *last <= now => {
            seen.finds(
                BUNDLE_ENDED,
                format!("every authority in the caBundle of {name} has ended, the last {} ago", span(now - last)),
            );
        }
        Some(_) => {}
    }
    Some(bundle)
}

fn decoded(webhook: &Value) -> Option<Vec<u8>> {
    let bundle = text(webhook, "/clientConfig/caBundle");
    if bundle.is_empty() { None } else { Some(STANDARD.decode(bundle).unwrap_or_default()) }
}

/// The certificates of a bundle in order of their text, each PEM.
fn pems(bundle: &[u8]) -> Vec<String> {
    let mut pems: Vec<String> = chain(bundle).iter().map(|der| crate::certs::pem(der)).collect();
    pems.sort();
    pems
}

fn said(distrust: &Distrust) -> String {
    match distrust {
        Distrust::NotVouchedFor(why) => format!("it does not vouch for it: {why}"),
        Distrust::OtherName(host) => format!("the certificate is not for '{host}'"),
        other => other.to_string(),
    }
}

/// `12 d`, `5 h`, `3 min`, `40 s`.
fn span(seconds: i64) -> String {
    match seconds {
        ..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / DAY),
    }
}
