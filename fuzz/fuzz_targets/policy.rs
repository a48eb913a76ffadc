//! Policy files from any text: each is compiled or refused with diagnostics that can be shown, and what compiles judges.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tagwarden::document::{Color, Source, parse, render};
use tagwarden::image::Reference;
use tagwarden::policy::{Facts, FieldPath, ImageUse, List, PolicySet, Request, Settings, Stage, decide};

const IMAGES: [&str; 6] =
    ["nginx", "docker.io/library/nginx:1.25", "registry.example.com/acme/api:v1.4.2", "a.b/c:env-prod", "0x7f.1/a", ""];

fuzz_target!(|text: &str| {
    let (_, diagnostics) = parse(&Source::new("fuzz.yaml", text));
    for diagnostic in &diagnostics {
        assert!(!render(diagnostic, text, Color::Never).is_empty());
    }
    match PolicySet::compile(&[("fuzz.yaml", text)], Settings::default()) {
        Ok(set) => judge(&set),
        Err(diagnostics) => {
            assert!(!diagnostics.is_empty());
            for diagnostic in &diagnostics {
                assert!(!render(diagnostic, text, Color::Always).is_empty());
            }
        }
    }
});

fn judge(set: &PolicySet) {
    let images: Vec<ImageUse<'_>> = IMAGES
        .iter()
        .map(|image| ImageUse {
            list: List::Containers,
            container: Some("app"),
            field: FieldPath::Literal("spec.containers[0].image".into()),
            image,
            reference: Reference::parse(image),
            pin_proven: false,
        })
        .collect();
    for is_pod in [false, true] {
        let request = Request {
            kind: "Pod",
            namespace: Some("shop-prod"),
            name: "checkout",
            namespace_labels: None,
            is_pod,
            environment: None,
            beside: &[],
            governed: tagwarden::policy::Governed::default(),
            stage: Stage::Admission,
            now: 1_772_000_000,
        };
        let verdict = decide(set.plan(&request, &images), &images, &Facts::default());
        assert_eq!(verdict.images.len(), images.len());
    }
}
