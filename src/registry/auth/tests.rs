//! Which challenges are met, and which token servers are trusted with what.

use http::header::WWW_AUTHENTICATE;

use super::*;
use crate::registry::testing::registry;

fn auth(host: &str, change: impl FnOnce(&mut RegistrySettings)) -> Auth {
    let mut entry = registry(host);
    change(&mut entry);
    Auth::new(Site::new(host, Some(&entry)).unwrap(), Some(&entry), &Settings::default())
}

fn learn(auth: &Auth, challenge: &str) -> Result<Learned, FailureKind> {
    let headers = HeaderMap::from_iter([(WWW_AUTHENTICATE, challenge.parse().unwrap())]);
    auth.learn(&headers).map_err(|failure| failure.kind)
}

fn trust(auth: &Auth, realm: &str) -> Option<Trust> {
    match learn(auth, &format!("Bearer realm=\"{realm}\"")) {
        Ok(_) => Some(auth.offer()?.bearer.as_ref()?.trust),
        Err(kind) => {
            assert_eq!(kind, FailureKind::Protocol, "{realm}");
            None
        }
    }
}

#[test]
fn realms_are_trusted_by_host() {
    let (all, none) = (Some(Trust::Credentials), Some(Trust::Nothing));
    let secure = auth("r.example.com", |_| ());
    let cases = [
        ("https://r.example.com/token", all),
        ("https://R.example.com:443/token?x=y", all),
        ("https://r.example.com:8443/token", all),
        ("https://auth.example.com/token", none),
        ("https://r.example.com.evil.example/token", none),
        ("https://evil.example/r.example.com", none),
        ("https://auth.docker.io/token", none),
        ("http://r.example.com/token", None),
        ("http://auth.example.com/token", None),
        ("https://r.example.com@evil.example/token", None),
        ("https://u:p@r.example.com/token", None),
        ("https://r.example.com/token#x", None),
        ("https://r.example.com:0/token", None),
        ("https://r.example.com:99999/token", None),
        ("file:///etc/passwd", None),
        ("ftp://r.example.com/", None),
        ("//r.example.com/token", None),
        ("/token", None),
        ("r.example.com", None),
        ("", None),
    ];
    for (realm, expected) in cases {
        assert_eq!(trust(&secure, realm), expected, "{realm}");
    }
    assert_eq!(trust(&secure, &format!("https://r.example.com/{}", "a".repeat(PARAMETER_BYTES))), None);
}

#[test]
fn an_insecure_registry_may_give_its_tokens_itself() {
    let plain = auth("r.example.com:5000", |entry| entry.insecure = true);
    assert_eq!(trust(&plain, "http://r.example.com:5000/token"), Some(Trust::Credentials));
    assert_eq!(trust(&plain, "https://r.example.com/token"), Some(Trust::Credentials));
    assert_eq!(trust(&plain, "http://r.example.com/token"), None);
    assert_eq!(trust(&plain, "http://other.example.com:5000/token"), None);
    assert_eq!(trust(&auth("r.example.com:5000", |_| ()), "http://r.example.com:5000/token"), None);
}

#[test]
fn configured_and_built_in_hosts_are_trusted_to_the_port() {
    let listed = auth("r.example.com", |entry| {
        entry.realm_hosts =
            vec!["auth.example.com".to_owned(), "auth.example.com:8443".to_owned(), "b.example:443".to_owned()];
    });
    for (realm, trusted) in [
        ("https://auth.example.com/t", true),
        ("https://AUTH.example.com:443/t", true),
        ("https://auth.example.com:8443/t", true),
        ("https://auth.example.com:9443/t", false),
        ("https://b.example/t", true),
        ("https://x.auth.example.com/t", false),
    ] {
        assert_eq!(trust(&listed, realm) == Some(Trust::Credentials), trusted, "{realm}");
    }
    let hub = auth(DOCKER_HUB, |_| ());
    assert_eq!(trust(&hub, "https://auth.docker.io/token"), Some(Trust::Credentials));
    assert_eq!(trust(&hub, "https://auth.docker.io:8443/token"), Some(Trust::Nothing));
    assert_eq!(trust(&hub, "https://registry-1.docker.io/token"), Some(Trust::Credentials));
}

#[test]
fn the_best_challenge_is_kept() {
    let auth = auth("r.example.com", |_| ());
    let good = "Bearer realm=\"https://r.example.com/t\",service=\"s\",scope=\"x\"";
    assert_eq!(learn(&auth, good), Ok(Learned::New));
    assert_eq!(learn(&auth, &good.replace("\"x\"", "\"y\"")), Ok(Learned::Known), "scopes are our own");
    assert_eq!(learn(&auth, &format!("Basic realm=\"r\", {good}")), Ok(Learned::New));
    let offer = auth.offer().unwrap();
    assert_eq!((offer.bearer.as_ref().unwrap().service.as_deref(), offer.basic), (Some("s"), Basic::Taken));
    assert_eq!(learn(&auth, &format!("Bearer realm=\"http://evil.example\", {good}")), Ok(Learned::New));
    assert_eq!(auth.offer().unwrap().bearer.as_ref().unwrap().uri, "https://r.example.com/t");
    assert_eq!(learn(&auth, "Bearer realm=\"http://evil.example\", Basic realm=\"r\""), Ok(Learned::New));
    assert_eq!(auth.offer().unwrap().bearer, None);
    assert_eq!(learn(&auth, "Digest realm=\"r\""), Err(FailureKind::Unauthorized));
    assert_eq!(learn(&auth, "Bearer realm=\"x"), Err(FailureKind::Protocol));
    assert_eq!(auth.offer().unwrap().basic, Basic::Taken, "what will not do leaves what is known");
}
