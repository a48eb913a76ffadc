//! Docker's configuration as pull secrets and `config.json` hold it: bytes in, entries out, no value in any problem.
//!
//! Forms: <https://kubernetes.io/docs/concepts/configuration/secret/#docker-config-secrets>. As Go's decoder does,
//! the names of fields are read in any case, and fields that nobody knows are skipped.

use std::fmt;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::matching::Pattern;
use super::{LoginKind, NAME_BYTES};
use crate::policy::printable;

/// Entries at most of one configuration; a lookup compares with every one.
const ENTRIES: usize = 1000;

/// Docker writes padding, others do not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The two types of Secrets that hold a docker configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SecretKind {
    /// `kubernetes.io/dockerconfigjson`: the entries are under `auths`.
    DockerConfigJson,
    /// `kubernetes.io/dockercfg`: the document is the entries.
    DockerCfg,
}

impl SecretKind {
    /// The key of the Secret's data.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            SecretKind::DockerConfigJson => ".dockerconfigjson",
            SecretKind::DockerCfg => ".dockercfg",
        }
    }
}

/// An entry that proves something, and for what.
#[derive(Clone)]
pub(super) struct Auth {
    pub pattern: Pattern,
    pub kind: LoginKind,
}

/// A configuration, read.
#[derive(Default)]
pub(super) struct Parsed {
    /// In the document's order; entries without a secret are left out, as are those whose key is no host.
    pub auths: Vec<Auth>,
    /// `credsStore`: the program that holds all secrets, by the end of its name.
    pub store: Option<String>,
    /// `credHelpers`: such programs by host.
    pub helpers: Vec<(String, String)>,
}

/// Reads a configuration.
///
/// # Errors
/// What follows the document's name in a sentence: `is not JSON: line 1, column 5`. Entries are named by their host.
pub(super) fn parse(kind: SecretKind, bytes: &[u8]) -> Result<Parsed, String> {
    let top: Fields = serde_json::from_slice(bytes).map_err(|error| no_object(&error))?;
    let mut parsed = Parsed::default();
    let mut problems = Vec::new();
    match kind {
        SecretKind::DockerCfg => parsed.auths = auths(top, &mut problems),
        SecretKind::DockerConfigJson => {
            for (name, value) in top.0 {
                if name.eq_ignore_ascii_case("auths") {
                    match object(value) {
                        Some(entries) => parsed.auths = auths(entries, &mut problems),
                        None => problems.push("'auths' is not an object".to_owned()),
                    }
                } else if name.eq_ignore_ascii_case("credsStore") {
                    parsed.store = text(value).map(|text| text.to_string()).filter(|text| !text.is_empty());
                } else if name.eq_ignore_ascii_case("credHelpers") {
                    let helpers = object(value).unwrap_or_default().0.into_iter();
                    parsed.helpers = helpers.filter_map(|(host, name)| Some((host, text(name)?.to_string()))).collect();
                }
            }
        }
    }
    if problems.is_empty() {
        return Ok(parsed);
    }
    Err(format!("is not a docker configuration: {}", problems.join("; ")))
}

/// The parser's own words would quote the value.
fn no_object(error: &serde_json::Error) -> String {
    match error.classify() {
        Category::Data => "is not a JSON object".to_owned(),
        _ => format!("is not JSON: line {}, column {}", error.line(), error.column()),
    }
}

fn auths(entries: Fields<'_>, problems: &mut Vec<String>) -> Vec<Auth> {
    if entries.0.len() > ENTRIES {
        problems.push(format!("it has more than {ENTRIES} entries"));
        return Vec::new();
    }
    let mut auths = Vec::new();
    for (at, (key, value)) in entries.0.into_iter().enumerate() {
        let pattern = Pattern::parse(&key);
        match entry(value) {
            Ok(kind) => auths.extend(pattern.zip(kind).map(|(pattern, kind)| Auth { pattern, kind })),
            // A key that is no host may be a secret that slipped.
            Err(problem) => problems.push(match pattern {
                Some(pattern) => format!("the entry of {} {problem}", printable(pattern.authority(), NAME_BYTES)),
                None => format!("entry {} {problem}", at + 1),
            }),
        }
    }
    auths
}

/// What an entry proves; none where it holds no secret, as beside a credential store.
fn entry(value: &RawValue) -> Result<Option<LoginKind>, &'static str> {
    let fields = object(value).ok_or("is not an object")?;
    let mut texts: [Zeroizing<String>; 5] = Default::default();
    const NAMES: [(&str, &str); 5] = [
        ("username", "has a 'username' that is not a string"),
        ("password", "has a 'password' that is not a string"),
        ("auth", "has an 'auth' that is not a string"),
        ("identitytoken", "has an 'identitytoken' that is not a string"),
        ("registrytoken", "has a 'registrytoken' that is not a string"),
    ];
    for (name, value) in fields.0 {
        if let Some(at) = NAMES.iter().position(|(known, _)| name.eq_ignore_ascii_case(known)) {
            texts[at] = text(value).ok_or(NAMES[at].1)?;
        }
    }
    let [mut username, mut password, auth, identity, registry] = texts;
    if !auth.is_empty() {
        (username, password) = user_and_password(&auth)?;
    }
    if !registry.is_empty() {
        let sendable = registry.bytes().all(|byte| byte.is_ascii_graphic());
        return if sendable {
            Ok(Some(LoginKind::RegistryToken(registry)))
        } else {
            Err("has no token in 'registrytoken'")
        };
    }
    if !identity.is_empty() {
        return Ok(Some(LoginKind::IdentityToken(identity)));
    }
    let any = !username.is_empty() || !password.is_empty();
    Ok(any.then(|| LoginKind::Password { username: std::mem::take(&mut *username), password }))
}

/// `auth`: user and password in base64, the first colon between them.
fn user_and_password(auth: &str) -> Result<(Zeroizing<String>, Zeroizing<String>), &'static str> {
    const WRONG: &str = "has an 'auth' that is not base64 of user:password";
    // Go's decoder skips line ends, and tools that wrap at 76 characters live by it.
    let mut encoded = Zeroizing::new(Vec::with_capacity(auth.len()));
    encoded.extend(auth.trim().bytes().filter(|byte| !matches!(byte, b'\r' | b'\n')));
    let mut decoded = Zeroizing::new(Vec::with_capacity(base64::decoded_len_estimate(encoded.len())));
    BASE64.decode_vec(&*encoded, &mut decoded).map_err(|_| WRONG)?;
    let text = std::str::from_utf8(&decoded).map_err(|_| WRONG)?;
    let (username, password) = text.split_once(':').ok_or(WRONG)?;
    Ok((Zeroizing::new(username.to_owned()), Zeroizing::new(password.to_owned())))
}

fn object(value: &RawValue) -> Option<Fields<'_>> {
    serde_json::from_str(value.get()).ok()
}

fn text(value: &RawValue) -> Option<Zeroizing<String>> {
    serde_json::from_str::<Text>(value.get()).ok().map(|text| text.0)
}

/// An object's fields in their order, values unread; null is an object without any.
#[derive(Default)]
struct Fields<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Fields::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(Fields(fields))
    }
}

/// A string that is wiped when it is dropped; null is an empty one.
pub(super) struct Text(pub Zeroizing<String>);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor)
    }
}

struct TextVisitor;

impl Visitor<'_> for TextVisitor {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_unit<E>(self) -> Result<Text, E> {
        Ok(Text(Zeroizing::default()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Text, E> {
        Ok(Text(Zeroizing::new(text.to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use super::{Parsed, SecretKind, parse};
    use crate::registry::credentials::LoginKind;

    fn config(entry: &str) -> Result<Parsed, String> {
        parse(SecretKind::DockerConfigJson, format!(r#"{{"auths": {{"r.io": {entry}}}}}"#).as_bytes())
    }

    fn shown(parsed: &Parsed) -> Vec<String> {
        let show = |kind: &LoginKind| match kind {
            LoginKind::Anonymous => "anonymous".to_owned(),
            LoginKind::Password { username, password } => format!("{username}/{}", password.as_str()),
            LoginKind::IdentityToken(token) => format!("identity {}", token.as_str()),
            LoginKind::RegistryToken(token) => format!("registry {}", token.as_str()),
        };
        parsed.auths.iter().map(|auth| show(&auth.kind)).collect()
    }

    #[test]
    fn entries_prove_what_docker_says() {
        let cases: &[(&str, &[&str])] = &[
            (r#"{"username": "u", "password": "p"}"#, &["u/p"]),
            (r#"{"username": "u", "password": "p", "email": "x", "more": {"a": [1]}}"#, &["u/p"]),
            (r#"{"Username": "u", "PASSWORD": "p"}"#, &["u/p"]),
            (r#"{"auth": "dTpw"}"#, &["u/p"]),
            (r#"{"auth": "dTpwOnE="}"#, &["u/p:q"]),
            (r#"{"auth": "dTpwOnE"}"#, &["u/p:q"]),
            (r#"{"auth": "dTpw\nOnE=\r\n"}"#, &["u/p:q"]),
            (r#"{"auth": "dTpw", "username": "other", "password": "other"}"#, &["u/p"]),
            (r#"{"auth": "", "username": "u", "password": "p"}"#, &["u/p"]),
            (r#"{"auth": null, "username": "u", "password": "p\"q"}"#, &["u/p\"q"]),
            (r#"{"auth": "dTo=", "identitytoken": "t"}"#, &["identity t"]),
            (r#"{"identitytoken": "t", "registrytoken": "r"}"#, &["registry r"]),
            (r#"{"username": "u"}"#, &["u/"]),
            ("{}", &[]),
            ("null", &[]),
            (r#"{"auth": "Og=="}"#, &[]),
        ];
        for (entry, expected) in cases {
            assert_eq!(shown(&config(entry).unwrap()), *expected, "{entry}");
        }
    }

    #[test]
    fn both_forms_are_read() {
        let entries = r#"{"a.io": {"username": "a"}, "b.io": {"username": "b"}}"#;
        assert_eq!(shown(&parse(SecretKind::DockerCfg, entries.as_bytes()).unwrap()), ["a/", "b/"]);
        let config = format!(r#"{{"auths": {entries}, "HttpHeaders": {{"X": "y"}}, "credsStore": "desktop"}}"#);
        let parsed = parse(SecretKind::DockerConfigJson, config.as_bytes()).unwrap();
        assert_eq!(shown(&parsed), ["a/", "b/"]);
        assert_eq!(parsed.store.as_deref(), Some("desktop"));
        for empty in ["{}", r#"{"auths": {}}"#, r#"{"auths": null}"#] {
            assert!(parse(SecretKind::DockerConfigJson, empty.as_bytes()).unwrap().auths.is_empty(), "{empty}");
        }
    }

    #[test]
    fn helpers_are_read_by_host() {
        let json = br#"{"credHelpers": {"gcr.io": "gcr", "x.io": "pass"}, "credsStore": ""}"#;
        let parsed = parse(SecretKind::DockerConfigJson, json).unwrap();
        let expected = [("gcr.io", "gcr"), ("x.io", "pass")].map(|(host, name)| (host.to_owned(), name.to_owned()));
        assert_eq!(parsed.helpers, expected);
        assert_eq!(parsed.store, None);
    }

    #[test]
    fn every_bad_entry_is_named_and_no_value_shown() {
        let json = r#"{"auths": {
            "a.io/team": {"auth": "s3cr3t!"}, "b.io": {"auth": "czNjcjN0"}, "c.io": {"password": ["s3cr3t"]},
            "d.io": "s3cr3t", "s3cr3t@e.io": {"username": 7}, "f.io": {"registrytoken": "s3cr3t\n"},
            "g.io": {"username": "s3cr3t", "password": "s3cr3t"}, "h.io": {"auth": "/zpzM2NyM3Q="}}}"#;
        let problem = parse(SecretKind::DockerConfigJson, json.as_bytes()).err().unwrap();
        let expected = "is not a docker configuration: \
            the entry of a.io has an 'auth' that is not base64 of user:password; \
            the entry of b.io has an 'auth' that is not base64 of user:password; \
            the entry of c.io has a 'password' that is not a string; the entry of d.io is not an object; \
            entry 5 has a 'username' that is not a string; the entry of f.io has no token in 'registrytoken'; \
            the entry of h.io has an 'auth' that is not base64 of user:password";
        assert_eq!(problem, expected);
        assert!(!problem.contains("s3cr3t") && !problem.contains("czNjcjN0"));
    }

    #[test]
    fn what_is_no_document_is_said_by_place() {
        let cases: &[(&[u8], &str)] = &[
            (b"", "is not JSON: line 1, column 0"),
            (b"{\"auths\": {\n  \"r.io\": {,}}}", "is not JSON: line 2, column 12"),
            (b"{} {}", "is not JSON: line 1, column 4"),
            (b"\"s3cr3t\"", "is not a JSON object"),
            (b"[]", "is not a JSON object"),
            (b"{\"auths\": 7}", "is not a docker configuration: 'auths' is not an object"),
            (b"\xff\xfe", "is not JSON: line 1, column 1"),
            (b"{\"auths\": {\"r.io\": {\"auth\": \"\xff\"}}}", "is not JSON: line 1, column 30"),
        ];
        for (bytes, expected) in cases {
            let problem = parse(SecretKind::DockerConfigJson, bytes).err().unwrap();
            assert_eq!(problem, *expected, "{}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn the_number_of_entries_is_bounded() {
        let document = |count: usize| {
            let entries: Vec<_> = (0..count).map(|n| format!(r#""r{n}.io": {{"username": "u"}}"#)).collect();
            parse(SecretKind::DockerCfg, format!("{{{}}}", entries.join(",")).as_bytes())
        };
        assert_eq!(document(1000).unwrap().auths.len(), 1000);
        let problem = document(1001).err().unwrap();
        assert_eq!(problem, "is not a docker configuration: it has more than 1000 entries");
    }
}
