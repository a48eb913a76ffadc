//! The cases of one file, each through the engine.

use super::load::Loaded;
use super::manifest::{Manifests, Object};
use super::{Outcome, Report};
use crate::cli::{Surroundings, files};
use crate::document::{Diagnostic, Source};
use crate::image::Reference;
use crate::policy::file::Text;
use crate::policy::{Case, Coverage, FieldPath, ImageUse, List, Request, Seen};

/// Runs the cases of a file into the report; a case that cannot be judged makes the file a broken one.
pub(super) fn file(mut loaded: Loaded, filter: Option<&str>, report: &mut Report, surroundings: &mut Surroundings<'_>) {
    let mut coverage = report.coverage.is_some().then(|| Coverage::new(&named(&loaded), &loaded.policies));
    let mut manifests = std::mem::take(&mut loaded.manifests);
    let mut is_broken = false;
    let index = report.files.len();
    let source = Source::new(&loaded.name, &loaded.text);
    for (at, case) in loaded.file.cases.iter().enumerate() {
        let name = case.shown_name();
        if filter.is_some_and(|filter| !format!("{}: {name}", loaded.name).contains(filter)) {
            report.left_out += 1;
            continue;
        }
        let mut run = Run { loaded: &loaded, source: &source, coverage: coverage.as_mut(), seen: Seen::default() };
        if !run.case(case, &mut manifests, surroundings) {
            is_broken = true;
            continue;
        }
        let seen = run.seen;
        let differences = seen.differences(case);
        report.outcomes.push(Outcome { file: index, case: at, name, seen, differences });
    }
    if is_broken {
        report.broken.push(loaded.name.clone());
    }
    if let (Some(all), Some(own)) = (&mut report.coverage, coverage) {
        all.absorb(own);
    }
    report.files.push(loaded);
}

/// The policies' files: name and text.
fn named(loaded: &Loaded) -> Vec<(&str, &str)> {
    loaded.sources.iter().map(|source| (source.0.as_str(), source.1.as_str())).collect()
}

/// One case at work.
struct Run<'r> {
    loaded: &'r Loaded,
    source: &'r Source<'r>,
    coverage: Option<&'r mut Coverage>,
    seen: Seen,
}

impl<'r> Run<'r> {
    /// Judges it. False: it could not be, which was told at its place.
    fn case(&mut self, case: &'r Case, manifests: &mut Manifests, surroundings: &mut Surroundings<'_>) -> bool {
        if let Some(image) = &case.image {
            self.image(case, image);
            return true;
        }
        let Some(named) = &case.manifest else { return false };
        let Some(objects) = manifests.get(named, &self.loaded.folder, self.source, surroundings) else { return false };
        let judged: usize = objects.iter().map(|object| self.object(case, object)).sum();
        let problem = match &case.container {
            _ if judged > 0 => return true,
            Some(container) => self.no_container(container, named, &objects),
            None => self
                .source
                .error(named.span.clone(), "there is nothing to judge in this manifest")
                .help("it has no object of a kind with images; 'config' may name further kinds"),
        };
        files::complain(&[problem], &self.loaded.text, surroundings);
        false
    }

    /// An image, as that of a Pod or of another object.
    fn image(&mut self, case: &'r Case, image: &'r Text) {
        if self.loaded.infrastructure.contains(case.namespace()) {
            return self.seen.exempt();
        }
        let image = ImageUse {
            list: List::Containers,
            container: None,
            field: FieldPath::Literal("".into()),
            image: &image.value,
            reference: Reference::parse(&image.value),
            pin_proven: false,
        };
        let request = self.loaded.file.request("", case.kind(), case.namespace(), "");
        self.judge(&request, &[image], None);
    }

    /// One object of a manifest. How many of its images the case is about; an object that is never judged counts as one.
    fn object(&mut self, case: &'r Case, object: &Object) -> usize {
        let Loaded { workloads, infrastructure, .. } = self.loaded;
        if !workloads.knows(&object.group, &object.kind) {
            return 0;
        }
        let namespace = object.namespace.as_deref().unwrap_or_else(|| case.namespace());
        if infrastructure.contains(namespace) {
            self.seen.exempt();
            return 1;
        }
        let collected = workloads.read_object(&object.group, &object.kind, &object.json, None);
        let container = case.container.as_ref().map(|container| container.value.as_str());
        let request = self.loaded.file.request(&object.group, &object.kind, namespace, &object.name);
        self.judge(&request, &collected.images(), container)
    }

    /// How many images the case is about. One with more than the limits allow is refused as a whole, so it is not the
    /// verdict's images that count.
    fn judge(&mut self, request: &Request<'_>, images: &[ImageUse<'_>], container: Option<&str>) -> usize {
        let Loaded { file, policies, .. } = self.loaded;
        let mut verdict = file.verdict(policies, request, images);
        if container.is_some() {
            verdict.images.retain(|image| image.container == container);
        }
        if let Some(coverage) = &mut self.coverage {
            coverage.touch(policies, request, &verdict);
        }
        self.seen.add(&verdict);
        images.iter().filter(|image| container.is_none() || image.container == container).count()
    }

    fn no_container(&self, container: &Text, manifest: &Text, objects: &[Object]) -> Diagnostic {
        let shown = files::shown(container.value.as_ref());
        let message =
            format!("no container of the name '{shown}' has an image in {}", files::shown(manifest.value.as_ref()));
        let mut names = Vec::new();
        for object in objects {
            let collected = self.loaded.workloads.read_object(&object.group, &object.kind, &object.json, None);
            names.extend(collected.images().iter().filter_map(|image| image.container).map(str::to_owned));
        }
        names.dedup();
        let known: Vec<_> = names.iter().map(|name| files::shown(name.as_ref())).collect();
        let help = if known.is_empty() { "it has none".to_owned() } else { format!("it has: {}", known.join(", ")) };
        self.source.error(container.span.clone(), message).help(help)
    }
}
