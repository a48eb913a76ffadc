//! `make bench`: the server beside its floor, and what digests, rules and releases add; latency, memory, start.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::ensure;

use crate::load::{Length, Load, PROTOCOLS, Protocol};
use crate::measure::{CONNECTIONS, Effort, Group, Member, Spread, once, rounds};
use crate::reviews::{BY_TEXT, LARGE, SMALL, USUAL, of_images, policy, update};
use crate::scene::Scene;
use crate::server::{Server, quantile};
use crate::summary::{Figure, Summary};
use crate::table::{Table, mebibytes, of_groups, time, whole};
use crate::{load, say};

/// Answers are remembered for longer than the bench takes, and a review may ask for as many as it has images.
const REMEMBERING: &str = "cache: {immutableTtl: 2h}\nlimits: {lookupsPerReview: 1000}\n";
const STARTS: usize = 11;
/// Of the usual review, what is measured at half the capacity.
const HALF: [&str; 2] = ["static", "warm digests"];
/// What memory is asked for after: reviews, and images in reviews of that many.
const MILLION: u64 = 1_000_000;
const IMAGES: usize = 10_000;
const PER_REVIEW: usize = 500;
/// The million is given up after that long.
const LONGEST: Duration = Duration::from_secs(150);

/// Everything that is started once.
struct Servers {
    floor: Server,
    /// One rule, nothing is asked of registries.
    fixed: Server,
    /// The same as the last of a thousand rules.
    thousand: Server,
    /// Its images are to have the digests that their tags have.
    digests: Server,
    /// And to be of the release.
    release: Server,
}

pub fn run() -> anyhow::Result<()> {
    let began = Instant::now();
    let effort = Effort::or(5, 1.5)?;
    let scene = Scene::set()?;
    say(&format!("{}; {} rounds of {:?}\n", scene.told(), effort.rounds, effort.length));
    let servers = Servers::start(&scene)?;
    let idle = servers.fixed.resident()?;

    let mut groups = servers.groups(&scene)?;
    let asked = scene.registry.requests();
    rounds(&scene, &mut groups, effort)?;
    ensure!(scene.registry.requests() == asked, "a warm review asks no registry, and one did");
    say(
        "Throughput and latency as the client sees it; \"beside\" is what the ratios are of, round by round. Where the server was \
         \"busy\" for well under 1 of a run, the load was the limit or something else ran: read the CPU then.\n",
    );
    of_groups(&groups).say();

    let mut summary = Summary::default();
    for group in &groups {
        summary.groups(group);
    }
    half(&scene, &groups, effort, &mut summary)?;
    starts(&scene, &mut summary)?;
    memory(&scene, &servers.digests, idle, &mut summary)?;
    summary.table().say();
    say(&format!("all of it took {} s", began.elapsed().as_secs()));
    Ok(())
}

impl Servers {
    fn start(scene: &Scene) -> anyhow::Result<Self> {
        let mut entries = String::new();
        for (number, image) in scene.pinned.iter().enumerate() {
            let (name, digest) = image.split_once('@').unwrap_or_default();
            let (repository, tag) = name.rsplit_once(':').unwrap_or_default();
            entries += &format!("  image{number}: {{repo: {repository}, tag: {tag}, digest: \"{digest}\"}}\n");
        }
        let file = scene.file("releases/release.yaml", &format!("release: system-1\nimages:\n{entries}"))?;
        let folder = file.parent().unwrap_or(&file).display().to_string();
        let digests = format!("{}{REMEMBERING}", scene.registries());
        let releases = format!("{digests}releases: [{{dir: {folder}}}]\n");
        Ok(Servers {
            floor: scene.floor()?,
            fixed: scene.server("static", "", &policy(1, BY_TEXT))?,
            thousand: scene.server("thousand", "", &policy(1000, BY_TEXT))?,
            digests: scene.server("digests", &digests, &policy(1, ", pin: pods"))?,
            release: scene.server("release", &releases, &policy(1, ", pin: pods, release: require"))?,
        })
    }

    /// What is compared with what; each server has allowed its review once.
    fn groups<'s>(&'s self, scene: &Scene) -> anyhow::Result<Vec<Group<'s>>> {
        let pinned = scene.with_digests(USUAL);
        let update = update()?;
        let body = |name: &str, review: &str| scene.file(&format!("reviews/{name}"), review);
        let size = |review: &str| match review.len() {
            small if small < 1_000_000 => format!("{:.1} KB", f64::from(u32::try_from(small).unwrap_or(0)) / 1e3),
            large => format!("{:.1} MB", f64::from(u32::try_from(large).unwrap_or(0)) / 1e6),
        };
        let member = |name: &str, server: &'s Server, body: &PathBuf, against: Option<usize>| -> anyhow::Result<_> {
            Member::new(name, scene, server, body, CONNECTIONS).map(|member| Member { against, ..member })
        };
        let mut groups = Vec::new();
        let pinned = body("pinned", &pinned)?;
        for protocol in PROTOCOLS {
            for (name, review) in [("small", SMALL), ("usual", USUAL), ("large", LARGE)] {
                let body = body(name, review)?;
                let mut members =
                    vec![member("floor", &self.floor, &body, None)?, member("static", &self.fixed, &body, Some(0))?];
                if name == "usual" {
                    members.push(member("static, 1,000 rules", &self.thousand, &body, Some(1))?);
                    members.push(member("warm digests", &self.digests, &pinned, Some(1))?);
                    members.push(member("and release: require", &self.release, &pinned, Some(3))?);
                }
                groups.push(Group { title: size(review), protocol, members });
            }
        }
        let body = body("update", &update)?;
        for protocol in PROTOCOLS {
            let mut members =
                vec![member("floor", &self.floor, &body, None)?, member("static", &self.fixed, &body, Some(0))?];
            for member in &mut members {
                member.connections = 1;
            }
            groups.push(Group { title: format!("{}, one at a time", size(&update)), protocol, members });
        }
        Ok(groups)
    }
}

/// Latency at half the capacity, of static rules and of warm digests.
fn half(scene: &Scene, groups: &[Group<'_>], effort: Effort, summary: &mut Summary) -> anyhow::Result<()> {
    say(
        "At half the capacity. \"client\" is h2load's time of a request, with the queue of its 16 connections that send at the \
         same moment; \"server\" is the server's own histogram, from a review's last byte to its answer, between two bounds \
         (100 µs, 250 µs, 500 µs, 1 ms, ...).\n",
    );
    let mut table = Table::new(
        &["protocol", "server", "offered/s", "answered/s", "client p50", "client p99", "server p50", "server p99"],
        2,
    );
    let usual = groups.iter().flat_map(|group| group.members.iter().map(move |member| (group, member)));
    for (group, member) in usual.filter(|(group, member)| group.members.len() > 2 && HALF.contains(&&*member.name)) {
        let offered = member.median(|run| run.rate) / 2.0;
        let load = Load {
            address: member.server.webhook,
            protocol: group.protocol,
            body: &member.body,
            connections: CONNECTIONS,
            streams: 1,
            length: Length::For(effort.length),
            rate: Some(offered),
        };
        let before = member.server.durations()?;
        let mut runs = Vec::new();
        let mut of_rounds = Vec::new();
        for _ in 0..effort.rounds {
            let before = member.server.durations()?;
            runs.push(once(scene, member.server, &load)?);
            of_rounds.push(quantile(&before, &member.server.durations()?, 0.99));
        }
        let p99 = Spread::of(of_rounds).median;
        let median = |value: fn(&crate::measure::Run) -> f64| Spread::of(runs.iter().map(value)).median;
        table.row([
            group.protocol.name().to_owned(),
            member.name.clone(),
            whole(offered),
            whole(median(|run| run.rate)),
            time(median(|run| run.p50)),
            time(median(|run| run.p99)),
            time(quantile(&before, &member.server.durations()?, 0.5)),
            time(p99),
        ]);
        let what = format!("server-side p99 at half the capacity, {}, {}", member.name, group.protocol.name());
        summary.figure(Figure::new(what, "1 ms", "300 µs", time(p99)));
    }
    table.say();
    Ok(())
}

/// From the start of the process until it is ready.
fn starts(scene: &Scene, summary: &mut Summary) -> anyhow::Result<()> {
    let mut table = Table::new(&["start to ready", "least", "median", "greatest"], 1);
    for (name, rules, bar) in [("1 rule", 1, false), ("1,000 rules", 1000, true)] {
        let text = policy(rules, BY_TEXT);
        let starts: anyhow::Result<Vec<f64>> =
            (0..STARTS).map(|_| Ok(scene.server("start", "", &text)?.ready_after.as_secs_f64())).collect();
        let spread = Spread::of(starts?);
        table.row([name.to_owned(), time(spread.least), time(spread.median), time(spread.greatest)]);
        if bar {
            let what = format!("start to ready, policy of {name}");
            summary.figure(Figure::new(what, "100 ms", "30 ms", time(spread.median)));
        }
    }
    table.say();
    Ok(())
}

/// Resident memory: at rest, and after a million reviews and ten thousand images.
fn memory(scene: &Scene, server: &Server, idle: u64, summary: &mut Summary) -> anyhow::Result<()> {
    let asked = scene.registry.requests();
    let images = scene.many(0..IMAGES);
    for some in images.chunks(PER_REVIEW) {
        scene.client.allowed(server.webhook, of_images(some)?.as_bytes())?;
    }
    let asked = scene.registry.requests() - asked;
    ensure!(asked >= IMAGES, "{IMAGES} images are asked for, and {asked} requests came");
    let with_images = server.resident()?;
    let body = scene.file("reviews/pinned", &scene.with_digests(USUAL))?;
    let answered =
        |server: &Server| -> anyhow::Result<f64> { Ok(server.durations()?.last().map_or(0.0, |(_, count)| *count)) };
    let began = Instant::now();
    let mut reviews = 0;
    while reviews < MILLION && began.elapsed() < LONGEST {
        let load = Load {
            address: server.webhook,
            protocol: Protocol::Http2,
            body: &body,
            connections: CONNECTIONS,
            streams: 1,
            length: Length::Requests((MILLION - reviews).min(MILLION / 20)),
            rate: None,
        };
        let ran = load::run(&scene.machine, scene.scratch(), &load)?;
        ensure!(ran.fine == ran.answers && ran.failed == 0, "reviews failed: {}", server.last_words());
        server.forget_log()?;
        reviews += ran.answers;
    }
    let after = server.resident()?;
    let mut table = Table::new(&["resident memory", "MiB"], 1);
    table.row(["static rules, ready, no review yet".to_owned(), mebibytes(idle)]);
    table.row([format!("warm digests, after the runs above and {IMAGES} images"), mebibytes(with_images)]);
    table.row([format!("and {reviews} reviews more, {} in all", whole(answered(server)?)), mebibytes(after)]);
    table.say();
    summary.figure(Figure::new("resident memory idle, MiB", "20", "12", mebibytes(idle)));
    let what = format!("resident memory after {} reviews and {IMAGES} images, MiB", whole(answered(server)?));
    summary.figure(Figure::new(what, "64", "32", mebibytes(after)));
    Ok(())
}
