//! The JSON Schema of release files; a test holds its keys and those of the reader ([`super::file`]) together.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde_json::Value;

use crate::document::{schema_of, structural_schema_of};

/// The JSON Schema (draft-07) of release files.
#[must_use]
pub fn release_schema() -> Value {
    schema_of::<ReleaseDocument>("release-v1.schema.json", "Release")
}

/// The same as a structural schema, for the `spec` of an object of the cluster: unknown keys are kept everywhere, and what
/// is wrong with them the reader says.
#[must_use]
pub fn release_structure() -> Value {
    structural_schema_of::<ReleaseDocument>()
}

/// Which images a system consists of, each at one version. Further keys are sections of your own (an experiment's
/// weights, say): they are kept, count in the id, and become Helm values.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "the type is its schema")]
struct ReleaseDocument {
    /// Its name: system-2026-01-11-expA.
    release: Name,
    /// The hash of what it declares; written by `tagwarden release lock`.
    id: Option<DigestText>,
    /// Where this file is kept.
    source: Option<OriginDocument>,
    /// Its images by the names that the system gives them.
    #[schemars(extend("minProperties" = 1, "propertyNames" = {"pattern": NAME}))]
    images: BTreeMap<String, ImageDocument>,
    /// Names of releases that stay allowed beside it, for rollback.
    previous: Option<Vec<Name>>,
}

/// An image: where it is, and its tag, its digest or both. Further keys are your own: they are kept, and count in the id.
#[derive(JsonSchema)]
#[schemars(extend("anyOf" = [{"required": ["tag"]}, {"required": ["digest"]}]))]
#[expect(dead_code, reason = "the type is its schema")]
struct ImageDocument {
    /// Registry and repository in full: ghcr.io/acme/app.
    repo: String,
    /// A tag that does not move: v1.2.3. Written as text: "1.10".
    #[schemars(regex(pattern = "^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$"))]
    tag: Option<String>,
    /// The digest of what the tag names, of the index where it has several platforms.
    digest: Option<DigestText>,
    /// The commit that it was built from, by its own label.
    commit: Option<Commit>,
    /// The build that made it.
    build: Option<BuildDocument>,
    /// The digests of an index's images by platform (linux/amd64).
    platforms: Option<BTreeMap<String, DigestText>>,
}

/// Where a release file is kept.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "the type is its schema")]
struct OriginDocument {
    /// The repository's address.
    repo: String,
    /// The commit of it.
    commit: Option<Commit>,
}

/// The build that made an image.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "the type is its schema")]
struct BuildDocument {
    /// What the builder calls it; text.
    id: Option<String>,
    /// The tags that it pushed.
    tags: Option<Vec<String>>,
}

/// 1 to 128 letters, digits, dots, dashes and underscores, the first a letter or a digit.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "the type is its schema")]
struct Name(#[schemars(regex(pattern = NAME))] String);

/// A digest: sha256:<64 hex>.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "the type is its schema")]
struct DigestText(
    #[schemars(regex(pattern = "^(sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128})$"))] String,
);

/// A commit: 7 to 64 hex digits in lower case.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "the type is its schema")]
struct Commit(#[schemars(regex(pattern = "^[0-9a-f]{7,64}$"))] String);

const NAME: &str = "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$";

#[cfg(test)]
mod tests {
    use super::super::file::{BUILD, IMAGE, ORIGIN, TOP};
    use super::release_schema;

    #[test]
    fn the_schema_knows_the_keys_that_the_reader_knows() {
        let schema = release_schema();
        let keys = |schema: &serde_json::Value| {
            let properties = schema["properties"].as_object().unwrap();
            properties.keys().cloned().collect::<std::collections::BTreeSet<_>>()
        };
        let of = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<std::collections::BTreeSet<_>>();
        assert_eq!(keys(&schema), of(&TOP));
        let definition = |name: &str| schema["definitions"][name].clone();
        assert_eq!(keys(&definition("ImageDocument")), of(&IMAGE));
        assert_eq!(keys(&definition("OriginDocument")), of(&ORIGIN));
        assert_eq!(keys(&definition("BuildDocument")), of(&BUILD));
        assert!(
            schema["additionalProperties"].is_null() && definition("ImageDocument")["additionalProperties"].is_null()
        );
    }
}
