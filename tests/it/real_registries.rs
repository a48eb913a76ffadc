//! Real registries: both generations of CNCF distribution, over TLS, open, with passwords, and with tokens.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tagwarden::certs::Authority;
use tagwarden::config::{Config, Overrides};
use tagwarden::metrics::Metrics;
use tagwarden::policy::{ImageFacts, PlatformFacts};
use tagwarden::registry::{Asker, Description, FailureKind, Resolver};
use tempfile::TempDir;
use tokio::time::Instant;

use crate::cli_support::Scene;
use crate::https_support::now;
use crate::registries::real::{Access, Flavour, Identity, Image, PASSWORD, Registry, image};
use crate::registries::token_server::{Gives, TokenServer};

const BOTH: [Flavour; 2] = [Flavour::Debian, Flavour::Three];

pub fn identity() -> Identity {
    let authority = Authority::new("registries", now(), 86_400).unwrap();
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let pair = authority.server(&names, now(), 86_400).unwrap();
    Identity { certificate: pair.cert, key: pair.key, authority: authority.pem().to_owned() }
}

fn resolver(registry: &Registry, further: &str) -> Resolver {
    let text = format!(
        "registries: [{{host: \"{}\", private: true, ca: {}{further}}}]\n",
        registry.host(),
        registry.authority().display()
    );
    let config = Config::from_text("config.yaml", &text, &Overrides::default()).unwrap();
    let metrics = Arc::new(Metrics::new().unwrap());
    Resolver::new(config.registry, BTreeSet::from([registry.host()]), metrics).unwrap()
}

async fn describe(resolver: &Resolver, registry: &Registry, tag: &str) -> Result<Description, FailureKind> {
    let deadline = Instant::now() + Duration::from_secs(30);
    let described = resolver.describe(&registry.host(), "acme/api", tag, Asker::default(), deadline).await;
    described.map_err(|failure| failure.kind)
}

#[tokio::test(flavor = "multi_thread")]
async fn digests_are_those_that_crane_sees_and_of_the_index() {
    for flavour in BOTH {
        let folder = TempDir::new().unwrap();
        let registry = Registry::start(flavour, &Access::Open, &identity(), folder.path());
        let single = registry.push("acme/api", "v1.0.0", &image(&[("build", "1")]));
        let platforms = ["linux/amd64", "linux/arm64"].map(|platform| Image { labels: &[("build", "2")], platform });
        let index = registry.push_index("acme/api", "v2.0.0", &platforms);
        let resolver = resolver(&registry, "");
        let seen = describe(&resolver, &registry, "v1.0.0").await.unwrap();
        assert_eq!(
            (seen.digest.as_str(), seen.platforms.as_slice()),
            (single.as_str(), ["linux/amd64".to_owned()].as_slice())
        );
        let seen = describe(&resolver, &registry, "v2.0.0").await.unwrap();
        assert_eq!(seen.digest.as_str(), index, "{flavour:?}");
        assert_eq!(seen.platforms, ["linux/amd64", "linux/arm64"]);
        assert_eq!(seen.login, "anonymous");
        assert_eq!(describe(&resolver, &registry, "v3.0.0").await.unwrap_err(), FailureKind::NotFoundOrNoAccess);
        assert_eq!(describe(&resolver, &registry, &index).await.unwrap().digest.as_str(), index);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn images_say_of_themselves_what_was_pushed_on_every_platform() {
    for flavour in BOTH {
        let folder = TempDir::new().unwrap();
        let registry = Registry::start(flavour, &Access::Open, &identity(), folder.path());
        let on = |platform, who| Image { labels: who, platform };
        let (amd, arm) = ([("who", "amd")], [("who", "arm")]);
        let index = registry.push_index("acme/api", "v1.0.0", &[on("linux/amd64", &amd), on("linux/arm64/v8", &arm)]);
        let single = registry.push("acme/api", "v2.0.0", &on("linux/s390x", &amd));
        let resolver = resolver(&registry, "");
        let deadline = Instant::now() + Duration::from_secs(30);
        let host = registry.host();
        let facts = async |digest: &str| resolver.image(&host, "acme/api", digest, Asker::default(), deadline).await;
        let told = |facts: &ImageFacts| {
            let one = |one: &PlatformFacts| (one.platform.to_string(), one.labels["who"].clone());
            facts.platforms.iter().map(one).collect::<Vec<_>>()
        };
        let pair = |platform: &str, who: &str| (platform.to_owned(), who.to_owned());
        let several = facts(&index).await.unwrap();
        assert_eq!(told(&several), [pair("linux/amd64", "amd"), pair("linux/arm64/v8", "arm")], "{flavour:?}");
        // Of a child alone it is the same as of that child in its index.
        let child = facts(several.platforms[1].digest.as_str()).await.unwrap();
        assert_eq!(child.platforms[0].labels, several.platforms[1].labels);
        assert_eq!(told(&facts(&single).await.unwrap()), [pair("linux/s390x", "amd")]);
        let absent = facts(&format!("sha256:{}", "0".repeat(64))).await.unwrap_err();
        assert_eq!(absent.kind, FailureKind::NotFoundOrNoAccess);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_open_what_is_closed_to_nobody() {
    for flavour in BOTH {
        let folder = TempDir::new().unwrap();
        let registry = Registry::start(flavour, &Access::Basic, &identity(), folder.path());
        let digest = registry.push("acme/api", "v1.0.0", &image(&[("build", "1")]));
        let login = |password: &str| {
            let file = folder.path().join(format!("{}.json", password.replace(' ', "-")));
            std::fs::write(&file, registry.docker_config("alice", password)).unwrap();
            format!(", credentials: {{dockerConfig: {}}}", file.display())
        };
        let seen = describe(&resolver(&registry, &login(PASSWORD)), &registry, "v1.0.0").await.unwrap();
        assert_eq!(seen.digest.as_str(), digest);
        assert_eq!(seen.login, "the configured credentials");
        for refused in [login("wrong"), String::new()] {
            let failure = describe(&resolver(&registry, &refused), &registry, "v1.0.0").await.unwrap_err();
            assert_eq!(failure, FailureKind::Unauthorized, "{flavour:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_had_from_the_server_that_the_registry_names() {
    for flavour in BOTH {
        let folder = TempDir::new().unwrap();
        let identity = identity();
        let tokens = TokenServer::start(&identity, Gives::Alice);
        let access = Access::Token { realm: tokens.realm.clone(), signer: tokens.signer.clone() };
        // crane refuses realms on loopback, so it pushes before the registry wants tokens.
        let mut registry = Registry::start(flavour, &Access::Open, &identity, folder.path());
        let digest = registry.push("acme/api", "v1.0.0", &image(&[("build", "1")]));
        registry.restrict(&access);
        let file = folder.path().join("alice.json");
        std::fs::write(&file, registry.docker_config("alice", PASSWORD)).unwrap();
        let realm = tokens.realm.trim_start_matches("https://").trim_end_matches("/token");
        let login = format!(", credentials: {{dockerConfig: {}}}, realmHosts: [\"{realm}\"]", file.display());
        let with_login = resolver(&registry, &login);
        let before = tokens.requests();
        assert_eq!(describe(&with_login, &registry, "v1.0.0").await.unwrap().digest.as_str(), digest);
        assert_eq!(describe(&with_login, &registry, "v1.0.0").await.unwrap().digest.as_str(), digest);
        assert_eq!(tokens.requests() - before, 1, "one token serves both");
        let failure = describe(&resolver(&registry, &format!(", realmHosts: [\"{realm}\"]")), &registry, "v1.0.0")
            .await
            .unwrap_err();
        assert_eq!(failure, FailureKind::Unauthorized, "a token that allows nothing: {flavour:?}");
    }
}

#[test]
fn a_release_is_locked_at_real_registries_and_again_nothing_changes() {
    for flavour in BOTH {
        let folder = TempDir::new().unwrap();
        let registry = Registry::start(flavour, &Access::Open, &identity(), folder.path());
        let revision = ("org.opencontainers.image.revision", "4f2a1b0c9d8e7f6a5b4c3d2e1f0a9b8c7d6e5f4a");
        let labels = [revision];
        let platforms = ["linux/amd64", "linux/arm64"].map(|platform| Image { labels: &labels, platform });
        let index = registry.push_index("acme/api", "v2.0.0", &platforms);
        let single = registry.push("acme/web", "v1.0.0", &image(&[("build", "1")]));
        let host = registry.host();
        let config =
            format!("registries: [{{host: \"{host}\", private: true, ca: {}}}]\n", registry.authority().display());
        let release = format!(
            "release: r\nimages:\n  api: {{repo: \"{host}/acme/api\", tag: v2.0.0}}\n  web:\n    repo: {host}/acme/web\n    tag: v1.0.0 # ours\n"
        );
        let scene = Scene::new(&[("config.yaml", &config), ("r.yaml", &release)]);
        let lock = |flag: &str| scene.run(&["release", "lock", "--config", "config.yaml", flag, "r.yaml"]);
        assert_eq!(lock("--write").code, 0, "{flavour:?}");
        let locked = std::fs::read_to_string(scene.path().join("r.yaml")).unwrap();
        let shown = scene.run(&["release", "show", "--format", "json", "r.yaml"]).json();
        let (api, web) = (&shown["images"][0], &shown["images"][1]);
        assert_eq!((api["digest"].as_str(), api["commit"].as_str()), (Some(&*index), Some(revision.1)), "{flavour:?}");
        let children: Vec<_> = api["platforms"].as_object().unwrap().keys().cloned().collect();
        assert_eq!(children, ["linux/amd64", "linux/arm64"]);
        assert_eq!(web["digest"].as_str(), Some(&*single));
        assert!(locked.contains(&format!("    tag: v1.0.0 # ours\n    digest: {single}\n")), "{locked}");
        assert_eq!((lock("--check").code, lock("--write").code), (0, 0));
        assert_eq!(std::fs::read_to_string(scene.path().join("r.yaml")).unwrap(), locked);
        // The tag moves: the lock is stale, and stays as it is.
        let moved = registry.push("acme/web", "v1.0.0", &image(&[("build", "2")]));
        assert_ne!(moved, single);
        assert_eq!((lock("--check").code, lock("--write").code), (4, 4), "{flavour:?}");
        assert_eq!(std::fs::read_to_string(scene.path().join("r.yaml")).unwrap(), locked);
    }
}
