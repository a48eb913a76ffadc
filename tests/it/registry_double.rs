//! A registry in this process: a well-behaved one whose tags can be moved, and any behaviour at all, one repository at a
//! time.
//!
//! The well-behaved part is `ordinary`; what a script of a repository does not answer itself goes there. Its token server
//! listens at a port of its own, as token servers do.

pub mod content;
pub mod http2;
mod ordinary;
pub mod wire;

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::body::Bytes;
use serde_json::{Value, json};
use tagwarden::certs::Authority;

use crate::registries::real;
use content::Document;
use wire::{Act, Asked, Handler, Listener, Mode, Reply, server_tls};

/// The kinds of request that are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `HEAD` of a manifest.
    Head,
    /// `GET` of a manifest.
    Get,
    /// Any request for a blob.
    Blob,
    /// A tag list.
    Tags,
    /// Any request to the token server.
    Token,
    /// `/v2/` itself, or anything else.
    Other,
}

/// Who may read what.
#[derive(Clone, Debug, Default)]
pub struct User {
    pub name: String,
    pub password: String,
    /// The repositories that only this user and others who name them may read.
    pub repositories: Vec<String>,
}

impl User {
    pub fn new(name: &str, password: &str, repositories: &[&str]) -> Self {
        let repositories = repositories.iter().map(|name| (*name).to_owned()).collect();
        User { name: name.to_owned(), password: password.to_owned(), repositories }
    }
}

/// How a registry wants to be asked.
#[derive(Clone, Debug, Default)]
pub enum Access {
    /// By anyone.
    #[default]
    Open,
    /// With user and password in each request.
    Basic(Vec<User>),
    /// With a token of the token server, which anyone gets; for what a user's list names, that user alone.
    Token(Vec<User>),
}

/// Says what becomes of a request; nothing: what an ordinary registry would do.
pub type Script = Arc<dyn Fn(&Asked) -> Option<Act> + Send + Sync>;

#[derive(Default)]
struct Repository {
    tags: BTreeMap<String, String>,
    manifests: HashMap<String, Document>,
    blobs: HashMap<String, Bytes>,
    script: Option<Script>,
}

#[derive(Default)]
struct State {
    repositories: HashMap<String, Repository>,
    access: Access,
    realm: String,
    token_script: Option<Script>,
    /// Tokens given out: who got it (no one: anonymous), and for which repository.
    tokens: HashMap<String, (Option<String>, String)>,
    seen: Vec<(Kind, Asked)>,
}

/// A registry and its token server; both end with it.
pub struct Registry {
    listener: Listener,
    tokens: Listener,
    authority: Arc<Authority>,
    state: Arc<Mutex<State>>,
}

impl Registry {
    /// One that is empty and open to all, with a certificate for `127.0.0.1` and `localhost` of an authority of its own.
    pub async fn start() -> Self {
        let authority = Arc::new(Authority::new("registry", crate::https_support::now(), 86_400).unwrap());
        Self::start_with(authority).await
    }

    /// The same under an authority that others may share.
    pub async fn start_with(authority: Arc<Authority>) -> Self {
        let names = ["127.0.0.1", "localhost"].map(str::to_owned);
        let pair = authority.server(&names, crate::https_support::now(), 86_400).unwrap();
        let tls = server_tls(&pair, &[b"http/1.1"]);
        let state: Arc<Mutex<State>> = Arc::default();
        let listener = Listener::start(Mode::Tls(Arc::clone(&tls)), Self::handler(&state, ordinary::answer)).await;
        let tokens = Listener::start(Mode::Tls(tls), Self::handler(&state, ordinary::give_token)).await;
        state.lock().unwrap().realm = format!("https://{}/token", tokens.address);
        Registry { listener, tokens, authority, state }
    }

    fn handler(state: &Arc<Mutex<State>>, answer: fn(&mut State, &Asked) -> Act) -> Handler {
        let state = Arc::clone(state);
        Arc::new(move |asked| {
            let (kind, script) = {
                let mut state = state.lock().unwrap();
                let (kind, script) = ordinary::sort(&state, asked);
                state.seen.push((kind, asked.clone()));
                (kind, script)
            };
            // Not under the lock: a script may look at the registry, or move a tag.
            match script.and_then(|script| script(asked)) {
                Some(act) => act,
                None if kind == Kind::Token => ordinary::give_token(&mut state.lock().unwrap(), asked),
                None => answer(&mut state.lock().unwrap(), asked),
            }
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Host and port, as images name it.
    pub fn host(&self) -> String {
        self.listener.address.to_string()
    }

    pub fn address(&self) -> SocketAddr {
        self.listener.address
    }

    /// Host and port of the token server.
    pub fn token_host(&self) -> String {
        self.tokens.address.to_string()
    }

    /// What signed its certificate, PEM.
    pub fn ca(&self) -> &str {
        self.authority.pem()
    }

    pub fn authority(&self) -> &Arc<Authority> {
        &self.authority
    }

    /// What becomes of connections to it; its scripts are for those that still speak HTTP/1.1.
    pub fn listener(&mut self) -> &mut Listener {
        &mut self.listener
    }

    pub fn token_listener(&mut self) -> &mut Listener {
        &mut self.tokens
    }

    /// Puts an image there and tags it; gives its digest. Different seeds, different images.
    pub fn push(&self, repository: &str, tag: &str, seed: &str) -> String {
        self.push_labelled(repository, tag, seed, &json!({}))
    }

    /// The same with labels.
    pub fn push_labelled(&self, repository: &str, tag: &str, seed: &str, labels: &Value) -> String {
        let config = content::config(seed, labels);
        let image = content::image(&config);
        self.add_blob(repository, &config);
        self.add(repository, &image);
        self.tag(repository, tag, &image.digest());
        image.digest()
    }

    /// The same with an image for each of three platforms under an index, whose digest comes back.
    pub fn push_index(&self, repository: &str, tag: &str, seed: &str) -> String {
        let configs = [1, 2, 3].map(|n| content::config(&format!("{seed}-{n}"), &json!({"seed": seed})));
        let images: Vec<Document> = configs.iter().map(content::image).collect();
        configs.iter().for_each(|config| self.add_blob(repository, config));
        images.iter().for_each(|image| self.add(repository, image));
        let index = content::index(&images);
        self.add(repository, &index);
        self.tag(repository, tag, &index.digest());
        index.digest()
    }

    /// A manifest, reachable by its digest.
    pub fn add(&self, repository: &str, document: &Document) {
        let mut state = self.state();
        let repository = state.repositories.entry(repository.to_owned()).or_default();
        repository.manifests.insert(document.digest(), document.clone());
    }

    pub fn add_blob(&self, repository: &str, document: &Document) {
        let mut state = self.state();
        let repository = state.repositories.entry(repository.to_owned()).or_default();
        repository.blobs.insert(document.digest(), document.body.clone());
    }

    /// Sets or moves a tag.
    pub fn tag(&self, repository: &str, tag: &str, digest: &str) {
        let mut state = self.state();
        let repository = state.repositories.entry(repository.to_owned()).or_default();
        repository.tags.insert(tag.to_owned(), digest.to_owned());
    }

    pub fn untag(&self, repository: &str, tag: &str) {
        self.state().repositories.get_mut(repository).unwrap().tags.remove(tag);
    }

    /// Asks this of every request to the repository (`*`: to any, also those that name none).
    pub fn script(&self, repository: &str, script: impl Fn(&Asked) -> Option<Act> + Send + Sync + 'static) {
        self.state().repositories.entry(repository.to_owned()).or_default().script = Some(Arc::new(script));
    }

    /// Lets go of a script.
    pub fn behave(&self, repository: &str) {
        self.state().repositories.get_mut(repository).unwrap().script = None;
    }

    /// The same for the token server.
    pub fn token_script(&self, script: impl Fn(&Asked) -> Option<Act> + Send + Sync + 'static) {
        self.state().token_script = Some(Arc::new(script));
    }

    pub fn access(&self, access: Access) {
        self.state().access = access;
    }

    /// Where it says that tokens are to be had.
    pub fn realm(&self, realm: &str) {
        self.state().realm = realm.to_owned();
    }

    /// What tokens were given out so far is worth nothing any more.
    pub fn forget_tokens(&self) {
        self.state().tokens.clear();
    }

    /// How many requests of this kind there were.
    pub fn count(&self, kind: Kind) -> usize {
        self.state().seen.iter().filter(|(seen, _)| *seen == kind).count()
    }

    /// Every request so far, in order.
    pub fn seen(&self) -> Vec<(Kind, Asked)> {
        self.state().seen.clone()
    }

    /// Those of one kind.
    pub fn seen_of(&self, kind: Kind) -> Vec<Asked> {
        self.seen().into_iter().filter(|(seen, _)| *seen == kind).map(|(_, asked)| asked).collect()
    }

    /// Connections to the registry itself so far, with or without a request.
    pub fn connections(&self) -> usize {
        self.listener.connections()
    }

    /// An answer as from the manifest of this document, to be spoilt.
    pub fn manifest_reply(document: &Document) -> Reply {
        ordinary::manifest_reply(document)
    }
}

/// The well-behaved part is a registry to a client that is not ours; crane takes no tokens from loopback, though.
#[tokio::test(flavor = "multi_thread")]
async fn another_client_finds_what_was_pushed_and_only_where_it_may() {
    let registry = Registry::start().await;
    let digest = registry.push_index("acme/x", "v1.0.0", "first");
    registry.push("acme/y", "v1.0.0", "other");
    let home = tempfile::tempdir().unwrap();
    let ca = home.path().join("ca.crt");
    std::fs::write(&ca, registry.ca()).unwrap();
    let ask = |repository: &str, password: Option<&str>| {
        let auth = STANDARD.encode(format!("robot:{}", password.unwrap_or_default()));
        let auths = password.map_or_else(|| json!({}), |_| json!({registry.host(): {"auth": auth}}));
        std::fs::write(home.path().join("config.json"), json!({"auths": auths}).to_string()).unwrap();
        real::digest_by_crane(&format!("{}/{repository}:v1.0.0", registry.host()), &ca, home.path())
    };
    let users = vec![User::new("robot", "secret", &["acme/x"]), User::new("other", "other", &["acme/y"])];
    for access in [Access::Open, Access::Basic(users)] {
        let open = matches!(access, Access::Open);
        registry.access(access);
        assert_eq!(ask("acme/x", Some("secret")), Some(digest.clone()));
        assert_eq!(ask("acme/x", None).is_some(), open);
        assert_eq!(ask("acme/x", Some("wrong")).is_some(), open);
        assert_eq!(ask("acme/y", None).is_some(), open);
    }
    assert!(registry.count(Kind::Head) > 0);
}
