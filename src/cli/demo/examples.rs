//! The example policies and their manifests, compiled in so that the demo runs from any directory.

/// One folder of `policies/`.
#[derive(Debug)]
pub(super) struct Example {
    /// The folder's name.
    pub name: &'static str,
    /// What its policy asks, in a few words.
    pub about: &'static str,
    /// Its `policy.yaml`.
    pub policy: &'static str,
    /// Release files that govern every namespace: name and text.
    pub releases: &'static [(&'static str, &'static str)],
    /// What is sent, in order.
    pub manifests: &'static [Manifest],
}

/// A manifest and the verdict that its folder promises.
#[derive(Debug)]
pub(super) struct Manifest {
    /// Its file below the folder's `manifests`, `pass/deployment.yaml`.
    pub file: &'static str,
    /// Its text.
    pub text: &'static str,
    /// What must come of it.
    pub promise: Promise,
}

/// The verdict a manifest must get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Promise {
    /// Let in, perhaps with a warning.
    Pass,
    /// Denied.
    Refuse,
}

macro_rules! example {
    ($folder:literal, $about:literal, pass: [$($pass:literal),*], refuse: [$($refuse:literal),*]) => {
        Example {
            name: $folder,
            about: $about,
            policy: include_str!(concat!("../../../policies/", $folder, "/policy.yaml")),
            releases: &[],
            manifests: &[
                $(manifest!($folder, concat!("pass/", $pass), Promise::Pass),)*
                $(manifest!($folder, concat!("refuse/", $refuse), Promise::Refuse),)*
            ],
        }
    };
}

macro_rules! manifest {
    ($folder:literal, $file:expr, $promise:expr) => {
        Manifest {
            file: $file,
            text: include_str!(concat!("../../../policies/", $folder, "/manifests/", $file)),
            promise: $promise,
        }
    };
}

/// What stands in `policies/releases/releases`.
const RELEASES: &[(&str, &str)] = &[
    ("system-2026-01-04-expA.yaml", include_str!("../../../policies/releases/releases/system-2026-01-04-expA.yaml")),
    ("system-2026-01-11-expA.yaml", include_str!("../../../policies/releases/releases/system-2026-01-11-expA.yaml")),
];

/// Those that text alone decides, from the one to begin with.
pub(super) const EXAMPLES: &[Example] = &[
    example!("starter", "no floating tag, from any registry",
        pass: ["deployment.yaml"], refuse: ["deployment.yaml", "cronjob.yaml"]),
    example!("first-party-releases", "only releases of our own registry",
        pass: ["deployment.yaml"], refuse: ["deployment.yaml", "pod.yaml"]),
    example!("per-environment", "development, staging and production take different tags",
        pass: ["dev.yaml", "staging.yaml", "prod.yaml"], refuse: ["dev.yaml", "staging.yaml", "prod.yaml"]),
    example!("vendor-mirror", "foreign software from our mirror only",
        pass: ["statefulset.yaml"], refuse: ["docker-hub.yaml", "short-version.yaml"]),
    example!("staged-rollout", "recorded here, a warning there, enforced where it matters",
        pass: ["sandbox.yaml", "shop.yaml"], refuse: ["pay.yaml"]),
    example!("exceptions", "one image let in, in one namespace, until a day",
        pass: ["billing.yaml"], refuse: ["elsewhere.yaml", "latest.yaml"]),
    Example {
        releases: RELEASES,
        ..example!("releases", "what runs is what a release file declares, as a whole",
            pass: ["release.yaml", "rollback.yaml"], refuse: ["outside.yaml", "other-version.yaml", "mixed.yaml"])
    },
];

/// The one that asks a registry.
pub(super) const PINNING: Example = example!("pinning", "tags become digests, and channels carry releases",
    pass: ["release.yaml", "channel.yaml"], refuse: ["channel.yaml", "mismatch.yaml"]);

#[cfg(test)]
mod tests {
    use super::{EXAMPLES, PINNING};
    use std::collections::BTreeSet;
    use std::path::Path;

    fn names(directory: &Path) -> BTreeSet<String> {
        let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
        let kept = entries.filter(|entry| entry.file_name() != "README.md");
        kept.map(|entry| entry.file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn every_folder_and_every_manifest_is_in_the_demo() {
        let policies = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
        let all = || EXAMPLES.iter().chain([&PINNING]);
        let known: BTreeSet<_> = all().map(|example| example.name.to_owned()).collect();
        assert_eq!(names(&policies), known);
        for example in all() {
            let folder = policies.join(example.name);
            let mut kept = names(&folder);
            assert_eq!(kept.remove("facts"), example.name == PINNING.name);
            kept.retain(|name| !name.ends_with(".test.yaml"));
            let releases: BTreeSet<String> = example.releases.iter().map(|(name, _)| (*name).to_owned()).collect();
            if kept.remove("releases") {
                assert_eq!(names(&folder.join("releases")), releases);
            } else {
                assert!(releases.is_empty(), "{}", example.name);
            }
            assert_eq!(kept, ["manifests", "policy.yaml"].map(str::to_owned).into(), "{}", example.name);
            for directory in ["pass", "refuse"] {
                let files = example.manifests.iter().filter_map(|manifest| manifest.file.strip_prefix(directory));
                let known: BTreeSet<_> = files.map(|file| file.trim_start_matches('/').to_owned()).collect();
                assert_eq!(names(&folder.join("manifests").join(directory)), known, "{}", example.name);
            }
        }
    }
}
