//! Reviews from any bytes, and reviews around a PodSpec, an object or an image of any text: each is refused, or answered
//! with its uid.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use tagwarden::policy::{Facts, Governed, PolicySet, Settings, Stage, decide};
use tagwarden::review::{About, Considered, ExemptRequesters, Outcome, Workloads, answer, consider, read, uid_of};

/// Group, kind, and what stands before and after the PodSpec in an object of the kind.
const KINDS: [(&str, &str, &str, &str); 5] = [
    ("", "Pod", r#"{"spec":"#, "}"),
    ("apps", "Deployment", r#"{"metadata":{"name":"x"},"spec":{"template":{"spec":"#, "}}}"),
    ("batch", "CronJob", r#"{"spec":{"jobTemplate":{"spec":{"template":{"spec":"#, "}}}}}"),
    ("", "PodTemplate", r#"{"template":{"spec":"#, "}}"),
    ("example.com", "Widget", r#"{"spec":"#, "}"),
];

static POLICIES: LazyLock<PolicySet> = LazyLock::new(|| {
    let policy = "apiVersion: tagwarden.dev/v1\nkind: ImagePolicy\nmetadata: {name: all}\nspec:\n  mode: enforce\n  rules:\n    - images: [\"registry.example.com/**\"]\n      tags: [release]\n";
    PolicySet::compile(&[("all.yaml", policy)], Settings::default()).expect("the policy compiles")
});

fuzz_target!(|data: &[u8]| {
    judge(data);
    let Some((choice, rest)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(rest) else { return };
    let (group, kind, before, after) = KINDS[usize::from(choice % 5)];
    // The upper half of the first byte nests what follows, up to twice as deep as the parser goes.
    let depth = usize::from(choice >> 4) * 17;
    let nested = format!("{}{text}{}", "[".repeat(depth), "]".repeat(depth));
    let quoted = serde_json::to_string(text).expect("text can be quoted");
    let containers = format!(r#"{{"containers":[{{"name":{quoted},"image":{quoted}}}],"initContainers":[{text}]}}"#);
    for spec in [text, &nested, &containers] {
        let object = format!("{before}{spec}{after}");
        judge(review("CREATE", group, kind, &object, "null").as_bytes());
        judge(review("UPDATE", group, kind, &object, &format!("{before}{{}}{after}")).as_bytes());
    }
});

fn review(operation: &str, group: &str, kind: &str, object: &str, old: &str) -> String {
    format!(
        r#"{{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{{"uid":"u-1","kind":{{"group":"{group}","version":"v1","kind":"{kind}"}},"resource":{{"group":"{group}","version":"v1","resource":"x"}},"namespace":"shop","operation":"{operation}","userInfo":{{"username":"jane"}},"object":{object},"oldObject":{old}}}}}"#
    )
}

fn judge(body: &[u8]) {
    uid_of(body);
    let Ok(request) = read(body) else { return };
    let about = About::of(&request);
    let workloads = Workloads::default();
    let requesters = ExemptRequesters::default();
    let reply = match consider(&request, &about, &workloads, &requesters) {
        Considered::Pass(pass) => answer(&about, Outcome::Passed(&pass), None, &[]),
        Considered::UnknownKind => {
            let request = about.policy_request(None, &[], Governed::default(), Stage::Admission, 0);
            let verdict = decide(POLICIES.plan_unknown_kind(&request, &about.shown_kind()), &[], &Facts::default());
            answer(&about, Outcome::Judged(&verdict), Some(&POLICIES), &[])
        }
        Considered::Judge(collected) => {
            let images = collected.images();
            let beside = collected.beside();
            let request = about.policy_request(None, &beside, Governed::default(), Stage::Admission, 0);
            let verdict = decide(POLICIES.plan(&request, &images), &images, &Facts::default());
            answer(&about, Outcome::Judged(&verdict), Some(&POLICIES), &collected.warnings)
        }
    };
    let reply: serde_json::Value = serde_json::from_slice(&reply).expect("an answer is JSON");
    assert_eq!(reply["response"]["uid"], *request.uid);
    assert!(reply["response"]["allowed"].is_boolean());
}
