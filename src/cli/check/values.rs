//! Helm values files through the engine: each image of one is judged like that of a template.

use super::judge::{Context, Judge, Whole};
use crate::cli::report::Report;
use crate::cli::values_file::{self, ValuesImage};
use crate::document::Node;
use crate::image::Reference;
use crate::policy::{FieldPath, ImageUse, List, Request};

impl Judge<'_> {
    /// Judges the images of a values file into the report.
    ///
    /// # Errors
    /// What registries are asked with (an authority, say) cannot be used.
    pub fn values(&self, root: &Node, context: &Context<'_>, report: &mut Report) -> anyhow::Result<()> {
        for image in values_file::images(root) {
            match told(&image) {
                Err(why) => report.summary.deferred.push(format!("{}: {}: {why}", context.file, image.path)),
                Ok(reference) if context.old.is_some_and(|old| old.has_value(&image.path, &reference)) => {
                    report.summary.unchanged_images += 1;
                }
                Ok(reference) => self.value(&image, &reference, context, report)?,
            }
        }
        Ok(())
    }

    fn value(
        &self,
        image: &ValuesImage<'_>,
        reference: &str,
        context: &Context<'_>,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        let Some(namespace) = self.judged_namespace(None, context, report) else { return Ok(()) };
        let labels = self.args.labels_of(namespace);
        let request = Request {
            kind: "Helm values",
            namespace: Some(namespace),
            name: "",
            namespace_labels: labels.as_ref(),
            is_pod: false,
            environment: context.environment,
            beside: &[],
            governed: self.engine.releases.govern(Some(namespace), labels.as_ref()),
            stage: self.learner.stage(),
            now: self.now,
        };
        let images = [ImageUse {
            list: List::Configured,
            container: None,
            field: FieldPath::Literal(image.path.as_str().into()),
            image: reference,
            reference: Reference::parse(reference),
            pin_proven: false,
        }];
        let about = format!("{}: {}", context.file, image.path);
        let whole = Whole { object: None, about: &about, deferred: &[] };
        self.images(&request, &images, &whole, context, report, |_| image.anchor())
    }
}

/// The reference that charts make of the values, or why that is not known yet.
fn told<'d>(image: &ValuesImage<'d>) -> Result<std::borrow::Cow<'d, str>, &'static str> {
    let reference = image.reference()?;
    if reference.contains("{{") {
        return Err("it holds an expression of a template; render the chart to have it judged");
    }
    Ok(reference)
}
