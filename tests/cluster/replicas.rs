//! Two replicas with caches of their own: what one pins the other accepts, and what one learned outlives a restart.

use crate::harness::{
    Authority, CallPath, Cluster, PATIENCE, Registration, Server, ServerOptions, User, Webhooks, until_true,
};
use crate::objects::pod;
use crate::pins::Images;
use crate::registries::real::image;
use serde_json::json;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// Starts a replica in its own folder; replicas of one namespace share its Secret, Lease and ConfigMap.
fn replica(cluster: &Cluster, namespace: &str, which: &str, images: &Images, authority: &Authority) -> Server {
    Server::ready(
        cluster,
        &ServerOptions {
            name: &format!("{namespace}-{which}"),
            namespace,
            policies: &[("pins.yaml", &images.policy())],
            config: Some(&images.config("cache: {immutableTtl: 1s, floatingTtl: 1s}\nshutdownDelay: 0s\n")),
            authority,
        },
    )
}

#[test]
fn a_tag_that_moves_ten_times_a_second_denies_no_pod_that_the_other_replica_pinned() {
    let images = Images::new();
    let other = images.registry.push("acme/api", "other", &image(&[("build", "2")]));
    images.registry.tag("acme/api", "v1.4.2", "one");
    let cluster = Cluster::shared();
    let namespace = "two-replicas";
    cluster.create_namespace(namespace, &json!({}));
    let authority = Authority::new("webhook-ca");
    let pins = replica(cluster, namespace, "pins", &images, &authority);
    let judges = replica(cluster, namespace, "judges", &images, &authority);
    let webhooks = Webhooks::install(
        cluster,
        &Registration {
            namespace,
            address: judges.webhook(),
            mutating: Some(pins.webhook()),
            call: CallPath::Url,
            authorities: &authority.pem,
            failure_policy: Some("Fail"),
            timeout: None,
            configured_kinds: None,
        },
    );
    webhooks.wait_until_called(&[&pins, &judges]);
    let dana = cluster.as_user(User::Dana).within(namespace);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let moves = scope.spawn(|| {
            let mut moves = 0;
            while !stop.load(Ordering::SeqCst) {
                let to = if moves % 2 == 0 { "other" } else { "one" };
                images.registry.tag("acme/api", to, "v1.4.2");
                moves += 1;
            }
            moves
        });
        let creators: Vec<_> = (0..2)
            .map(|creator| {
                let (dana, images) = (&dana, &images);
                scope.spawn(move || {
                    for number in 0..40 {
                        dana.create(&pod(&format!("p-{creator}-{number}"), &images.image("v1.4.2"))).accepted();
                    }
                })
            })
            .collect();
        let ended: Vec<_> = creators.into_iter().map(thread::ScopedJoinHandle::join).collect();
        stop.store(true, Ordering::SeqCst);
        let moves = moves.join().unwrap();
        ended.into_iter().for_each(|ended| ended.unwrap());
        assert!(moves > 10, "the tag moved {moves} times");
    });
    let pods = dana.get("pods").unwrap();
    for (digest, which) in [(&images.digest, "the first"), (&other, "the second")] {
        let pinned = images.pinned("v1.4.2", digest);
        let seen = pods["items"].as_array().unwrap().iter();
        let count = seen.filter(|pod| pod["spec"]["containers"][0]["image"] == pinned.as_str()).count();
        assert!(count > 0, "{which} build was never pinned");
    }
    cluster.as_user(User::Admin).run(&["delete", "namespace", namespace, "--wait=false"]).accepted();
}

#[test]
fn a_restart_during_an_outage_remembers_what_the_elected_replica_saved() {
    let mut images = Images::new();
    images.registry.tag("acme/api", "v1.4.2", "v5.0.0");
    let cluster = Cluster::shared();
    let namespace = "survival";
    cluster.create_namespace(namespace, &json!({}));
    let authority = Authority::new("webhook-ca");
    let mut first = replica(cluster, namespace, "first", &images, &authority);
    let registration = |server: &Server| Registration {
        namespace,
        address: server.webhook(),
        mutating: None,
        call: CallPath::Url,
        authorities: &authority.pem,
        failure_policy: Some("Fail"),
        timeout: None,
        configured_kinds: None,
    };
    let webhooks = Webhooks::install(cluster, &registration(&first));
    webhooks.wait_until_called(&[&first]);
    let dana = cluster.as_user(User::Dana).within(namespace);
    let admin = cluster.as_user(User::Admin).within(namespace);
    dana.create(&pod("seen", &images.image("v1.4.2"))).accepted();
    until_true("the last-known digests to be saved", PATIENCE, || {
        admin.get("configmap/tagwarden-last-known").is_some()
    });
    images.registry.stop();
    first.kill();
    let second = replica(cluster, namespace, "second", &images, &authority);
    webhooks.apply(&registration(&second));
    webhooks.wait_until_called(&[&second]);
    dana.create(&pod("again", &images.image("v1.4.2"))).accepted().says("Warning");
    let stored = dana.get("pod/again").unwrap();
    assert_eq!(stored["spec"]["containers"][0]["image"], images.pinned("v1.4.2", &images.digest));
    dana.create(&pod("new", &images.image("v5.0.0"))).refused().says("TW900");
    admin.run(&["delete", "namespace", namespace, "--wait=false"]).accepted();
}
