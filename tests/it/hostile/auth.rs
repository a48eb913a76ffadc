//! Lines 9, 10 and 18: challenges that lead nowhere or to strangers, and two tenants of one registry.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::Expected::{Allow, Id, OneOf};
use super::{Cases, IMAGE, REPOSITORY, Stage, admits, basic, docker_config, shows_a_secret, validate};
use crate::registry_double::wire::{Mode, Reply};
use crate::registry_double::{Access, Kind, Registry, User};

/// We are `robot` to all registries.
const CREDENTIALS: &str = "private: true, credentials: {dockerConfig: docker.json}";

fn robot() -> Vec<User> {
    vec![User::new("robot", super::SECRET, &[REPOSITORY])]
}

fn refused(challenge: impl Into<String>) -> Reply {
    Reply::new(401).header("www-authenticate", challenge)
}

#[tokio::test]
async fn hostile_09_refusals_without_end_or_without_a_challenge_are_no_access() {
    let mut cases = Cases::new().registry(CREDENTIALS);
    let registry = cases.case("a token that is never enough", Id("TW901")).await;
    registry.access(Access::Token(robot()));
    let realm = registry.token_host();
    registry.script(REPOSITORY, move |_| {
        Some(
            refused(format!("Bearer realm=\"https://{realm}/token\",service=\"x\",scope=\"repository:acme/x:pull\""))
                .into(),
        )
    });
    let registry = cases.case("a password that is never enough", Id("TW901")).await;
    registry.script(REPOSITORY, |_| Some(refused("Basic realm=\"x\"").into()));
    let registry = cases.case("no challenge", Id("TW901")).await;
    registry.script(REPOSITORY, |_| Some(Reply::new(401).into()));
    let registry = cases.case("an empty challenge", OneOf(&["TW901", "TW903"])).await;
    registry.script(REPOSITORY, |_| Some(refused("").into()));
    let registry = cases.case("schemes that nobody knows", OneOf(&["TW901", "TW903"])).await;
    registry.script(REPOSITORY, |_| Some(refused("Negotiate, NTLM, Digest realm=\"x\", nonce=\"y\"").into()));
    let registry = cases.case("Bearer without a realm", OneOf(&["TW901", "TW903"])).await;
    registry.script(REPOSITORY, |_| Some(refused("Bearer service=\"x\"").into()));
    let registry = cases.case("quotes that are not closed", OneOf(&["TW901", "TW903"])).await;
    registry.script(REPOSITORY, |_| Some(refused("Bearer realm=\"https://127.0.0.1:1/token,service=x").into()));
    let registry = cases.case("a challenge of 100 KiB", Id("TW903")).await;
    registry
        .script(REPOSITORY, |_| Some(refused(format!("Bearer realm=\"https://{}\"", "x".repeat(100 << 10))).into()));
    let registry = cases.case("a thousand challenges", OneOf(&["TW901", "TW903"])).await;
    registry.script(REPOSITORY, |_| {
        let many = (0..1000).fold(Reply::new(401), |reply, n| reply.header("www-authenticate", format!("X{n} a=b")));
        Some(many.into())
    });
    let judged = cases.judge().await;
    for (name, registry) in &judged.registries {
        assert!(registry.seen().len() < 20, "{name}: {} requests", registry.seen().len());
    }
}

#[tokio::test]
async fn hostile_09_a_token_or_session_that_has_run_out_is_had_anew_once() {
    for status in [401, 403, 400] {
        let registry = Registry::start().await;
        registry.push(REPOSITORY, "v1.0.0", "first");
        registry.push(REPOSITORY, "v2.0.0", "second");
        registry.access(Access::Token(Vec::new()));
        let stage = Stage::default();
        let server = stage.start(&[&registry], registry.authority());
        let image = |tag: &str| format!("{}/acme/x:{tag}", registry.host());
        admits(&server, &image("v1.0.0")).await;
        assert_eq!((registry.count(Kind::Head), registry.count(Kind::Token)), (2, 1));

        // The second tag comes with the token of the first, which the registry has forgotten meanwhile.
        let stale = registry.seen_of(Kind::Head)[1].header("authorization").unwrap().to_owned();
        registry.forget_tokens();
        registry.script(REPOSITORY, move |asked| {
            let used_up = status != 401 && asked.header("authorization") == Some(&*stale);
            used_up.then(|| Reply::new(status).into())
        });
        let answer = validate(&server, "shop", &image("v2.0.0")).await;
        assert!(answer.allowed, "{status}: {}", answer.whole);
        assert_eq!(registry.count(Kind::Token), 2, "{status}: one new token");
        assert!(registry.count(Kind::Head) <= 5, "{status}: {:?}", registry.seen_of(Kind::Head));
    }
}

#[tokio::test]
async fn hostile_09_of_many_challenges_bearer_is_taken() {
    let mut cases = Cases::new().registry(CREDENTIALS);
    for (name, order) in [("Basic then Bearer", [0, 1]), ("Bearer then Basic", [1, 0])] {
        for together in [true, false] {
            let how = if together { "in one header" } else { "in two headers" };
            let registry = cases.case(format!("{name} {how}"), Allow).await;
            registry.access(Access::Token(robot()));
            let realm = registry.token_host();
            registry.script(REPOSITORY, move |asked| {
                if asked.header("authorization").is_some_and(|value| value.starts_with("Bearer ")) {
                    return None;
                }
                let bearer =
                    format!("Bearer realm=\"https://{realm}/token\",service=\"a \\\"b\\\", Basic\",error=\"x\"");
                let both = ["Basic realm=\"a, Bearer realm=b\"".to_owned(), bearer];
                let both = order.map(|n| both[n].clone());
                let reply = Reply::new(401);
                let reply = if together {
                    reply.header("www-authenticate", both.join(", "))
                } else {
                    both.into_iter().fold(reply, |reply, one| reply.header("www-authenticate", one))
                };
                Some(reply.into())
            });
        }
    }
    let judged = cases.judge().await;
    for (name, registry) in &judged.registries {
        let basics = registry.seen_of(Kind::Head);
        let basics =
            basics.iter().filter(|asked| asked.header("authorization").is_some_and(|v| v.starts_with("Basic")));
        assert_eq!(basics.count(), 0, "{name}: the password goes to the token server alone");
        assert!(shows_a_secret(&registry.seen_of(Kind::Token)), "{name}: and there it goes");
    }
}

#[tokio::test]
async fn hostile_09_each_way_to_log_in_works() {
    let mut cases = Cases::new().registry(CREDENTIALS);
    let registry = cases.case("Basic", Allow).await;
    registry.access(Access::Basic(robot()));
    let registry = cases.case("Bearer, with a password", Allow).await;
    registry.access(Access::Token(robot()));
    let registry = cases.case("anonymous, where nothing is asked for", Allow).await;
    registry.access(Access::Open);
    let registry = cases.case("another's image, with Basic", Id("TW901")).await;
    registry.access(Access::Basic(vec![robot().remove(0), User::new("other", "x", &["acme/y"])]));
    registry.push("acme/y", "v1.0.0", "theirs");
    registry.script(REPOSITORY, |_| Some(Reply::new(403).into()));
    let judged = cases.judge().await;
    let open = &judged.registries[2].1;
    assert!(!shows_a_secret(&open.seen_of(Kind::Head)), "what is not asked for is not told");
}

/// Docker's `identitytoken`: traded for a token by POST (OAuth2), and never sent to the registry itself.
#[tokio::test]
async fn hostile_09_an_identity_token_is_traded_for_a_token() {
    let registry = Registry::start().await;
    registry.push(REPOSITORY, "v1.0.0", "first");
    registry.access(Access::Token(robot()));
    let (host, tokens) = (registry.host(), registry.token_host());
    for (refresh, allowed) in [(format!("refresh-{}", super::SECRET), true), ("refresh-wrong".to_owned(), false)] {
        let config = format!(
            "registries: [{{host: \"{host}\", ca: ca.pem, private: true, realmHosts: [\"{tokens}\"], \
             credentials: {{dockerConfig: docker.json}}}}]\n"
        );
        let auth = json!({"auth": "MDAwMDAwMDA6", "identitytoken": refresh});
        let users = docker_config(&json!({host.as_str(): auth}));
        let files = vec![("ca.pem", registry.ca().to_owned()), ("docker.json", users)];
        let server = Stage::default().start_with(&config, &format!("\"{host}/**\""), files);
        let answer = validate(&server, "shop", &format!("{host}/{IMAGE}")).await;
        assert!(answer.allowed == allowed && (allowed || answer.is("TW901")), "{}", answer.whole);
    }
    assert!(registry.seen_of(Kind::Token).iter().any(|asked| asked.method == "POST"));
    assert!(!shows_a_secret(&registry.seen_of(Kind::Head)));
}

/// A realm that leads to anyone else gets no password of ours, whatever else becomes of it.
#[tokio::test]
async fn hostile_10_a_realm_of_strangers_gets_no_credentials() {
    let stranger = Registry::start().await;
    stranger.access(Access::Token(robot()));
    let mut plain = Registry::start().await;
    plain.token_listener().mode(Mode::Plain);
    let mut cases = Cases::new().registry(CREDENTIALS);
    let strange = stranger.token_host();
    let clear = plain.token_host();
    for (name, realm) in [
        ("another host", format!("https://{strange}/token")),
        ("without TLS", format!("http://{clear}/token")),
        ("user info", format!("https://robot:x@{strange}/token")),
        ("user info that looks like the host", format!("https://127.0.0.1%2f@{strange}/token")),
        ("metadata", "https://169.254.169.254/latest/meta-data".to_owned()),
        ("metadata, mapped", "https://[::ffff:169.254.169.254]/token".to_owned()),
        ("metadata over IPv6", "https://[fd00:ec2::254]/token".to_owned()),
        ("unspecified", "https://0.0.0.0/token".to_owned()),
        ("a file", "file:///etc/passwd".to_owned()),
        ("a scheme that nobody knows", "gopher://127.0.0.1/token".to_owned()),
        ("a path alone", "/token".to_owned()),
        ("nothing", String::new()),
        ("no host", "https:///token".to_owned()),
        ("a port that is none", "https://127.0.0.1:99999/token".to_owned()),
        ("white space", "https://127.0.0.1 /token".to_owned()),
    ] {
        let registry = cases.case(format!("realm: {name}"), OneOf(&["TW900", "TW901", "TW903"])).await;
        registry.access(Access::Token(robot()));
        registry.realm(&realm);
    }
    let judged = cases.judge().await;
    assert!(!shows_a_secret(&stranger.seen_of(Kind::Token)), "{:?}", stranger.seen());
    assert!(plain.seen().is_empty(), "{:?}", plain.seen());
    for (name, registry) in &judged.registries {
        assert!(!shows_a_secret(&registry.seen_of(Kind::Head)), "{name}: nor does the registry");
    }
}

#[tokio::test]
async fn hostile_10_a_token_server_that_redirects_is_not_followed() {
    let stranger = Registry::start().await;
    stranger.access(Access::Token(robot()));
    let mut cases = Cases::new().registry(CREDENTIALS);
    for status in [301, 302, 303, 307, 308] {
        let registry = cases.case(format!("status {status}"), OneOf(&["TW900", "TW901", "TW903"])).await;
        registry.access(Access::Token(robot()));
        let target = format!("https://{}/token", stranger.token_host());
        registry.token_script(move |_| Some(Reply::new(status).header("location", target.clone()).into()));
    }
    let judged = cases.judge().await;
    assert!(stranger.seen().is_empty(), "{:?}", stranger.seen());
    for (name, registry) in &judged.registries {
        assert!((1..5).contains(&registry.count(Kind::Token)), "{name}: {}", registry.count(Kind::Token));
    }
}

/// The half of line 18 that needs no cluster: configured credentials serve the namespaces that they are meant for. Pull
/// secrets of two tenants are in the unit tests of `registry` and on the real API server.
#[tokio::test]
async fn hostile_18_what_one_tenant_may_see_is_no_answer_to_another() {
    for payers_first in [true, false] {
        for access in [Access::Token(robot()), Access::Basic(robot())] {
            let registry = Registry::start().await;
            registry.push(REPOSITORY, "v1.0.0", "first");
            let basic_only = matches!(access, Access::Basic(_));
            registry.access(access);
            let keys = "private: true, credentials: {dockerConfig: docker.json}, credentialNamespaces: [\"pay-*\"]";
            let server = Stage { registry: keys, ..Stage::default() }.start(&[&registry], registry.authority());
            let image = format!("{}/{IMAGE}", registry.host());
            let order = if payers_first { ["pay-a", "shop", "pay-b"] } else { ["shop", "pay-a", "shop2"] };
            for namespace in order {
                let before = registry.seen().len();
                let answer = validate(&server, namespace, &image).await;
                if namespace.starts_with("pay-") {
                    assert!(answer.allowed, "{namespace}: {}", answer.whole);
                } else {
                    assert!(answer.is("TW901"), "{namespace}: {}", answer.whole);
                    let asked: Vec<_> = registry.seen().drain(before..).map(|(_, asked)| asked).collect();
                    assert!(!shows_a_secret(&asked), "{namespace}: {asked:?}");
                    let theirs = |value: &str| value.contains("token-robot") || value == basic("robot", super::SECRET);
                    assert!(!asked.iter().filter_map(|asked| asked.header("authorization")).any(theirs), "{asked:?}");
                }
            }
            assert_eq!(registry.count(Kind::Token) == 0, basic_only);
        }
    }
}

/// And both at once: answers to requests that overlap are not mixed up.
#[tokio::test]
async fn hostile_18_tenants_that_ask_at_the_same_time_are_not_mixed_up() {
    let registry = Registry::start().await;
    registry.access(Access::Token(robot()));
    let images: Vec<String> = (0..20)
        .map(|n| {
            registry.push(REPOSITORY, &format!("v1.0.{n}"), &n.to_string());
            format!("{}/acme/x:v1.0.{n}", registry.host())
        })
        .collect();
    let keys = "private: true, credentials: {dockerConfig: docker.json}, credentialNamespaces: [pay]";
    let server = Stage { registry: keys, ..Stage::default() }.start(&[&registry], registry.authority());
    let wrong = AtomicUsize::new(0);
    let each = images.iter().flat_map(|image| ["pay", "shop"].map(|namespace| (image, namespace)));
    let each = each.map(|(image, namespace)| {
        let (server, wrong) = (&server, &wrong);
        async move {
            let answer = validate(server, namespace, image).await;
            let right = if namespace == "pay" { answer.allowed } else { answer.is("TW901") };
            if !right {
                wrong.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    futures_util::future::join_all(each).await;
    assert_eq!(wrong.into_inner(), 0);
}
