//! Who may name whom: the layers of docs/ARCHITECTURE.md as one table, the engine's absences, and crates with an owner.
//!
//! Paths are read after comments and literals are blanked. The table of layers holds for unit tests too: one that needs a
//! higher layer belongs in tests/it. The other two rules are about the program: a unit test of the engine may read a file.

use super::Problems;
use super::code::{Path, paths};
use super::tree::File;

/// Every top-level module and the modules of ours that it may name. A new module needs a row.
const LAYERS: &[(&str, &[&str])] = &[
    // the engine
    ("image", &[]),
    ("document", &[]),
    ("release", &["image", "document"]),
    ("policy", &["image", "document", "release"]),
    ("review", &["image", "document", "policy", "release"]),
    // leaves of the shell: they know the engine's types at most
    ("metrics", &["policy"]),
    ("watch", &[]),
    ("certs", &[]),
    ("history", &["image", "policy"]),
    ("cluster", &["policy", "release", "history"]),
    ("registry", &["image", "policy", "metrics"]),
    // the shell
    ("config", &["image", "document", "release", "policy", "review", "registry"]),
    ("telemetry", &["policy", "review", "config"]),
    (
        "server",
        &[
            "image",
            "document",
            "release",
            "policy",
            "review",
            "metrics",
            "registry",
            "telemetry",
            "watch",
            "certs",
            "history",
            "cluster",
            "config",
        ],
    ),
    ("cli", ALL_BUT_CLI),
];

const ENGINE: &[&str] = &["image", "document", "release", "policy", "review"];

const ALL_BUT_CLI: &[&str] = &[
    "image",
    "document",
    "release",
    "policy",
    "review",
    "metrics",
    "registry",
    "telemetry",
    "watch",
    "certs",
    "history",
    "cluster",
    "config",
    "server",
];

/// Names that must not occur in the engine.
const IMPURE_NAMES: &[&str] = &[
    "tokio",
    "axum",
    "hyper",
    "kube",
    "tracing", // crates
    "SystemTime",
    "Instant", // clocks
    "TcpListener",
    "TcpStream",
    "UdpSocket",
    "ToSocketAddrs", // of std::net only the addresses are plain data
];

/// Modules of the standard library that must not occur in the engine.
const IMPURE_MODULES: &[&str] = &["env", "fs", "io::stdin", "process", "thread"];

/// Crates that only one place names: `(path, owner)`, the owner as a path below src.
const OWNED: &[(&[&str], &str)] = &[
    (&["kube"], "cluster"),
    (&["k8s_openapi"], "cluster"),
    (&["prometheus"], "metrics"),
    (&["hyper_util", "client"], "registry/client"),
    (&["h2"], "registry/client"),
];

/// The top-level module of a source file; none for main.rs and lib.rs, which may name everything.
fn module_of(path: &str) -> Option<&str> {
    let name = path.split('/').next()?.trim_end_matches(".rs");
    (name != "main" && name != "lib").then_some(name)
}

/// The modules of ours that the file names and may not.
pub(super) fn imports(file: &File) -> Problems {
    let Some(path) = file.in_src() else { return Vec::new() };
    let Some(module) = module_of(path) else { return Vec::new() };
    let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == module) else { return Vec::new() };
    let named = paths(&file.code()).into_iter().filter_map(|found| Some((found.line, ours(path, &found)?)));
    named
        .filter(|(_, name)| name != module && !allowed.contains(&name.as_str()))
        .map(|(line, name)| {
            format!("{}:{line}: module {module} names crate::{name}; it may name: {}", file.path, allowed.join(", "))
        })
        .collect()
}

/// The top-level module of ours that a path leads to, by `crate::` or by enough `super::`.
fn ours(file: &str, path: &Path) -> Option<String> {
    let mut segments = path.segments.iter().map(String::as_str).peekable();
    if segments.peek() == Some(&"crate") {
        let name = segments.nth(1)?;
        // A glob or a bare `crate` would hide what is named.
        return Some(name.to_owned());
    }
    let depth = file.split('/').count() + path.inline_modules;
    let supers = path.segments.iter().take_while(|segment| *segment == "super").count();
    let name = path.segments.get(supers)?;
    (supers > 0 && supers == depth && LAYERS.iter().any(|(module, _)| module == name)).then(|| name.clone())
}

/// Modules without a row in the table, and rows without a module.
pub(super) fn unlisted(files: &[File]) -> Problems {
    let mut modules: Vec<_> = files.iter().filter_map(|file| module_of(file.in_src()?)).collect();
    modules.sort_unstable();
    modules.dedup();
    let without_row = modules.iter().filter(|module| !LAYERS.iter().any(|(name, _)| name == *module));
    let without_module = LAYERS.iter().filter(|(name, _)| !modules.contains(name));
    let missing = without_row.map(|module| format!("src/{module}.rs: no row in LAYERS; say there what it may name"));
    let stale =
        without_module.map(|(name, _)| format!("LAYERS has a row for '{name}', which is no module; take it out"));
    missing.chain(stale).collect()
}

/// What the engine's code names beyond its arguments.
pub(super) fn engine_is_pure(file: &File) -> Problems {
    let Some(module) = file.in_src().and_then(module_of).filter(|module| ENGINE.contains(module)) else {
        return Vec::new();
    };
    let (code, _unit_tests) = file.program_and_tests();
    let found = paths(&code).into_iter().filter_map(|path| Some((path.line, impure(&path.segments)?)));
    found
        .map(|(line, name)| {
            format!("{}:{line}: {module} names {name}; the engine gets such things as arguments", file.path)
        })
        .collect()
}

/// The part of a path that leads out of the engine.
fn impure(segments: &[String]) -> Option<String> {
    if let Some(name) = segments.iter().find(|segment| IMPURE_NAMES.contains(&segment.as_str())) {
        return Some(name.clone());
    }
    let path = segments.join("::");
    if segments.len() > 1 && path.ends_with("::now") {
        return Some(path);
    }
    let module = path.strip_prefix("std::")?;
    IMPURE_MODULES.iter().any(|name| module == *name || module.starts_with(&format!("{name}::"))).then_some(path)
}

/// Crates that are named outside of the one place that owns them.
pub(super) fn owned_crates(file: &File) -> Problems {
    let Some(path) = file.in_src() else { return Vec::new() };
    let (code, _unit_tests) = file.program_and_tests();
    let mut problems = Vec::new();
    for found in paths(&code).iter().filter(|found| found.imported || found.segments.len() > 1) {
        for (name, owner) in OWNED {
            let names_it = found.segments.iter().zip(*name).filter(|(a, b)| a == *b).count() == name.len();
            let at_home = path.strip_prefix(owner).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'));
            if names_it && !at_home {
                let name = name.join("::");
                problems.push(format!("{}:{}: {name} is named; only src/{owner} may", file.path, found.line));
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::{File, Problems, engine_is_pure, imports, owned_crates, unlisted};

    fn problems(rule: fn(&File) -> Problems, path: &str, text: &str) -> usize {
        rule(&File::new(path, text)).len()
    }

    #[test]
    fn a_module_names_what_lies_below_it_only() {
        let bad = [
            ("src/image.rs", "use crate::policy::Plan;"),
            ("src/image/tag.rs", "fn f() { crate::policy::decide() }"),
            ("src/policy/plan.rs", "use crate::{image::Tag, review};"),
            ("src/policy/plan.rs", "use super::super::review;"),
            ("src/policy.rs", "mod tests { use super::super::review::read; }"),
            ("src/document.rs", "use super::cli;"),
            ("src/server/admit.rs", "use crate::cli;"),
            ("src/review.rs", "use crate::*;"),
        ];
        for (path, text) in bad {
            assert_eq!(problems(imports, path, text), 1, "{path}: {text}");
        }
        let good = [
            ("src/policy/plan.rs", "use crate::{image::Tag, policy::Mode};"),
            ("src/policy/plan.rs", "// crate::review\nuse super::review;\nconst A: &str = \"crate::cli\";"),
            ("src/policy.rs", "mod tests { use super::image; }"),
            ("src/cli/serve.rs", "use crate::server::run;"),
            ("src/main.rs", "use crate::cli;"),
            ("tests/it/main.rs", "use crate::anything;"),
        ];
        for (path, text) in good {
            assert_eq!(problems(imports, path, text), 0, "{path}: {text}");
        }
    }

    #[test]
    fn a_new_module_needs_a_row_and_a_row_its_module() {
        let all: Vec<File> = super::LAYERS
            .iter()
            .map(|(name, _)| File::new(&format!("src/{name}.rs"), ""))
            .chain([File::new("src/main.rs", "")])
            .collect();
        assert_eq!(unlisted(&all), Problems::new());
        assert_eq!(unlisted(&all[1..]).len(), 1);
        let new = File::new("src/brand_new/part.rs", "");
        assert_eq!(unlisted(&all.into_iter().chain([new]).collect::<Vec<_>>()).len(), 1);
    }

    #[test]
    fn the_engine_reaches_for_nothing() {
        let bad = [
            "use std::{fmt, fs};",
            "let x = std::env::var();",
            "use std::net::{IpAddr, TcpStream};",
            "use std::time::{Duration, Instant};",
            "fn f(at: SystemTime) {}",
            "let now = jiff::Timestamp::now();",
            "tracing::info!();",
            "async fn f() { tokio::spawn(x) }",
        ];
        for text in bad {
            assert_eq!(problems(engine_is_pure, "src/policy/plan.rs", text), 1, "{text}");
            assert_eq!(problems(engine_is_pure, "src/server.rs", text), 0, "{text}");
        }
        let good = [
            "use std::fmt; // no tokio",
            "use std::net::{IpAddr, Ipv4Addr}; use std::time::Duration;",
            "let now = request.now; let instant = kubectl;",
            "const A: &str = \"std::fs\";",
            "#[cfg(test)]\nmod tests { fn f() { std::fs::read_to_string(x); } }",
        ];
        for text in good {
            assert_eq!(problems(engine_is_pure, "src/policy/plan.rs", text), 0, "{text}");
        }
    }

    #[test]
    fn a_crate_is_named_by_its_owner() {
        let (kube, client) = ("use kube::Api;", "use hyper_util::{client::legacy, rt};");
        assert_eq!(problems(owned_crates, "src/server/admit.rs", kube), 1);
        assert_eq!(problems(owned_crates, "src/server/admit.rs", &format!("#[cfg(test)]\nmod tests {{ {kube} }}")), 0);
        assert_eq!(problems(owned_crates, "src/cluster.rs", kube), 0);
        assert_eq!(problems(owned_crates, "src/cluster/labels.rs", kube), 0);
        assert_eq!(problems(owned_crates, "src/clusters.rs", kube), 1);
        assert_eq!(problems(owned_crates, "src/server.rs", client), 1);
        assert_eq!(problems(owned_crates, "src/registry/client.rs", client), 0);
        assert_eq!(problems(owned_crates, "src/server.rs", "use hyper_util::rt; fn f(kube: u8) { kube }"), 0);
        assert_eq!(problems(owned_crates, "src/server.rs", "prometheus::Counter::new()"), 1);
    }
}
