//! The configuration of registries: from entries as written to settings, with every problem at its place.

use http::Uri;

use super::file::{self, Text};
use crate::document::{Reader, Spanned};
use crate::image::{ImageGlob, NameGlob};
use crate::registry::{ConfiguredCredentials, RegistrySettings};

/// Reads all entries. What is wrong with one is noted and leaves it out.
pub(super) fn registries(written: Vec<Spanned<file::Registry>>, reader: &mut Reader<'_>) -> Vec<RegistrySettings> {
    let mut known: Vec<RegistrySettings> = Vec::with_capacity(written.len());
    for entry in written {
        let host = entry.value.host.clone();
        let Some(settings) = registry(entry.value, reader) else { continue };
        if known.iter().any(|other| other.host == settings.host) {
            let error = reader.error(host.span, format!("the registry '{}' stands above already", settings.host));
            error.help.push("one entry says everything about a registry".to_owned());
            continue;
        }
        known.push(settings);
    }
    known
}

fn registry(written: file::Registry, reader: &mut Reader<'_>) -> Option<RegistrySettings> {
    let before = reader.diagnostics.len();
    if let Some(protected) = &written.protected {
        let error = reader.error(protected.span.clone(), "'registries[].protected' is not supported yet");
        error.help.push("a later version will know it; take it out for now".to_owned());
    }
    let host = host(&written.host, reader);
    let insecure = written.insecure.unwrap_or(false);
    if insecure {
        let tls = [written.ca.as_ref().map(|ca| &ca.span), written.client_cert.as_ref().map(|pair| &pair.span)];
        for span in tls.into_iter().flatten() {
            let error = reader.error(span.clone(), "there is no TLS with 'insecure: true' that this could be for");
            error.help.push("take one of the two out".to_owned());
        }
    }
    let endpoint = written.endpoint.and_then(|endpoint| self::endpoint(endpoint, insecure, reader));
    if let (Some(namespaces), None) = (&written.credential_namespaces, &written.credentials) {
        let message = "'credentialNamespaces' without 'credentials': there is nothing to benefit from";
        reader.error(namespaces.span.clone(), message);
    }
    let credentials = written.credentials.and_then(|credentials| self::credentials(credentials, reader));
    let namespaces = written.credential_namespaces.map(|list| name_globs(&list.value, reader));
    let realm_hosts = written.realm_hosts.unwrap_or_default();
    let settings = RegistrySettings {
        host: host?,
        endpoint,
        ca: written.ca.map(|ca| ca.value.into()),
        client_cert: written.client_cert.map(|pair| (pair.value.cert.into(), pair.value.key.into())),
        insecure,
        private: written.private.unwrap_or(false),
        credentials,
        credential_namespaces: namespaces,
        realm_hosts: realm_hosts.iter().filter_map(|realm| self::host(realm, reader)).collect(),
        max_concurrent: super::resolve::count(written.max_concurrent, reader),
    };
    (reader.diagnostics.len() == before).then_some(settings)
}

/// A host as the globs of policies spell it: canonical, without `*`.
fn host(written: &Text, reader: &mut Reader<'_>) -> Option<String> {
    let glob = ImageGlob::parse(&format!("{}/**", written.value)).ok();
    let literal = glob.as_ref().and_then(ImageGlob::literal_host).filter(|host| *host == written.value);
    if literal.is_none() {
        let error = reader.error(written.span.clone(), "not a registry host as policies spell it");
        error
            .help
            .push("write it in lower case, with its port where that is not 443: registry.example.com:5000".into());
    }
    literal.map(str::to_owned)
}

fn endpoint(written: Text, insecure: bool, reader: &mut Reader<'_>) -> Option<String> {
    let problem = match written.value.parse::<Uri>() {
        Err(_) => Some("not a URL"),
        Ok(uri) => match (uri.scheme_str(), uri.authority()) {
            (_, Some(authority)) if authority.as_str().contains('@') => Some("an endpoint holds no credentials"),
            (Some("https"), Some(_)) if insecure => Some("an https endpoint of a registry with 'insecure: true'"),
            (Some("http"), Some(_)) if !insecure => Some("an http endpoint needs 'insecure: true'"),
            (Some("http" | "https"), Some(_)) if uri.query().is_some() => Some("an endpoint has no query"),
            (Some("http" | "https"), Some(_)) => None,
            _ => Some("an endpoint begins with https:// and a host"),
        },
    };
    match problem {
        None => Some(written.value.trim_end_matches('/').to_owned()),
        Some(problem) => {
            let error = reader.error(written.span, problem);
            error.help.push("write for example https://mirror.example.com or https://mirror.example.com/path".into());
            None
        }
    }
}

fn credentials(written: Spanned<file::Credentials>, reader: &mut Reader<'_>) -> Option<ConfiguredCredentials> {
    match (written.value.docker_config, written.value.helper) {
        (Some(file), None) => Some(ConfiguredCredentials::DockerConfig(file.into())),
        (None, Some(helper)) => Some(ConfiguredCredentials::Helper(helper.into())),
        _ => {
            let error = reader.error(written.span, "credentials are either 'dockerConfig' or 'helper'");
            error.help.push("write one of the two".to_owned());
            None
        }
    }
}

fn name_globs(texts: &[Text], reader: &mut Reader<'_>) -> Vec<NameGlob> {
    let mut globs = Vec::with_capacity(texts.len());
    for text in texts {
        match NameGlob::parse(&text.value) {
            Ok(glob) => globs.push(glob),
            Err(problem) => {
                let error = reader.error(text.span.clone(), problem.message);
                error.help.extend(problem.help);
            }
        }
    }
    globs
}
