//! Lines 8 and 16, as far as names are concerned: resolvers that fail, stall, or send us where nobody should go.
//!
//! Each test runs itself again in a network and a mount namespace of its own, where it is the only nameserver and where
//! the forbidden addresses are addresses of the loopback device, with a registry behind them that counts connections.

use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::net::UdpSocket;

use super::{IMAGE, PATIENT, REPOSITORY, Stage, send};
use crate::https_support::{now, pod_review};
use crate::registry_double::Registry;
use crate::registry_double::wire::{Mode, server_tls};

/// Where the nameserver of a namespace listens.
const NAMESERVER: &str = "127.0.0.53";
/// Set in the namespaces.
const INSIDE: &str = "NAMESPACES_OF_A_TEST";
/// What makes them ready. The arguments: a `resolv.conf`, then the command.
const PREPARE: &str = "ip link set lo up
for address in 169.254.169.254/32 10.7.7.7/32 fd00:ec2::254/128; do ip address add $address dev lo; done
mount --bind \"$1\" /etc/resolv.conf
shift
exec \"$@\"";

/// Whether this is inside; outside, the test of this name is run inside first.
fn inside(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let resolver = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&resolver, format!("nameserver {NAMESERVER}\noptions timeout:30 attempts:1\n")).unwrap();
    let id = Command::new("id").arg("-u").output().unwrap();
    // Who is not root is made root of a user namespace.
    let flags = if id.stdout == b"0\n" { "-nm" } else { "-nmUr" };
    let output = Command::new("unshare")
        .args([flags, "sh", "-euc", PREPARE, "sh"])
        .arg(resolver.path())
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &format!("hostile::names::{test}"), "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(output.status.success() && text.contains("1 passed"), "inside the namespaces:\n{text}");
    false
}

/// What a nameserver says of a name.
#[derive(Clone)]
enum Says {
    Addresses(Vec<IpAddr>),
    /// One after the other, the last for ever.
    InTurn(Vec<IpAddr>),
    /// A code of failure (RFC 1035, section 4.1.1).
    Code(u8),
    Nothing,
}

/// A nameserver for these names, by their first label. It ends with the test.
async fn nameserver(names: Vec<(&'static str, Says)>) -> Arc<AtomicUsize> {
    let socket = UdpSocket::bind((NAMESERVER, 53)).await.unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let turns = Mutex::new(0);
    tokio::spawn(async move {
        let mut buffer = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            count.fetch_add(1, Ordering::SeqCst);
            if let Some(answer) = answer(&buffer[..length], &names, &turns) {
                let _ = socket.send_to(&answer, from).await;
            }
        }
    });
    asked
}

/// The answer to a query with one question.
fn answer(query: &[u8], names: &[(&'static str, Says)], turns: &Mutex<usize>) -> Option<Vec<u8>> {
    let first = String::from_utf8_lossy(&query[13..13 + usize::from(query[12])]).into_owned();
    let end = 12 + query[12..].iter().position(|byte| *byte == 0).unwrap() + 1;
    let wanted_v6 = query[end + 1] == 28;
    let says = names.iter().find(|(name, _)| *name == first).map_or(Says::Code(3), |(_, says)| says.clone());
    let (code, addresses) = match says {
        Says::Nothing => return None,
        Says::Code(code) => (code, Vec::new()),
        Says::Addresses(addresses) => (0, addresses),
        Says::InTurn(addresses) => {
            let mut turn = turns.lock().unwrap();
            let address = addresses[(*turn).min(addresses.len() - 1)];
            *turn += usize::from(!wanted_v6);
            (0, vec![address])
        }
    };
    let addresses: Vec<IpAddr> = addresses.into_iter().filter(|address| address.is_ipv6() == wanted_v6).collect();
    let count = u8::try_from(addresses.len()).unwrap();
    let mut bytes = vec![query[0], query[1], 0x81, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0];
    bytes.extend_from_slice(&query[12..end + 4]);
    for address in addresses {
        let octets = match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        // The name of the question, its type, class IN, not to be kept.
        bytes.extend_from_slice(&[0xc0, 12, 0, if wanted_v6 { 28 } else { 1 }, 0, 1, 0, 0, 0, 0, 0]);
        bytes.push(u8::try_from(octets.len()).unwrap());
        bytes.extend(octets);
    }
    Some(bytes)
}

fn addresses(texts: &[&str]) -> Says {
    Says::Addresses(texts.iter().map(|text| text.parse().unwrap()).collect())
}

/// A registry whose certificate is for every name under `example.com`.
async fn registry() -> Registry {
    let mut registry = Registry::start().await;
    registry.push(REPOSITORY, "v1.0.0", "first");
    let pair = registry.authority().server(&["*.example.com".to_owned()], now(), 86_400).unwrap();
    registry.listener().mode(Mode::Tls(server_tls(&pair, &[b"http/1.1"])));
    registry
}

/// Judges the image at each of these names of the registry, and compares.
async fn judge(registry: &Registry, keys: &str, names: &[(&str, &str)]) {
    let port = registry.address().port();
    let mut config = "timeouts: {connect: 4s, request: 4s}\nregistries:\n".to_owned();
    let mut images = Vec::new();
    for (name, _) in names {
        config.push_str(&format!("- {{host: \"{name}.example.com:{port}\", ca: ca.pem, {keys}}}\n"));
        images.push(format!("\"{name}.example.com:{port}/**\""));
    }
    let files = vec![("ca.pem", registry.ca().to_owned())];
    let server = Stage::default().start_with(&config, &images.join(", "), files);
    let each = names.iter().map(|(name, expected)| {
        let (server, image) = (&server, format!("{name}.example.com:{port}/{IMAGE}"));
        async move {
            let answer = send(&mut server.http1().await, "/validate", &pod_review("shop", &image), PATIENT).await;
            let fits = if *expected == "allow" { answer.allowed } else { answer.is(expected) };
            assert!(fits, "{name}: {expected} was expected, not {}\n{}", answer.whole, server.log.text());
        }
    });
    futures_util::future::join_all(each).await;
}

#[tokio::test]
async fn hostile_16_names_that_do_not_resolve_are_unreachable() {
    if !inside("hostile_16_names_that_do_not_resolve_are_unreachable") {
        return;
    }
    nameserver(vec![
        ("good", addresses(&["127.0.0.1"])),
        ("nxdomain", Says::Code(3)),
        ("servfail", Says::Code(2)),
        ("refused", Says::Code(5)),
        ("silent", Says::Nothing),
        ("empty", addresses(&[])),
        // Nobody listens there, and there is no way there, before the address that is right.
        ("deaf-v6", addresses(&["::1", "127.0.0.1"])),
        ("no-way-v6", addresses(&["2001:db8::1", "127.0.0.1"])),
        ("no-way", addresses(&["203.0.113.1"])),
    ])
    .await;
    let registry = registry().await;
    let names = [
        ("good", "allow"),
        ("nxdomain", "TW900"),
        ("servfail", "TW900"),
        ("refused", "TW900"),
        ("silent", "TW900"),
        ("empty", "TW900"),
        ("deaf-v6", "allow"),
        ("no-way-v6", "allow"),
        ("no-way", "TW900"),
    ];
    judge(&registry, "private: true", &names).await;
}

/// What is behind a name is looked at after it was resolved, and what was looked at is what is connected to.
#[tokio::test]
async fn hostile_08_names_that_lead_to_forbidden_addresses_are_not_followed() {
    if !inside("hostile_08_names_that_lead_to_forbidden_addresses_are_not_followed") {
        return;
    }
    let asked = nameserver(vec![
        ("metadata", addresses(&["169.254.169.254"])),
        ("metadata-v6", addresses(&["fd00:ec2::254"])),
        ("mapped", addresses(&["::ffff:169.254.169.254"])),
        ("unspecified", addresses(&["0.0.0.0"])),
        ("unspecified-v6", addresses(&["::"])),
        ("loopback", addresses(&["127.0.0.1"])),
        ("ten", addresses(&["10.7.7.7"])),
        // Whatever it says the second time, it was checked the first.
        ("rebind", Says::InTurn(vec![Ipv4Addr::LOCALHOST.into(), Ipv4Addr::new(169, 254, 169, 254).into()])),
    ])
    .await;
    let registry = registry().await;
    let port = registry.address().port();
    let mut traps = Vec::new();
    for address in ["169.254.169.254", "fd00:ec2::254", "10.7.7.7"] {
        traps.push((address, tokio::net::TcpListener::bind((address, port)).await.unwrap()));
    }
    let always = [
        ("metadata", "TW900"),
        ("metadata-v6", "TW900"),
        ("mapped", "TW900"),
        ("unspecified", "TW900"),
        ("unspecified-v6", "TW900"),
    ];
    judge(&registry, "private: true", &always).await;
    judge(&registry, "private: false", &always).await;
    judge(&registry, "private: false", &[("loopback", "TW900"), ("ten", "TW900")]).await;
    assert_eq!(registry.connections(), 0, "nothing was asked so far");
    judge(&registry, "private: true", &[("loopback", "allow")]).await;
    judge(&registry, "private: true", &[("rebind", "allow")]).await;
    assert!(asked.load(Ordering::SeqCst) > 0);
    for (address, trap) in traps {
        let nobody = futures_util::FutureExt::now_or_never(trap.accept());
        assert!(nobody.is_none(), "there was a connection to {address}");
    }
}
