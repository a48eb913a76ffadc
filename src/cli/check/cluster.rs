//! `check --cluster`: what runs, judged by what its Pods would be created from again, an entry an owner and image.

use std::collections::BTreeMap;

use anyhow::bail;
use clap::Args;

use super::judge::Judge;
use crate::cli::Surroundings;
use crate::cli::engine::Elsewhere;
use crate::cli::live::Live;
use crate::cli::report::found::CLUSTER;
use crate::cli::report::{
    Located, ObjectName, Passed, PassedImage, Report, Running, Said, Subject, label, owner, shown,
};
use crate::cluster::{CustomObjects, Inventory, OwnerName, RunningWorkload, Scope};
use crate::config::{Config, ReleaseOrigin};
use crate::policy::{CustomKind, FindingId, IMAGE_BYTES, ImageVerdict, Labels, List, Request, decide, printable};

/// Hex characters of a digest that are shown beside another.
const SHORT: usize = 12;

/// The flags of the live cluster.
#[derive(Debug, Args)]
pub(super) struct ClusterArgs {
    /// Judge what runs in the cluster: what would be refused if its Pods were created again. --namespace limits it to one
    #[arg(long, conflicts_with_all = ["paths", "namespace_labels"])]
    cluster: bool,
    /// The context of the kubeconfig to use with --cluster
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
}

impl ClusterArgs {
    /// The cluster, where one is to be judged. Nothing is asked yet.
    pub fn reach(&self) -> anyhow::Result<Option<Live>> {
        match (self.cluster, &self.context) {
            (false, None) => return Ok(None),
            (false, Some(_)) => bail!("--context chooses a cluster for --cluster: add that, or leave it out"),
            (true, _) => {}
        }
        Ok(Some(Live::reach(self.context.as_deref())?))
    }
}

impl Live {
    /// The ImagePolicy and ImageRelease objects, where the configuration says that they are policies and releases.
    pub fn elsewhere(&self, config: &Config) -> anyhow::Result<Elsewhere> {
        let objects = |kind| {
            let listed = self.runtime.block_on(CustomObjects::listed(&self.cluster, kind));
            listed.map_err(anyhow::Error::msg)
        };
        let mut elsewhere = Elsewhere::default();
        if config.policy_objects {
            let policies = objects(CustomKind::ImagePolicy)?;
            let named = policies.into_iter().map(|(name, object)| (format!("ImagePolicy {name}"), object.text));
            elsewhere.policies = named.collect();
        }
        if config.releases.iter().any(|source| source.origin == ReleaseOrigin::Objects) {
            elsewhere.releases = Some(objects(CustomKind::ImageRelease)?);
        }
        Ok(elsewhere)
    }

    /// Lists what runs, and judges it.
    ///
    /// # Errors
    /// Pods or namespaces cannot be listed; or what registries are asked with cannot be used.
    pub(super) fn judge(&self, judge: &Judge<'_>, surroundings: &mut Surroundings<'_>) -> anyhow::Result<Report> {
        let kinds: Vec<(String, String)> =
            judge.engine.workloads.configured().map(|(group, kind)| (group.to_owned(), kind.to_owned())).collect();
        let scope = Scope { namespace: judge.args.namespace.as_deref(), kinds: &kinds };
        let inventory = self.runtime.block_on(Inventory::read(&self.cluster, scope)).map_err(anyhow::Error::msg)?;
        if inventory.namespaces.is_empty() {
            bail!("the cluster has no namespace: is this the right one? see --context");
        }
        let mut entries = Entries::default();
        let mut report = Report::default();
        let mut running = Running {
            pods: 0,
            ended: inventory.left_out.ended,
            mirrored: inventory.left_out.mirrored,
            idle: inventory.left_out.idle,
        };
        for workload in &inventory.workloads {
            let namespace = workload.owner.namespace.as_str();
            if inventory.exempt.contains(namespace) || judge.engine.infrastructure.contains(namespace) {
                report.summary.is_infrastructure(namespace);
                continue;
            }
            running.pods += workload.pods;
            let labels = inventory.namespaces.get(namespace);
            judge.workload(workload, labels, &mut entries, &mut report, surroundings)?;
        }
        report.summary.running = Some(running);
        report.summary.unlisted = inventory.unlisted;
        entries.into_report(judge, &mut report);
        Ok(report)
    }
}

impl Judge<'_> {
    /// Judges one template, or one Pod that stands for itself, into the entries of its owner.
    fn workload(
        &self,
        workload: &RunningWorkload,
        labels: Option<&Labels>,
        entries: &mut Entries,
        report: &mut Report,
        surroundings: &mut Surroundings<'_>,
    ) -> anyhow::Result<()> {
        let collected = self.engine.workloads.read_object(&workload.group, &workload.kind, &workload.object, None);
        let images = collected.images();
        let owner = &workload.owner;
        let request = Request {
            kind: &workload.kind,
            namespace: Some(&owner.namespace),
            name: &owner.name,
            namespace_labels: labels,
            is_pod: workload.kind == "Pod" && workload.group.is_empty(),
            environment: None,
            beside: &[],
            governed: self.engine.releases.govern(Some(&owner.namespace), labels),
            stage: self.learner.stage(),
            now: self.now,
        };
        let named = object_name(owner);
        let plan = self.policies.plan(&request, &images);
        let facts = self.learner.facts(&plan, &owner.namespace, &named.to_string(), surroundings)?;
        let verdict = decide(plan, &images, &facts);

        if verdict.policies.is_empty() {
            report.summary.lacks_policy(&owner.namespace);
        }
        let notes = &mut report.summary.notes;
        notes.extend(workload.note.iter().map(|note| format!("{named}: {note}")));
        report.summary.deferred.extend(collected.warnings.iter().map(|warning| format!("{named}: {warning}")));
        let object = entries.objects.entry(owner.clone()).or_default();
        for finding in &verdict.object_findings {
            object.entry((finding.id, finding.policy.to_owned())).or_insert_with(|| Said::from(finding));
        }
        for image in &verdict.images {
            let about = printable(image.image, IMAGE_BYTES);
            notes.extend(image.notes.iter().map(|note| format!("{named}: {about}: {note}")));
            let subject = Subject::of(image, &facts);
            notes.extend(moved(workload, image, &subject, &named));
            let key =
                Key { owner: owner.clone(), place: place(image.list, image.container), image: subject.image.clone() };
            let entry = entries.images.entry(key).or_insert_with(|| Entry {
                findings: image.findings().map(Said::from).collect(),
                subject,
                pods: 0,
            });
            entry.pods += workload.pods;
        }
        Ok(())
    }
}

/// What an entry is about.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    owner: OwnerName,
    place: (usize, String),
    image: String,
}

/// One image of one owner.
struct Entry {
    subject: Subject,
    findings: Vec<Said>,
    pods: usize,
}

/// Findings about an owner as a whole, by id and policy.
type OfObject = BTreeMap<(FindingId, String), Said>;

/// Everything that was judged; the same of two templates of one owner is one entry.
#[derive(Default)]
struct Entries {
    objects: BTreeMap<OwnerName, OfObject>,
    images: BTreeMap<Key, Entry>,
}

impl Entries {
    fn into_report(self, judge: &Judge<'_>, report: &mut Report) {
        report.summary.objects = self.objects.len();
        report.summary.images = self.images.len();
        let located = |finding: Said, object: &OwnerName, subject: Option<Subject>, pods: Option<usize>| Located {
            owner: owner(judge.policies, &finding.policy),
            finding,
            object: Some(object_name(object)),
            subject,
            place: None,
            pods,
        };
        for (object, findings) in self.objects {
            report.findings.extend(findings.into_values().map(|finding| located(finding, &object, None, None)));
        }
        for (key, entry) in self.images {
            if entry.findings.is_empty() && judge.passed == Passed::Listed {
                let list = &entry.subject;
                report.passed.push(PassedImage {
                    file: CLUSTER.into(),
                    object: Some(object_name(&key.owner)),
                    label: label(list.list, list.container.as_deref()),
                    image: list.image.clone(),
                    skipped: None,
                });
            }
            for finding in entry.findings {
                report.findings.push(located(finding, &key.owner, Some(entry.subject.clone()), Some(entry.pods)));
            }
        }
    }
}

fn object_name(owner: &OwnerName) -> ObjectName {
    let OwnerName { namespace, kind, name } = owner.clone();
    ObjectName { kind, namespace, name }
}

/// Init containers first, as they run.
fn place(list: List, container: Option<&str>) -> (usize, String) {
    let order = [List::InitContainers, List::Containers, List::EphemeralContainers, List::Volumes];
    let number = order.iter().position(|known| *known == list).unwrap_or(order.len());
    (number, container.unwrap_or_default().to_owned())
}

/// Says where Pods run another digest than the one that the template's tag is now: created again, they would not run the
/// same program.
fn moved(
    workload: &RunningWorkload,
    image: &ImageVerdict<'_>,
    subject: &Subject,
    named: &ObjectName,
) -> Option<String> {
    let reference = image.reference.as_ref()?;
    let (None, Some(tag), Some(now)) = (reference.digest(), reference.tag(), subject.digest.as_deref()) else {
        return None;
    };
    let running = workload.digests.get(image.container?)?;
    let others: usize = running.iter().filter(|(digest, _)| digest.as_str() != now).map(|(_, pods)| pods).sum();
    let (digest, _) = running.iter().find(|(digest, _)| digest.as_str() != now)?;
    let pods = if others == 1 { "1 Pod runs".to_owned() } else { format!("{others} Pods run") };
    let (digest, now) = (short(digest), short(now));
    Some(format!("{named}: {}: {pods} {}, and {tag} is {now} now", printable(image.image, IMAGE_BYTES), shown(&digest)))
}

/// A digest's algorithm and first characters.
fn short(digest: &str) -> String {
    let end = digest.find(':').map_or(0, |at| at + 1) + SHORT;
    digest.chars().take(end).collect()
}
