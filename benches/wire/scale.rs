//! `make bench-scale`: what one review costs as connections, rules, policies, namespaces, images or digests become many.

mod api_server;
mod curve;
mod digests;

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use api_server::ApiServer;
use curve::{Curve, Shape, shapes};

use crate::load::{PROTOCOLS, Protocol};
use crate::measure::{CONNECTIONS, Effort, Group, Member, rounds};
use crate::reviews::{BY_TEXT, USUAL, of_images, policy};
use crate::say;
use crate::scene::{Scene, Setup};
use crate::server::Server;

/// Answers are remembered for longer than the bench takes, and a review may ask for as many as it has images.
const REMEMBERING: &str = "cache: {immutableTtl: 2h}\nlimits: {lookupsPerReview: 1000}\n";
/// So many connections take a while to be made.
const LONG_RUN: Duration = Duration::from_secs(4);
/// Documents of a file, which may have 1 MiB.
const PER_FILE: usize = 1000;

pub fn run() -> anyhow::Result<()> {
    let began = Instant::now();
    let effort = Effort::or(3, 1.5)?;
    let scene = Scene::set()?;
    say(&format!("{}; {} rounds of {:?}\n", scene.told(), effort.rounds, effort.length));
    let mut found = connections(&scene, effort)?;
    found.push(rules(&scene, effort)?);
    found.push(policies(&scene, effort)?);
    for changes in [0, 20] {
        found.push(namespaces(&scene, effort, changes)?);
    }
    found.extend(images(&scene, effort)?);
    found.push(digests::remembered(&scene, effort)?);
    shapes(&found).say();
    say(&format!("all of it took {} s", began.elapsed().as_secs()));
    Ok(())
}

/// The floor and static rules over both protocols: what of the growth is the stack's shows in the floor's.
fn connections(scene: &Scene, effort: Effort) -> anyhow::Result<Vec<Shape>> {
    let sizes = [1, 10, 100, 1000];
    let effort = Effort { length: effort.length.max(LONG_RUN), ..effort };
    let servers = [("floor", scene.floor()?), ("static", scene.server("static", "", &policy(1, BY_TEXT))?)];
    let body = scene.file("reviews/usual", USUAL)?;
    let mut shapes = Vec::new();
    for protocol in PROTOCOLS {
        for (name, server) in &servers {
            let member = |&size: &usize| Member::new(name, scene, server, &body, size);
            let members = sizes.iter().map(member).collect::<anyhow::Result<_>>()?;
            let group = Group { title: format!("connections, {name}, {}", protocol.name()), protocol, members };
            shapes.push(measured(scene, effort, group, &sizes)?);
        }
    }
    Ok(shapes)
}

/// Of one policy; the last is the one that names the review's images. 10,000 of these are refused: their globs are too large
/// together.
fn rules(scene: &Scene, effort: Effort) -> anyhow::Result<Shape> {
    let start = |&size: &usize| scene.server(&format!("rules-{size}"), "", &policy(size, BY_TEXT));
    over_servers(scene, effort, "rules of a policy", &[1, 10, 100, 1000, 7000], start)
}

/// All of one rule; but one is about other namespaces.
fn policies(scene: &Scene, effort: Effort) -> anyhow::Result<Shape> {
    let start = |&size: &usize| {
        let mut files = vec![policy(1, BY_TEXT)];
        for first in (1..size).step_by(PER_FILE) {
            files.push((first..size.min(first + PER_FILE)).fold(String::new(), |mut text, number| {
                // A String takes everything.
                let _ = writeln!(
                    text,
                    "---\napiVersion: tagwarden.dev/v1\nkind: ImagePolicy\nmetadata: {{name: team-{number}}}\nspec:\n  \
                     mode: enforce\n  namespaces: {{include: [team-{number}]}}\n  rules:\n    \
                     - {{images: [\"registry.example.com/team-{number}/**\"], tags: [release]}}"
                );
                text
            }));
        }
        scene.start(&Setup { name: &format!("policies-{size}"), config: "", policies: &files, cluster: None })
    };
    over_servers(scene, effort, "policies of other namespaces", &[1, 10, 100, 1000, 10_000], start)
}

/// Watched at an API server that says so many changes of labels a second. A policy that selects another label would
/// refuse the review, if the labels of its namespace were unknown.
fn namespaces(scene: &Scene, effort: Effort, changes: u32) -> anyhow::Result<Shape> {
    let frozen = "apiVersion: tagwarden.dev/v1\nkind: ImagePolicy\nmetadata: {name: frozen}\nspec:\n  mode: enforce\n  \
                  namespaces: {selector: {matchLabels: {tier: frozen}}}\n  rules:\n    \
                  - {images: [\"registry.example.com/frozen/**\"], tags: [release]}\n";
    let start = |&size: &usize| {
        scene.start(&Setup {
            name: &format!("namespaces-{size}-{changes}"),
            config: "trustedNamespaceLabels: [tier]\n",
            policies: &[policy(1, BY_TEXT), frozen.to_owned()],
            cluster: Some(ApiServer { namespaces: size, changes }.start(&scene.runtime)?),
        })
    };
    let title = format!("namespaces watched, {changes} changes a second");
    over_servers(scene, effort, &title, &[1, 100, 10_000, 50_000], start)
}

/// In one review, by static rules and by remembered digests.
fn images(scene: &Scene, effort: Effort) -> anyhow::Result<Vec<Shape>> {
    let sizes = [1, 10, 100, 1000];
    let pinned = format!("{}{REMEMBERING}", scene.registries());
    let servers = [
        ("static", scene.server("static", "", &policy(1, BY_TEXT))?),
        ("warm digests", scene.server("digests", &pinned, &policy(1, ", pin: pods"))?),
    ];
    let mut shapes = Vec::new();
    for (name, server) in &servers {
        let member = |&size: &usize| {
            let mut images = scene.many(0..size);
            if *name == "static" {
                // With a digest a registry would be asked, whatever the rule.
                images.iter_mut().for_each(|image| image.truncate(image.find('@').unwrap_or(image.len())));
            }
            let review = of_images(&images)?;
            Member::new(
                name,
                scene,
                server,
                &scene.file(&format!("reviews/images-{size}-{name}"), &review)?,
                CONNECTIONS,
            )
        };
        let members = sizes.iter().map(member).collect::<anyhow::Result<_>>()?;
        let group = Group { title: format!("images in a review, {name}"), protocol: Protocol::Http1, members };
        shapes.push(measured(scene, effort, group, &sizes)?);
    }
    Ok(shapes)
}

/// The usual review at a server for each size.
fn over_servers(
    scene: &Scene,
    effort: Effort,
    title: &str,
    sizes: &[usize],
    start: impl Fn(&usize) -> anyhow::Result<Server>,
) -> anyhow::Result<Shape> {
    let servers: Vec<Server> = sizes.iter().map(start).collect::<anyhow::Result<_>>()?;
    let body = scene.file("reviews/usual", USUAL)?;
    let member = |server| Member::new(title, scene, server, &body, CONNECTIONS);
    let members = servers.iter().map(member).collect::<anyhow::Result<_>>()?;
    measured(scene, effort, Group { title: title.to_owned(), protocol: Protocol::Http1, members }, sizes)
}

/// Runs a group whose members are of these sizes, and says what came of it.
fn measured(scene: &Scene, effort: Effort, mut group: Group<'_>, sizes: &[usize]) -> anyhow::Result<Shape> {
    rounds(scene, std::slice::from_mut(&mut group), effort)?;
    Ok(Curve { group: &group, sizes }.say())
}
