//! Properties of the readers in this module, each held against a second description of the same thing.

use super::*;
use proptest::prelude::*;
use proptest::string::string_regex;
use regex::Regex;
use std::sync::LazyLock;

const COMPONENT: &str = "[a-z0-9]+(?:(?:[.]|_|__|-+)[a-z0-9]+)*";
const LABEL: &str = "[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?";
const PORT: &str = ":[0-9]+";
const TAG: &str = "[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}";
const DIGEST: &str = "sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128}";

/// The grammar as one regular expression. A host without `.`, `:` or upper-case letter is a component of the path, and
/// every such host is one, so the two need no telling apart; in brackets one of them must occur.
fn grammar() -> String {
    let name = format!("{LABEL}(?:[.]{LABEL})*(?:{PORT})?");
    let brackets = "\\[(?:[0-9a-f]*[A-F:][0-9A-Fa-f:]*\\](?:{PORT})?|[0-9a-f]+\\]{PORT})".replace("{PORT}", PORT);
    format!("(?:(?:{name}|{brackets})/)?{COMPONENT}(?:/{COMPONENT})*(?::{TAG})?(?:@(?:{DIGEST}))?")
}

/// The same with few repetitions, so that generating takes microseconds; mutation adds the long ones.
fn small_grammar() -> String {
    let small = grammar().replace('*', "{0,3}").replace('+', "{1,3}").replace("{0,127}", "{0,9}");
    small
        .replace("[0-9a-f]{64}", "(?:0a){32}")
        .replace("[0-9a-f]{96}", "(?:1b){48}")
        .replace("[0-9a-f]{128}", "(?:2c){64}")
}

static GRAMMAR: LazyLock<Regex> = LazyLock::new(|| Regex::new(&format!("\\A(?:{})\\z", grammar())).unwrap());

/// What the regular expression cannot say: no image id, and at most 255 bytes of path.
fn accepted(text: &str) -> bool {
    let is_id = text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let name = text.split_once('@').map_or(text, |(name, _)| name);
    let path = match name.split_once('/') {
        None => format!("library/{}", name.split(':').next().unwrap_or_default()),
        Some((host, path)) => {
            let is_host = host == "localhost" || host.contains(['.', ':']) || host != host.to_ascii_lowercase();
            let path = if is_host && !host.contains('_') { path } else { name };
            let path = path.split(':').next().unwrap_or_default();
            let library = matches!(host, "docker.io" | "index.docker.io") && !path.contains('/');
            if library { format!("library/{path}") } else { path.to_owned() }
        }
    };
    !is_id && GRAMMAR.is_match(text) && path.len() <= 255
}

/// Pieces that the grammar gives a meaning to.
fn piece() -> impl Strategy<Value = String> {
    const WORDS: &[&str] = &[
        "/",
        ":",
        "@",
        ".",
        "-",
        "_",
        "__",
        "--",
        "a",
        "Z",
        "0",
        "f",
        "[",
        "]",
        "::1",
        ":443",
        "localhost",
        "docker.io/",
        "index.docker.io",
        "library/",
        "sha256:",
        "latest",
        "v1.2.3",
        "env-prod",
        " ",
        "\n",
        "é",
        "\u{212a}",
        "%",
        "*",
        "**",
    ];
    prop_oneof![
        8 => proptest::sample::select(WORDS).prop_map(str::to_owned),
        1 => Just("0a".repeat(32)),
        1 => Just("a".repeat(130)),
        1 => any::<char>().prop_map(String::from),
    ]
}

/// References, and what becomes of them by a few changes.
fn nearly_reference() -> impl Strategy<Value = String> {
    let changes = proptest::collection::vec((any::<proptest::sample::Index>(), 0..3u8, piece()), 0..4);
    let start = prop_oneof![
        3 => string_regex(&small_grammar()).unwrap(),
        1 => proptest::collection::vec(piece(), 0..8).prop_map(|pieces| pieces.concat()),
    ];
    (start, changes).prop_map(|(start, changes)| {
        let mut characters: Vec<char> = start.chars().collect();
        for (index, change, piece) in changes {
            let at = index.index(characters.len() + 1);
            let removed = usize::from(change > 0 && at < characters.len());
            let inserted = if change < 2 { piece } else { String::new() };
            characters.splice(at..at + removed, inserted.chars());
        }
        characters.into_iter().collect()
    })
}

/// Everything that reads text here; the point is that it returns.
fn read_all(text: &str) {
    if let Ok(reference) = Reference::parse(text) {
        let mut name = String::new();
        reference.write_name(&mut name);
        assert_eq!(reference.name(), name);
        reference.refusals().iter().count();
        reference.tag_facts();
    }
    let _ = (Digest::parse(text), ImageGlob::parse_with_tag(text), NameGlob::parse(text), TagFacts::of(text));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in nearly_reference()) {
        read_all(&String::from_utf8_lossy(&bytes));
        read_all(&text);
    }

    #[test]
    fn accepts_what_the_grammar_generates(text in string_regex(&small_grammar()).unwrap()) {
        prop_assert_eq!(Reference::parse(&text).is_ok(), accepted(&text), "{}", text);
    }

    #[test]
    fn accepts_exactly_the_grammar(text in nearly_reference()) {
        prop_assert_eq!(Reference::parse(&text).is_ok(), accepted(&text), "{}", text);
    }

    #[test]
    fn printing_and_parsing_again_changes_nothing(text in nearly_reference()) {
        let Ok(reference) = Reference::parse(&text) else { return Ok(()) };
        let printed = reference.to_string();
        let again = Reference::parse(&printed).unwrap();
        prop_assert_eq!(again.registry(), reference.registry());
        prop_assert_eq!(again.canonical_registry(), reference.canonical_registry());
        prop_assert_eq!(again.repository(), reference.repository());
        prop_assert_eq!(again.tag(), reference.tag());
        prop_assert_eq!(again.digest(), reference.digest());
        prop_assert_eq!(again.to_string(), printed);
    }

    #[test]
    fn a_canonical_registry_is_its_own(text in nearly_reference()) {
        let Ok(reference) = Reference::parse(&text) else { return Ok(()) };
        let registry = reference.canonical_registry();
        prop_assert_eq!(host::canonical(&registry), &*registry);
        prop_assert!(!host::refusals(&registry).contains(Refusal::NonCanonicalHost));
    }

    #[test]
    fn errors_name_a_place_and_suggestions_parse(text in nearly_reference()) {
        let Err(error) = Reference::parse(&text) else { return Ok(()) };
        prop_assert!(text.is_char_boundary(error.position), "{} {}", text, error.position);
        if let Some(suggestion) = error.suggestion {
            prop_assert!(Reference::parse(&suggestion).is_ok(), "{} {}", text, suggestion);
        }
    }

    #[test]
    fn classes_depend_on_the_tag_alone(tag in tag(), name in string_regex(&format!("(?:{LABEL}[.]io/)?{COMPONENT}")).unwrap()) {
        let text = format!("{name}:{tag}");
        let Ok(reference) = Reference::parse(&text) else { return Ok(()) };
        prop_assert_eq!(reference.tag_facts(), TagFacts::of(&tag));
        let pinned = format!("{text}@sha256:{}", "0".repeat(64));
        prop_assert_eq!(Reference::parse(&pinned).unwrap().tag_facts(), TagFacts::of(&tag));
    }

    #[test]
    fn classes_are_those_of_the_patterns(tag in tag()) {
        prop_assert_eq!(TagFacts::of(&tag).classes, classes_by_pattern(&tag), "{}", tag);
    }

    #[test]
    fn classes_are_those_of_the_automata(tag in tag()) {
        let mut matched = Vec::new();
        CLASS_AUTOMATA.all_matches(&tag, |id| matched.push(id));
        prop_assert_eq!(language::classes_of(&matched), TagFacts::of(&tag).classes, "{}", tag);
    }

    #[test]
    fn helps_name_globs(glob in glob(), text in nearly_reference()) {
        for text in [glob, text] {
            let Err(error) = ImageGlob::parse_with_tag(&text) else { continue };
            prop_assert!(text.is_char_boundary(error.position), "{} {}", text, error.position);
            if let Some(written) = error.help.as_deref().and_then(|help| help.strip_prefix("write docker.io/")) {
                prop_assert!(ImageGlob::parse_with_tag(&format!("docker.io/{written}")).is_ok(), "{} {}", text, written);
            }
        }
    }
}

// These compile automata for each case.
proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn globs_match_like_a_naive_reader(glob in glob(), names in proptest::collection::vec(name(), 1..20)) {
        let Ok(read) = ImageGlob::parse(&glob) else { return Ok(()) };
        let set = GlobSet::new(&[read.to_regex()]).unwrap();
        for name in names {
            let matches = naive_match(&glob, &name);
            prop_assert_eq!(set.first_match(&name).is_some(), matches, "{} {}", glob, name);
        }
    }

    #[test]
    fn what_cells_say_is_first_agrees_with_every_name_of_a_small_world(globs in proptest::collection::vec(glob(), 1..8)) {
        let globs: Vec<ImageGlob> = globs.iter().filter_map(|glob| ImageGlob::parse(glob).ok()).collect();
        let patterns: Vec<String> = globs.iter().map(ImageGlob::to_regex).collect();
        let set = GlobSet::new(&patterns).unwrap();
        let cells = Cells::of(Domain::Names, &patterns, &globs.iter().map(ImageGlob::sample).collect::<Vec<_>>());
        prop_assert!(cells.complete);
        // What the cells call reached is reached: by an image that exists, and is named like that.
        for cell in &cells.list {
            let reference = Reference::parse(&cell.example).unwrap();
            let mut name = String::new();
            reference.write_name(&mut name);
            prop_assert!(name == cell.example || reference.is_library(), "{} {}", name, cell.example);
            prop_assert_eq!(set.first_match(&cell.example), cell.matched.first().copied(), "{:?}", cell);
        }
        // And what they call unreached is: by no name there is.
        let reached: Vec<usize> = cells.list.iter().filter_map(|cell| cell.matched.first().copied()).collect();
        for name in SMALL_WORLD.iter() {
            if let Some(first) = set.first_match(name) {
                prop_assert!(reached.contains(&first), "{} reaches {:?}", name, globs[first]);
            }
        }
    }

    #[test]
    fn name_globs_match_like_their_expression(glob in "[ab*-]{1,6}", names in proptest::collection::vec("[ab-]{0,6}", 1..20)) {
        let expression = Regex::new(&format!("\\A{}\\z", glob.replace('*', ".*"))).unwrap();
        let own_expression = Regex::new(&format!("\\A{}\\z", NameGlob::parse(&glob).unwrap().to_regex())).unwrap();
        for name in names {
            prop_assert_eq!(own_expression.is_match(&name), expression.is_match(&name), "{} {}", glob, name);
            prop_assert_eq!(NameGlob::parse(&glob).unwrap().matches(&name), expression.is_match(&name), "{} {}", glob, name);
        }
    }

    #[test]
    fn a_set_agrees_with_its_members(patterns in proptest::collection::vec("[ab]{0,2}(?:[.][*?+]|[|]b|a[*+?])?", 1..8), text in "[ab]{0,4}") {
        let set = GlobSet::new(&patterns).unwrap();
        let alone = |pattern: &String| GlobSet::new(&[pattern]).unwrap().first_match(&text).is_some();
        let expected: Vec<usize> = (0..patterns.len()).filter(|&id| alone(&patterns[id])).collect();
        let mut all = Vec::new();
        set.all_matches(&text, |id| all.push(id));
        prop_assert_eq!(set.first_match(&text), expected.first().copied());
        prop_assert_eq!(all, expected);
    }
}

fn tag() -> impl Strategy<Value = String> {
    let number = "(0|[1-9][0-9]{0,3}|0[0-9])";
    let known = format!(
        "(v|V)?{number}[.]{number}([.]{number})?(-[0-9a-z]{{1,3}}([.-][0-9A-Z]{{0,2}})?)?(-(amd64|arm64|arm-v7|386|s390))?"
    );
    let named = "(git-|env-|)([0-9a-f]{5,9}|[0-9a-f]{39,41}|[A-Za-z0-9_.-]{1,6})(-(amd64|riscv64|ppc64le|s390x))?";
    let floating = "(latest|head|canary|edge|nightly|stable|main|master|dev|develop|trunk|snapshot)(-amd64)?";
    prop_oneof![
        string_regex(TAG).unwrap(),
        string_regex(&known).unwrap(),
        string_regex(named).unwrap(),
        (string_regex(floating).unwrap(), any::<bool>()).prop_map(|(tag, upper)| if upper {
            tag.to_uppercase()
        } else {
            tag
        }),
    ]
}

/// The design's table, class by class; whether the architecture is taken off first.
static CLASS_PATTERNS: LazyLock<Vec<(Class, bool, Regex)>> = LazyLock::new(|| {
    const NUMBER: &str = "(0|[1-9][0-9]*)";
    let core = format!("{NUMBER}[.]{NUMBER}[.]{NUMBER}");
    let identifier = format!("({NUMBER}|[0-9]*[A-Za-z-][0-9A-Za-z-]*)");
    let prerelease = format!("{core}-{identifier}([.]{identifier})*");
    let floating = "latest|head|canary|edge|nightly|stable|main|master|dev|develop|trunk|snapshot";
    [
        (Class::Release, true, format!("v{core}")),
        (Class::Prerelease, true, format!("v{prerelease}")),
        (Class::Semver, true, format!("v?({core}|{prerelease})")),
        (Class::Commit, true, "[0-9a-f]{7,40}".to_owned()),
        (Class::GitCommit, true, "git-[0-9a-f]{40}".to_owned()),
        (Class::Channel, true, "env-[A-Za-z0-9_]+(-[A-Za-z0-9_]+)*".to_owned()),
        (Class::Latest, false, "latest".to_owned()),
        (Class::Floating, false, floating.to_owned()),
    ]
    .map(|(class, bare, pattern)| (class, bare, Regex::new(&format!("\\A({pattern})\\z")).unwrap()))
    .into()
});

static ARCHITECTURE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new("\\A(.+)-(amd64|arm64|arm-v7|ppc64le|s390x|386|riscv64)\\z").unwrap());

static CLASS_AUTOMATA: LazyLock<GlobSet> = LazyLock::new(|| {
    let all = Class::ALL.into_iter().fold(Classes::default(), Classes::with);
    GlobSet::new(&tag_class_patterns(all)).unwrap()
});

fn classes_by_pattern(tag: &str) -> Classes {
    let base = ARCHITECTURE.captures(tag).map_or(tag, |parts| parts.get(1).unwrap().as_str());
    let lower = tag.to_ascii_lowercase();
    let mut classes = Classes::default();
    for (class, bare, pattern) in CLASS_PATTERNS.iter() {
        if pattern.is_match(if *bare { base } else { &lower }) {
            classes = classes.with(*class);
        }
    }
    classes
}

/// Globs over a world so small that they often match.
fn glob() -> impl Strategy<Value = String> {
    let label = proptest::sample::select(&["a", "b", "a-b", "*"][..]);
    let labels = proptest::collection::vec(label, 0..3)
        .prop_map(|labels| labels.iter().map(|label| format!("{label}.")).collect());
    let port = proptest::sample::select(&["", ":1", ":80"][..]);
    let segment = proptest::sample::select(&["a", "b", "ab", "a*", "*b", "a*b", "*", "**", "a-b"][..]);
    let path = proptest::collection::vec(segment, 1..5).prop_map(|segments| segments.join("/"));
    let host = (labels, port).prop_map(|(labels, port): (String, _)| format!("{labels}b.c{port}"));
    prop_oneof![
        20 => (host, path).prop_map(|(host, path)| format!("{host}/{path}")),
        1 => Just("**".to_owned()),
    ]
}

fn name() -> impl Strategy<Value = String> {
    string_regex("((a|b|a-b)[.]){0,2}b[.]c(:1|:80)?(/(a|b|ab|a-b|axb)){1,4}").unwrap()
}

/// Every name of up to two labels before the last two, and three segments, of the letters that [`glob`] uses.
static SMALL_WORLD: LazyLock<Vec<String>> = LazyLock::new(|| {
    let hosts = ["b.c", "a.b.c", "b.b.c", "a-b.b.c", "a.b.b.c", "b.a.b.c", "x.b.c", "a-b.x.b.c", "x.x"];
    let segments = ["a", "b", "ab", "a-b", "axb", "x"];
    let mut paths: Vec<String> = Vec::new();
    for first in segments {
        paths.push(first.to_owned());
        for second in segments {
            paths.push(format!("{first}/{second}"));
            paths.extend(segments.map(|third| format!("{first}/{second}/{third}")));
        }
    }
    let registries = hosts.iter().flat_map(|host| ["", ":1", ":80"].map(|port| format!("{host}{port}")));
    registries
        .flat_map(|registry| paths.iter().map(move |path| format!("{registry}/{path}")).collect::<Vec<_>>())
        .collect()
});

/// Segment by segment, trying every way to split: slow, and plainly the rules.
fn naive_match(glob: &str, name: &str) -> bool {
    if glob == "**" {
        return true;
    }
    let ((glob_host, glob_path), (host, path)) = (glob.split_once('/').unwrap(), name.split_once('/').unwrap());
    let (glob_host, glob_port) = glob_host.split_once(':').unwrap_or((glob_host, ""));
    let (host, port) = host.split_once(':').unwrap_or((host, ""));
    let (glob_labels, labels): (Vec<&str>, Vec<&str>) = (glob_host.split('.').collect(), host.split('.').collect());
    let hosts = glob_labels.len() == labels.len()
        && glob_labels.iter().zip(&labels).all(|(glob, label)| *glob == "*" || glob == label);
    let (glob_segments, segments): (Vec<&str>, Vec<&str>) = (glob_path.split('/').collect(), path.split('/').collect());
    hosts && glob_port == port && naive_path(&glob_segments, &segments)
}

fn naive_path(glob: &[&str], path: &[&str]) -> bool {
    match glob {
        [] => path.is_empty(),
        ["**"] => !path.is_empty(),
        ["**", rest @ ..] => (0..=path.len()).any(|taken| naive_path(rest, &path[taken..])),
        [first, rest @ ..] => path
            .split_first()
            .is_some_and(|(segment, others)| naive_segment(first, segment) && naive_path(rest, others)),
    }
}

fn naive_segment(glob: &str, segment: &str) -> bool {
    match glob.split_once('*') {
        None => glob == segment,
        Some((before, after)) => segment
            .strip_prefix(before)
            .is_some_and(|rest| (0..=rest.len()).any(|taken| naive_segment(after, &rest[taken..]))),
    }
}

#[test]
fn success_allocates_nothing() {
    let digest = format!("registry.example.com/acme/api:v1.4.2@sha256:{}", "0".repeat(64));
    for text in
        ["nginx", "org/app", "registry.example.com/acme/api:v1.4.2", "[::1]:5000/a/b", "ex_ample.com/app", &digest]
    {
        let counted = allocation_counter::measure(|| {
            let reference = Reference::parse(text).unwrap();
            std::hint::black_box((reference.tag_facts(), reference.digest(), reference.is_short()));
        });
        assert_eq!(counted.count_total, 0, "{text}");
    }
    let canonical = allocation_counter::measure(|| {
        let reference = Reference::parse(&digest).unwrap();
        std::hint::black_box((
            reference.refusals(),
            reference.canonical_registry().len(),
            reference.repository().len(),
        ));
    });
    assert_eq!(canonical.count_total, 0);
}

#[test]
fn a_set_that_is_warm_allocates_nothing() {
    let patterns: Vec<String> =
        (0..1000).map(|n| ImageGlob::parse(&format!("registry.example.com/team-{n}/**")).unwrap().to_regex()).collect();
    let set = GlobSet::new(&patterns).unwrap();
    let search = || set.first_match("registry.example.com/team-999/api");
    assert_eq!(search(), Some(999));
    let counted = allocation_counter::measure(|| assert_eq!(search(), Some(999)));
    assert_eq!(counted.count_total, 0);
}
