//! Line 14: connections that cannot be trusted.

use std::sync::Arc;

use tagwarden::certs::Authority;

use super::Cases;
use super::Expected::{Allow, Id};
use crate::https_support::now;
use crate::registry_double::wire::{Mode, Step, server_tls};

const DAY: i64 = 86_400;

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[tokio::test]
async fn hostile_14_a_certificate_that_is_not_the_registrys_own_is_not_trusted() {
    let mut cases = Cases::new();
    let authority = Arc::clone(&cases.authority);
    let right = names(&["127.0.0.1"]);
    let leaf = authority.server(&right, now(), DAY).unwrap();
    let other = Authority::new("registries", now(), DAY).unwrap();
    let of = |authority: &Authority, names: &[String], now: i64, lifetime: i64| {
        server_tls(&authority.server(names, now, lifetime).unwrap(), &[b"http/1.1"])
    };
    let client = authority.client("127.0.0.1", now(), DAY).unwrap();
    for (name, expected, tls) in [
        ("in order", Allow, of(&authority, &right, now(), DAY)),
        ("expired", Id("TW900"), of(&authority, &right, now() - 10 * DAY, DAY)),
        ("not yet valid", Id("TW900"), of(&authority, &right, now() + 10 * DAY, DAY)),
        ("for another name", Id("TW900"), of(&authority, &names(&["registry.example.com"]), now(), DAY)),
        ("for another address", Id("TW900"), of(&authority, &names(&["127.0.0.2"]), now(), DAY)),
        ("of an authority of the same name", Id("TW900"), of(&other, &right, now(), DAY)),
        ("of a client", Id("TW900"), server_tls(&client, &[b"http/1.1"])),
        ("with an agreed protocol that nobody offered", Id("TW900"), server_tls(&leaf, &[b"spdy/3"])),
    ] {
        let registry = cases.case(name, expected).await;
        registry.listener().mode(Mode::Tls(tls));
    }
    let judged = cases.judge().await;
    for (name, registry) in &judged.registries {
        assert_eq!(registry.seen().is_empty(), name != "in order", "{name}: nothing is asked before that");
    }
}

#[tokio::test]
async fn hostile_14_what_is_no_tls_is_unreachable_and_never_asked_in_the_clear() {
    let mut cases = Cases::new().registry("private: true, credentials: {dockerConfig: docker.json}");
    let registry = cases.case("plain HTTP", Id("TW900")).await;
    registry.listener().mode(Mode::Plain);
    let registry = cases.case("plain HTTP that answers at once", Id("TW900")).await;
    registry.listener().mode(Mode::Bare(vec![Step::send("HTTP/1.1 400 Bad Request\r\n\r\n"), Step::Silence]));
    let registry = cases.case("a handshake that stalls", Id("TW900")).await;
    registry.listener().mode(Mode::Bare(vec![Step::send([22, 3, 3, 0, 100]), Step::Silence]));
    let registry = cases.case("records without end", Id("TW900")).await;
    let record = [&[22, 3, 3, 0x3f, 0xff][..], &[0; 0x3fff]].concat();
    registry.listener().mode(Mode::Bare(vec![Step::forever(record)]));
    let registry = cases.case("an alert", Id("TW900")).await;
    registry.listener().mode(Mode::Bare(vec![Step::send([21, 3, 3, 0, 2, 2, 80])]));
    let judged = cases.judge().await;
    for (name, registry) in &judged.registries {
        assert_eq!(registry.seen().len(), 0, "{name}");
    }
}
