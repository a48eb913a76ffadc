//! What holds for every verdict, whatever the image and the policy: no allow without a reason, and modes differ in nothing
//! but the decision (row 73).

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use proptest::prelude::*;
use tagwarden::image::Reference;
use tagwarden::policy::{
    Decision, Facts, FieldPath, FindingId, ImageUse, List, Mode, PolicySet, Request, Settings, Verdict, decide,
};

static ENFORCED: LazyLock<Vec<PolicySet>> = LazyLock::new(|| sets(Mode::Enforce));
static WARNED: LazyLock<Vec<PolicySet>> = LazyLock::new(|| sets(Mode::Warn));
static AUDITED: LazyLock<Vec<PolicySet>> = LazyLock::new(|| sets(Mode::Audit));

/// Every policy of the data cases as a set of its own.
fn sets(max_mode: Mode) -> Vec<PolicySet> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut sets = Vec::new();
    for entry in fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path().join("policy.yaml");
        if path.exists() {
            let text = fs::read_to_string(&path).unwrap();
            let settings = Settings { max_mode, ..Settings::default() };
            sets.push(PolicySet::compile(&[(path.display().to_string(), text)], settings).unwrap());
        }
    }
    sets
}

fn request(namespace: Option<&str>) -> Request<'_> {
    Request { kind: "Pod", namespace, name: "x", namespace_labels: None, is_pod: true, now: 0 }
}

fn images<'a>(texts: &'a [String]) -> Vec<ImageUse<'a>> {
    let one = |(index, image): (usize, &'a String)| ImageUse {
        list: List::Containers,
        container: None,
        field: FieldPath::PodSpec { spec: "spec".into(), list: List::Containers, index: index as u32 },
        image,
        reference: Reference::parse(image),
    };
    texts.iter().enumerate().map(one).collect()
}

fn image() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        Just("nginx".to_owned()),
        Just("registry.example.com/acme/api".to_owned()),
        Just("r.example.com/any".to_owned()),
        Just("localhost:5000/app".to_owned()),
        Just("sha256".to_owned()),
        "[a-z0-9.]{1,12}(:[0-9]{1,5})?/[a-z0-9/_-]{1,20}",
    ];
    let tag = prop_oneof![
        Just(String::new()),
        ":[A-Za-z0-9_.-]{1,20}",
        Just(":latest".to_owned()),
        ":v[0-9]\\.[0-9]\\.[0-9]"
    ];
    let digest = prop_oneof![4 => Just(String::new()), 1 => "@sha256:[0-9a-f]{64}"];
    prop_oneof![3 => (name, tag, digest).prop_map(|(a, b, c)| a + &b + &c), 1 => any::<String>()]
}

fn assert_sound(verdict: &Verdict<'_>) {
    let strictest = verdict.images.iter().map(|image| image.decision).max().unwrap_or(Decision::Allow);
    assert!(verdict.decision >= strictest, "the strictest image decides: {verdict:?}");
    for image in &verdict.images {
        assert_eq!(image.applied.len(), verdict.policies.len(), "every policy that applies has its word");
        for applied in &image.applied {
            let admits = applied.finding.as_ref().is_none_or(|finding| finding.mode < Mode::Enforce);
            assert_eq!(admits, applied.allowed.is_some(), "an allow has a reason, a denial none: {applied:?}");
        }
        let enforced = image.findings().any(|finding| finding.mode == Mode::Enforce);
        assert_eq!(enforced, image.decision == Decision::Deny, "{image:?}");
        if image.reference.is_none() && !verdict.policies.is_empty() {
            assert!(image.findings().all(|f| matches!(f.id, FindingId::Tw100 | FindingId::Tw197)));
            assert_ne!(image.decision, Decision::Allow, "what does not parse is never simply allowed");
        }
    }
    for finding in verdict.findings() {
        assert!(finding.message.len() < 2_000 && finding.message.bytes().all(|b| (b' '..=b'~').contains(&b)));
    }
}

proptest! {
    #[test]
    fn no_image_is_allowed_without_a_reason(texts in prop::collection::vec(image(), 0..4), namespace in prop::option::of("[a-z-]{1,8}")) {
        for set in ENFORCED.iter() {
            let uses = images(&texts);
            assert_sound(&decide(set.plan(&request(namespace.as_deref()), &uses), &uses, &Facts::default()));
        }
    }

    #[test]
    fn row_73_modes_evaluate_alike_and_differ_in_the_verdict_alone(texts in prop::collection::vec(image(), 1..4)) {
        let uses = images(&texts);
        let judged = |set: &PolicySet| {
            let verdict = decide(set.plan(&request(Some("default")), &uses), &uses, &Facts::default());
            let findings: Vec<_> = verdict.findings().map(|f| (f.id, f.message.clone(), f.exception.map(str::to_owned))).collect();
            (findings, verdict.decision)
        };
        for ((enforce, warn), audit) in ENFORCED.iter().zip(WARNED.iter()).zip(AUDITED.iter()) {
            let (enforced, warned, audited) = (judged(enforce), judged(warn), judged(audit));
            assert_eq!(&enforced.0, &warned.0);
            assert_eq!(&enforced.0, &audited.0);
            assert!(warned.1 <= Decision::Warn && audited.1 <= Decision::Audit, "below enforce nothing is refused");
        }
    }
}
