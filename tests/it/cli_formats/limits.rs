//! What a host shows only so much of: annotations of a step on GitHub, characters of a comment.

use super::{check, scene};
use crate::cli_support::Scene;

/// A scene with a file of so many denied Pods.
fn many(number: usize) -> Scene {
    let scene = scene();
    let pod = |number: usize| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: p{number}, namespace: shop}}\n\
             spec: {{containers: [{{name: c, image: 'registry.example.com/acme/api:main'}}]}}\n---\n"
        )
    };
    scene.write("many.yaml", (0..number).map(pod).collect::<String>().as_bytes());
    scene
}

#[test]
fn annotations_past_the_tenth_are_lines_of_the_log() {
    let scene = many(12);
    let ran = check(&scene, &["--format", "github", "deploy/others.yaml", "many.yaml"]);
    let commands = ran.stdout.lines().filter(|line| line.starts_with("::error ")).count();
    assert_eq!(commands, 10);
    assert_eq!(ran.stdout.lines().filter(|line| line.starts_with("::warning ")).count(), 2);
    let rest: Vec<_> = ran.stdout.lines().skip_while(|line| !line.starts_with("error[")).collect();
    assert_eq!(rest.iter().filter(|line| line.starts_with("error[TW120] many.yaml:")).count(), 4, "{rest:?}");
    assert_eq!(rest[4], "4 more, in the lines above: a step has at most 10 annotations of each level");
    assert!(rest[5].starts_with("checked 2 files, 17 objects"), "{}", rest[5]);
    let few = check(&scene, &["--format", "github", "deploy/checkout.yaml"]);
    assert!(!few.stdout.contains("more, in the lines above"));
}

#[test]
fn a_comment_is_never_longer_than_one_may_be() {
    let scene = many(2000);
    let ran = check(&scene, &["--format", "markdown", "many.yaml"]);
    assert!(ran.stdout.len() <= 65_536, "{}", ran.stdout.len());
    assert!(ran.stdout.len() > 50_000, "and makes use of it: {}", ran.stdout.len());
    let number = |what: &str| -> usize {
        let line = ran.stdout.lines().find(|line| line.contains(what)).unwrap();
        line.split(' ').next().unwrap().parse().unwrap()
    };
    let rows = ran.stdout.lines().filter(|line| line.starts_with("| :x: error")).count();
    assert_eq!(rows + number("more rows are left out"), 2000);
    let details = ran.stdout.lines().filter(|line| line.starts_with("**TW120**")).count();
    assert_eq!(details + number("more findings are left out"), 2000);
    assert!(ran.stdout.ends_with("</details>\n"), "what is folded away ends");
    let few = check(&scene, &["--format", "markdown", "deploy/checkout.yaml"]);
    assert!(!few.stdout.contains("left out"));
}

#[test]
fn the_gravest_come_first_in_a_comment() {
    let scene = scene();
    let ran = check(&scene, &["--format", "markdown", "deploy"]);
    let levels: Vec<_> = ran.stdout.lines().filter_map(|line| line.strip_prefix("| :")?.split(':').next()).collect();
    let grave = |level: &&str| ["x", "warning", "information_source"].iter().position(|known| known == level).unwrap();
    assert!(levels.iter().map(grave).is_sorted() && levels.len() > 5, "{levels:?}");
}
