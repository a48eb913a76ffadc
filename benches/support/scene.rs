//! What the benches of the engine judge, and how: the 8 KB review of a Pod of three containers, policies of any number of
//! rules, what registries remember of its images, and the whole ways from a review's bytes to its answer's.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use tagwarden::image::{DigestBuf, Platform};
use tagwarden::policy::{
    Answer, Asked, Created, Facts, Failure, Governed, ImageFacts, ImageUse, Lookup, Plan, PlatformFacts, PolicySet,
    Releases, Request, Resolved, Settings, Snapshots, Stage, Undecided, decide, gather,
};
use tagwarden::review::{About, Considered, ExemptRequesters, Outcome, Workloads, answer, consider, read};

/// As an API server sends it; the policies here allow it.
pub const REVIEW: &str = include_str!("../../tests/data/reviews/pod-8k.json");

/// All keys about what an image says of itself.
pub const METADATA: &str = ", labels: {org.opencontainers.image.source: 'https://git\\.example\\.com/.+'}, revision: match, version: match, age: {max: 180d}, \
                            platforms: [linux/amd64, linux/arm64], baseImages: [\"registry.example.com/base/**\"]";

/// The time of the benches, and when the images were made.
const NOW: i64 = 1_800_000_000;

/// A policy of `rules` rules of which the last is the one that names the review's images.
pub fn policy(rules: usize) -> PolicySet {
    let mut text = String::new();
    for rule in 1..rules {
        let _ = writeln!(
            text,
            "    - {{images: [\"registry.example.com/team-{rule}/**\"], tags: [release, 'build-{rule}-\\d+']}}"
        );
    }
    compiled(&format!("{text}    - {{images: [\"registry.example.com/acme/**\"], tags: [release, commit]}}\n"))
}

/// A policy that asks registries, with further keys of its rule.
pub fn asking(keys: &str) -> PolicySet {
    compiled(&format!(
        "    - {{images: [\"registry.example.com/acme/**\"], tags: [release, commit], pin: pods{keys}}}\n"
    ))
}

fn compiled(rules: &str) -> PolicySet {
    let text = format!(
        "apiVersion: tagwarden.dev/v1\nkind: ImagePolicy\nmetadata: {{name: bench}}\nspec:\n  mode: enforce\n  rules:\n{rules}"
    );
    match PolicySet::compile(&[("bench.yaml", text)], Settings::default()) {
        Ok(set) => set,
        Err(problems) => unreachable!("the bench's policy is valid: {problems:?}"),
    }
}

/// The review with tags that no policy here accepts.
pub fn denied() -> String {
    ["v1.4.2", "v2.0.1", "3f9c2d1"]
        .iter()
        .fold(REVIEW.to_owned(), |body, tag| body.replace(&format!(":{tag}\""), ":latest\""))
}

/// What registries remember of the images of [`REVIEW`], by their tags.
pub struct Known(Vec<(String, DigestBuf, Arc<ImageFacts>)>);

impl Known {
    /// All of them.
    pub fn all() -> Self {
        let tags: BTreeSet<&str> = images().filter_map(|image| Some(image.split_once(':')?.1)).collect();
        Known(tags.into_iter().map(remembered).collect())
    }

    fn digest(&self, tag: &str) -> Option<&DigestBuf> {
        self.0.iter().find(|(known, ..)| known == tag).map(|(_, digest, _)| digest)
    }

    /// The facts that a plan asks for.
    pub fn facts(&self, plan: &Plan<'_>) -> Facts {
        let absent = || Undecided::new(Failure::Unreachable, "not known");
        let answer = |lookup: &Lookup<'_>| match lookup.what {
            Asked::Digest { tag, .. } => {
                Answer::Digest(self.digest(tag).map(|digest| Resolved::now(digest.clone())).ok_or_else(absent))
            }
            Asked::Image { digest } => {
                let found = self.0.iter().find(|(_, known, _)| known.as_str() == digest);
                Answer::Image(found.map(|(.., facts)| facts.clone()).ok_or_else(absent))
            }
            other => other.failed(absent()),
        };
        gather(plan, answer, absent())
    }
}

/// The images of [`REVIEW`], as they are written there.
fn images() -> impl Iterator<Item = &'static str> {
    REVIEW.split("\"image\":\"").skip(1).filter_map(|rest| rest.split('"').next())
}

/// What a registry remembers of an image: two platforms, all labels in order.
fn remembered(tag: &str) -> (String, DigestBuf, Arc<ImageFacts>) {
    let hex = tag.bytes().fold(7_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
    let Ok(digest) = DigestBuf::parse(&format!("sha256:{hex:064x}")) else { unreachable!("it is a digest") };
    let platform = |name: &str| {
        let platform = Platform::parse(name).unwrap_or_else(Platform::common);
        let mut facts = PlatformFacts::silent(platform, digest.clone());
        let (version, revision) = if tag.starts_with('v') { (tag, "") } else { ("v1.0.0", tag) };
        facts.labels = [
            ("org.opencontainers.image.source", "https://git.example.com/acme/api".to_owned()),
            ("org.opencontainers.image.version", version.to_owned()),
            ("org.opencontainers.image.revision", format!("{revision:0<40}")),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into();
        facts.base = Some("registry.example.com/base/go:1.24".to_owned());
        facts.created = Created::At(NOW - 1_000_000);
        facts
    };
    let platforms = ["linux/amd64", "linux/arm64"].map(platform).into();
    (tag.to_owned(), digest, Arc::new(ImageFacts { platforms }))
}

/// A release of the review's images among a hundred others.
pub fn declared(known: &Known) -> Releases {
    let mut file = "release: bench\nimages:\n".to_owned();
    for number in 0..100 {
        let _ = writeln!(file, "  other-{number}: {{repo: registry.example.com/other/{number}, tag: v1.0.0}}");
    }
    for image in images() {
        let Some((repository, tag)) = image.split_once(':') else { continue };
        let name = repository.rsplit('/').next().unwrap_or_default();
        let Some(digest) = known.digest(tag) else { continue };
        if !file.contains(&format!("  {name}: ")) {
            let _ = writeln!(file, "  {name}: {{repo: {repository}, tag: \"{tag}\", digest: \"{digest}\"}}");
        }
    }
    match Snapshots::read(&[("bench.yaml", file)]) {
        Ok(snapshots) => Releases::everywhere("bench", snapshots),
        Err(problems) => unreachable!("the bench's release is valid: {problems:?}"),
    }
}

/// What a review is judged under besides policies.
#[derive(Default)]
pub struct Surroundings {
    pub workloads: Workloads,
    pub requesters: ExemptRequesters,
    pub releases: Releases,
}

/// The whole way from bytes to bytes, as the server goes it where no policy asks for facts.
pub fn review(body: &[u8], set: &PolicySet, under: &Surroundings) -> Vec<u8> {
    review_with(body, set, under, Stage::Admission, |_| Facts::default())
}

/// The same with whatever facts the plan is given. Where `under` has releases, they govern the namespace.
#[inline]
pub fn review_with(
    body: &[u8],
    set: &PolicySet,
    under: &Surroundings,
    stage: Stage,
    learn: impl Fn(&Plan<'_>) -> Facts,
) -> Vec<u8> {
    let Ok(request) = read(body) else { return Vec::new() };
    let about = About::of(&request);
    let Considered::Judge(collected) = consider(&request, &about, &under.workloads, &under.requesters) else {
        return Vec::new();
    };
    let images = collected.images();
    let asked = about.policy_request(None, &[], under.releases.govern(about.namespace.as_deref(), None), stage, NOW);
    let plan = set.plan(&asked, &images);
    let facts = learn(&plan);
    let verdict = decide(plan, &images, &facts);
    answer(&about, Outcome::Judged(&verdict), Some(set), &[])
}

/// The first part of that way: how many images a review has.
pub fn images_of(body: &[u8], under: &Surroundings) -> usize {
    let Ok(request) = read(body) else { return 0 };
    match consider(&request, &About::of(&request), &under.workloads, &under.requesters) {
        Considered::Judge(collected) => collected.images().len(),
        Considered::Pass(_) | Considered::UnknownKind => 0,
    }
}

/// Does something with a review that has been read: with what an answer needs of it, what is asked, and its images.
pub fn with_images(body: &[u8], then: impl FnOnce(&About<'_>, &Request<'_>, &[ImageUse<'_>])) {
    let under = Surroundings::default();
    let Ok(request) = read(body) else { unreachable!("it is a review") };
    let about = About::of(&request);
    let Considered::Judge(collected) = consider(&request, &about, &under.workloads, &under.requesters) else {
        unreachable!("its images are judged")
    };
    then(&about, &about.policy_request(None, &[], Governed::default(), Stage::Admission, NOW), &collected.images());
}

/// Whether an answer lets its object in.
pub fn admits(answer: &[u8]) -> bool {
    String::from_utf8_lossy(answer).contains("\"allowed\":true")
}
