//! Tests of the denial's text and of warnings.

use super::{before_cut_escape, denial, one_line, warnings};
use crate::policy::{
    Applied, Check, Decision, FieldPath, Finding, FindingId, ImageVerdict, List, Mode, Owner, Pinning, Verdict,
};
use crate::review::About;
use proptest::prelude::*;
use std::borrow::Cow;

fn about<'a>() -> About<'a> {
    About {
        uid: "6b1f2c9e-0d3a-4a43-9ef8-0b8f2ad5a1b7".into(),
        group: "apps".into(),
        kind: "Deployment".into(),
        namespace: Some("shop-prod".into()),
        name: "checkout".into(),
        is_mirror: false,
        created: None,
    }
}

fn owner() -> Owner {
    Owner { contact: Some("#platform-security".to_owned()), docs: Some("https://wiki.example.com/images".to_owned()) }
}

fn finding<'a>(policy: &'a str, mode: Mode, message: &str, use_instead: Option<&str>) -> Finding<'a> {
    Finding {
        id: FindingId::Tw120,
        check: Check::Tags,
        mode,
        policy,
        rule: Some("first-party"),
        exception: None,
        message: message.to_owned(),
        use_instead: use_instead.map(str::to_owned),
    }
}

fn of_object<'a>(id: FindingId, policy: &'a str, message: &str) -> Verdict<'a> {
    let finding =
        Finding { id, check: id.check().unwrap_or(Check::Digest), ..finding(policy, Mode::Enforce, message, None) };
    Verdict { decision: Decision::Deny, object_findings: vec![finding], ..Verdict::default() }
}

fn image<'a>(list: List, container: Option<&'a str>, image: &'a str, findings: Vec<Finding<'a>>) -> ImageVerdict<'a> {
    ImageVerdict {
        list,
        container,
        field: FieldPath::PodSpec { spec: Cow::Borrowed("spec.template.spec"), list, index: 0 },
        image,
        reference: None,
        class: None,
        decision: findings.iter().map(|finding| finding.mode.into()).max().unwrap_or(Decision::Allow),
        applied: findings
            .into_iter()
            .map(|finding| Applied { policy: finding.policy, rule: None, findings: vec![finding], allowed: None })
            .collect(),
        pin: Pinning::None,
        notes: Vec::new(),
    }
}

fn verdict<'a>(policies: &[&'a str], images: Vec<ImageVerdict<'a>>) -> Verdict<'a> {
    let decision = images.iter().map(|image| image.decision).max().unwrap_or_default();
    Verdict {
        decision,
        policies: policies.iter().copied().collect(),
        object_findings: Vec::new(),
        images,
        release: None,
    }
}

fn two_of_three<'a>() -> Verdict<'a> {
    let latest = finding(
        "acme-images",
        Mode::Enforce,
        "latest is a floating tag; rule first-party accepts release (v1.2.3), commit (7-40 hex)",
        Some("registry.example.com/acme/api:v1.4.2"),
    );
    let canary = finding("acme-images", Mode::Enforce, "canary is a floating tag", None);
    verdict(
        &["acme-images"],
        vec![
            image(List::Containers, Some("api"), "registry.example.com/acme/api:latest", vec![latest]),
            image(List::Containers, Some("log"), "registry.example.com/acme/log:v1.0.0", Vec::new()),
            image(List::InitContainers, Some("migrate"), "registry.example.com/acme/migrate:canary", vec![canary]),
        ],
    )
}

#[test]
fn row_07_08_the_denial_is_that_of_the_contract() {
    let owner = owner();
    let text = denial(&two_of_three(), &about(), |policy| (policy == "acme-images").then_some(&owner));
    assert_eq!(
        text,
        "\
tagwarden denied Deployment shop-prod/checkout: 2 of 3 images break policy acme-images

1. TW120 tags: container \"api\", image registry.example.com/acme/api:latest
   latest is a floating tag; rule first-party accepts release (v1.2.3), commit (7-40 hex)
   use: registry.example.com/acme/api:v1.4.2
2. TW120 tags: init container \"migrate\", image registry.example.com/acme/migrate:canary
   canary is a floating tag

Owner: #platform-security  Help: https://wiki.example.com/images#TW120
Reproduce: tagwarden check --namespace shop-prod FILE  (request 6b1f2c9e)"
    );
}

#[test]
fn each_item_names_its_policy_where_several_apply() {
    let owner = owner();
    let docs = Owner { contact: None, docs: Some("https://b.example.com".to_owned()) };
    let findings = vec![finding("a", Mode::Enforce, "one", None), finding("b", Mode::Enforce, "two", None)];
    let verdict = verdict(&["a", "b", "c"], vec![image(List::Volumes, Some("data"), "x:y", findings)]);
    let about = About { namespace: None, name: "tool-*".into(), kind: "Pod".into(), ..about() };
    let text = denial(&verdict, &about, |policy| Some(if policy == "a" { &owner } else { &docs }));
    assert_eq!(
        text,
        "\
tagwarden denied Pod tool-*: 1 of 1 images break 2 policies

1. TW120 tags (policy a): volume \"data\", image x:y
   one
2. TW120 tags (policy b): volume \"data\", image x:y
   two

Owner: #platform-security  Help: https://wiki.example.com/images#TW120
Help: https://b.example.com#TW120
Reproduce: tagwarden check FILE  (request 6b1f2c9e)"
    );
}

#[test]
fn row_08_five_in_full_and_a_count_of_the_rest() {
    let images = (0..8)
        .map(|_| image(List::Containers, Some("c"), "a:latest", vec![finding("p", Mode::Enforce, "wrong", None)]))
        .collect();
    let text = denial(&verdict(&["p"], images), &about(), |_| None);
    assert!(
        text.starts_with("tagwarden denied Deployment shop-prod/checkout: 8 of 8 images break policy p\n"),
        "{text}"
    );
    assert!(text.contains("\n5. TW120") && !text.contains("\n6. TW120"), "{text}");
    assert!(text.contains("\n+3 more\n\nReproduce:"), "{text}");
}

#[test]
fn findings_about_the_object_have_no_container() {
    for (id, message, heading, item) in [
        (
            FindingId::Tw197,
            "1200 images",
            "too many images",
            "1. TW197 limits: the object as a whole\n   1200 images\n",
        ),
        (
            FindingId::Tw198,
            "ask for one",
            "no policy covers the namespace",
            "1. TW198 policy: namespace shop-prod\n   ask for one\n",
        ),
        (
            FindingId::Tw199,
            "name it",
            "nobody told tagwarden where this kind keeps its images",
            "1. TW199 kind: Deployment\n   name it\n",
        ),
        (FindingId::Tw999, "a panic", "an internal failure", "1. TW999 internal: the object as a whole\n   a panic\n"),
    ] {
        let text = denial(&of_object(id, "", message), &about(), |_| None);
        assert!(
            text.starts_with(&format!(
                "tagwarden denied Deployment shop-prod/checkout: {heading}\n\n{item}\nReproduce:"
            )),
            "{text}"
        );
    }
    let text = denial(&of_object(FindingId::Tw999, "", "a panic"), &About::uid_only("abc".to_owned()), |_| None);
    assert!(text.starts_with("tagwarden denied the request: an internal failure\n"), "{text}");
    assert!(text.ends_with("Reproduce: tagwarden check FILE  (request abc)"), "{text}");
}

#[test]
fn what_is_only_undecided_says_so() {
    let mut undecided = two_of_three();
    undecided.decision = Decision::Unresolved;
    for image in &mut undecided.images {
        image.decision = image.decision.min(Decision::Unresolved);
    }
    let text = denial(&undecided, &about(), |_| None);
    assert!(text.starts_with("tagwarden could not decide on Deployment shop-prod/checkout: 2 of 3 images\n"), "{text}");
}

#[test]
fn a_note_is_told_beside_what_is_wrong_and_where_nothing_is() {
    let note = "registry.example.com does not answer; its last answer, 12 minutes old, holds for v1.2.3";
    let noted = |findings| ImageVerdict {
        notes: vec![note.to_owned()],
        ..image(List::Containers, Some("api"), "registry.example.com/acme/api:v1.2.3", findings)
    };
    let told = format!("tagwarden: {note}");
    assert_eq!(warnings(&verdict(&["p"], vec![noted(vec![])]), &about()), [told.as_str()]);
    let both = warnings(&verdict(&["p"], vec![noted(vec![finding("p", Mode::Warn, "wrong", None)])]), &about());
    assert!(both.len() == 2 && both[0].ends_with("wrong") && both[1] == told, "{both:?}");
    assert!(warnings(&verdict(&["p"], vec![image(List::Containers, None, "a", vec![])]), &about()).is_empty());
}

#[test]
fn a_digest_to_use_is_never_cut() {
    let digest = format!("registry.example.com/{}:v1@sha256:{}", "a".repeat(60), "b".repeat(64));
    let wrong = finding("p", Mode::Enforce, "v1 is sha256:bbbbbbbbbbbb", Some(&digest));
    let text =
        denial(&verdict(&["p"], vec![image(List::Containers, Some("api"), "a", vec![wrong])]), &about(), |_| None);
    assert!(text.contains(&format!("use: {digest}\n")), "{text}");
}

#[test]
fn images_without_a_name_are_known_by_their_field() {
    let mut verdict =
        verdict(&["p"], vec![image(List::Configured, None, "", vec![finding("p", Mode::Enforce, "wrong", None)])]);
    verdict.images[0].field = FieldPath::Literal("spec.steps[0].image".into());
    let text = denial(&verdict, &about(), |_| None);
    assert!(text.contains("1. TW120 tags: spec.steps[0].image, image (blank)\n"), "{text}");
}

#[test]
fn what_is_let_in_is_warned_of_in_one_line_each() {
    let warned = finding("p", Mode::Warn, "latest is a floating tag", None);
    let excused = Finding { exception: Some("EX-1"), ..finding("p", Mode::Warn, "excused until 2026-12-31", None) };
    let audited = finding("p", Mode::Audit, "nobody hears of it", None);
    let enforced = finding("p", Mode::Enforce, "in the denial", None);
    let images = vec![
        image(List::Containers, Some("api"), "a:latest", vec![warned]),
        image(List::Containers, Some("old"), "b:1", vec![excused]),
        image(List::Containers, Some("c"), "c:1", vec![audited]),
        image(List::Containers, Some("d"), "d:1", vec![enforced]),
    ];
    assert_eq!(
        warnings(&verdict(&["p"], images), &about()),
        [
            "TW120 tags: container \"api\", image a:latest: latest is a floating tag",
            "TW120 tags (exception EX-1): container \"old\", image b:1: excused until 2026-12-31",
        ]
    );
}

#[test]
fn lines_are_cut_but_never_within_an_escape() {
    assert_eq!(one_line("a\nb\u{e9}", 80), "a\\nb\\u{e9}");
    assert_eq!(one_line("abcdefghij", 10), "abcdefghij");
    assert_eq!(one_line("abcdefghijk", 10), "abcdefg...");
    assert_eq!(one_line("abcd\\u{430}xyz", 10), "abcd...");
    assert_eq!(one_line("abcdef\\nxyz", 10), "abcdef...");
    assert_eq!(before_cut_escape("ab\\\\"), 4, "an escaped backslash is whole");
    assert_eq!(before_cut_escape("a\\u{41}"), 7);
}

/// Text as hostile as an object can hold, and as long.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![".{0,40}", "[a-z0-9.-]{0,300}", "(\u{430}|\n|\\\\|\u{1b}){0,300}"]
}

proptest! {
    #[test]
    fn row_08_a_denial_is_bounded_and_printable_whatever_is_in_it(
        names in proptest::array::uniform8(text()),
        policies in proptest::collection::vec(text(), 1..4),
        count in 1usize..12,
        cluster_scoped in any::<bool>(),
    ) {
        let [uid, kind, namespace, name, container, reference, message, contact] = &names;
        let about = About {
            uid: uid.into(),
            group: kind.into(),
            kind: kind.into(),
            namespace: (!cluster_scoped).then(|| namespace.into()),
            name: name.into(),
            is_mirror: false,
        created: None,
        };
        let owner = Owner { contact: Some(contact.clone()), docs: Some(message.clone()) };
        let policies: Vec<&str> = policies.iter().map(String::as_str).collect();
        let findings = || policies.iter().map(|policy| finding(policy, Mode::Enforce, message, Some(reference))).collect();
        let images = (0..count).map(|_| image(List::EphemeralContainers, Some(container), reference, findings())).collect();
        let verdict = verdict(&policies, images);
        let text = denial(&verdict, &about, |_| Some(&owner));
        prop_assert!(text.len() <= 1000, "{} bytes", text.len());
        prop_assert!(text.bytes().all(|byte| matches!(byte, b'\n' | b' '..=b'~')), "{:?}", text);
        prop_assert!(text.starts_with("tagwarden denied "));
        prop_assert!(text.contains("\nReproduce: tagwarden check "));
        let shown = text.lines().filter(|line| line.starts_with(char::is_numeric) && line.contains(". TW120")).count();
        let more = count * policies.len() - shown;
        prop_assert!(shown <= 5);
        prop_assert_eq!(more > 0, text.contains(&format!("\n+{more} more\n")), "{}", text);
    }
}
