//! Helm values of a release: where and at which version each image is, and the free sections as they are.

use serde_json::{Map, Value, json};

use super::{Image, ReleaseFile};
use crate::document::{Diagnostic, Source, entry, printable, to_yaml};

/// How images stand in Helm values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValuesStyle {
    /// `app.image.repository`, `app.image.tag`, `app.image.digest`: what charts of subcharts and services read.
    Nested,
    /// `images.app`, the whole reference as one text.
    Flat,
}

impl ReleaseFile {
    /// A values file for `helm upgrade -f`.
    ///
    /// # Errors
    /// An image is called as a free section is, and both would be one key.
    pub fn values(&self, style: ValuesStyle) -> Result<String, Vec<Diagnostic>> {
        let mut values: Map<String, Value> =
            self.free().into_iter().map(|section| (section.key.clone(), section.value.to_json())).collect();
        let images = self.release.images();
        match style {
            ValuesStyle::Flat => {
                let references = images.iter().map(|image| (image.name.clone(), reference(image).into()));
                values.insert("images".to_owned(), Value::Object(references.collect()));
            }
            ValuesStyle::Nested => {
                let clashes: Vec<Diagnostic> = images.iter().filter_map(|image| self.clash(image)).collect();
                if !clashes.is_empty() {
                    return Err(clashes);
                }
                values.extend(images.iter().map(|image| (image.name.clone(), json!({"image": parts(image)}))));
            }
        }
        let head =
            format!("# The release {} ({}), by `tagwarden release values`.\n", self.release.name(), self.release.id());
        Ok(head + &to_yaml(&Value::Object(values)))
    }

    fn clash(&self, image: &Image) -> Option<Diagnostic> {
        let section = self.free().into_iter().find(|section| section.key == image.name)?;
        let images = self.root.get("images")?;
        let source = Source::new(&self.name, &self.text);
        let told =
            format!("'{}' is an image and a section: both would be one key of the values", printable(&section.key));
        let line = source.position(entry(images, &image.name)?.key_span.start).0;
        let problem = source.error(section.key_span.clone(), told);
        Some(problem.help(format!("call one of them otherwise (the image is on line {line}), or use `--style flat`")))
    }
}

/// The whole reference: `ghcr.io/acme/app:v1.2.3@sha256:...`.
pub(super) fn reference(image: &Image) -> String {
    let tag = image.tag.as_ref().map_or_else(String::new, |tag| format!(":{tag}"));
    let digest = image.digest.as_ref().map_or_else(String::new, |digest| format!("@{digest}"));
    format!("{}{tag}{digest}", image.repository)
}

fn parts(image: &Image) -> Map<String, Value> {
    let tag = image.tag.as_deref().map(|tag| ("tag".to_owned(), tag.into()));
    let digest = image.digest.as_ref().map(|digest| ("digest".to_owned(), digest.as_str().into()));
    let repository = Some(("repository".to_owned(), image.repository.as_str().into()));
    [repository, tag, digest].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::{ReleaseFile, ValuesStyle};
    use crate::document::{Source, parse};
    use serde_json::json;

    const TEXT: &str = "release: r1
images:
  app: {repo: nginx.example.com/acme/app, tag: '1.10', digest: 'sha256:DIGEST'}
  job.v2: {repo: nginx.example.com/acme/job, tag: v2}
experiment: {istio: {canaryWeight: 10, stableWeight: 90, on: 'yes'}}
";

    fn file(text: &str) -> ReleaseFile {
        ReleaseFile::read("r.yaml", &text.replace("DIGEST", &"a".repeat(64))).unwrap()
    }

    fn read(text: &str) -> serde_json::Value {
        let (documents, problems) = parse(&Source::new("v", text));
        assert_eq!(problems, []);
        documents[0].root.to_json()
    }

    #[test]
    fn images_stand_beside_the_free_sections() {
        let file = file(TEXT);
        let digest = format!("sha256:{}", "a".repeat(64));
        let experiment = json!({"istio": {"canaryWeight": 10, "stableWeight": 90, "on": "yes"}});
        let nested = file.values(ValuesStyle::Nested).unwrap();
        assert!(nested.starts_with(&format!("# The release r1 ({}), by", file.release.id())), "{nested}");
        assert!(
            nested.contains("      tag: \"1.10\"\n") || nested.contains("    tag: \"1.10\"\n"),
            "text stays text: {nested}"
        );
        assert_eq!(
            read(&nested),
            json!({
                "app": {"image": {"repository": "nginx.example.com/acme/app", "tag": "1.10", "digest": digest}},
                "job.v2": {"image": {"repository": "nginx.example.com/acme/job", "tag": "v2"}},
                "experiment": experiment,
            })
        );
        assert_eq!(
            read(&file.values(ValuesStyle::Flat).unwrap()),
            json!({
                "images": {
                    "app": format!("nginx.example.com/acme/app:1.10@{digest}"),
                    "job.v2": "nginx.example.com/acme/job:v2",
                },
                "experiment": experiment,
            })
        );
    }

    #[test]
    fn an_image_and_a_section_of_one_name_clash() {
        let file = file(&TEXT.replace("experiment:", "app:"));
        let told = file.values(ValuesStyle::Nested).unwrap_err()[0].to_string();
        assert!(told.starts_with("r.yaml:5:1: error: 'app' is an image and a section"), "{told}");
        assert!(told.ends_with("(the image is on line 3), or use `--style flat`"), "{told}");
        assert!(file.values(ValuesStyle::Flat).is_ok());
    }
}
