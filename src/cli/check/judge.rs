//! One object through the engine: its images collected as in admission, judged, and each finding given its place.

use super::objects::Object;
use crate::cli::Surroundings;
use crate::cli::engine::{Engine, EngineArgs};
use crate::cli::facts::Learner;
use crate::cli::report::{Located, ObjectName, Place, Report, Subject};
use crate::document::{Node, Source};
use crate::policy::{Facts, Finding, IMAGE_BYTES, Owner, PolicySet, Request, Seconds, Verdict, decide, printable};

/// What judging needs besides the object.
pub(super) struct Judge<'p> {
    /// What to judge by.
    pub policies: &'p PolicySet,
    /// The rest of the configuration.
    pub engine: &'p Engine,
    /// Namespace and labels where the object says nothing.
    pub args: &'p EngineArgs,
    /// Now.
    pub now: Seconds,
    /// Where facts come from, and what was learned so far.
    pub learner: Learner<'p>,
}

/// Where an object was found.
pub(super) struct Context<'i> {
    /// The text it is in.
    pub source: &'i Source<'i>,
    /// The number that the report will know the text by.
    pub index: usize,
    /// The template that Helm names above the document.
    pub template: Option<&'i str>,
}

impl Judge<'_> {
    /// Judges an object into the report, or counts it as one of a kind that is not judged.
    ///
    /// # Errors
    /// What registries are asked with (an authority, say) cannot be used.
    pub fn object(
        &mut self,
        object: &Object<'_>,
        context: &Context<'_>,
        report: &mut Report,
        surroundings: &mut Surroundings<'_>,
    ) -> anyhow::Result<()> {
        if !self.engine.workloads.knows(object.group, object.kind) {
            report.summary.skips(object.kind);
            return Ok(());
        }
        let namespace = object.namespace().unwrap_or_else(|| self.args.namespace());
        if self.engine.infrastructure.contains(namespace) {
            report.summary.is_infrastructure(namespace);
            return Ok(());
        }
        let text = object.node.to_json().to_string();
        let collected = self.engine.workloads.read_object(object.group, object.kind, &text, None);
        let images = collected.images();
        let name = object.name();
        let labels = self.args.labels_of(namespace);
        let request = Request {
            kind: object.kind,
            namespace: Some(namespace),
            name: &name,
            namespace_labels: labels.as_ref(),
            is_pod: object.group.is_empty() && object.kind == "Pod",
            stage: self.learner.stage(),
            now: self.now,
        };
        let named = ObjectName { kind: object.kind.to_owned(), namespace: namespace.to_owned(), name: name.clone() };
        let plan = self.policies.plan(&request, &images);
        let facts = self.learner.facts(&plan, namespace, &named.to_string(), surroundings)?;
        let verdict = decide(plan, &images, &facts);

        report.summary.objects += 1;
        report.summary.images += images.len();
        if verdict.policies.is_empty() {
            report.summary.lacks_policy(namespace);
        }
        for warning in &collected.warnings {
            report.summary.deferred.push(format!("{named}: {warning}"));
        }
        for (image, note) in verdict.images.iter().flat_map(|image| image.notes.iter().map(move |note| (image, note))) {
            report.summary.notes.push(format!("{named}: {}: {note}", printable(image.image, IMAGE_BYTES)));
        }
        self.locate(&verdict, &facts, &named, object, context, report);
        Ok(())
    }

    /// Turns a verdict's findings into located ones.
    fn locate(
        &self,
        verdict: &Verdict<'_>,
        facts: &Facts,
        named: &ObjectName,
        object: &Object<'_>,
        context: &Context<'_>,
        report: &mut Report,
    ) {
        let located = |finding: &Finding, subject: Option<Subject>, node: &Node| {
            let (line, column) = context.source.position(node.span.start);
            let template = context.template.map(str::to_owned);
            Located {
                finding: finding.into(),
                object: Some(named.clone()),
                subject,
                place: Some(Place { input: context.index, template, span: node.span.clone(), line, column }),
                owner: owner(self.policies, finding.policy),
                pods: None,
            }
        };
        for finding in &verdict.object_findings {
            report.findings.push(located(finding, None, object.anchor()));
        }
        for image in &verdict.images {
            let node = object.node.at(&image.field.to_string()).unwrap_or_else(|| object.anchor());
            for finding in image.findings() {
                report.findings.push(located(finding, Some(Subject::of(image, facts)), node));
            }
        }
    }
}

/// Whom a policy names as its owner.
pub(in crate::cli) fn owner(policies: &PolicySet, policy: &str) -> Owner {
    policies.owner(policy).cloned().unwrap_or_default()
}
