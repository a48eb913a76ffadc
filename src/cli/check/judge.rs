//! One object through the engine: its images collected as in admission, judged, and each finding given its place.

use std::sync::Arc;

use super::base::{Base, OldFile};
use crate::cli::engine::{Engine, EngineArgs};
use crate::cli::facts::Learner;
use crate::cli::objects::Object;
use crate::cli::report::{Located, ObjectName, Passed, PassedImage, Place, Report, Subject, label, owner};
use crate::document::{Node, Source};
use crate::policy::{
    Facts, FieldPath, Finding, IMAGE_BYTES, ImageUse, PolicySet, Request, Seconds, Verdict, decide, printable,
};

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
    /// What the repository held before; none: everything is judged.
    pub base: Option<Base>,
    /// Whether images without a finding are kept.
    pub passed: Passed,
}

/// Where an object was found.
pub(super) struct Context<'i> {
    /// The text it is in.
    pub source: &'i Source<'i>,
    /// The text's name, as shown.
    pub file: &'i Arc<str>,
    /// The template that Helm names above the document.
    pub template: Option<&'i Arc<str>>,
    /// The environment that the file's path names.
    pub environment: Option<&'i str>,
    /// The namespace that the file's path names.
    pub namespace: Option<&'i str>,
    /// What the file held before.
    pub old: Option<&'i OldFile>,
}

/// What the images judged together belong to.
pub(super) struct Whole<'w> {
    /// The object; none: a values file.
    pub object: Option<&'w ObjectName>,
    /// What notes begin with.
    pub about: &'w str,
    /// What is left to the review of a Pod, a line each.
    pub deferred: &'w [String],
}

impl Judge<'_> {
    /// Judges an object into the report, or counts it as one of a kind that is not judged.
    ///
    /// # Errors
    /// What registries are asked with (an authority, say) cannot be used.
    pub fn object(&self, object: &Object<'_>, context: &Context<'_>, report: &mut Report) -> anyhow::Result<()> {
        if !self.engine.workloads.knows(object.group, object.kind) {
            report.summary.skips(object.kind);
            return Ok(());
        }
        let Some(namespace) = self.judged_namespace(object.namespace(), context, report) else { return Ok(()) };
        let text = object.node.to_json().to_string();
        let old = self.base.as_ref().and_then(|base| {
            let overlay = (context.environment.map(str::to_owned), context.namespace.map(str::to_owned));
            base.object(context.old, object, overlay)
        });
        let collected = self.engine.workloads.read_object(object.group, object.kind, &text, old);
        let images = collected.images();
        let beside = collected.beside();
        let name = object.name();
        let labels = self.args.labels_of(namespace);
        let request = Request {
            kind: object.kind,
            namespace: Some(namespace),
            name: &name,
            namespace_labels: labels.as_ref(),
            is_pod: object.group.is_empty() && object.kind == "Pod",
            environment: context.environment,
            beside: &beside,
            governed: self.engine.releases.govern(Some(namespace), labels.as_ref()),
            stage: self.learner.stage(),
            now: self.now,
        };
        let named = ObjectName { kind: object.kind.to_owned(), namespace: namespace.to_owned(), name: name.clone() };
        let about = named.to_string();
        report.summary.objects += 1;
        report.summary.unchanged_images += collected.unchanged;
        for warning in &collected.warnings {
            report.summary.deferred.push(format!("{about}: {warning}"));
        }
        let node = |field: Option<&FieldPath<'_>>| {
            field.and_then(|field| object.node.at(&field.to_string())).unwrap_or_else(|| object.anchor())
        };
        let whole = Whole { object: Some(&named), about: &about, deferred: &collected.warnings };
        self.images(&request, &images, &whole, context, report, node)
    }

    /// Judges images into the report; `node` is where a field is written, or the object as a whole.
    pub(super) fn images<'n>(
        &self,
        request: &Request<'_>,
        images: &[ImageUse<'_>],
        whole: &Whole<'_>,
        context: &Context<'_>,
        report: &mut Report,
        node: impl Fn(Option<&FieldPath<'_>>) -> &'n Node,
    ) -> anyhow::Result<()> {
        let namespace = request.namespace.unwrap_or_default();
        let plan = self.policies.plan(request, images);
        let facts = self.learner.facts_quietly(&plan, namespace)?;
        let verdict = decide(plan, images, &facts);
        report.summary.images += images.len();
        if verdict.policies.is_empty() {
            report.summary.lacks_policy(namespace);
        }
        note(&verdict, whole.about, report);
        self.locate(&verdict, &facts, whole.object, context, report, node);
        self.list(&verdict, whole, context, report);
        Ok(())
    }

    /// The namespace to judge in: the one written, else that of the file's path, else the flag's. None, after a note,
    /// where nothing in it is ever judged.
    pub(super) fn judged_namespace<'n>(
        &'n self,
        written: Option<&'n str>,
        context: &Context<'n>,
        report: &mut Report,
    ) -> Option<&'n str> {
        let namespace = written.or(context.namespace).unwrap_or_else(|| self.args.namespace());
        if self.engine.infrastructure.contains(namespace) {
            report.summary.is_infrastructure(namespace);
            return None;
        }
        Some(namespace)
    }

    /// Lists the images that nothing is wrong with and those that were not judged, where a format asks for them.
    fn list(&self, verdict: &Verdict<'_>, whole: &Whole<'_>, context: &Context<'_>, report: &mut Report) {
        if self.passed == Passed::Counted {
            return;
        }
        let image = |label: String, image: &str, skipped: Option<&str>| PassedImage {
            file: Arc::clone(context.template.unwrap_or(context.file)),
            object: whole.object.cloned(),
            label,
            image: image.to_owned(),
            skipped: skipped.map(str::to_owned),
        };
        let uncovered = verdict.policies.is_empty().then_some("no policy covers the namespace");
        let passed = verdict.images.iter().filter(|image| image.findings().next().is_none());
        report.passed.extend(passed.map(|found| image(label(found.list, found.container), found.image, uncovered)));
        // Each names its field and says why.
        let later =
            whole.deferred.iter().map(|why| image(why.clone(), "", Some("it is judged when its Pod is created")));
        report.passed.extend(later);
    }

    /// Turns a verdict's findings into located ones.
    fn locate<'n>(
        &self,
        verdict: &Verdict<'_>,
        facts: &Facts,
        object: Option<&ObjectName>,
        context: &Context<'_>,
        report: &mut Report,
        node: impl Fn(Option<&FieldPath<'_>>) -> &'n Node,
    ) {
        let located = |finding: &Finding, subject: Option<Subject>, node: &Node| Located {
            finding: finding.into(),
            object: object.cloned(),
            subject,
            place: Some(Place::new(context.source, &node.span, context.file, context.template)),
            owner: owner(self.policies, finding.policy),
            pods: None,
        };
        for finding in &verdict.object_findings {
            report.findings.push(located(finding, None, node(None)));
        }
        for image in &verdict.images {
            for finding in image.findings() {
                report.findings.push(located(finding, Some(Subject::of(image, facts)), node(Some(&image.field))));
            }
        }
    }
}

/// Notes what is to be known of images although nothing is wrong with them.
fn note(verdict: &Verdict<'_>, about: &str, report: &mut Report) {
    for (image, note) in verdict.images.iter().flat_map(|image| image.notes.iter().map(move |note| (image, note))) {
        report.summary.notes.push(format!("{about}: {}: {note}", printable(image.image, IMAGE_BYTES)));
    }
}
