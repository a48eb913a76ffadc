//! Who is told what: challenges, tokens and credentials on the wire.

use std::collections::HashSet;
use std::sync::Mutex;

use super::*;
use crate::registry::credentials::{Identity, LoginKind};
use crate::registry::testing::{Authority, Lab, Route, Validity};

fn login(number: u128, kind: LoginKind) -> Login {
    Login { kind, identity: Identity(number), origin: "a test".into(), public: false }
}

fn password(user: &str) -> Login {
    let kind = LoginKind::Password { username: user.to_owned(), password: "pw".to_owned().into() };
    login(user.len() as u128, kind)
}

fn found() -> Vec<Act> {
    answer("200 OK", &typed(INDEX, &sha256("x")), "")
}

/// A refusal that names the registry's own host as its token server.
fn challenge(seen: &Seen) -> Vec<Act> {
    let host = seen.header("host").unwrap();
    answer("401 No", &format!("WWW-Authenticate: Bearer realm=\"http://{host}/token\",service=\"s\"\r\n"), "")
}

fn wants_token(seen: &Seen) -> bool {
    seen.line().contains(" /token")
}

/// A registry that takes the tokens it gives out, `t0`, `t1` and so on; `judge` may refuse one.
async fn giving_tokens(judge: impl Fn(&str, &Seen) -> Option<Vec<Act>> + Send + Sync + 'static) -> Server {
    let given = Mutex::new(HashSet::new());
    Server::plain(move |seen, _| {
        let mut given = given.lock().unwrap();
        if wants_token(seen) {
            let token = format!("t{}", given.len());
            given.insert(format!("Bearer {token}"));
            return answer("200 OK", "", &format!("{{\"token\":\"{token}\"}}"));
        }
        match seen.header("authorization") {
            Some(header) if given.contains(header) => judge(header, seen).unwrap_or_else(found),
            _ => challenge(seen),
        }
    })
    .await
}

fn token_requests(server: &Server) -> usize {
    server.seen().iter().filter(|seen| wants_token(seen)).count()
}

#[tokio::test]
async fn a_cold_lookup_costs_three_requests_and_a_warm_one_costs_one() {
    let server = giving_tokens(|_, _| None).await;
    let remote = plain(&server, |_| ());
    let nobody = Login::anonymous();
    for (repository, expected) in [("a/b", 3), ("a/b", 4), ("a/c", 6), ("a/c", 7), ("a/b", 8)] {
        remote.head(repository, "v1", &nobody, soon()).await.unwrap();
        assert_eq!(server.seen().len(), expected);
    }
    let tokens: Vec<String> = lines(&server).into_iter().filter(|line| line.contains("token")).collect();
    let scope = |name: &str| format!("GET /token?service=s&scope=repository%3Aa%2F{name}%3Apull");
    assert_eq!(tokens, [scope("b"), scope("c")]);
}

#[tokio::test]
async fn fifty_cold_lookups_make_one_token_request() {
    let server = giving_tokens(|_, _| None).await;
    let remote = plain(&server, |_| ());
    let lookups = (0..50).map(|_| head(&remote, "v1"));
    for result in futures_util::future::join_all(lookups).await {
        result.unwrap();
    }
    assert_eq!(token_requests(&server), 1);
}

#[tokio::test]
async fn who_gives_up_does_not_end_the_request_for_others() {
    // The end of the token's document takes its time.
    let slow = |body: &str| {
        let mut acts = answer("200 OK", "", body);
        let Some(Act::Write(bytes)) = acts.first_mut() else { panic!("an answer is written") };
        let end = bytes.split_off(bytes.len() - 5);
        acts.push(Act::Trickle(end));
        acts
    };
    let server = Server::plain(move |seen, _| match seen.header("authorization") {
        _ if wants_token(seen) => slow(r#"{"token":"t"}"#),
        Some("Bearer t") => found(),
        _ => challenge(seen),
    })
    .await;
    let remote = plain(&server, |_| ());
    let nobody = Login::anonymous();
    remote.head("a/known", "v1", &nobody, soon()).await.unwrap();
    let late = remote.head("a/b", "v1", &nobody, Instant::now()).await.unwrap_err();
    assert_eq!(late.kind, FailureKind::Timeout);
    head(&remote, "v1").await.unwrap();
    assert_eq!(token_requests(&server), 2);
}

#[tokio::test]
async fn a_kept_token_that_is_refused_is_replaced_once() {
    for status in ["401 No", "403 No", "400 No"] {
        // The first token is fine once.
        let server = giving_tokens(move |token, seen| {
            let refused = token == "Bearer t0" && seen.line().contains("later");
            refused.then(|| if status == "401 No" { challenge(seen) } else { answer(status, "", "") })
        })
        .await;
        let remote = plain(&server, |_| ());
        head(&remote, "v1").await.unwrap();
        head(&remote, "later").await.unwrap();
        assert_eq!((server.seen().len(), token_requests(&server)), (6, 2), "{status}");
        head(&remote, "later").await.unwrap();
        assert_eq!(server.seen().len(), 7, "{status}: the new token is kept");
    }
}

#[tokio::test]
async fn refusals_without_end_have_one() {
    let cases = [
        ("401 No", FailureKind::Unauthorized),
        ("403 No", FailureKind::Unauthorized),
        ("400 No", FailureKind::Protocol),
    ];
    for (status, kind) in cases {
        let server = giving_tokens(move |_, seen| {
            seen.line()
                .contains("never")
                .then(|| if status == "401 No" { challenge(seen) } else { answer(status, "", "") })
        })
        .await;
        let remote = plain(&server, |_| ());
        // With a fresh token: unasked, token, refused.
        assert_eq!(head(&remote, "never").await.unwrap_err().kind, kind);
        assert_eq!(server.seen().len(), 3, "{status}");
        // With a kept one: refused, token, refused. What a 401 refuses is not kept.
        head(&remote, "v1").await.unwrap();
        let before = server.seen().len();
        assert_eq!(head(&remote, "never").await.unwrap_err().kind, kind);
        assert_eq!(server.seen().len() - before, 3, "{status}");
    }
}

#[tokio::test]
async fn a_challenge_that_changes_at_every_request_ends_too() {
    let server = Server::plain(|seen, number| {
        if wants_token(seen) {
            return answer("200 OK", "", r#"{"token":"t"}"#);
        }
        let host = seen.header("host").unwrap();
        answer("401 No", &format!("WWW-Authenticate: Bearer realm=\"http://{host}/token?{number}\"\r\n"), "")
    })
    .await;
    assert_eq!(head(&plain(&server, |_| ()), "v1").await.unwrap_err().kind, FailureKind::Unauthorized);
    assert_eq!(server.seen().len(), 5, "three requests and two for tokens");
}

#[tokio::test]
async fn challenges_that_will_not_do() {
    let cases = [
        ("", FailureKind::Unauthorized),
        ("WWW-Authenticate: Negotiate\r\n", FailureKind::Unauthorized),
        ("WWW-Authenticate: Basic realm=\"r\"\r\n", FailureKind::Unauthorized), // nobody has no password
        ("WWW-Authenticate: Bearer realm=\"r\r\n", FailureKind::Protocol),
        ("WWW-Authenticate: Bearer realm=\"http://auth.example.com/t\"\r\n", FailureKind::Protocol),
    ];
    for (headers, kind) in cases {
        let server = Server::plain(move |_, _| answer("401 No", headers, "")).await;
        assert_eq!(head(&plain(&server, |_| ()), "v1").await.unwrap_err().kind, kind, "{headers}");
        assert_eq!(server.seen().len(), 1, "{headers}");
    }
}

#[tokio::test]
async fn bearer_is_preferred_and_basic_will_do() {
    let basic = "WWW-Authenticate: Basic realm=\"r\"\r\n";
    let server = Server::plain(move |seen, _| match seen.header("authorization") {
        _ if wants_token(seen) => answer("200 OK", "", r#"{"access_token":"t"}"#),
        Some("Bearer t") => found(),
        _ => {
            let host = seen.header("host").unwrap();
            let bearer = format!("WWW-Authenticate: Negotiate, Bearer realm=\"http://{host}/token\"\r\n");
            answer("401 No", &format!("{basic}{bearer}"), "")
        }
    })
    .await;
    plain(&server, |_| ()).head("a/b", "v1", &password("u"), soon()).await.unwrap();
    assert_eq!(server.seen()[1].header("authorization"), Some("Basic dTpwdw=="));
    assert_eq!(server.seen()[2].header("authorization"), Some("Bearer t"));

    let server = Server::plain(move |seen, _| match seen.header("authorization") {
        Some("Basic dTpwdw==") => found(),
        _ => answer("401 No", basic, ""),
    })
    .await;
    let remote = plain(&server, |_| ());
    for expected in [2, 3] {
        remote.head("a/b", "v1", &password("u"), soon()).await.unwrap();
        assert_eq!(server.seen().len(), expected);
    }
    let refused = remote.head("a/b", "v1", &password("other"), soon()).await.unwrap_err();
    assert_eq!((refused.kind, server.seen().len()), (FailureKind::Unauthorized, 4));
}

#[tokio::test]
async fn identity_tokens_are_posted_and_registry_tokens_sent_as_they_are() {
    let server = Server::plain(|seen, _| match seen.header("authorization") {
        _ if seen.line() == "POST /token HTTP/1.1" => answer("200 OK", "", r#"{"access_token":"t"}"#),
        Some("Bearer t" | "Bearer mine") => found(),
        _ => challenge(seen),
    })
    .await;
    let remote = plain(&server, |_| ());
    let mine = login(1, LoginKind::RegistryToken("mine".to_owned().into()));
    remote.head("a/b", "v1", &mine, soon()).await.unwrap();
    assert_eq!(server.seen().len(), 1);
    let identity = login(2, LoginKind::IdentityToken("refresh".to_owned().into()));
    remote.head("a/b", "v1", &identity, soon()).await.unwrap();
    let posted = String::from_utf8(server.seen()[2].body.clone()).unwrap();
    assert!(posted.contains("grant_type=refresh_token&refresh_token=refresh"), "{posted}");
    assert_eq!(server.seen()[2].header("authorization"), None);

    let broken = login(3, LoginKind::RegistryToken("a\nb".to_owned().into()));
    assert_eq!(remote.head("a/b", "v1", &broken, soon()).await.unwrap_err().kind, FailureKind::Protocol);
    let stale = login(4, LoginKind::RegistryToken("stale".to_owned().into()));
    let before = server.seen().len();
    assert_eq!(remote.head("a/b", "v1", &stale, soon()).await.unwrap_err().kind, FailureKind::Unauthorized);
    assert_eq!(server.seen().len() - before, 1);
}

#[tokio::test]
async fn one_tenants_token_never_serves_another() {
    let server = Server::plain(|seen, _| {
        let header = seen.header("authorization");
        if wants_token(seen) {
            let token = if header == Some("Basic dTpwdw==") { "for-u" } else { "for-others" };
            return answer("200 OK", "", &format!("{{\"token\":\"{token}\"}}"));
        }
        match header {
            Some("Bearer for-u") => found(),
            Some("Bearer for-others") => answer("404 No", "", ""),
            _ => challenge(seen),
        }
    })
    .await;
    let remote = plain(&server, |_| ());
    for _ in 0..2 {
        assert!(remote.head("a/b", "v1", &password("u"), soon()).await.is_ok());
        for other in [password("other"), Login::anonymous()] {
            let refused = remote.head("a/b", "v1", &other, soon()).await.unwrap_err();
            assert_eq!(refused.kind, FailureKind::NotFoundOrNoAccess);
        }
    }
    assert_eq!(token_requests(&server), 3);
}

#[tokio::test]
async fn a_token_server_that_fails_is_told_apart() {
    let huge = format!("{{\"token\":\"{}\"}}", "a".repeat(64 << 10));
    let until = Some(std::time::Duration::from_secs(300));
    let cases = [
        (answer("429 No", "Retry-After: 1000000000\r\n", ""), FailureKind::RateLimited { until }),
        (answer("503 No", "", ""), FailureKind::Unreachable),
        (answer("401 No", "", "{}"), FailureKind::Unauthorized),
        (answer("403 No", "", "{}"), FailureKind::Unauthorized),
        (answer("404 No", "", ""), FailureKind::Protocol),
        (answer("307 There", "Location: /token2\r\n", ""), FailureKind::Protocol),
        (answer("200 OK", "", &huge), FailureKind::Protocol),
        (answer("200 OK", "", "{\"token\":\"a\\nb\"}"), FailureKind::Protocol),
        (answer("200 OK", "", "<html>"), FailureKind::Protocol),
    ];
    for (acts, kind) in cases {
        let server = Server::plain(move |seen, _| if wants_token(seen) { acts.clone() } else { challenge(seen) }).await;
        let failure = head(&plain(&server, |_| ()), "v1").await.unwrap_err();
        assert_eq!((failure.kind, server.seen().len()), (kind, 2), "{failure:?}");
    }
}

/// A registry and a token server elsewhere, both by TLS; `host` is the logical name, `asked` where it is.
async fn elsewhere(
    host: &str,
    asked: &str,
    realm: &str,
    change: impl FnOnce(&mut RegistrySettings),
) -> (Remote, Server) {
    let authority = Authority::new();
    let directory = tempfile::tempdir().unwrap();
    let config = authority.leaf(&[asked, realm], Validity::Now).server(&[], None);
    let tokens = Server::tls(config.clone(), |_, _| answer("200 OK", "", r#"{"token":"t"}"#)).await;
    let header = format!("WWW-Authenticate: Bearer realm=\"https://{realm}/token\"\r\n");
    let server = Server::tls(config, move |seen, _| match seen.header("authorization") {
        Some("Bearer t") => found(),
        _ => answer("401 No", &header, ""),
    })
    .await;
    let lab = Lab::default()
        .name(asked, &["8.8.8.8"])
        .route("8.8.8.8", Route::To(server.address))
        .name(realm, &["9.9.9.9"])
        .route("9.9.9.9", Route::To(tokens.address));
    let mut entry = RegistrySettings { ca: Some(authority.file(&directory)), ..registry(host) };
    change(&mut entry);
    let client = Client::within(lab.surroundings(), host, Some(&entry), &patient()).unwrap();
    (Remote::over(client, host, Some(&entry), &patient()).unwrap(), tokens)
}

#[tokio::test]
async fn credentials_go_to_other_hosts_only_where_that_is_configured() {
    let sent = |tokens: &Server| tokens.seen().first().map(|seen| seen.header("authorization").map(str::to_owned));
    let (r, t) = ("r.example", "auth.example");
    let (remote, tokens) = elsewhere(r, r, t, |_| ()).await;
    let refused = remote.head("a/b", "v1", &password("u"), soon()).await.unwrap_err();
    assert_eq!((refused.kind, sent(&tokens)), (FailureKind::Unauthorized, None));
    assert!(refused.what.contains("realmHosts") && !refused.what.contains(t), "{}", refused.what);
    assert_eq!(refused.remote.as_deref(), Some("https://auth.example/token"));
    remote.head("a/b", "v1", &Login::anonymous(), soon()).await.unwrap();
    assert_eq!(sent(&tokens), Some(None), "anonymously it is asked");

    let (remote, tokens) = elsewhere(r, r, t, |entry| entry.realm_hosts.push(t.to_owned())).await;
    remote.head("a/b", "v1", &password("u"), soon()).await.unwrap();
    assert_eq!(sent(&tokens), Some(Some("Basic dTpwdw==".to_owned())));

    let (remote, tokens) = elsewhere("docker.io", "registry-1.docker.io", "auth.docker.io", |_| ()).await;
    remote.head("a/b", "v1", &password("u"), soon()).await.unwrap();
    assert_eq!(sent(&tokens), Some(Some("Basic dTpwdw==".to_owned())));

    let (remote, tokens) = elsewhere(r, r, "auth.docker.io", |_| ()).await;
    assert!(remote.head("a/b", "v1", &password("u"), soon()).await.is_err());
    assert_eq!(sent(&tokens), None, "the built-in pair is Docker Hub's");
}
