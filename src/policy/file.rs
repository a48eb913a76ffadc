//! The policy file as people write it: every key of the format, read strictly, with the JSON Schema of the same types.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::document::{Later, Node, Read, Reader, Span, Spanned, Table, Value, choice, object, schema_of};

/// A text that stands somewhere.
pub type Text = Spanned<String>;

choice! {
    /// The version of the format.
    pub enum ApiVersion {
        /// The first.
        V1 = "tagwarden.dev/v1",
    }
}

choice! {
    /// What kind of document this is.
    pub enum Kind {
        /// A policy.
        ImagePolicy = "ImagePolicy",
    }
}

choice! {
    /// What becomes of a violation. All three evaluate alike.
    pub enum Mode {
        /// Allowed, and recorded in log, metrics and audit annotations.
        Audit = "audit",
        /// Allowed, with a warning to whoever asked.
        Warn = "warn",
        /// Denied.
        Enforce = "enforce",
    }
}

choice! {
    /// Whether something is let in.
    pub enum AllowOrDeny {
        /// Let in.
        Allow = "allow",
        /// Refused.
        Deny = "deny",
    }
}

choice! {
    /// What becomes of an image when a fact about it could not be had.
    pub enum OnUnresolved {
        /// Refused.
        Deny = "deny",
        /// Let in with a warning.
        Warn = "warn",
        /// Let in.
        Allow = "allow",
    }
}

choice! {
    /// Whether Pods are pinned to digests.
    pub enum Pin {
        /// Images stay as written.
        None = "none",
        /// Pods are pinned to `tag@digest`.
        Pods = "pods",
        /// Pods are pinned, and a Pod that ends up without a digest is refused.
        Required = "required",
    }
}

choice! {
    /// Whether the governing release must contain the image.
    pub enum Release {
        /// Not asked.
        Ignore = "ignore",
        /// It must.
        Require = "require",
    }
}

choice! {
    /// Whether what the image's labels say must agree with its tag.
    pub enum Match {
        /// Not asked.
        Ignore = "ignore",
        /// It must.
        Match = "match",
    }
}

choice! {
    /// Who says that a build is approved.
    pub enum ApprovedBy {
        /// A tag of the same repository has the digest.
        Tag = "tag",
        /// The governing release has the digest.
        Release = "release",
        /// The catalogue has it.
        Catalog = "catalog",
        /// An attestation says so.
        Attestation = "attestation",
    }
}

choice! {
    /// What `env-x@digest` may name.
    pub enum Pinned {
        /// The channel's present digest.
        Current = "current",
        /// Any approved digest.
        Approved = "approved",
    }
}

choice! {
    /// Where candidates for an approved build are looked for.
    pub enum Search {
        /// In the image's own labels.
        Labels = "labels",
        /// In the tag list too.
        Tags = "tags",
    }
}

choice! {
    /// How a label selector compares.
    pub enum SelectorOperator {
        /// The label has one of the values.
        In = "In",
        /// The label is absent or has none of the values.
        NotIn = "NotIn",
        /// The label is there.
        Exists = "Exists",
        /// The label is not there.
        DoesNotExist = "DoesNotExist",
    }
}

choice! {
    /// The checks of a policy.
    pub enum CheckName {
        /// Is it an image reference (TW100, TW101)?
        Reference = "reference",
        /// Does a rule name it (TW110)?
        Registry = "registry",
        /// Is its tag of an allowed class (TW120)?
        Tags = "tags",
        /// Tag and digest agree, a digest is there.
        Digest = "digest",
        /// A channel tag carries an approved build.
        Channel = "channel",
        /// An immutable tag has not moved.
        Moved = "moved",
        /// It is in the governing release.
        Release = "release",
        /// Labels have the demanded values.
        Labels = "labels",
        /// The revision label agrees with the tag.
        Revision = "revision",
        /// The version label agrees with the tag.
        Version = "version",
        /// It is there for the demanded platforms.
        Platforms = "platforms",
        /// It is not too old.
        Age = "age",
        /// Its base image is allowed.
        BaseImages = "baseImages",
        /// It is signed.
        Signatures = "signatures",
        /// It has the demanded attestations.
        Attestations = "attestations",
    }
}

impl CheckName {
    /// The check, where it is built.
    pub(super) fn check(self) -> Option<super::Check> {
        use super::Check;
        Some(match self {
            CheckName::Reference => Check::Reference,
            CheckName::Registry => Check::Registry,
            CheckName::Tags => Check::Tags,
            CheckName::Digest => Check::Digest,
            CheckName::Channel => Check::Channel,
            CheckName::Moved => Check::Moved,
            CheckName::Release => Check::Release,
            CheckName::Labels => Check::Labels,
            CheckName::Revision => Check::Revision,
            CheckName::Version => Check::Version,
            CheckName::Platforms => Check::Platforms,
            CheckName::Age => Check::Age,
            CheckName::BaseImages => Check::BaseImages,
            CheckName::Signatures | CheckName::Attestations => return None,
        })
    }
}

object! {
    /// A Tagwarden policy: which images may run where.
    pub struct PolicyDocument {
        /// The version of the format.
        api_version: "apiVersion" => ApiVersion,
        /// Always ImagePolicy.
        kind: "kind" => Kind,
        /// Name and, as on every Kubernetes object, labels and annotations.
        metadata: "metadata" => Metadata,
        /// The policy itself.
        spec: "spec" => Spec,
    }
}

object! {
    /// Name and, as on every Kubernetes object, labels and annotations.
    pub struct Metadata {
        /// The policy's name; unique over all files and objects.
        name: "name" => Text,
        /// Not used.
        labels: "labels" => Option<BTreeMap<String, String>>,
        /// Not used.
        annotations: "annotations" => Option<BTreeMap<String, String>>,
    }
}

object! {
    /// The policy itself.
    pub struct Spec {
        /// What becomes of a violation where no rule, override or exception says otherwise.
        mode: "mode" => Mode,
        /// Whom to ask; shown in denials.
        owner: "owner" => Option<Owner>,
        /// Where the policy applies; omitted: everywhere.
        namespaces: "namespaces" => Option<Namespaces>,
        /// What becomes of an image that no rule names: deny (default) or allow.
        unmatched: "unmatched" => Option<Spanned<AllowOrDeny>>,
        /// Whether names without a registry (nginx) are read as docker.io: allow (default) or deny.
        short_names: "shortNames" => Option<Spanned<AllowOrDeny>>,
        /// Tag classes of your own, or in the place of a built-in one.
        tag_classes: "tagClasses" => Option<Table<TagClass>>,
        /// The first rule whose images match decides.
        rules: "rules" => Vec<Rule>,
        /// Other modes in some namespaces; the first that fits decides.
        overrides: "overrides" => Option<Vec<Override>>,
        /// Tag classes that no exception can let in.
        no_exceptions: "noExceptions" => Option<Vec<Text>>,
        /// Named violations that are let in until a day.
        exceptions: "exceptions" => Option<Vec<Exception>>,
        /// What already ran when the policy came (not supported yet).
        existing: "existing" => Option<Spanned<Later>>,
    }
}

object! {
    /// Whom to ask.
    pub struct Owner {
        /// The team; shown in denials where there is no contact.
        team: "team" => Option<String>,
        /// Where to reach it; shown in denials.
        contact: "contact" => Option<String>,
        /// A page that explains; denials link to it with the finding's id.
        docs: "docs" => Option<String>,
    }
}

object! {
    /// Where the policy applies: include AND NOT exclude AND selector.
    pub struct Namespaces {
        /// Globs over the namespace's name; omitted: all.
        include: "include" => Option<Spanned<Vec<Text>>>,
        /// Globs over the namespace's name.
        exclude: "exclude" => Option<Vec<Text>>,
        /// A Kubernetes label selector over labels that the server trusts.
        selector: "selector" => Option<LabelSelector>,
    }
}

object! {
    /// A Kubernetes label selector.
    pub struct LabelSelector {
        /// Labels and the values they must have.
        match_labels: "matchLabels" => Option<Table<String>>,
        /// Further demands.
        match_expressions: "matchExpressions" => Option<Vec<LabelExpression>>,
    }
}

object! {
    /// A demand on one label.
    pub struct LabelExpression {
        /// The label's key.
        key: "key" => Text,
        /// How it is compared.
        operator: "operator" => Spanned<SelectorOperator>,
        /// With what; for In and NotIn only.
        values: "values" => Option<Vec<String>>,
    }
}

object! {
    /// A tag class of your own.
    pub struct TagClass {
        /// A regular expression over the whole tag: ASCII, linear-time.
        pattern: "pattern" => Text,
        /// Whether tags of it move (default false).
        floating: "floating" => Option<bool>,
    }
}

object! {
    /// Which images it is about, and what they must be.
    pub struct Rule {
        /// Shown in denials; a rule without one is shown by its number.
        name: "name" => Option<Text>,
        /// Globs over registry host and repository; `**` alone is any image of any registry.
        images: "images" => Spanned<Vec<Text>>,
        /// Tag classes and patterns over the whole tag; omitted: any tag of no floating class, and digests.
        tags: "tags" => Option<Spanned<Vec<Text>>>,
        /// What a channel tag must carry.
        channel: "channel" => Option<Spanned<Channel>>,
        /// Whether Pods are pinned to digests: none (default), pods, required.
        pin: "pin" => Option<Spanned<Pin>>,
        /// Whether the governing release must contain the image: ignore (default), require.
        release: "release" => Option<Spanned<Release>>,
        /// What becomes of an image when a fact could not be had: deny (default), warn, allow.
        on_unresolved: "onUnresolved" => Option<Spanned<OnUnresolved>>,
        /// Image labels and patterns over their whole value.
        labels: "labels" => Option<Spanned<Table<Text>>>,
        /// Whether the revision label must agree with the tag: ignore (default), match.
        revision: "revision" => Option<Spanned<Match>>,
        /// Whether the version label must agree with the tag: ignore (default), match.
        version: "version" => Option<Spanned<Match>>,
        /// How old an image may be.
        age: "age" => Option<Spanned<Age>>,
        /// Platforms that the image must be there for.
        platforms: "platforms" => Option<Spanned<Vec<Text>>>,
        /// Globs over allowed base images.
        base_images: "baseImages" => Option<Spanned<Vec<Text>>>,
        /// Demands on signatures (not supported yet).
        signatures: "signatures" => Option<Spanned<Later>>,
        /// Demands on attestations (not supported yet).
        attestations: "attestations" => Option<Spanned<Later>>,
        /// What becomes of a violation of this rule; omitted: the policy's mode.
        mode: "mode" => Option<Mode>,
        /// The same for single checks.
        modes: "modes" => Option<Modes>,
    }
}

object! {
    /// What a channel tag must carry.
    pub struct Channel {
        /// Classes of which a tag must have the same digest; none drops the check.
        same_digest_as: "sameDigestAs" => Option<SameDigestAs>,
        /// Who says that a build is approved.
        approved_by: "approvedBy" => Option<Spanned<ApprovedBy>>,
        /// What a digest beside a channel tag may be.
        pinned: "pinned" => Option<Spanned<Pinned>>,
        /// Where candidates are looked for.
        search: "search" => Option<Spanned<Search>>,
        /// Which environment a channel belongs to.
        env: "env" => Option<Spanned<Env>>,
    }
}

object! {
    /// Which environment a channel belongs to.
    pub struct Env {
        /// The namespace's label that holds its environment.
        namespace_label: "namespaceLabel" => Option<Text>,
        /// Globs over namespaces and their environment, where the label is absent; the most specific one holds.
        namespaces: "namespaces" => Option<Table<String>>,
        /// Channel names and the environment they mean.
        map: "map" => Option<BTreeMap<String, String>>,
    }
}

object! {
    /// How old an image may be.
    pub struct Age {
        /// The most, as a number of days: 180d.
        max: "max" => Text,
    }
}

object! {
    /// Another mode in some namespaces.
    pub struct Override {
        /// Globs over the namespace's name.
        namespaces: "namespaces" => Spanned<Vec<Text>>,
        /// Names of the rules it is about; omitted: all, and what no rule decides.
        rules: "rules" => Option<Vec<Text>>,
        /// The mode.
        mode: "mode" => Mode,
    }
}

object! {
    /// A violation that is let in until a day. Every key is required.
    pub struct Exception {
        /// Unique in the policy; shown in warnings.
        id: "id" => Text,
        /// Image globs; an exact `:tag` or `@digest` may stand at the end.
        images: "images" => Spanned<Vec<Text>>,
        /// Globs over the namespace's name.
        namespaces: "namespaces" => Spanned<Vec<Text>>,
        /// The checks it excuses.
        checks: "checks" => Spanned<Vec<Spanned<CheckName>>>,
        /// Who asked for it.
        owner: "owner" => String,
        /// Where that was granted.
        ticket: "ticket" => String,
        /// Why.
        reason: "reason" => String,
        /// The last day (2026-12-31, UTC) or the moment (2026-12-31T12:00:00Z) at which it ends.
        expires: "expires" => Text,
    }
}

/// `none`, or a list of tag classes.
#[derive(Clone, Debug)]
pub enum SameDigestAs {
    /// Nothing is asked; where that stands.
    None(Span),
    /// A tag of one of these classes must have the same digest.
    Classes(Spanned<Vec<Text>>),
}

impl Read for SameDigestAs {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        match &node.value {
            Value::String(word) if word == "none" => Some(SameDigestAs::None(node.span.clone())),
            Value::List(_) => Spanned::read(node, reader).map(SameDigestAs::Classes),
            _ => {
                reader.mismatch(node, "'none' or a list of tag classes");
                None
            }
        }
    }
}

impl JsonSchema for SameDigestAs {
    fn schema_name() -> Cow<'static, str> {
        "SameDigestAs".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "none, or a list of tag classes",
            "anyOf": [{"const": "none"}, {"type": "array", "items": {"type": "string"}}]
        })
    }
}

/// Modes of single checks, each key with its place.
#[derive(Clone, Debug)]
pub struct Modes(pub Vec<(Spanned<CheckName>, Mode)>);

impl Read for Modes {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let table = Table::<Mode>::read(node, reader);
        let names: Vec<&'static str> = CheckName::ALL.iter().map(|check| check.name()).collect();
        reader.fields(node, &names)?;
        let known = table?.0.into_iter().filter_map(|(key, mode)| {
            let check = key.value.parse().ok()?;
            Some((Spanned { value: check, span: key.span }, mode))
        });
        Some(Modes(known.collect()))
    }
}

impl JsonSchema for Modes {
    fn schema_name() -> Cow<'static, str> {
        "Modes".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mode = generator.subschema_for::<Mode>();
        let properties: serde_json::Map<_, _> =
            CheckName::ALL.iter().map(|check| (check.name().to_owned(), mode.clone().to_value())).collect();
        json_schema!({"type": "object", "properties": properties, "additionalProperties": false})
    }
}

/// The JSON Schema (draft-07) of policy files, made from the types that read them.
#[must_use]
pub fn policy_schema() -> serde_json::Value {
    schema_of::<PolicyDocument>("imagepolicy-v1.schema.json", "ImagePolicy")
}
