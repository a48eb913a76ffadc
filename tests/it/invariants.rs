//! What holds for every verdict, whatever the image and the policy: no allow without a reason, and modes differ in nothing
//! but the decision (row 73).

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use proptest::prelude::*;
use tagwarden::image::Reference;
use tagwarden::policy::{
    Decision, Facts, FieldPath, Finding, FindingId, ImageUse, List, Mode, Pinning, PolicySet, Releases, Request,
    Settings, Snapshots, Stage, Verdict, decide,
};

use crate::cases_facts::{Chance, Registry};

static ENFORCED: LazyLock<Vec<PolicySet>> = LazyLock::new(|| sets(Mode::Enforce));
static WARNED: LazyLock<Vec<PolicySet>> = LazyLock::new(|| sets(Mode::Warn));
static AUDITED: LazyLock<Vec<PolicySet>> = LazyLock::new(|| sets(Mode::Audit));

/// Those of the data cases; they govern every namespace.
static RELEASES: LazyLock<Releases> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/releases");
    let text = |name: &&str| Registry::spelled_out(&fs::read_to_string(folder.join(name)).unwrap());
    let texts: Vec<(&str, String)> = ["now.yaml", "before.yaml"].iter().map(|name| (*name, text(name))).collect();
    Releases::everywhere("system-b", Snapshots::read(&texts).unwrap())
});

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
    Request {
        kind: "Pod",
        namespace,
        name: "x",
        namespace_labels: None,
        is_pod: true,
        environment: None,
        beside: &[],
        governed: RELEASES.govern(namespace, None),
        stage: Stage::Admission,
        now: 0,
    }
}

fn images<'a>(texts: &'a [String]) -> Vec<ImageUse<'a>> {
    let one = |(index, image): (usize, &'a String)| ImageUse {
        list: List::Containers,
        container: None,
        field: FieldPath::PodSpec { spec: "spec".into(), list: List::Containers, index: index as u32 },
        image,
        reference: Reference::parse(image),
        pin_proven: false,
    };
    texts.iter().enumerate().map(one).collect()
}

fn image() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        Just("nginx".to_owned()),
        Just("registry.example.com/acme/api".to_owned()),
        Just("r.example.com/any".to_owned()),
        Just("facts.example.com/acme/api".to_owned()),
        Just("facts.example.com/required/api".to_owned()),
        Just("facts.example.com/approved/api".to_owned()),
        Just("facts.example.com/acme/web".to_owned()),
        Just("facts.example.com/acme/plain".to_owned()),
        Just("facts.example.com/version/api".to_owned()),
        Just("facts.example.com/several/api".to_owned()),
        Just("facts.example.com/age/api".to_owned()),
        Just("localhost:5000/app".to_owned()),
        Just("sha256".to_owned()),
        "[a-z0-9.]{1,12}(:[0-9]{1,5})?/[a-z0-9/_-]{1,20}",
    ];
    let tag = prop_oneof![
        Just(String::new()),
        ":[A-Za-z0-9_.-]{1,20}",
        Just(":latest".to_owned()),
        ":v[0-9]\\.[0-9]\\.[0-9]",
        ":env-(prod|stage)",
    ];
    let few =
        prop::sample::select(vec!["a", "b", "c", "d", "e"]).prop_map(|digit| format!("@sha256:{}", digit.repeat(64)));
    let digest = prop_oneof![4 => Just(String::new()), 1 => "@sha256:[0-9a-f]{64}", 1 => few];
    prop_oneof![3 => (name, tag, digest).prop_map(|(a, b, c)| a + &b + &c), 1 => any::<String>()]
}

fn assert_sound(verdict: &Verdict<'_>) {
    let strictest = verdict.images.iter().map(|image| image.decision).max().unwrap_or(Decision::Allow);
    assert!(verdict.decision >= strictest, "the strictest image decides: {verdict:?}");
    for image in &verdict.images {
        assert_eq!(image.applied.len(), verdict.policies.len(), "every policy that applies has its word");
        for applied in &image.applied {
            let admits = applied.findings.iter().all(|finding| finding.mode < Mode::Enforce);
            assert_eq!(admits, applied.allowed.is_some(), "an allow has a reason, a denial none: {applied:?}");
        }
        let enforced = image.findings().any(|finding| finding.mode == Mode::Enforce);
        assert_eq!(enforced, !image.decision.admits(), "{image:?}");
        let undecided = image.findings().filter(|finding| finding.mode == Mode::Enforce).all(|f| f.is_undecided());
        assert_eq!(enforced && undecided, image.decision == Decision::Unresolved, "{image:?}");
        assert!(image.decision.admits() || image.pin == Pinning::None, "what is refused is not pinned: {image:?}");
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
            // An image that is refused by its text is not looked at any further; one that is only warned of is, and may be found
            // to be of no release, or of another one than its neighbours.
            let by_text = |f: &&Finding<'_>| !f.is_undecided() && !matches!(f.id, FindingId::Tw201 | FindingId::Tw303);
            let findings: Vec<_> =
                verdict.findings().filter(by_text).map(|f| (f.id, f.message.clone(), f.exception.map(str::to_owned))).collect();
            (findings, verdict.decision)
        };
        for ((enforce, warn), audit) in ENFORCED.iter().zip(WARNED.iter()).zip(AUDITED.iter()) {
            let (enforced, warned, audited) = (judged(enforce), judged(warn), judged(audit));
            assert_eq!(&enforced.0, &warned.0);
            assert_eq!(&enforced.0, &audited.0);
            assert!(warned.1 <= Decision::Warn && audited.1 <= Decision::Audit, "below enforce nothing is refused");
        }
    }

    #[test]
    fn without_facts_nothing_is_simply_allowed_that_needs_one(texts in prop::collection::vec(image(), 1..4)) {
        for set in ENFORCED.iter() {
            let uses = images(&texts);
            let plan = set.plan(&request(Some("default")), &uses);
            let needs = plan.needs_facts();
            prop_assert_eq!(needs, !plan.missing(&Facts::default()).is_empty());
            let verdict = decide(plan, &uses, &Facts::default());
            assert_sound(&verdict);
            prop_assert!(!needs || verdict.decision > Decision::Allow, "{:?}", verdict);
        }
    }

    #[test]
    fn whatever_registries_answer_the_rounds_end_and_the_verdict_is_sound(
        texts in prop::collection::vec(image(), 1..4),
        chance in any::<u64>(),
        stage in prop::sample::select(vec![Stage::Mutation, Stage::Admission, Stage::Command, Stage::Offline]),
        is_pod in any::<bool>(),
    ) {
        for set in ENFORCED.iter() {
            let uses = images(&texts);
            let request = Request { stage, is_pod, ..request(Some("default")) };
            let plan = set.plan(&request, &uses);
            let mut chance = Chance::new(chance);
            let mut facts = Facts::default();
            for round in 0.. {
                prop_assert!(round < 100, "the rounds do not end");
                let lookups = plan.missing(&facts);
                if lookups.is_empty() {
                    break;
                }
                for (index, lookup) in lookups.iter().enumerate() {
                    prop_assert!(!lookups[..index].contains(lookup), "asked twice: {:?}", lookup);
                    facts.learn(lookup.name, &lookup.what, chance.answer(lookup));
                }
            }
            let verdict = decide(plan, &uses, &facts);
            assert_sound(&verdict);
            for image in &verdict.images {
                let pins = is_pod && matches!(stage, Stage::Mutation | Stage::Command);
                prop_assert!(image.pin == Pinning::None || pins);
                prop_assert!(image.pin == Pinning::None || image.reference.is_some_and(|r| r.digest().is_none()));
            }
        }
    }
}
