//! The engine's data cases: every folder of tests/cases.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use tagwarden::document::{Node, Source, Value, parse};
use tagwarden::image::Reference;
use tagwarden::policy::{
    Facts, FieldPath, Finding, ImageUse, Labels, List, NoPolicy, NonCanonicalHost, Pinning, PolicySet, Releases,
    Request, Settings, Snapshots, Stage, Verdict, decide,
};
use tagwarden::release::Release;

use crate::cases_facts::Registry;

#[test]
fn every_case_gets_the_verdict_it_expects() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut seen = 0;
    let mut failures = Vec::new();
    for entry in fs::read_dir(root).unwrap() {
        let folder = entry.unwrap().path();
        if folder.is_dir() {
            seen += run(&folder, &mut failures);
        }
    }
    assert!(failures.is_empty(), "{} of {seen} cases differ:\n{}", failures.len(), failures.join("\n"));
    assert!(seen > 150, "only {seen} cases were found");
}

fn run(folder: &Path, failures: &mut Vec<String>) -> usize {
    let policy = fs::read_to_string(folder.join("policy.yaml")).unwrap();
    let text = Registry::spelled_out(&fs::read_to_string(folder.join("cases.yaml")).unwrap());
    let (documents, problems) = parse(&Source::new("cases.yaml", &text));
    assert_eq!(problems, vec![], "{}", folder.display());
    let file = &documents[0].root;
    let cases = file.get("cases").and_then(Node::as_list).expect("a list of cases");
    for case in cases {
        known_keys(case, folder);
        let settings = settings(&[file, case]);
        let set = PolicySet::compile(&[("policy.yaml", policy.as_str())], settings).unwrap();
        let releases = releases(folder, case.get("releases").or(file.get("releases")));
        if let Err(difference) = check(&set, &releases, file, case) {
            failures.push(format!("{}: {}: {difference}", folder.display(), &text[case.span.clone()]));
        }
    }
    cases.len()
}

/// A misspelt key would be an expectation that nobody checks.
fn known_keys(case: &Node, folder: &Path) {
    let Value::Map(entries) = &case.value else { panic!("{}: a case is a map", folder.display()) };
    for entry in entries {
        let known = [
            "image",
            "images",
            "unknownKind",
            "internalFailure",
            "namespace",
            "clusterScoped",
            "now",
            "settings",
            "expect",
            "ids",
            "not",
            "message",
            "use",
            "rule",
            "exception",
            "class",
            "policies",
            "registry",
            "stage",
            "template",
            "proven",
            "asks",
            "pinned",
            "told",
            "name",
            "suggests",
            "note",
            "check",
            "releases",
            "release",
            "beside",
        ];
        assert!(known.contains(&entry.key.as_str()), "{}: unknown key {}", folder.display(), entry.key);
    }
}

fn settings(nodes: &[&Node]) -> Settings {
    let mut settings = Settings::default();
    for node in nodes.iter().filter_map(|node| node.get("settings")) {
        let Value::Map(entries) = &node.value else { panic!("settings is a map") };
        for entry in entries {
            let word = entry.value.as_str().unwrap_or_default();
            let number = || match entry.value.value {
                Value::Int(number) => usize::try_from(number).unwrap(),
                _ => panic!("{} is a number", entry.key),
            };
            match entry.key.as_str() {
                "maxMode" => settings.max_mode = word.parse().unwrap(),
                "noPolicy" => settings.no_policy = word.parse::<NoPolicy>().unwrap(),
                "nonCanonicalHost" => settings.non_canonical_host = word.parse::<NonCanonicalHost>().unwrap(),
                "maxImages" => settings.max_images = number(),
                "maxReferenceBytes" => settings.max_reference_bytes = number(),
                other => panic!("unknown setting {other}"),
            }
        }
    }
    settings
}

/// The releases of these files of the folder; the first governs every namespace.
fn releases(folder: &Path, files: Option<&Node>) -> Releases {
    let names: Vec<&str> = files.and_then(Node::as_list).unwrap_or_default().iter().filter_map(Node::as_str).collect();
    let text = |name: &&str| Registry::spelled_out(&fs::read_to_string(folder.join(name)).unwrap());
    let texts: Vec<(&str, String)> = names.iter().map(|name| (*name, text(name))).collect();
    let Some((name, text)) = texts.first() else { return Releases::default() };
    let current = Release::read(name, text).unwrap();
    Releases::everywhere(current.name(), Snapshots::read(&texts).unwrap())
}

fn check(set: &PolicySet, releases: &Releases, file: &Node, case: &Node) -> Result<(), String> {
    let text = |key: &str| case.get(key).and_then(Node::as_str);
    let namespace = text("namespace").unwrap_or("default");
    let labels = file.get("namespaces").and_then(|n| n.get(namespace)).map(labels);
    let now = text("now").or(file.get("now").and_then(Node::as_str)).unwrap_or("2026-01-01T00:00:00Z");
    let unchanged: Vec<&str> =
        case.get("beside").and_then(Node::as_list).unwrap_or_default().iter().filter_map(Node::as_str).collect();
    let beside: Vec<ImageUse<'_>> = unchanged
        .iter()
        .map(|image| ImageUse {
            list: List::Containers,
            container: Some("beside"),
            field: FieldPath::Literal("beside".into()),
            image,
            reference: Reference::parse(image),
            pin_proven: false,
        })
        .collect();
    let request = Request {
        kind: "Pod",
        namespace: case.get("clusterScoped").is_none().then_some(namespace),
        name: "x",
        namespace_labels: labels.as_ref(),
        is_pod: case.get("template").is_none(),
        environment: None,
        beside: &beside,
        governed: releases.govern(case.get("clusterScoped").is_none().then_some(namespace), labels.as_ref()),
        stage: stage(text("stage").unwrap_or("admission")),
        now: now.parse::<jiff::Timestamp>().unwrap().as_second(),
    };
    let images: Vec<&str> = match case.get("images") {
        Some(list) => list.as_list().unwrap().iter().filter_map(Node::as_str).collect(),
        None => text("image").into_iter().collect(),
    };
    let uses: Vec<ImageUse<'_>> = images
        .iter()
        .enumerate()
        .map(|(index, image)| ImageUse {
            list: List::Containers,
            container: Some("c"),
            field: FieldPath::PodSpec { spec: "spec".into(), list: List::Containers, index: index as u32 },
            image,
            reference: Reference::parse(image),
            pin_proven: case.get("proven").is_some(),
        })
        .collect();
    let verdict = match (text("unknownKind"), text("internalFailure")) {
        (Some(kind), _) => decide(set.plan_unknown_kind(&request, kind), &[], &Facts::default()),
        (_, Some(message)) => Verdict::internal_failure(set.settings().max_mode, message.to_owned()),
        _ => {
            let plan = set.plan(&request, &uses);
            let registry = Registry::of(case.get("registry").or(file.get("registry")));
            let facts = registry.facts(&plan);
            if let Some(Value::Int(asks)) = case.get("asks").map(|node| &node.value)
                && registry.asked() as i64 != *asks
            {
                return Err(format!("{} lookups were asked", registry.asked()));
            }
            assert_eq!(plan.needs_facts(), registry.asked() > 0, "a plan that needs facts asks for some");
            decide(plan, &uses, &facts)
        }
    };
    compare(case, &verdict)
}

fn stage(word: &str) -> Stage {
    match word {
        "mutation" => Stage::Mutation,
        "admission" => Stage::Admission,
        "command" => Stage::Command,
        "offline" => Stage::Offline,
        other => panic!("unknown stage {other}"),
    }
}

fn labels(node: &Node) -> Labels {
    let Value::Map(entries) = &node.value else { panic!("labels are a map") };
    entries.iter().map(|e| (e.key.clone(), e.value.as_str().unwrap().to_owned())).collect::<BTreeMap<_, _>>()
}

fn compare(case: &Node, verdict: &Verdict<'_>) -> Result<(), String> {
    let text = |key: &str| case.get(key).and_then(Node::as_str);
    let list = |key: &str| -> Vec<&str> {
        case.get(key).and_then(Node::as_list).unwrap_or_default().iter().filter_map(Node::as_str).collect()
    };
    let findings: Vec<&Finding<'_>> = verdict.findings().collect();
    let ids: Vec<&str> = findings.iter().map(|finding| finding.id.code()).collect();
    let decision = verdict.decision.name();
    let same = |what: &str, expected: Option<&str>, seen: Option<&str>| match expected {
        Some(expected) if seen != Some(expected) => Err(format!("{what} is {seen:?}")),
        _ => Ok(()),
    };
    same("the decision", Some(text("expect").expect("a case has 'expect'")), Some(decision))?;
    if ids != list("ids") {
        return Err(format!("the findings are {findings:?}"));
    }
    assert!(list("not").iter().all(|id| !ids.contains(id)), "'not' contradicts 'ids'");
    if let Some(part) = text("message") {
        let message = findings.first().map(|finding| finding.message.as_str()).unwrap_or_default();
        if !message.contains(part) {
            return Err(format!("the message is {message:?}"));
        }
    }
    same("the suggestion", text("use"), findings.first().and_then(|f| f.use_instead.as_deref()))?;
    same("the exception", text("exception"), findings.first().and_then(|f| f.exception))?;
    if text("suggests") == Some("nothing") && findings.iter().any(|finding| finding.use_instead.is_some()) {
        return Err(format!("something is suggested: {findings:?}"));
    }
    let release = verdict.release.map_or("none", |one| one.release.name());
    same("the release", text("release"), text("release").map(|_| release))?;
    same("the check", text("check"), findings.first().map(|f| f.check.name()))?;
    let image = verdict.images.first();
    let (written, told) = match image.map(|image| &image.pin) {
        Some(Pinning::Write(digest)) => (Some(digest.as_str()), None),
        Some(Pinning::Told(digest)) => (None, Some(digest.as_str())),
        _ => (None, None),
    };
    if (written, told) != (text("pinned"), text("told")) {
        return Err(format!("the pin is {written:?}, told {told:?}"));
    }
    let notes: Vec<&str> = verdict.images.iter().flat_map(|image| &image.notes).map(String::as_str).collect();
    if notes.first().copied() != text("note") {
        return Err(format!("the notes are {notes:?}"));
    }
    same("the class", text("class"), image.and_then(|image| image.class))?;
    same("the rule", text("rule"), image.and_then(|image| image.applied.first()).and_then(|a| a.rule))?;
    if let Some(Value::Int(count)) = case.get("policies").map(|node| &node.value)
        && verdict.policies.len() as i64 != *count
    {
        return Err(format!("the policies are {:?}", verdict.policies));
    }
    for finding in &findings {
        if !finding.message.bytes().all(|b| (b' '..=b'~').contains(&b)) {
            return Err(format!("a message is not printable ASCII: {:?}", finding.message));
        }
    }
    Ok(())
}
