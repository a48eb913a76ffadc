//! Choices of releases as the server's configuration writes them.

use super::{Choice, Current};
use crate::document::Reader;
use crate::policy::Settings;
use crate::policy::compile::{NamespaceFilter, trusted};
use crate::policy::file::{Namespaces, Text};

impl Choice {
    /// A choice as people write it: for which namespaces, and which release, by name or by a label of the namespace.
    pub(crate) fn compile(
        namespaces: Option<&Namespaces>,
        named: Option<&Text>,
        label: Option<&Text>,
        settings: &Settings,
        reader: &mut Reader<'_>,
    ) -> Self {
        if let (Some(_), Some(label)) = (named, label) {
            let error = reader.error(label.span.clone(), "'current' and 'currentLabel' both say which release governs");
            error.help.push("take one of the two out".to_owned());
        }
        if let Some(label) = label {
            trusted(label, settings, reader);
        }
        let current = match (named, label) {
            (Some(name), _) => Current::Named(name.value.clone()),
            (None, Some(label)) => Current::Label(label.value.clone()),
            (None, None) => Current::Newest,
        };
        Choice { namespaces: NamespaceFilter::compile(namespaces, settings, reader), current }
    }
}
