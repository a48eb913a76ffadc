//! Registries that misbehave: what a server makes of them, in which time and with how much memory.
//!
//! The numbers in the tests' names are those of the list "Hostile registries". Each case has a registry to itself,
//! because what one of them does must not count against another, and all cases of a test are judged side by side by one
//! server. What is asserted of each: the class of its verdict, that the review was answered within its own deadline, that
//! nothing was patched but where the verdict is "allow", that no word of the registry reached the answer, and the server's
//! peak of resident memory. Name resolution beyond loopback is in `names`, in namespaces that the tests make; injected
//! resolvers are in the unit tests of `registry::client`.

mod auth;
mod bursts;
mod content;
mod lists;
mod names;
mod redirects;
mod tls;
mod tokens;
mod transport;

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tagwarden::certs::Authority;
use tokio::time::{Instant, timeout};

use crate::https_support::{Connection, Server, Setup, now, pod_review};
use crate::registry_double::Registry;
use crate::registry_double::wire::{Act, Asked, Reply};

/// The repository that cases are about, and the image of it.
pub const REPOSITORY: &str = "acme/x";
pub const IMAGE: &str = "acme/x:v1.0.0";
/// Stands in everything that hostile registries say, and must not stand in an answer.
pub const WORDS: &str = "words-of-the-registry";
/// How long the API server would wait for a review.
pub const PATIENT: Duration = Duration::from_secs(10);
/// Long enough for a handshake on a machine that is busy with other tests, and a good deal shorter than [`PATIENT`].
const TIMEOUTS: &str = "timeouts: {connect: 4s, request: 4s}";
/// By how much the peak of resident memory may grow over the cases of a test. A manifest may have 4 MiB; the bodies that
/// are played have hundreds.
pub const MEMORY: u64 = 64 << 20;

/// What a server is to make of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// It is let in, and `/mutate` pins it.
    Allow,
    /// It is refused with this finding and no other.
    Id(&'static str),
    /// It is refused with a finding out of these: the protocol leaves open what it is.
    OneOf(&'static [&'static str]),
}

struct Case {
    name: String,
    registry: Registry,
    image: &'static str,
    expected: Expected,
    pinned: String,
}

/// Cases, and the server that is to judge them.
pub struct Cases {
    authority: Arc<Authority>,
    cases: Vec<Case>,
    /// The keys of the rule besides `images`.
    rule: &'static str,
    /// Keys of each registry besides its host, CA and token server.
    registry: &'static str,
}

impl Cases {
    pub fn new() -> Self {
        Cases {
            authority: Arc::new(Authority::new("registries", now(), 86_400).unwrap()),
            cases: Vec::new(),
            rule: "tags: [release], pin: pods",
            registry: "private: true",
        }
    }

    pub fn rule(mut self, rule: &'static str) -> Self {
        self.rule = rule;
        self
    }

    pub fn registry(mut self, keys: &'static str) -> Self {
        self.registry = keys;
        self
    }

    /// A case with a registry that has [`IMAGE`] and is to be made hostile. It comes back to be scripted.
    pub async fn case(&mut self, name: impl Into<String>, expected: Expected) -> &mut Registry {
        self.case_of(name, IMAGE, expected).await
    }

    /// The same about another image of it.
    pub async fn case_of(&mut self, name: impl Into<String>, image: &'static str, expected: Expected) -> &mut Registry {
        let registry = Registry::start_with(Arc::clone(&self.authority)).await;
        let pinned = registry.push(REPOSITORY, "v1.0.0", "first");
        self.cases.push(Case { name: name.into(), registry, image, expected, pinned });
        &mut self.cases.last_mut().unwrap().registry
    }

    /// The digest that the last case is to be pinned to, where that is not the one that [`IMAGE`] had at first.
    pub fn pinned(&mut self, digest: String) {
        self.cases.last_mut().unwrap().pinned = digest;
    }

    /// Starts a server that knows all the registries.
    fn start(&self) -> Server {
        let registries: Vec<&Registry> = self.cases.iter().map(|case| &case.registry).collect();
        let stage = Stage { rule: self.rule, registry: self.registry, ..Stage::default() };
        stage.start(&registries, &self.authority)
    }

    /// Judges all, side by side, and says of all at once what is not as expected.
    pub async fn judge(self) -> Judged {
        let server = self.start();
        let before = peak_memory(&server);
        let each = self.cases.iter().map(|case| judge(&server, case));
        let problems: Vec<String> = futures_util::future::join_all(each).await.into_iter().flatten().collect();
        assert!(problems.is_empty(), "{}\n\nlog:\n{}", problems.join("\n"), server.log.text());
        let grown = peak_memory(&server).saturating_sub(before);
        assert!(grown <= MEMORY, "resident memory grew by {} MiB", grown >> 20);
        let log = server.log.text();
        assert!(!secrets().iter().any(|secret| log.contains(secret)), "a secret is in the log");
        Judged { registries: self.cases.into_iter().map(|case| (case.name, case.registry)).collect(), server }
    }
}

/// What is left after a judgement, to be looked at.
pub struct Judged {
    pub server: Server,
    pub registries: Vec<(String, Registry)>,
}

/// A server's configuration and policy as far as registries are concerned.
#[derive(Clone, Copy)]
pub struct Stage<'a> {
    pub rule: &'a str,
    pub config: &'a str,
    pub registry: &'a str,
}

impl Default for Stage<'_> {
    fn default() -> Self {
        Stage { rule: "tags: [release], pin: pods", config: "", registry: "private: true" }
    }
}

impl Stage<'_> {
    /// Starts a server whose policy names these registries, all of one authority.
    pub fn start(&self, registries: &[&Registry], authority: &Authority) -> Server {
        let timeouts = if self.config.contains("timeouts:") { "" } else { TIMEOUTS };
        let mut config = format!("{}\n{timeouts}\nregistries:\n", self.config);
        let mut images = Vec::new();
        let mut users = serde_json::Map::new();
        for registry in registries {
            let (host, tokens) = (registry.host(), registry.token_host());
            let keys = self.registry;
            config.push_str(&format!("- {{host: \"{host}\", ca: ca.pem, realmHosts: [\"{tokens}\"], {keys}}}\n"));
            images.push(format!("\"{host}/**\""));
            users.insert(host, json!({"username": "robot", "password": SECRET}));
        }
        let files = vec![("ca.pem", authority.pem().to_owned()), ("docker.json", docker_config(&users.into()))];
        self.start_with(&config, &images.join(", "), files)
    }

    /// Starts a server with this configuration and these files, whose policy names these images.
    pub fn start_with(&self, config: &str, images: &str, files: Vec<(&'static str, String)>) -> Server {
        let policies = vec![("p.yaml", policy(images, self.rule))];
        Setup { config: config.to_owned(), policies, files, ..Setup::default() }.start()
    }
}

/// The password of `robot`, which nobody else is to see.
pub const SECRET: &str = "correct-horse-battery-staple";

/// A document as `docker login` writes it.
pub fn docker_config(auths: &Value) -> String {
    json!({"auths": auths}).to_string()
}

/// As HTTP's Basic says it.
pub fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// A policy of one rule.
pub fn policy(images: &str, rule: &str) -> String {
    format!(
        "apiVersion: tagwarden.dev/v1
kind: ImagePolicy
metadata: {{name: acme}}
spec: {{mode: enforce, rules: [{{name: acme, images: [{images}], {rule}}}]}}
"
    )
}

/// The answer to a review, read.
#[derive(Clone, Debug)]
pub struct Answered {
    pub allowed: bool,
    /// Of the findings in the denial.
    pub ids: BTreeSet<String>,
    pub warnings: Vec<String>,
    /// The `image` values that the patch writes, in order.
    pub images: Vec<String>,
    /// All of it.
    pub whole: Value,
}

impl Answered {
    fn new(response: Value) -> Self {
        let message = response["status"]["message"].as_str().unwrap_or_default();
        let numbered = message.lines().filter_map(|line| line.split_once(". ").map(|(_, rest)| rest));
        let ids = numbered.filter(|rest| rest.starts_with("TW")).filter_map(|rest| rest.split(' ').next());
        let ids = ids.map(str::to_owned).collect();
        let texts = |value: &Value| {
            let list = value.as_array().map(Vec::as_slice).unwrap_or_default();
            list.iter().filter_map(|text| text.as_str().map(str::to_owned)).collect()
        };
        let patch = response["patch"].as_str().map(|text| STANDARD.decode(text).unwrap());
        let patch: Vec<Value> = patch.map(|bytes| serde_json::from_slice(&bytes).unwrap()).unwrap_or_default();
        let written = patch.iter().filter(|operation| operation["path"].as_str().unwrap().ends_with("/image"));
        Answered {
            allowed: response["allowed"] == true,
            ids,
            warnings: texts(&response["warnings"]),
            images: written.map(|operation| operation["value"].as_str().unwrap().to_owned()).collect(),
            whole: response,
        }
    }

    /// Whether it was refused with this finding and no other.
    pub fn is(&self, id: &str) -> bool {
        !self.allowed && self.ids.len() == 1 && self.ids.contains(id)
    }
}

/// Sends a review over this connection, as the API server would that waits so long and no longer.
pub async fn send(connection: &mut Connection, path: &str, review: &Value, patience: Duration) -> Answered {
    let path = format!("{path}?timeout={}s", patience.as_secs());
    // What the server makes of its deadline shows in its answer; this is for one that never comes.
    let answer = timeout(patience + Duration::from_secs(5), connection.review(&path, review)).await;
    Answered::new(answer.expect("the review is answered in time"))
}

pub async fn validate(server: &Server, namespace: &str, image: &str) -> Answered {
    send(&mut server.http1().await, "/validate", &pod_review(namespace, image), PATIENT).await
}

/// Asserts that `/validate` lets a Pod of the namespace `shop` in.
pub async fn admits(server: &Server, image: &str) {
    let answer = validate(server, "shop", image).await;
    assert!(answer.allowed, "{image}: {}\n{}", answer.whole, server.log.text());
}

pub async fn mutate(server: &Server, namespace: &str, image: &str) -> Answered {
    send(&mut server.http1().await, "/mutate", &pod_review(namespace, image), PATIENT).await
}

/// What is not as expected of a case.
async fn judge(server: &Server, case: &Case) -> Vec<String> {
    let image = format!("{}/{}", case.registry.host(), case.image);
    let began = Instant::now();
    let (validated, mutated) = tokio::join!(validate(server, "shop", &image), mutate(server, "shop", &image));
    let took = began.elapsed();
    let as_expected = match case.expected {
        Expected::Allow => validated.allowed,
        Expected::Id(id) => validated.is(id),
        Expected::OneOf(ids) => ids.iter().any(|id| validated.is(id)),
    };
    let mut problems = Vec::new();
    let mut problem = |what: String| problems.push(format!("{}: {what} ({took:?})", case.name));
    if !as_expected {
        problem(format!("{:?} was expected, not {}", case.expected, validated.whole));
    }
    if !mutated.allowed {
        problem(format!("/mutate refuses: {}", mutated.whole));
    }
    if case.expected == Expected::Allow {
        let pinned = format!("{image}@{}", case.pinned);
        if !image.contains('@') && mutated.images != [pinned.as_str()] {
            problem(format!("{pinned} was to be written, not {}", mutated.whole));
        }
    } else if !mutated.images.is_empty() || mutated.warnings.is_empty() {
        problem(format!("/mutate is to leave it alone and say so: {}", mutated.whole));
    }
    for answer in [&validated.whole, &mutated.whole] {
        let text = answer.to_string();
        if text.contains(WORDS) || text.contains(SECRET) {
            problem(format!("it says what it must not: {text}"));
        }
    }
    problems
}

/// The most bytes of memory that were ever resident, as the kernel counted.
pub fn peak_memory(server: &Server) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:").or_else(|| line.strip_prefix("VmRSS:")));
    let kibibytes: u64 = line.unwrap().trim().trim_end_matches(" kB").parse().unwrap();
    kibibytes << 10
}

/// Answers each HEAD of a manifest so.
pub fn on_head(registry: &Registry, act: impl Into<Act>) {
    let act = act.into();
    registry.script(REPOSITORY, move |asked| (asked.method == "HEAD").then(|| act.clone()));
}

/// Knows no HEAD, and answers each GET of a manifest so.
pub fn on_get(registry: &Registry, act: impl Into<Act>) {
    let act = act.into();
    registry.script(REPOSITORY, move |asked| {
        if !asked.path().contains("/manifests/") {
            return None;
        }
        Some(if asked.method == "HEAD" { no_head() } else { act.clone() })
    });
}

/// An answer by which a registry says that it knows no HEAD.
pub fn no_head() -> Act {
    Reply::new(405).into()
}

/// What nobody else is to see, as it may be written.
fn secrets() -> [String; 2] {
    [SECRET.to_owned(), basic("robot", SECRET).trim_start_matches("Basic ").to_owned()]
}

/// Whether any of these requests showed a secret of ours.
pub fn shows_a_secret(requests: &[Asked]) -> bool {
    requests.iter().any(|asked| {
        let all = format!("{asked:?}");
        secrets().iter().any(|secret| all.contains(secret))
    })
}
