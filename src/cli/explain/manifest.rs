//! The explanation of every image of a file of manifests.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use serde_json::value::RawValue;

use super::{ExplainArgs, Explanation, Judged, by_shape, exit, json, text};
use crate::cli::engine::Engine;
use crate::cli::facts::Learner;
use crate::cli::objects::{self, Object, Part};
use crate::cli::report::{Format, ObjectName, Place, shown};
use crate::cli::{Exit, Surroundings, files, written};
use crate::document::{self, Diagnostic, Source};
use crate::policy::{ImageUse, PolicySet, Request};

/// Everything that was explained so far.
#[derive(Default)]
struct Explained {
    plain: Vec<u8>,
    json: Vec<Box<RawValue>>,
    /// The gravest of all.
    exit: Option<Exit>,
}

/// Explains each image of `--file`. What cannot be read of it is told, and the rest is still explained.
pub(super) fn run(args: &ExplainArgs, engine: &Engine, surroundings: &mut Surroundings<'_>) -> anyhow::Result<Exit> {
    let path = args.file.as_deref().unwrap_or(Path::new("-"));
    let (name, text) = match path.as_os_str() == "-" {
        true => (files::STDIN.to_owned(), files::read_text(files::STDIN, &mut *surroundings.input)),
        false => (files::shown(path), files::read_file(path)),
    };
    let text = match text {
        Ok(text) => text,
        Err(problem) => {
            files::complain(&[*problem], "", surroundings);
            return Ok(Exit::Error);
        }
    };
    let source = Source::new(&name, &text);
    let (documents, mut problems) = document::parse(&source);
    let file: Arc<str> = name.as_str().into();
    let mut explained = Explained::default();
    let learner = engine.policies.as_ref().map(|policies| (policies, Learner::new(&engine.origin, policies)));
    for document in &documents {
        let template: Option<Arc<str>> = document.template.as_deref().map(Into::into);
        for part in objects::parts(&document.root) {
            let Part::Object(object) = part else { continue };
            if engine.workloads.knows(object.group, object.kind) {
                let place = |span: &_| Place::new(&source, span, &file, template.as_ref());
                explained.object(args, engine, learner.as_ref(), &object, &place, surroundings)?;
            }
        }
    }
    if explained.exit.is_none() && problems.is_empty() {
        let nothing = Diagnostic::of_file(&name, "there is no image in it that could be explained");
        problems.push(nothing.help("name a file with a Pod or something that makes Pods"));
    }
    files::complain(&problems, &text, surroundings);
    let verdict =
        explained.exit.unwrap_or(Exit::Clean).and(if problems.is_empty() { Exit::Clean } else { Exit::Error });
    let printed = match args.format {
        Format::Plain => surroundings.out.write_all(&explained.plain).and_then(|()| surroundings.out.flush()),
        Format::Json => json::write_all(&explained.json, surroundings.out),
    };
    written(printed, verdict)
}

impl Explained {
    fn object(
        &mut self,
        args: &ExplainArgs,
        engine: &Engine,
        learner: Option<&(&PolicySet, Learner<'_>)>,
        object: &Object<'_>,
        place: &dyn Fn(&document::Span) -> Place,
        surroundings: &mut Surroundings<'_>,
    ) -> anyhow::Result<()> {
        let namespace = object.namespace().unwrap_or_else(|| args.engine.namespace());
        let labels = args.engine.labels_of(namespace);
        let name = object.name();
        let named = ObjectName { kind: object.kind.to_owned(), namespace: namespace.to_owned(), name: name.clone() };
        let json = object.node.to_json().to_string();
        let collected = engine.workloads.read_object(object.group, object.kind, &json, None);
        let images = collected.images();
        let judged = match learner {
            None => None,
            Some((policies, learner)) => {
                let request = Request {
                    kind: object.kind,
                    namespace: Some(namespace),
                    name: &name,
                    namespace_labels: labels.as_ref(),
                    is_pod: object.group.is_empty() && object.kind == "Pod",
                    environment: None,
                    beside: &[],
                    governed: engine.releases.govern(Some(namespace), labels.as_ref()),
                    stage: learner.stage(),
                    now: surroundings.now,
                };
                Some(Judged::new(&request, &images, policies, engine, |plan| {
                    learner.facts(plan, namespace, &named.to_string(), surroundings)
                })?)
            }
        };
        for (index, image) in images.iter().enumerate() {
            let explanation = match &judged {
                Some(judged) => judged.explain(image, index, namespace, labels.clone()),
                None => by_shape(args, image.image, &engine.settings),
            };
            let node = object.node.at(&image.field.to_string()).unwrap_or_else(|| object.anchor());
            self.image(image, &explanation, &named, &place(&node.span))?;
        }
        for warning in &collected.warnings {
            let _ = writeln!(surroundings.err, "note: {named}: {warning}");
        }
        Ok(())
    }

    fn image(
        &mut self,
        image: &ImageUse<'_>,
        explanation: &Explanation<'_>,
        object: &ObjectName,
        place: &Place,
    ) -> anyhow::Result<()> {
        let before = self.exit.unwrap_or(Exit::Clean);
        self.exit = Some(before.and(exit(explanation.decision)));
        let container = image.container.map(shown);
        let named = container.as_ref().map_or(Cow::Borrowed(""), |name| Cow::Owned(format!(" \"{name}\"")));
        if !self.plain.is_empty() {
            self.plain.push(b'\n');
        }
        let lines = [
            ("at", format!("{}:{}:{}", shown(place.shown()), place.line, place.column)),
            ("object", format!("{object}, {}{named}", image.list.noun())),
        ];
        for (name, line) in lines {
            self.plain.extend(format!("{name:<12}{line}\n").into_bytes());
        }
        text::write(explanation, &mut self.plain)?;
        let field = image.field.to_string();
        self.json.push(json::in_file(explanation, (object, image.container, &field), place)?);
        Ok(())
    }
}
