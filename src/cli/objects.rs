//! From documents to objects: lists are flattened, and what is no manifest is told apart.

use crate::document::{Node, Value};

/// A Kubernetes object as it is written.
#[derive(Debug)]
pub(super) struct Object<'d> {
    /// `apps` of `apps/v1`; empty for the core group.
    pub group: &'d str,
    /// Its kind; an item of a typed list (`PodList`) may leave it out.
    pub kind: &'d str,
    /// The object itself.
    pub node: &'d Node,
}

impl Object<'_> {
    /// The name, or the prefix of a generated one with `*` at its end, or nothing.
    pub fn name(&self) -> String {
        let metadata = |key| self.node.at("metadata").and_then(|node| node.get(key)).and_then(Node::as_str);
        match (metadata("name"), metadata("generateName")) {
            (Some(name), _) => name.to_owned(),
            (None, Some(prefix)) => format!("{prefix}*"),
            (None, None) => String::new(),
        }
    }

    /// The namespace written in it.
    pub fn namespace(&self) -> Option<&str> {
        self.node.at("metadata.namespace").and_then(Node::as_str).filter(|name| !name.is_empty())
    }

    /// Where its kind is written, else where it begins: the place of what concerns the object as a whole.
    pub fn anchor(&self) -> &Node {
        self.node.get("kind").unwrap_or(self.node)
    }
}

/// What a document (or an item of a list) is.
#[derive(Debug)]
pub(super) enum Part<'d> {
    /// A Kubernetes object.
    Object(Object<'d>),
    /// No manifest: something without API version or kind, a values file say.
    NoManifest,
}

/// The objects of one document, lists flattened; an empty document has none.
pub(super) fn parts(root: &Node) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    if root.value != Value::Null {
        collect(root, None, &mut parts);
    }
    parts
}

/// The API version and kind that a typed list gives to items that have none of their own.
type Inherited<'d> = Option<(&'d str, &'d str)>;

/// The depth of documents is bounded by their reader, so this recursion is too.
fn collect<'d>(node: &'d Node, inherited: Inherited<'d>, parts: &mut Vec<Part<'d>>) {
    let text = |key| node.get(key).and_then(Node::as_str).filter(|text| !text.is_empty());
    let kind = text("kind").or(inherited.map(|(_, kind)| kind));
    let api_version = text("apiVersion").or(inherited.map(|(api_version, _)| api_version));
    let (Some(kind), Some(api_version)) = (kind, api_version) else { return parts.push(Part::NoManifest) };
    let items = node.get("items").and_then(Node::as_list);
    if let (Some(item_kind), Some(items)) = (kind.strip_suffix("List"), items) {
        let inherited = if item_kind.is_empty() { None } else { Some((api_version, item_kind)) };
        return items.iter().for_each(|item| collect(item, inherited, parts));
    }
    // kubectl takes apart whatever has a list of items, a Service too.
    if let Some(items) = items {
        items.iter().filter(|item| item.get("kind").is_some()).for_each(|item| collect(item, None, parts));
    }
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    parts.push(Part::Object(Object { group, kind, node }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{self, Source};

    /// `group/kind/name` of every object, `-` for what is no manifest.
    fn seen(text: &str) -> Vec<String> {
        let (documents, problems) = document::parse(&Source::new("f.yaml", text));
        assert_eq!(problems, []);
        let parts = documents.iter().flat_map(|document| parts(&document.root));
        let show = |part| match part {
            Part::Object(object) => {
                let Object { group, kind, .. } = &object;
                format!("{group}/{kind}/{}", object.name())
            }
            Part::NoManifest => "-".to_owned(),
        };
        parts.map(show).collect()
    }

    #[test]
    fn documents_become_objects() {
        let text = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n---\n# only a comment\n---\n\
                    {apiVersion: v1, kind: Pod, metadata: {generateName: b-}}\n";
        assert_eq!(seen(text), ["apps/Deployment/a", "/Pod/b-*"]);
    }

    #[test]
    fn lists_are_flattened_also_typed_and_nested_ones() {
        let text = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Pod, metadata: {name: a}}\n\
                    - {apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: Pod, metadata: {name: b}}]}\n\
                    - {apiVersion: apps/v1, kind: DeploymentList, items: [{metadata: {name: c}}]}\n\
                    - {metadata: {name: nothing}}\n";
        assert_eq!(seen(text), ["/Pod/a", "/Pod/b", "apps/Deployment/c", "-"]);
    }

    #[test]
    fn a_kind_that_ends_in_list_without_items_is_an_object() {
        assert_eq!(seen("{apiVersion: x.io/v1, kind: AllowList, metadata: {name: a}}"), ["x.io/AllowList/a"]);
    }

    #[test]
    fn items_of_any_kind_are_objects_of_their_own() {
        let text = "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nitems:\n\
                    - {apiVersion: v1, kind: Pod, metadata: {name: b}}\n- {name: no object}\n";
        assert_eq!(seen(text), ["/Pod/b", "/Service/a"]);
    }

    #[test]
    fn what_is_no_manifest_is_told_apart() {
        assert_eq!(seen("kind: Deployment\nreplicas: 2\n"), ["-"], "a values file may have such a key");
        assert_eq!(seen("image: {repository: nginx}\n"), ["-"]);
        assert_eq!(seen("- a\n- b\n"), ["-"]);
        assert_eq!(seen("just text\n"), ["-"]);
        assert_eq!(seen(""), [] as [&str; 0]);
    }
}
