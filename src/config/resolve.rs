//! From the file as written to settings that hold together, with every problem at once.

use std::net::SocketAddr;
use std::time::Duration;

use super::file::{ConfigFile, Text};
use super::values::{Interval, Size};
use super::{
    CertificateSource, Config, History, Limits, Log, Overrides, ReleaseOrigin, ReleaseSource, Webhooks, file, tls,
};
use crate::document::{Diagnostic, Read, Reader, Source, Spanned, Value, parse};
use crate::policy::{Choice, TrustedLabels};
use crate::review::{ExemptRequesters, WorkloadKind, Workloads};

/// The longest time that any key may name: a day. Longer ones are typing errors.
const LONGEST: Duration = Duration::from_secs(86_400);

pub(super) fn config(name: &str, text: &str, overrides: &Overrides) -> Result<Config, Vec<Diagnostic>> {
    let source = Source::new(name, text);
    let (documents, syntax) = parse(&source);
    let mut reader = Reader::new(&source);
    let mut config = Config::default();
    let mut roots = documents.iter().map(|document| &document.root).filter(|root| root.value != Value::Null);
    if let Some(root) = roots.next()
        && let Some(file) = ConfigFile::read(root, &mut reader)
    {
        apply(file, &mut config, &mut reader);
    }
    if let Some(second) = roots.next() {
        let first_byte = second.span.start..second.span.start;
        reader.error(first_byte, "a second document; the configuration is one");
    }
    let mut problems = std::mem::take(&mut reader.diagnostics);
    problems.extend(syntax);
    if !problems.is_empty() {
        return Err(problems);
    }
    override_with(overrides, &mut config).map_err(|sentence| vec![Diagnostic::of_file(name, sentence)])?;
    Ok(config)
}

/// The key `webhooks` alone; none where it is absent or wrong, or the text is no single document.
pub(super) fn webhooks(text: &str) -> Option<Webhooks> {
    let source = Source::new("", text);
    let (documents, syntax) = parse(&source);
    let ([document], []) = (documents.as_slice(), syntax.as_slice()) else { return None };
    let mut reader = Reader::new(&source);
    let written = file::Webhooks::read(document.root.get("webhooks")?, &mut reader)?;
    let webhooks = tls::webhooks(Some(written), &mut reader);
    reader.diagnostics.is_empty().then_some(webhooks)
}

fn apply(file: ConfigFile, config: &mut Config, reader: &mut Reader<'_>) {
    if let Some(listen) = file.listen {
        set(&mut config.webhook, address(listen.webhook, reader));
        set(&mut config.health, address(listen.health, reader));
    }
    config.webhooks = tls::webhooks(file.webhooks, reader);
    if let Some(written) = file.tls {
        config.tls = tls::tls(written, &config.webhooks, reader);
    }
    if let Some(policies) = file.policies {
        let dirs = policies.dirs.unwrap_or_default();
        config.policy_dirs = dirs.into_iter().map(Into::into).collect();
        set(&mut config.policy_objects, policies.objects);
        set(&mut config.settings.allow_empty, policies.allow_empty);
        set(&mut config.settings.no_policy, policies.no_policy);
        set(&mut config.settings.max_mode, policies.max_mode);
    }
    if let Some(labels) = file.trusted_namespace_labels {
        config.settings.trusted_labels = TrustedLabels::Only(labels);
    }
    if let Some(references) = file.references {
        set(&mut config.settings.non_canonical_host, references.non_canonical_host);
    }
    for namespace in file.infrastructure_namespaces.unwrap_or_default() {
        if namespace.value.is_empty() || namespace.value.contains('*') {
            let error = reader.error(namespace.span, "not a namespace's name");
            error.help.push("write exact names".to_owned());
            continue;
        }
        config.infrastructure_namespaces.insert(namespace.value);
    }
    if let Some(exempt) = file.exempt_requesters {
        let lists = exempt.value;
        let users = lists.users.unwrap_or_default();
        match ExemptRequesters::new(users, lists.groups.unwrap_or_default()) {
            Ok(requesters) => config.exempt_requesters = requesters,
            Err(problem) => drop(reader.error(exempt.span, problem)),
        }
    }
    releases(file.releases.unwrap_or_default(), config, reader);
    workloads(file.workloads.unwrap_or_default(), config, reader);
    if let Some(limits) = file.limits {
        apply_limits(limits, config, reader);
    }
    if let Some(timeouts) = file.timeouts {
        let to = &mut config.timeouts;
        set(&mut to.handshake, positive(timeouts.handshake, reader));
        set(&mut to.header, positive(timeouts.header, reader));
        set(&mut to.idle, positive(timeouts.idle, reader));
        set(&mut to.margin, timeouts.margin.map(|interval| interval.0));
        set(&mut config.registry.connect, positive(timeouts.connect, reader));
        set(&mut config.registry.request, positive(timeouts.request, reader));
    }
    let registry = &mut config.registry;
    registry.registries = super::registries::registries(file.registries.unwrap_or_default(), reader);
    if let Some(cache) = file.cache {
        let to = &mut registry.cache;
        set(&mut to.immutable_ttl, positive(cache.immutable_ttl, reader));
        set(&mut to.floating_ttl, positive(cache.floating_ttl, reader));
        set(&mut to.stale_for, cache.stale_for.map(|interval| interval.0));
        set(&mut to.entries, count(cache.entries, reader).map(|count| count as u64));
        let bytes = cache.bytes.map(|size| Spanned { value: size.value.0, span: size.span });
        set(&mut to.bytes, count(bytes, reader).map(|count| count as u64));
    }
    config.mutation_owners = owners(file.mutation.and_then(|m| m.owners).unwrap_or_default(), reader);
    set(&mut config.pull_secrets, file.pull_secrets.and_then(|p| p.enabled).map(|enabled| enabled.value));
    if let Some(written) = file.history {
        config.history = history(written, reader);
    }
    set(&mut config.shutdown_delay, file.shutdown_delay.map(|interval| interval.0));
    set(&mut config.max_connection_age, positive(file.max_connection_age, reader));
    if let Some(log) = file.log {
        config.log = Log { format: log.format, level: log.level.unwrap_or(config.log.level) };
    }
}

fn workloads(written: Vec<Spanned<file::Workload>>, config: &mut Config, reader: &mut Reader<'_>) {
    let spans: Vec<_> = written.iter().map(|entry| entry.span.clone()).collect();
    let kinds = written.into_iter().map(|entry| WorkloadKind {
        group: entry.value.group,
        kind: entry.value.kind,
        paths: entry.value.paths,
    });
    match Workloads::new(kinds.collect()) {
        Ok(known) => config.workloads = known,
        Err((index, problem)) => {
            let span = spans.get(index).cloned().unwrap_or_default();
            reader.error(span, problem);
        }
    }
}

fn apply_limits(limits: file::Limits, config: &mut Config, reader: &mut Reader<'_>) {
    let size = |written: Option<Spanned<Size>>| written.map(|s| Spanned { value: s.value.0, span: s.span });
    let in_flight = size(limits.in_flight_bytes);
    let place = in_flight.as_ref().map(|written| written.span.clone());
    let to: &mut Limits = &mut config.limits;
    set(&mut to.body_bytes, count(size(limits.body_bytes), reader));
    set(&mut to.in_flight_bytes, count(in_flight, reader));
    set(&mut to.requests, count(limits.requests, reader));
    set(&mut to.connections, count(limits.connections, reader));
    if to.in_flight_bytes < to.body_bytes {
        let message = "'inFlightBytes' is less than 'bodyBytes': the largest review never fits";
        reader.error(place.unwrap_or_default(), message);
    }
    let lookups = &mut config.registry.lookups;
    set(&mut lookups.per_host, count(limits.lookups_per_host, reader));
    set(&mut lookups.per_namespace, count(limits.lookups_per_namespace, reader));
    set(&mut lookups.per_review, count(limits.lookups_per_review, reader));
    let settings = &mut config.settings;
    set(&mut settings.max_images, count(limits.images, reader));
    set(&mut settings.max_reference_bytes, count(size(limits.reference_bytes), reader));
}

fn history(written: file::History, reader: &mut Reader<'_>) -> History {
    let enabled = written.enabled.unwrap_or_default();
    if let Some(file) = &written.file {
        if !enabled {
            let error = reader.error(file.span.clone(), "'history.file' without 'history.enabled: true'");
            error.help.push("nothing would be written to it; enable the history, or take it out".to_owned());
        }
        if file.value.is_empty() {
            let error = reader.error(file.span.clone(), "not a file's name");
            error.help.push("name a file on a volume, '/var/lib/tagwarden/history.jsonl' say; without the key lines go to standard output".to_owned());
        }
    }
    History { enabled, file: written.file.map(|file| file.value.into()) }
}

/// Controllers whose Pods may be pinned: API group and kind.
fn owners(written: Vec<Spanned<file::Controller>>, reader: &mut Reader<'_>) -> Vec<(String, String)> {
    let mut owners = Vec::with_capacity(written.len());
    for owner in written {
        if owner.value.kind.is_empty() || owner.value.kind.contains('*') {
            let error = reader.error(owner.span, "not a kind of controller");
            error.help.push("write its group and exact kind: {group: argoproj.io, kind: Rollout}".to_owned());
            continue;
        }
        owners.push((owner.value.group, owner.value.kind));
    }
    owners
}

/// Where releases come from. After the labels that are trusted are known.
fn releases(written: Vec<Spanned<file::Release>>, config: &mut Config, reader: &mut Reader<'_>) {
    for one in written {
        let origin = release_origin(&one, reader);
        let entry = one.value;
        let (named, label) = (entry.current.as_ref(), entry.current_label.as_ref());
        let choice = Choice::compile(entry.namespaces.as_ref(), named, label, &config.settings, reader);
        config.releases.extend(origin.map(|origin| ReleaseSource { origin, choice }));
    }
}

/// A directory or objects, exactly one of them.
fn release_origin(one: &Spanned<file::Release>, reader: &mut Reader<'_>) -> Option<ReleaseOrigin> {
    let (span, problem, help) = match (&one.value.dir, &one.value.objects) {
        (Some(dir), None | Some(Spanned { value: false, .. })) if !dir.value.is_empty() => {
            return Some(ReleaseOrigin::Directory(dir.value.clone().into()));
        }
        (None, Some(Spanned { value: true, .. })) => return Some(ReleaseOrigin::Objects),
        (Some(_), Some(objects)) if objects.value => {
            (objects.span.clone(), "'dir' and 'objects' both say where the releases are", "take one of the two out")
        }
        (Some(dir), _) => (dir.span.clone(), "no directory", "name the directory of release files"),
        (None, _) => {
            let end = reader.source.end_on_first_line(&one.span);
            let help =
                "name a directory of release files by `dir: DIR`, or write `objects: true` for ImageRelease objects";
            (one.span.start..end, "neither 'dir' nor 'objects' says where the releases are", help)
        }
    };
    reader.error(span, problem).help.push(help.to_owned());
    None
}

/// # Errors
/// One sentence: a flag contradicts the file.
fn override_with(overrides: &Overrides, config: &mut Config) -> Result<(), String> {
    if !overrides.policy_dirs.is_empty() {
        config.policy_dirs.clone_from(&overrides.policy_dirs);
    }
    set(&mut config.webhook, overrides.webhook);
    set(&mut config.health, overrides.health);
    set(&mut config.settings.max_mode, overrides.max_mode);
    config.log.format = overrides.log_format.or(config.log.format);
    match &mut config.tls.certificate {
        CertificateSource::Files { cert, key } => {
            *cert = overrides.tls_cert.clone().or(cert.take());
            *key = overrides.tls_key.clone().or(key.take());
        }
        CertificateSource::SelfManaged(_) if overrides.tls_cert.is_some() || overrides.tls_key.is_some() => {
            return Err("'tls.mode: self-managed' makes its certificate itself: take out --tls-cert and --tls-key \
                 (TAGWARDEN_TLS_CERT, TAGWARDEN_TLS_KEY), or write 'mode: files'"
                .to_owned());
        }
        CertificateSource::SelfManaged(_) => {}
    }
    Ok(())
}

fn set<T>(to: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *to = value;
    }
}

fn address(written: Option<Text>, reader: &mut Reader<'_>) -> Option<SocketAddr> {
    let written = written?;
    match written.value.parse() {
        Ok(address) => Some(address),
        Err(_) => {
            let error = reader.error(written.span, "not an address with a port");
            error.help.push("write it as '0.0.0.0:8443' or '[::]:8443'".to_owned());
            None
        }
    }
}

fn positive(written: Option<Spanned<Interval>>, reader: &mut Reader<'_>) -> Option<Duration> {
    let written = written?;
    let duration = written.value.0;
    if duration.is_zero() || duration > LONGEST {
        reader.error(written.span, "a duration over 0s and at most 24h is needed here");
        return None;
    }
    Some(duration)
}

/// A number of at least one that fits the semaphores behind it.
pub(super) fn count(written: Option<Spanned<u64>>, reader: &mut Reader<'_>) -> Option<usize> {
    let written = written?;
    match u32::try_from(written.value) {
        Ok(value) if value > 0 => Some(value as usize),
        _ => {
            let message = "a number from 1 to 4294967295 is needed here";
            reader.error(written.span, message);
            None
        }
    }
}
