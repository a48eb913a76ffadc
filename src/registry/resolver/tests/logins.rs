//! Who is asked as: the order of logins, what a failure of one means, and that no answer reaches another identity.

use super::memory::registry;
use super::{Does, HOST, NAME, World, digest, immutable, now, seconds};
use crate::image::NameGlob;
use crate::policy::{Failure, Lookup, Source};
use crate::registry::credentials::{PullSecret, SecretKind};
use crate::registry::failure::FailureKind;
use crate::registry::resolver::Asker;
use crate::registry::settings::{ConfiguredCredentials, RegistrySettings, Settings};
use futures_util::future::join_all;
use std::io::Write as _;
use std::sync::Arc;
use tokio::time::{Instant, advance};

const DENIED: Does = Does::Fail(FailureKind::Unauthorized);
const ABSENT: Does = Does::Fail(FailureKind::NotFoundOrNoAccess);

fn docker_config(user: &str) -> String {
    format!(r#"{{"auths":{{"{HOST}":{{"username":"{user}","password":"secret of {user}"}}}}}}"#)
}

fn secret(namespace: &str, user: &str) -> PullSecret {
    PullSecret::parse(namespace, "regcred", SecretKind::DockerConfigJson, docker_config(user).as_bytes()).unwrap()
}

fn of<'a>(namespace: &'a str, pull_secrets: &'a [PullSecret]) -> Asker<'a> {
    Asker { namespace: Some(namespace), pull_secrets, ..Asker::default() }
}

#[tokio::test(start_paused = true)]
async fn a_wrong_pull_secret_does_not_hide_a_public_image() {
    for kind in [DENIED, ABSENT, Does::Fail(FailureKind::RateLimited { until: None })] {
        let world = World::new(Does::Say('a'));
        world.registry.does(move |_, login| if login.public { Does::Say('a') } else { kind });
        let secrets = [secret("shop", "wrong")];
        let answer = world.as_asker("v1", of("shop", &secrets), seconds(10)).await.unwrap();
        assert_eq!((answer.digest, answer.public), (digest('a'), true));
        let order: Vec<_> = world.registry.asked.lock().unwrap().iter().map(|(_, login)| login.clone()).collect();
        assert_eq!(order, ["pull secret shop/regcred", "anonymous"]);
        let again = world.as_asker("v1", of("shop", &secrets), seconds(10)).await.unwrap();
        assert_eq!(again.source, Source::Remembered);
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_of_the_registry_ends_the_trying() {
    let world = World::new(Does::Fail(FailureKind::Protocol));
    let secrets = [secret("shop", "tenant")];
    let undecided = world.as_asker("v1", of("shop", &secrets), seconds(10)).await.unwrap_err();
    assert_eq!(undecided.failure, Failure::Protocol);
    assert_eq!(undecided.detail, "it failed (tried pull secret shop/regcred: protocol)");
    assert_eq!(world.registry.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_said_names_each_login_and_the_class_of_its_answer() {
    let limited = Does::Fail(FailureKind::RateLimited { until: None });
    for (own, nobody, failure, says) in [
        (DENIED, ABSENT, Failure::NotFound, "pull secret shop/regcred: unauthorized; anonymous: not-found"),
        // Whose answer was not heard might have known the image.
        (limited, ABSENT, Failure::RateLimited, "pull secret shop/regcred: rate-limited; anonymous: not-found"),
        (ABSENT, limited, Failure::RateLimited, "pull secret shop/regcred: not-found; anonymous: rate-limited"),
    ] {
        let world = World::new(nobody);
        world.registry.does(move |_, login| if login.public { nobody } else { own });
        let secrets = [secret("shop", "tenant")];
        let undecided = world.as_asker("v1", of("shop", &secrets), seconds(10)).await.unwrap_err();
        assert_eq!(undecided.failure, failure);
        assert_eq!(undecided.detail, format!("it failed (tried {says})"));
        assert!(undecided.detail.is_ascii() && !undecided.detail.contains("secret of"));
        let described =
            world.resolver.describe(HOST, "acme/api", "v1", of("shop", &secrets), Instant::now() + seconds(1));
        assert_eq!(described.await.unwrap_err().what, undecided.detail);
    }
}

#[tokio::test(start_paused = true)]
async fn describing_says_who_was_answered() {
    let world = World::new(Does::Say('a'));
    world.registry.does(|_, login| if login.public { ABSENT } else { Does::Say('a') });
    let secrets = [secret("shop", "tenant")];
    let until = Instant::now() + seconds(1);
    let described = world.resolver.describe(HOST, "acme/api", "v1", of("shop", &secrets), until).await.unwrap();
    assert_eq!((described.digest, described.login.as_str()), (digest('a'), "pull secret shop/regcred"));
}

/// Line 18: a registry that tells everyone something else; whatever the order and the time, everyone hears his own.
#[tokio::test(start_paused = true)]
async fn line_18_no_tenant_hears_what_another_was_told() {
    let world = Arc::new(World::new(ABSENT));
    world.registry.does(|_, login| match &*login.origin {
        "pull secret red/regcred" => Does::SayLate('a', seconds(1)),
        "pull secret blue/regcred" => Does::Say('b'),
        _ => ABSENT,
    });
    let tenants = [("red", Some('a')), ("blue", Some('b')), ("green", None)];
    let mut seed = 7_u32;
    for _ in 0..50 {
        let mut asked = Vec::new();
        for _ in 0..20 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let (tenant, expected) = tenants[usize::try_from(seed >> 16).unwrap() % 3];
            let fresh = seed & 0x100 == 0;
            let tag = if seed & 0x200 == 0 { "v1" } else { "v2" };
            let world = world.clone();
            asked.push(tokio::spawn(async move {
                let secrets = [secret(tenant, tenant)];
                let what = if fresh { now(tag) } else { immutable(tag) };
                let lookups = [Lookup { name: NAME, what }];
                let facts = world.ask_for(&lookups, of(tenant, &secrets), seconds(30)).await;
                let answer = facts.digest(NAME, tag).unwrap().clone();
                let heard = answer.as_ref().ok().map(|answer| (answer.digest.clone(), answer.public));
                assert_eq!(heard, expected.map(|digit| (digest(digit), false)), "{tenant} {answer:?}");
            }));
        }
        for asked in join_all(asked).await {
            asked.unwrap();
        }
        advance(seconds(u64::from(seed % 900))).await;
    }
    let document = String::from_utf8(world.resolver.remembered(1 << 20)).unwrap();
    assert_eq!(document, r#"{"version":1,"entries":[]}"#, "private answers are not saved");
    // While the registry is away each has his own last answer, and no other.
    let secrets = [secret("red", "red")];
    world.as_asker("v9", of("red", &secrets), seconds(10)).await.unwrap();
    world.registry.does(|_, _| Does::Fail(FailureKind::Unreachable));
    advance(seconds(700)).await;
    assert_eq!(world.as_asker("v9", of("red", &secrets), seconds(10)).await.unwrap().digest, digest('a'));
    let others = [secret("green", "green")];
    world.as_asker("v9", of("green", &others), seconds(10)).await.unwrap_err();
    world.tag("v9").await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn a_pods_secret_is_not_used_when_nobody_waits() {
    let world = World::new(Does::Say('a'));
    let secrets = [secret("shop", "tenant")];
    world.as_asker("v1", of("shop", &secrets), seconds(10)).await.unwrap();
    advance(seconds(599)).await;
    world.as_asker("v1", of("shop", &secrets), seconds(10)).await.unwrap();
    tokio::task::yield_now().await;
    assert_eq!(world.registry.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn configured_credentials_are_lent_to_the_namespaces_that_they_are_for() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(docker_config("robot").as_bytes()).unwrap();
    let configured = RegistrySettings {
        credentials: Some(ConfiguredCredentials::DockerConfig(file.path().to_owned())),
        credential_namespaces: Some(vec![NameGlob::parse("shop-*").unwrap()]),
        ..registry(HOST)
    };
    let settings = Settings { registries: vec![configured], ..Settings::default() };
    let world = World::with(settings, &[HOST], ABSENT);
    world.registry.does(|_, login| if login.origin == "anonymous" { ABSENT } else { Does::Say('a') });
    let answer = world.as_asker("v1", of("shop-prod", &[]), seconds(10)).await.unwrap();
    assert_eq!((answer.digest, answer.public), (digest('a'), true));
    assert_eq!(world.as_asker("v1", of("shop-test", &[]), seconds(10)).await.unwrap().source, Source::Remembered);
    for asker in [of("web", &[]), Asker::default()] {
        let undecided = world.as_asker("v1", asker, seconds(10)).await.unwrap_err();
        assert_eq!(undecided.detail, "it failed (tried anonymous: not-found)");
    }
    // A restart: it serves those, and no others.
    let document = world.resolver.remembered(1 << 20);
    world.registry.does(|_, _| Does::Fail(FailureKind::Unreachable));
    world.resolver.recall(&document).unwrap();
    advance(seconds(11)).await;
    assert!(world.as_asker("v1", of("web", &[]), seconds(10)).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn credentials_that_cannot_be_read_are_no_proof_that_there_is_no_image() {
    let folder = tempfile::tempdir().unwrap();
    let configured = RegistrySettings {
        credentials: Some(ConfiguredCredentials::DockerConfig(folder.path().join("absent.json"))),
        ..registry(HOST)
    };
    let settings = Settings { registries: vec![configured], ..Settings::default() };
    let world = World::with(settings, &[HOST], ABSENT);
    let undecided = world.tag("v1").await.unwrap_err();
    assert_eq!(undecided.failure, Failure::Unreachable, "{}", undecided.detail);
    world.registry.does(|_, _| Does::Say('a'));
    advance(seconds(10)).await;
    assert_eq!(world.tag("v1").await.unwrap().digest, digest('a'), "a public image needs none");
}
