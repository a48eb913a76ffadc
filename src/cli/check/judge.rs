//! One object through the engine: its images collected as in admission, judged, and each finding given its place.

use super::objects::Object;
use crate::cli::engine::{Engine, EngineArgs};
use crate::cli::report::{Located, ObjectName, Place, Report, Subject};
use crate::document::{Node, Source};
use crate::policy::{Facts, Finding, Owner, PolicySet, Request, Seconds, Verdict, decide};

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
    pub fn object(&self, object: &Object<'_>, context: &Context<'_>, report: &mut Report) {
        if !self.engine.workloads.knows(object.group, object.kind) {
            return report.summary.skips(object.kind);
        }
        let namespace = object.namespace().unwrap_or_else(|| self.args.namespace());
        if self.engine.infrastructure.contains(namespace) {
            return report.summary.is_infrastructure(namespace);
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
            now: self.now,
        };
        let plan = self.policies.plan(&request, &images);
        let verdict = decide(plan, &images, &Facts::default());

        report.summary.objects += 1;
        report.summary.images += images.len();
        if verdict.policies.is_empty() {
            report.summary.lacks_policy(namespace);
        }
        let named = ObjectName { kind: object.kind.to_owned(), namespace: namespace.to_owned(), name: name.clone() };
        for warning in &collected.warnings {
            report.summary.deferred.push(format!("{named}: {warning}"));
        }
        self.locate(&verdict, &named, object, context, report);
    }

    /// Turns a verdict's findings into located ones.
    fn locate(
        &self,
        verdict: &Verdict<'_>,
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
            }
        };
        for finding in &verdict.object_findings {
            report.findings.push(located(finding, None, object.anchor()));
        }
        for image in &verdict.images {
            let node = object.node.at(&image.field.to_string()).unwrap_or_else(|| object.anchor());
            for finding in image.findings() {
                report.findings.push(located(finding, Some(Subject::of(image)), node));
            }
        }
    }
}

/// Whom a policy names as its owner.
pub(in crate::cli) fn owner(policies: &PolicySet, policy: &str) -> Owner {
    policies.owner(policy).cloned().unwrap_or_default()
}
