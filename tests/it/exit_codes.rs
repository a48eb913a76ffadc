//! Every exit code of every verb that needs no cluster, through the real binary; and which one is told where two hold.

use std::collections::BTreeSet;

use crate::cli_registry::Loopback;
use crate::cli_support::Scene;

const DIGEST: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";
const OTHER: &str = "sha256:2222222222222222222222222222222222222222222222222222222222222222";

const POLICY: &str = "apiVersion: tagwarden.dev/v1
kind: ImagePolicy
metadata: {name: p}
spec:
  mode: enforce
  rules: [{images: [\"r.example.com/acme/**\"], tags: [release], pin: pods}]
";

/// Admitted by the facts, denied by its tag, and unknown to the facts.
const GOOD: &str = "r.example.com/acme/api:v1.0.0";
const BAD: &str = "r.example.com/acme/api:latest";
const OPEN: &str = "r.example.com/acme/api:v9.0.0";

fn pods(images: &[&str]) -> String {
    let pod = |(at, image): (usize, &&str)| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: a{at}}}\nspec: {{containers: [{{name: c, image: \"{image}\"}}]}}\n---\n"
        )
    };
    images.iter().enumerate().map(pod).collect()
}

fn tests(image: &str, expect: &str) -> String {
    format!(
        "apiVersion: tagwarden.dev/v1\nkind: ImagePolicyTest\npolicies: [../p/p.yaml]\nnow: 2026-03-01T00:00:00Z\n\
         cases: [{{image: \"{image}\", expect: {expect}}}]\n"
    )
}

/// Files named by what comes of them: `good` ends with 0, `bad` with 1, `broken` with 2, `open` with 3.
fn scene() -> Scene {
    let scene = Scene::new(&[("p/p.yaml", POLICY), ("broken.yaml", "a: [\n"), ("t/broken.test.yaml", "a: [\n")]);
    let facts = format!(
        "apiVersion: tagwarden.dev/v1\nkind: ImageFacts\nregistry:\n  r.example.com/acme/api:\n    \
         tags: {{v1.0.0: \"{DIGEST}\", 5f2a1b0: \"{OTHER}\"}}\n    \
         images: {{\"{OTHER}\": {{labels: {{org.opencontainers.image.revision: 4f2a1b0}}}}}}\n"
    );
    let release =
        |version: &str| format!("release: r\nimages: {{api: {{repo: r.example.com/acme/api, tag: {version}}}}}\n");
    // Of `latest` this one says no; of `v9.0.0` the other cannot say anything.
    let strict = POLICY.replace("name: p}", "name: strict}").replace("tags: [release], pin: pods", "tags: [commit]");
    let digits = POLICY.replace("tags: [release]", "tags: [release, '\\d{8}']");
    for (path, text) in [
        ("facts.yaml", facts),
        ("two/p.yaml", POLICY.to_owned()),
        ("two/strict.yaml", strict),
        ("digits.yaml", digits),
        ("history.jsonl", crate::history::LINES.to_owned()),
        ("good.yaml", pods(&[GOOD])),
        ("bad.yaml", pods(&[BAD])),
        ("open.yaml", pods(&[OPEN])),
        ("bad-and-open.yaml", pods(&[OPEN, BAD])),
        ("bad-and-broken.yaml", pods(&[BAD]) + "a: [\n"),
        ("labelled.yaml", labelled()),
        ("pinned.yaml", pods(&[&format!("{GOOD}@{DIGEST}")])),
        ("moved.yaml", pods(&[&format!("{GOOD}@{OTHER}")])),
        ("r/good.yaml", release("v1.0.0")),
        ("r/commit.yaml", release("5f2a1b0")),
        ("r/open.yaml", release("v9.0.0")),
        ("r/moved.yaml", release(&format!("v1.0.0, digest: '{OTHER}'"))),
        ("r/compose.yaml", format!("services: {{api: {{image: \"{GOOD}\"}}}}\n")),
        ("t/good.test.yaml", tests(BAD, "deny")),
        ("t/bad.test.yaml", tests(BAD, "allow")),
    ] {
        scene.write(path, text.as_bytes());
    }
    scene
}

/// The facts of an image whose labels agree, and of one that has none.
fn labelled() -> String {
    let labels = "org.opencontainers.image.version: v1.0.0, org.opencontainers.image.source: 'https://git.example.com/acme/api', \
                  org.opencontainers.image.revision: 0123456789abcdef0123456789abcdef01234567";
    format!(
        "apiVersion: tagwarden.dev/v1\nkind: ImageFacts\nregistry:\n  r.example.com/acme/api:\n    \
         tags: {{v1.0.0: \"{DIGEST}\", latest: \"{OTHER}\"}}\n    images: {{\"{DIGEST}\": {{labels: {{{labels}}}}}}}\n"
    )
}

/// A verb (or one below a verb), the arguments that every run of it has, and for each code further arguments that bring it about.
type Row = (&'static str, &'static [&'static str], &'static [(i32, &'static [&'static str])]);

const TABLE: &[Row] = &[
    (
        "check",
        &["--policies", "p", "--facts", "facts.yaml"],
        &[
            (0, &["good.yaml"]),
            (1, &["bad.yaml"]),
            (1, &["bad.yaml", "open.yaml"]),
            (1, &["bad-and-open.yaml"]),
            (2, &["broken.yaml"]),
            (2, &["bad.yaml", "broken.yaml", "open.yaml"]),
            (2, &["broken.yaml", "open.yaml"]),
            (3, &["open.yaml"]),
            (3, &["open.yaml", "good.yaml"]),
        ],
    ),
    (
        "explain",
        &["--facts", "facts.yaml"],
        &[
            (0, &["--policies", "p", GOOD]),
            (1, &["--policies", "p", BAD]),
            (1, &["--policies", "two", OPEN]),
            (2, &["--policies", "nowhere", BAD]),
            (3, &["--policies", "p", OPEN]),
            (0, &["--policies", "p", "-f", "good.yaml"]),
            (1, &["--policies", "p", "-f", "bad.yaml"]),
            (1, &["--policies", "p", "-f", "bad-and-open.yaml"]),
            (2, &["--policies", "p", "-f", "broken.yaml"]),
            (2, &["--policies", "p", "-f", "bad-and-broken.yaml"]),
            (3, &["--policies", "p", "-f", "open.yaml"]),
        ],
    ),
    (
        "lint",
        &["--fail-on", "warn"],
        &[
            (0, &["p/p.yaml"]),
            (1, &["digits.yaml"]),
            (2, &["broken.yaml"]),
            (2, &["digits.yaml", "broken.yaml"]),
            (2, &["digits.yaml", "nowhere.yaml"]),
        ],
    ),
    (
        "test",
        &[],
        &[
            (0, &["t/good.test.yaml"]),
            (1, &["t/bad.test.yaml"]),
            (1, &["t/good.test.yaml", "t/bad.test.yaml"]),
            (1, &["--coverage-threshold", "100", "t/good.test.yaml"]),
            (2, &["t/broken.test.yaml"]),
            (2, &["t/bad.test.yaml", "t/broken.test.yaml"]),
            (2, &["--coverage-threshold", "100", "t"]),
        ],
    ),
    (
        "pin",
        &["--facts", "facts.yaml"],
        &[
            (0, &["good.yaml"]),
            (0, &["--check", "pinned.yaml"]),
            (2, &["broken.yaml"]),
            (2, &["--check", "broken.yaml", "good.yaml"]),
            (2, &["--check", "broken.yaml", "good.yaml", "open.yaml"]),
            (2, &["broken.yaml", "open.yaml"]),
            (3, &["open.yaml"]),
            (3, &["--check", "pinned.yaml", "open.yaml"]),
            (4, &["--check", "good.yaml"]),
            (4, &["--check", "moved.yaml"]),
            (4, &["--check", "open.yaml", "good.yaml"]),
        ],
    ),
    (
        "release history",
        &["-n", "shop-prod"],
        &[
            (0, &["history.jsonl"]),
            (0, &["history.jsonl", "--at", "2026-03-01"]),
            (2, &[]),
            (2, &["nowhere.jsonl"]),
            (2, &["good.yaml"]),
            (2, &["history.jsonl", "--at", "noon"]),
            (3, &["history.jsonl", "--at", "2026-02-01"]),
        ],
    ),
    (
        "release lock",
        &["--facts", "facts.yaml"],
        &[
            (0, &["r/good.yaml"]),
            (1, &["r/commit.yaml"]),
            (2, &["broken.yaml"]),
            (3, &["r/open.yaml"]),
            (3, &["--write", "r/open.yaml"]),
            (4, &["r/moved.yaml"]),
            (4, &["--check", "r/good.yaml"]),
            (4, &["--check", "r/open.yaml"]),
        ],
    ),
    (
        "release set",
        &["--facts", "facts.yaml"],
        &[
            (0, &["r/good.yaml", "api=v1.0.0"]),
            (1, &["r/good.yaml", "api=5f2a1b0"]),
            (2, &["r/good.yaml", "ap=v1.0.0"]),
            (3, &["r/good.yaml", "api=v9.0.0"]),
            (4, &["r/moved.yaml", "api=v1.0.0"]),
        ],
    ),
    ("release values", &[], &[(0, &["r/good.yaml"]), (2, &["broken.yaml"])]),
    (
        "release diff",
        &["--exit-code", "r/good.yaml"],
        &[(0, &["r/good.yaml"]), (1, &["r/open.yaml"]), (2, &["broken.yaml"])],
    ),
    ("release show", &[], &[(0, &["r/good.yaml"]), (2, &["broken.yaml"])]),
    (
        "release verify",
        &["--offline", "r/good.yaml"],
        &[
            (0, &["good.yaml"]),
            (1, &["bad.yaml"]),
            (2, &[]),
            (2, &["broken.yaml"]),
            (3, &["--partial", "--commit", "0123456789012345678901234567890123456789"]),
        ],
    ),
    ("release import", &[], &[(0, &["r/compose.yaml"]), (2, &["r/good.yaml"])]),
    (
        "labels",
        &["check", "--facts", "labelled.yaml"],
        &[
            (0, &[GOOD]),
            (1, &[BAD]),
            (1, &["nginx"]),
            (2, &["--facts", "broken.yaml", BAD]),
            (2, &["--git", "nowhere", BAD]),
            (3, &[OPEN]),
        ],
    ),
    // The second run finds what the first wrote.
    ("init", &[], &[(0, &[]), (2, &[])]),
    ("schema", &[], &[(0, &["policy"]), (2, &["polcy"])]),
    ("completions", &[], &[(0, &["bash"]), (2, &["bush"])]),
    ("man", &[], &[(0, &["check"]), (2, &["chek"])]),
];

#[test]
fn every_verb_ends_with_every_code_that_its_help_names() {
    let scene = scene();
    for (verb, common, runs) in TABLE {
        let words: Vec<&str> = verb.split(' ').collect();
        for (code, arguments) in *runs {
            let ran = scene.run(&[&words, *common, *arguments].concat());
            assert_eq!(ran.code, *code, "{verb} {arguments:?}: {ran:?}");
            // Nothing ends badly without a word.
            assert!(*code == 0 || !(ran.stdout.is_empty() && ran.stderr.is_empty()), "{verb} {arguments:?}");
        }
        let tried: BTreeSet<i32> = runs.iter().map(|(code, _)| *code).collect();
        let named = named(&scene.run(&[&words[..], &["--help"]].concat()).stdout);
        assert!(named.is_empty() || named == tried, "{verb}: its help names {named:?}, and tried are {tried:?}");
    }
}

/// The codes that a help text names: each begins a part of the sentence `Exit codes: `.
fn named(help: &str) -> BTreeSet<i32> {
    let Some((_, codes)) = help.split_once("Exit codes: ") else { return BTreeSet::new() };
    codes.split("; ").filter_map(|part| part.split_whitespace().next()?.parse().ok()).collect()
}

#[test]
fn resolve_ends_with_every_code_and_the_graver_wins() {
    let (scene, loopback) = (Scene::new(&[]), Loopback::new());
    loopback.configure(&scene, &[]);
    let runs: [(i32, &[&str]); 7] = [
        (0, &["--config", "config.yaml", GOOD]),
        (1, &["--config", "config.yaml", "nginx"]),
        (1, &["--config", "config.yaml", OPEN, "nginx"]),
        (1, &["--config", "config.yaml", "nginx", OPEN]),
        (2, &["--config", "nowhere.yaml", "nginx"]),
        (3, &["--config", "config.yaml", OPEN]),
        (3, &["--config", "config.yaml", GOOD, OPEN]),
    ];
    for (code, arguments) in runs {
        let ran = scene.run(&[&["resolve"], arguments].concat());
        assert_eq!(ran.code, code, "{arguments:?}: {ran:?}");
    }
    let named = named(&scene.run(&["resolve", "--help"]).stdout);
    assert_eq!(named, runs.iter().map(|(code, _)| *code).collect());
}
