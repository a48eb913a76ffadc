//! What a Pod says that it runs, read from its spec's images and its status' digests.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::record::{Release, Run};
use crate::image::{Digest, Reference};
use crate::policy::printable;

/// Bytes of an image that is no reference, which no runtime would have pulled.
const IMAGE_BYTES: usize = 512;

/// A Pod, as far as it matters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// Tells it from all others that ever were.
    pub uid: String,
    /// Its namespace.
    pub namespace: String,
    /// `status.phase`.
    pub phase: String,
    /// The annotation `tagwarden.dev/release`.
    pub release: Option<String>,
    /// Containers that have a status.
    pub containers: Vec<Container>,
}

/// A container with its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Where it stands.
    pub kind: ContainerKind,
    /// The image of the spec.
    pub image: String,
    /// `imageID` of the status.
    pub image_id: String,
    /// Whether it runs at this moment.
    pub runs: bool,
    /// When it started last, RFC 3339.
    pub started: Option<String>,
}

/// In which list of the Pod a container stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContainerKind {
    /// `containers` and `initContainers`.
    Declared,
    /// `ephemeralContainers`, which somebody added to a running Pod.
    Ephemeral,
}

/// What a watch tells of Pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PodChange {
    /// All of them follow, each as [`PodChange::Listed`].
    Listing,
    /// One of all.
    Listed(Pod),
    /// These were all.
    ListDone,
    /// One came or changed.
    Applied(Pod),
    /// The one of this uid is gone.
    Gone(String),
    /// They cannot be seen at the moment, for this reason.
    Failed(String),
}

impl Pod {
    /// What runs in it, and since when as far as that is known.
    ///
    /// A container counts as soon as its runtime says what it made it from, and as long as the Pod is in phase Running: also between two crashes,
    /// and an init container also after it has done its work, since the Pod stands on what it did. An ephemeral one counts
    /// while it runs.
    #[must_use]
    pub fn runs(&self) -> BTreeMap<Run, Option<Timestamp>> {
        let mut runs = BTreeMap::new();
        if self.phase != "Running" {
            return runs;
        }
        let release = self.release.as_deref().and_then(Release::of_annotation);
        for container in &self.containers {
            let Some(digest) = digest_of(&container.image_id) else { continue };
            if container.kind == ContainerKind::Ephemeral && !container.runs {
                continue;
            }
            let run = Run { release: release.clone(), image: shown(&container.image), digest: digest.to_owned() };
            let started = container.started.as_deref().and_then(|started| started.parse::<Timestamp>().ok());
            let since = runs.entry(run).or_insert(started);
            *since = (*since).into_iter().chain(started).min();
        }
        runs
    }
}

/// `docker.io/library/nginx@sha256:...`, with a scheme before it under old runtimes, or the digest alone, which is that of
/// an image that was never pulled.
fn digest_of(image_id: &str) -> Option<&str> {
    let digest = image_id.rsplit_once('@').map_or(image_id, |(_, digest)| digest);
    Digest::parse(digest).is_ok().then_some(digest)
}

/// An image in full and without its digest, which only says what was asked for.
fn shown(image: &str) -> String {
    let Ok(reference) = Reference::parse(image) else { return printable(image, IMAGE_BYTES) };
    let mut text = String::with_capacity(image.len());
    reference.write_name(&mut text);
    if let Some(tag) = reference.tag() {
        text.push(':');
        text.push_str(tag);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Container, ContainerKind, Pod, digest_of, shown};

    const ONE: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";
    const TWO: &str = "sha256:2222222222222222222222222222222222222222222222222222222222222222";

    fn container(image: &str, image_id: &str, started: &str) -> Container {
        let started = Some(started.to_owned()).filter(|started| !started.is_empty());
        let (image, image_id) = (image.to_owned(), image_id.to_owned());
        Container { kind: ContainerKind::Declared, image, image_id, runs: true, started }
    }

    fn pod(containers: Vec<Container>) -> Pod {
        let (uid, namespace, phase) = ("u".to_owned(), "shop".to_owned(), "Running".to_owned());
        Pod { uid, namespace, phase, release: None, containers }
    }

    /// `image digest since` of each.
    fn told(pod: &Pod) -> Vec<String> {
        let runs = pod.runs().into_iter();
        let line = |(run, since): (super::Run, Option<jiff::Timestamp>)| {
            let since = since.map_or_else(|| "?".to_owned(), |since| since.to_string());
            format!("{} {} {since}", run.image, &run.digest[7..9])
        };
        runs.map(line).collect()
    }

    #[test]
    fn containers_with_a_digest_count_and_those_of_one_image_are_one() {
        let api = "registry.example.com/acme/api:v1";
        let id = format!("registry.example.com/acme/api@{ONE}");
        let pod = pod(vec![
            container(api, &id, "2026-03-01T10:00:02Z"),
            container(api, &id, "2026-03-01T10:00:01Z"),
            container(api, &id, ""),
            container(api, &id.replace(ONE, TWO), ""),
            container("nginx", &format!("docker.io/library/nginx@{TWO}"), "soon"),
            container("nginx:1", "", "2026-03-01T10:00:00Z"),
            container("nginx:2", "docker.io/library/nginx:2", "2026-03-01T10:00:00Z"),
        ]);
        let expected = [
            "docker.io/library/nginx:latest 22 ?",
            "registry.example.com/acme/api:v1 11 2026-03-01T10:00:01Z",
            "registry.example.com/acme/api:v1 22 ?",
        ];
        assert_eq!(told(&pod), expected);
    }

    #[test]
    fn only_a_pod_in_phase_running_counts() {
        for (phase, count) in [("Running", 1), ("Pending", 0), ("Succeeded", 0), ("Failed", 0), ("Unknown", 0), ("", 0)]
        {
            let pod = Pod { phase: phase.to_owned(), ..pod(vec![container("nginx", ONE, "")]) };
            assert_eq!(pod.runs().len(), count, "{phase}");
        }
    }

    #[test]
    fn what_was_declared_counts_between_crashes_and_what_was_added_while_it_runs() {
        for (kind, runs, count) in [
            (ContainerKind::Declared, true, 1),
            (ContainerKind::Declared, false, 1),
            (ContainerKind::Ephemeral, true, 1),
            (ContainerKind::Ephemeral, false, 0),
        ] {
            let pod = pod(vec![Container { kind, runs, ..container("nginx", ONE, "") }]);
            assert_eq!(pod.runs().len(), count, "{kind:?} {runs}");
        }
    }

    #[test]
    fn the_release_is_that_of_the_annotation_or_none() {
        let id = format!("sha256:{}", "41".repeat(32));
        for (annotation, name) in
            [(Some(format!("system-04 {id}")), Some("system-04")), (Some("system-04".to_owned()), None), (None, None)]
        {
            let pod = Pod { release: annotation, ..pod(vec![container("nginx", ONE, "")]) };
            let runs = pod.runs();
            let (run, _) = runs.first_key_value().unwrap();
            assert_eq!(run.release.as_ref().map(|release| release.name.as_str()), name);
        }
    }

    #[test]
    fn digests_are_found_in_every_form_of_an_image_id_and_nothing_else_is_one() {
        for id in [ONE.to_owned(), format!("a/b@{ONE}"), format!("docker-pullable://a/b@{ONE}")] {
            assert_eq!(digest_of(&id), Some(ONE), "{id}");
        }
        for id in ["", "nginx:1", "sha256:12", "a/b@sha256:12", "docker://sha256:12"] {
            assert_eq!(digest_of(id), None, "{id}");
        }
    }

    #[test]
    fn images_are_shown_in_full_and_without_a_digest() {
        for (image, expected) in [
            ("nginx", "docker.io/library/nginx:latest"),
            ("nginx:1.27", "docker.io/library/nginx:1.27"),
            (&format!("registry.example.com:5000/acme/api:v1@{ONE}"), "registry.example.com:5000/acme/api:v1"),
            (&format!("registry.example.com/acme/api@{ONE}"), "registry.example.com/acme/api"),
            ("UPPER\n", "UPPER\\n"),
        ] {
            assert_eq!(shown(image), expected);
        }
    }
}
