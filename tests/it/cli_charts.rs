//! `check` and `explain` over what `helm template` prints of well-known charts: each image judged, no object passed over.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::cli_support::{Ran, Scene};

/// Object, container, image and finding: a line of a table.
type Row = [String; 4];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/charts")
}

/// Name, text and table of each chart.
fn charts() -> Vec<(String, String, Vec<Row>)> {
    let names = fs::read_dir(folder()).unwrap().filter_map(|entry| {
        let name = entry.unwrap().file_name().into_string().unwrap();
        name.strip_suffix(".tsv").map(str::to_owned)
    });
    let read = |name: &str, end: &str| fs::read_to_string(folder().join(format!("{name}.{end}"))).unwrap();
    let row = |line: &str| -> Row {
        line.split('\t').map(str::to_owned).collect::<Vec<_>>().try_into().expect("object, container, image, finding")
    };
    let mut charts: Vec<_> = names
        .map(|name| {
            let (text, table) = (read(&name, "yaml"), read(&name, "tsv").lines().map(row).collect());
            (name, text, table)
        })
        .collect();
    charts.sort();
    charts
}

/// The objects of a text, counted without reading YAML: documents with more than comments, and the items of lists.
fn objects(text: &str) -> u64 {
    let mut documents = vec![Vec::new()];
    for line in text.lines() {
        match line.trim_end() {
            "---" => documents.push(Vec::new()),
            blank if blank.is_empty() || blank.starts_with('#') => {}
            written => documents.last_mut().unwrap().push(written),
        }
    }
    let count =
        |document: &Vec<&str>| match document.iter().any(|line| line.starts_with("kind: ") && line.ends_with("List")) {
            true => document.iter().filter(|line| line.starts_with("- apiVersion: ")).count(),
            false => usize::from(!document.is_empty()),
        };
    documents.iter().map(count).sum::<usize>() as u64
}

fn run(arguments: &[&str], input: &str) -> Ran {
    use std::io::Write as _;

    let mut command = Scene::new(&[]).command(arguments);
    let mut child = command.current_dir(folder()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    // A binary that reads a file closes it.
    let writer = std::thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    let ran = Ran::from(child.wait_with_output().unwrap());
    writer.join().unwrap();
    ran
}

const CHECK: &[&str] = &["check", "--policies", "policies", "--facts", "facts.yaml", "--format", "json"];
const EXPLAIN: &[&str] = &["explain", "--policies", "policies", "--facts", "facts.yaml", "--format", "json", "-f"];
const CONFIG: &[&str] = &["--config", "config.yaml"];

/// Kinds that hold images only for those whom `config.yaml` tells.
const CONFIGURED: [&str; 5] = ["Prometheus", "Alertmanager", "Service", "Image", "ScaledJob"];

fn rows(list: &Value, id: impl Fn(&Value) -> String) -> Vec<Row> {
    let row = |found: &Value| {
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        let object = &found["object"];
        let named = format!("{} {}/{}", text(&object["kind"]), text(&object["namespace"]), text(&object["name"]));
        [named, text(&found["container"]), text(&found["image"]), id(found)]
    };
    list.as_array().unwrap().iter().map(row).collect()
}

/// Objects judged, and kinds that were not, with how many there are of each.
fn accounted(report: &Value) -> (u64, BTreeMap<String, u64>) {
    let summary = &report["summary"];
    let skipped = serde_json::from_value(summary["skippedKinds"].clone()).unwrap();
    for empty in ["noManifest", "infrastructureNamespaces", "uncoveredNamespaces", "deferredImages"] {
        assert_eq!(summary[empty].as_array().map(Vec::len), Some(0), "{empty}");
    }
    (summary["objects"].as_u64().unwrap(), skipped)
}

#[test]
fn every_image_of_every_chart_is_judged_and_every_object_accounted_for() {
    let charts = charts();
    assert!(charts.len() >= 10, "{}", charts.len());
    for (name, text, table) in charts {
        let file = format!("{name}.yaml");
        let mut wrong: Vec<Row> = table.iter().filter(|row| row[3] != "-").cloned().collect();
        wrong.sort();
        let by_file = run(&[CHECK, CONFIG, &[&file]].concat(), "");
        let by_stdin = run(&[CHECK, CONFIG, &["-"]].concat(), &text);
        assert_eq!((by_file.code, by_file.stderr.as_str()), (i32::from(!wrong.is_empty()), ""), "{name}");
        assert_eq!(by_file, by_stdin, "{name}: findings name the template, wherever it came from");

        let report = by_file.json();
        let mut found = rows(&report["findings"], |finding| finding["id"].as_str().unwrap().to_owned());
        found.sort();
        assert_eq!(found, wrong, "{name}");
        assert_eq!(report["summary"]["images"].as_u64(), Some(table.len() as u64), "{name}");
        let (judged, skipped) = accounted(&report);
        assert_eq!(
            judged + skipped.values().sum::<u64>(),
            objects(&text),
            "{name}: {judged} judged, skipped {skipped:?}"
        );

        for finding in report["findings"].as_array().unwrap() {
            let line = text.lines().nth(finding["line"].as_u64().unwrap() as usize - 1).unwrap();
            let image = finding["image"].as_str().unwrap();
            let at = line.chars().skip(finding["column"].as_u64().unwrap() as usize - 1).collect::<String>();
            assert!(at.trim_start_matches(['"', '\'']).starts_with(image), "{name}: {image} at {line}");
            assert!(text.contains(&format!("# Source: {}\n", finding["file"].as_str().unwrap())), "{name}: {finding}");
        }
        let explained = run(&[EXPLAIN, &[&file], CONFIG].concat(), "");
        assert_eq!((explained.code, explained.stderr.as_str()), (by_file.code, ""), "{name}");
        let ids = |image: &Value| match image["policies"][0]["findings"][0]["id"].as_str() {
            Some(id) => id.to_owned(),
            None => "-".to_owned(),
        };
        assert_eq!(rows(&explained.json()["images"], ids), table, "{name}: each image explained, in order");
    }
}

#[test]
fn custom_resources_are_counted_by_kind_until_the_configuration_tells_of_their_images() {
    let (mut custom, mut seen) = (0, BTreeMap::new());
    for (name, text, table) in charts() {
        let with = accounted(&run(&[CHECK, CONFIG, &["-"]].concat(), &text).json());
        let report = run(&[CHECK, &["-"]].concat(), &text).json();
        let without = accounted(&report);
        let kind = |row: &Row| row[0].split(' ').next().unwrap().to_owned();
        let mut objects: Vec<_> =
            table.iter().filter(|row| CONFIGURED.contains(&kind(row).as_str())).map(|row| &row[0]).collect();
        let images = table.len() - objects.len();
        objects.dedup();
        assert_eq!(without.0 + objects.len() as u64, with.0, "{name}");
        assert_eq!(report["summary"]["images"].as_u64(), Some(images as u64), "{name}");
        for object in &objects {
            let kind = object.split(' ').next().unwrap();
            let more = without.1.get(kind).copied().unwrap_or(0) - with.1.get(kind).copied().unwrap_or(0);
            assert_eq!(more, 1, "{name}: {kind} is counted: {without:?}");
            seen.insert(kind.to_owned(), ());
        }
        custom += objects.len();
        assert_eq!(without.0 + without.1.values().sum::<u64>(), self::objects(&text), "{name}");
    }
    assert_eq!((custom, seen.len()), (CONFIGURED.len(), CONFIGURED.len()), "each configured kind occurs: {seen:?}");
}
