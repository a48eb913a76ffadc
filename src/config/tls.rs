//! The certificate's part of the configuration, and the webhook configurations that have to trust it.

use std::time::Duration;

use super::file::{self, Text, TlsMode};
use super::values::Interval;
use super::{CertificateSource, SelfManaged, Tls, Webhooks};
use crate::document::{Reader, Span, Spanned};

const HOUR: u64 = 3600;
/// How long a certificate holds where nothing is said: a week.
const LEAF_LIFETIME: Duration = Duration::from_secs(168 * HOUR);
/// A renewal takes a few seconds and begins with a third of the life left.
const SHORTEST_LEAF: Duration = Duration::from_secs(120);
const LONGEST_LEAF: Duration = Duration::from_secs(720 * HOUR);
/// How long the authority holds where nothing is said: a year.
const CA_LIFETIME: Duration = Duration::from_secs(8760 * HOUR);
const LONGEST_CA: Duration = Duration::from_secs(87_600 * HOUR);
/// The third of its life in which an authority is replaced has to hold a whole certificate, and time to spare.
const LEAVES_IN_A_CA: u32 = 4;

pub(super) fn tls(written: file::Tls, webhooks: &Webhooks, reader: &mut Reader<'_>) -> Tls {
    let names = written.client_names;
    if let (Some(names), None) = (&names, &written.client_ca) {
        let message = "'clientNames' without 'clientCA': nobody would check the names";
        let error = reader.error(names.span.clone(), message);
        error.help.push("name the authority of the clients in 'clientCA'".to_owned());
    }
    let certificate = match written.mode {
        Some(Spanned { value: TlsMode::SelfManaged, span }) => {
            for (key, file) in [("cert", &written.cert), ("key", &written.key)] {
                refuse(key, file.as_ref().map(|text| &text.span), "mode: self-managed", reader);
            }
            if webhooks.is_empty() {
                let message = "'mode: self-managed' without 'webhooks': nobody would trust the certificate";
                let error = reader.error(span.clone(), message);
                error.help.push("name your webhook configurations in 'webhooks', at the top of the file".to_owned());
            }
            self_managed(written.service, written.leaf_lifetime, written.ca_lifetime, span, reader)
        }
        Some(Spanned { value: TlsMode::Files, .. }) | None => {
            let places = [
                ("service", written.service.map(|text| text.span)),
                ("leafLifetime", written.leaf_lifetime.map(|interval| interval.span)),
                ("caLifetime", written.ca_lifetime.map(|interval| interval.span)),
            ];
            for (key, place) in &places {
                refuse(key, place.as_ref(), "mode: files", reader);
            }
            let path = |text: Option<Text>| text.map(|text| text.value.into());
            CertificateSource::Files { cert: path(written.cert), key: path(written.key) }
        }
    };
    Tls {
        certificate,
        client_ca: written.client_ca.map(Into::into),
        client_names: names.map(|names| names.value).unwrap_or_default(),
    }
}

/// A key of the other mode.
fn refuse(key: &str, place: Option<&Span>, mode: &str, reader: &mut Reader<'_>) {
    if let Some(place) = place {
        let error = reader.error(place.clone(), format!("'{key}' contradicts '{mode}'"));
        let other = if mode == "mode: files" { "mode: self-managed" } else { "mode: files" };
        error.help.push(format!("take it out, or write '{other}'"));
    }
}

fn self_managed(
    service: Option<Text>,
    leaf: Option<Spanned<Interval>>,
    ca: Option<Spanned<Interval>>,
    mode: Span,
    reader: &mut Reader<'_>,
) -> CertificateSource {
    let service = match service {
        Some(service) if is_service(&service.value) => service.value,
        Some(service) => {
            let error = reader.error(service.span, "not a Service's name");
            error.help.push("write its name alone, such as 'tagwarden'; the namespace is POD_NAMESPACE".to_owned());
            String::new()
        }
        None => {
            let error = reader.error(mode.clone(), "'mode: self-managed' without 'service'");
            error.help.push("name the Service that the API server calls: 'service: tagwarden'".to_owned());
            String::new()
        }
    };
    let leaf_lifetime = leaf.as_ref().map_or(LEAF_LIFETIME, |leaf| leaf.value.0);
    if let Some(leaf) = &leaf
        && !(SHORTEST_LEAF..=LONGEST_LEAF).contains(&leaf_lifetime)
    {
        reader.error(leaf.span.clone(), "a duration from 2m to 720h is needed here");
    }
    let ca_lifetime = ca.as_ref().map_or(CA_LIFETIME, |ca| ca.value.0);
    if !(leaf_lifetime.saturating_mul(LEAVES_IN_A_CA)..=LONGEST_CA).contains(&ca_lifetime) {
        let place = ca.or(leaf).map_or(mode, |written| written.span);
        reader.error(place, "'caLifetime' has to be from four times 'leafLifetime' to 87600h");
    }
    CertificateSource::SelfManaged(SelfManaged { service, leaf_lifetime, ca_lifetime })
}

pub(super) fn webhooks(written: Option<file::Webhooks>, reader: &mut Reader<'_>) -> Webhooks {
    let Some(written) = written else { return Webhooks::default() };
    Webhooks { validating: object_name(written.validating, reader), mutating: object_name(written.mutating, reader) }
}

fn object_name(written: Option<Text>, reader: &mut Reader<'_>) -> Option<String> {
    let Text { value, span } = written?;
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    if value.is_empty() || value.len() > 253 || !value.bytes().all(fits) {
        let error = reader.error(span, "not the name of a webhook configuration");
        error.help.push("write its 'metadata.name', such as 'tagwarden'".to_owned());
        return None;
    }
    Some(value)
}

/// A DNS label that begins with a letter, which is what the API server lets a Service be called.
fn is_service(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    name.len() <= 63
        && name.bytes().all(fits)
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && !name.ends_with('-')
}
