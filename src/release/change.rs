//! Changing a release file: only what is changed is written anew, and the result is read again before it counts.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::{Origin, ReleaseFile};
use crate::document::{Diagnostic, Edit, Edits, Node, Source, Value, Written, entry, parse, prepend, remove, set};
use crate::image::DigestBuf;

/// Readings of one text at most; each change takes one or two, those of many platforms some more.
const ROUNDS: usize = 100;

/// What is to be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The release's name.
    Name(String),
    /// The id that is written.
    Id(DigestBuf),
    /// Where the file is kept.
    Origin(Origin),
    /// A release that stays allowed, before those that do already.
    Previous(String),
    /// Of the image of this name.
    Image(String, ImageChange),
}

/// What is to be changed of an image; none: the key goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageChange {
    /// Its tag.
    Tag(Option<String>),
    /// Its digest.
    Digest(Option<DigestBuf>),
    /// Its commit.
    Commit(Option<String>),
    /// The digests of its platforms; empty: it has one alone, which is its own.
    Platforms(BTreeMap<String, DigestBuf>),
}

impl ReleaseFile {
    /// The text with these changes, read as a release. Whatever holds already is not written; comments, order and
    /// layout of the rest stay, byte by byte.
    ///
    /// # Errors
    /// What the new text would say cannot be, or the way the old one is written leaves no safe place for it.
    pub fn changed(&self, changes: &[Change]) -> Result<ReleaseFile, Vec<Diagnostic>> {
        let mut expected = self.root.to_json();
        changes.iter().for_each(|change| change.apply(&mut expected));
        let text = self.rewritten(changes).map_err(|problem| vec![*problem])?;
        let new = ReleaseFile::read(&self.name, &text)?;
        if new.root.to_json() != expected {
            let told = "left as it is: changed in place, it would say more than is meant";
            let problem = Diagnostic::of_file(&self.name, told);
            return Err(vec![
                problem.help("write out what is shared by an alias or a merge key, or change it by hand"),
            ]);
        }
        Ok(new)
    }

    /// The same, and the id of what it then says.
    ///
    /// # Errors
    /// Those of [`ReleaseFile::changed`].
    pub fn sealed(&self, changes: &[Change]) -> Result<ReleaseFile, Vec<Diagnostic>> {
        let new = self.changed(changes)?;
        let id = new.release.id().clone();
        new.changed(&[Change::Id(id)])
    }

    fn rewritten(&self, changes: &[Change]) -> Result<String, Box<Diagnostic>> {
        let mut text = self.text.clone();
        for _ in 0..ROUNDS {
            let (documents, problems) = parse(&Source::new(&self.name, &text));
            let root = documents.into_iter().map(|document| document.root).find(|root| root.value != Value::Null);
            let Some(root) = root.filter(|_| problems.is_empty()) else { break };
            let steps: Vec<Step> = changes.iter().flat_map(|change| change.steps(&root)).collect();
            let Some(first) = steps.first() else { return Ok(text) };
            let mut edits = Edits::default();
            for step in &steps {
                if let Some(edit) = step.edit(&text, &root) {
                    // What touches another edit waits for the next round.
                    edits.add(edit);
                }
            }
            if edits.is_empty() {
                return Err(Box::new(self.stuck(first)));
            }
            text = edits.apply(&text);
        }
        let problem = Diagnostic::of_file(&self.name, "left as it is: with its changes it would not read as meant");
        Err(Box::new(problem.help("change it by hand, and please report it")))
    }

    fn stuck(&self, step: &Step) -> Diagnostic {
        let told = format!("the way it is written leaves no safe place for '{}'", step.key);
        let image = step.path.get(1).map(String::as_str);
        let problem = match image {
            Some(image) => self.problem_of(image, told),
            None => Diagnostic::of_file(&self.name, told),
        };
        problem.help("write each value on one line, without aliases, or change it by hand")
    }
}

/// One key of one map that is not yet what it should be.
struct Step {
    /// The keys that lead to the map.
    path: Vec<String>,
    key: String,
    /// Keys behind which it stands, where it is new.
    after: &'static [&'static str],
    action: Action,
}

enum Action {
    Write(Written),
    Prepend(String),
    Remove,
}

impl Step {
    fn edit(&self, text: &str, root: &Node) -> Option<Edit> {
        let map = at(root, &self.path)?;
        match &self.action {
            Action::Write(value) => {
                // What has no neighbour of ours (a child of `platforms`) stands behind whatever comes last.
                let last = match &map.value {
                    Value::Map(entries) => entries.last().map(|entry| entry.key.as_str()),
                    _ => None,
                };
                let after: Vec<&str> =
                    if self.after.is_empty() { last.into_iter().collect() } else { self.after.to_vec() };
                set(text, map, &self.key, &after, value)
            }
            Action::Prepend(element) => prepend(text, map.get(&self.key)?, element),
            Action::Remove => remove(text, map, &self.key),
        }
    }
}

fn at<'n>(root: &'n Node, path: &[String]) -> Option<&'n Node> {
    path.iter().try_fold(root, |node, key| node.get(key))
}

impl Change {
    /// What is left to do.
    fn steps(&self, root: &Node) -> Vec<Step> {
        let top = |key: &str, after: &'static [&'static str], action| Step {
            path: Vec::new(),
            key: key.to_owned(),
            after,
            action,
        };
        match self {
            Change::Name(name) => text_step(root, top("release", &[], write(name))).into_iter().collect(),
            Change::Id(id) => text_step(root, top("id", &["release"], write(id.as_str()))).into_iter().collect(),
            Change::Origin(origin) => origin_steps(root, origin),
            Change::Previous(name) => {
                let action = match root.get("previous").and_then(Node::as_list) {
                    Some([first, ..]) if first.as_str() == Some(name) => return Vec::new(),
                    Some(_) => Action::Prepend(name.clone()),
                    None => Action::Write(Written::List(vec![name.clone()])),
                };
                vec![top("previous", &["release", "id", "source", "images"], action)]
            }
            Change::Image(image, change) => image_steps(root, image, change),
        }
    }

    /// The same on the content alone.
    fn apply(&self, root: &mut Json) {
        let put = |map: &mut Json, key: &str, value: Option<Json>| {
            let Some(map) = map.as_object_mut() else { return };
            match value {
                Some(value) => {
                    map.insert(key.to_owned(), value);
                }
                None => {
                    map.remove(key);
                }
            }
        };
        match self {
            Change::Name(name) => put(root, "release", Some(name.as_str().into())),
            Change::Id(id) => put(root, "id", Some(id.as_str().into())),
            Change::Origin(Origin { repo, commit }) => {
                let mut origin = serde_json::json!({"repo": repo});
                put(&mut origin, "commit", commit.as_deref().map(Json::from));
                put(root, "source", Some(origin));
            }
            Change::Previous(name) => {
                let old = root["previous"].as_array().cloned().unwrap_or_default();
                if old.first().and_then(Json::as_str) != Some(name) {
                    let new: Vec<Json> = std::iter::once(Json::from(name.as_str())).chain(old).collect();
                    put(root, "previous", Some(new.into()));
                }
            }
            Change::Image(image, change) => {
                let Some(image) = root.get_mut("images").and_then(|images| images.get_mut(image)) else { return };
                match change {
                    ImageChange::Tag(tag) => put(image, "tag", tag.as_deref().map(Json::from)),
                    ImageChange::Digest(digest) => put(image, "digest", digest.as_ref().map(|d| d.as_str().into())),
                    ImageChange::Commit(commit) => put(image, "commit", commit.as_deref().map(Json::from)),
                    ImageChange::Platforms(platforms) => {
                        let digests = platforms.iter().map(|(name, digest)| (name.clone(), digest.as_str().into()));
                        let digests: serde_json::Map<String, Json> = digests.collect();
                        put(image, "platforms", (!digests.is_empty()).then(|| digests.into()));
                    }
                }
            }
        }
    }
}

fn write(text: &str) -> Action {
    Action::Write(Written::Text(text.to_owned()))
}

/// The step, unless the key holds that text already.
fn text_step(root: &Node, step: Step) -> Option<Step> {
    let old = at(root, &step.path).and_then(|map| map.get(&step.key));
    match &step.action {
        Action::Write(Written::Text(text)) if old.and_then(Node::as_str) == Some(text) => None,
        Action::Remove if old.is_none() => None,
        _ => Some(step),
    }
}

fn origin_steps(root: &Node, origin: &Origin) -> Vec<Step> {
    let Origin { repo, commit } = origin;
    if root.get("source").is_none() {
        let pairs = [("repo", Some(repo)), ("commit", commit.as_ref())];
        let pairs = pairs.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?.clone())));
        let action = Action::Write(Written::Map(pairs.collect()));
        return vec![Step { path: Vec::new(), key: "source".to_owned(), after: &["release", "id"], action }];
    }
    let of = |key: &str, value: Option<&str>| Step {
        path: vec!["source".to_owned()],
        key: key.to_owned(),
        after: &["repo"],
        action: value.map_or(Action::Remove, write),
    };
    let steps = [of("repo", Some(repo)), of("commit", commit.as_deref())];
    steps.into_iter().filter_map(|step| text_step(root, step)).collect()
}

fn image_steps(root: &Node, image: &str, change: &ImageChange) -> Vec<Step> {
    let path = vec!["images".to_owned(), image.to_owned()];
    let of = |key: &str, after: &'static [&'static str], value: Option<&str>| Step {
        path: path.clone(),
        key: key.to_owned(),
        after,
        action: value.map_or(Action::Remove, write),
    };
    let platforms = match change {
        ImageChange::Tag(tag) => {
            return text_step(root, of("tag", &["repo"], tag.as_deref())).into_iter().collect();
        }
        ImageChange::Digest(digest) => {
            let digest = digest.as_ref().map(DigestBuf::as_str);
            return text_step(root, of("digest", &["repo", "tag"], digest)).into_iter().collect();
        }
        ImageChange::Commit(commit) => {
            let step = of("commit", &["repo", "tag", "digest"], commit.as_deref());
            return text_step(root, step).into_iter().collect();
        }
        ImageChange::Platforms(platforms) => platforms,
    };
    const BEFORE: &[&str] = &["repo", "tag", "digest", "commit", "build"];
    let Some(old) = at(root, &path).and_then(|map| entry(map, "platforms")).map(|entry| &entry.value) else {
        if platforms.is_empty() {
            return Vec::new();
        }
        let pairs = platforms.iter().map(|(name, digest)| (name.clone(), digest.to_string())).collect();
        return vec![Step { action: Action::Write(Written::Map(pairs)), ..of("platforms", BEFORE, None) }];
    };
    if platforms.is_empty() {
        return vec![of("platforms", BEFORE, None)];
    }
    let below: Vec<String> = path.iter().cloned().chain(["platforms".to_owned()]).collect();
    let child = |name: &str, action| Step { path: below.clone(), key: name.to_owned(), after: &[], action };
    let new = platforms.iter().filter_map(|(name, digest)| text_step(root, child(name, write(digest.as_str()))));
    let gone = match &old.value {
        Value::Map(entries) => entries.as_slice(),
        _ => &[],
    };
    let gone = gone.iter().filter(|entry| !platforms.contains_key(&entry.key));
    new.chain(gone.map(|entry| child(&entry.key, Action::Remove))).collect()
}

#[cfg(test)]
mod tests;
