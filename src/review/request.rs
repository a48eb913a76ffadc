//! The review as the API server sends it, read without copying.

use super::json;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// The bytes that a uid may have; the API server sends 36.
const MAX_UID_BYTES: usize = 256;

/// `request` of an AdmissionReview `admission.k8s.io/v1`, as far as a verdict or an answer depends on it.
///
/// Everything else (`options`, `userInfo.extra`, fields of a later API version) is skipped. `kind` is the kind the
/// webhook was registered for; with `matchPolicy: Equivalent` the API server has converted `object` to it, so
/// `requestKind` is of no interest.
#[derive(Clone, Debug)]
pub struct AdmissionRequest<'a> {
    /// Fresh for every call; to be echoed, and nothing else.
    pub uid: Cow<'a, str>,
    /// The API group of the object's kind; empty for the core group.
    pub group: Cow<'a, str>,
    /// The API version of the object's kind, `v1`.
    pub version: Cow<'a, str>,
    /// The object's kind, `Deployment`.
    pub kind: Cow<'a, str>,
    /// The resource that is written, `deployments`.
    pub resource: Cow<'a, str>,
    /// The subresource, `ephemeralcontainers`; empty for none.
    pub subresource: Cow<'a, str>,
    /// The object's name; empty for `generateName`.
    pub name: Cow<'a, str>,
    /// The namespace of the request; empty for cluster-scoped objects.
    pub namespace: Cow<'a, str>,
    /// What is done to the object.
    pub operation: Operation,
    /// Who asks.
    pub user: UserInfo<'a>,
    /// Whether nothing is to be stored; the verdict does not depend on it.
    pub dry_run: bool,
    /// The object as it would be stored; always there on CREATE and UPDATE.
    pub object: Option<&'a RawValue>,
    /// The object as it is stored now; there on UPDATE and DELETE.
    pub old_object: Option<&'a RawValue>,
}

/// What is done to the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// `CREATE`.
    Create,
    /// `UPDATE`, patches among them.
    Update,
    /// `DELETE`.
    Delete,
    /// `CONNECT`: exec, attach, proxy.
    Connect,
}

impl Operation {
    /// As the API server writes it, `CREATE`.
    pub fn name(self) -> &'static str {
        match self {
            Operation::Create => "CREATE",
            Operation::Update => "UPDATE",
            Operation::Delete => "DELETE",
            Operation::Connect => "CONNECT",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Operation::Create, Operation::Update, Operation::Delete, Operation::Connect]
            .into_iter()
            .find(|operation| operation.name() == text)
    }
}

/// Who asks.
#[derive(Clone, Debug, Default)]
pub struct UserInfo<'a> {
    /// The user's name, `system:serviceaccount:shop:deployer`.
    pub username: Cow<'a, str>,
    /// The user's groups, `system:authenticated` among them.
    pub groups: Vec<Cow<'a, str>>,
}

/// Why bytes are no review; the server answers 400 with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an AdmissionReview: {0}")]
pub struct ReviewError(pub String);

/// Reads a review. Nesting of any depth is skipped without recursion.
///
/// # Errors
/// Not UTF-8, not JSON, not an AdmissionReview `admission.k8s.io/v1`, or a field is missing that a decision needs.
pub fn read(body: &[u8]) -> Result<AdmissionRequest<'_>, ReviewError> {
    let text =
        std::str::from_utf8(body).map_err(|error| ReviewError(format!("byte {} is not UTF-8", error.valid_up_to())))?;
    let review: Review<'_> = json::from_str(text).map_err(|error| ReviewError(describe(&error)))?;
    expect_exactly("apiVersion", review.api_version, "admission.k8s.io/v1")?;
    expect_exactly("kind", review.kind, "AdmissionReview")?;
    review.request.ok_or_else(|| missing("request"))?.checked()
}

/// The uid of a review that could not be read or judged, so that the answer can still echo it.
pub fn uid_of(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Envelope<'a> {
        #[serde(borrow)]
        request: Identity<'a>,
    }
    #[derive(Deserialize)]
    struct Identity<'a> {
        #[serde(borrow)]
        uid: Text<'a>,
    }
    let envelope: Envelope<'_> = serde_json::from_slice(body).ok()?;
    let uid = envelope.request.uid.0;
    (!uid.is_empty() && uid.len() <= MAX_UID_BYTES).then(|| uid.into_owned())
}

/// A JSON string, borrowed from the body where it has no escapes (`Cow` inside an `Option` never is).
#[derive(Deserialize, PartialEq, Eq, Hash)]
#[serde(transparent)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", expecting = "a JSON object")]
struct Review<'a> {
    #[serde(borrow, default)]
    api_version: Option<Text<'a>>,
    #[serde(borrow, default)]
    kind: Option<Text<'a>>,
    #[serde(borrow, default)]
    request: Option<Request<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", expecting = "a JSON object")]
struct Request<'a> {
    #[serde(borrow, default)]
    uid: Option<Text<'a>>,
    #[serde(borrow, default)]
    kind: Option<Kind<'a>>,
    #[serde(borrow, default)]
    resource: Option<Resource<'a>>,
    #[serde(borrow, default)]
    sub_resource: Option<Text<'a>>,
    #[serde(borrow, default)]
    name: Option<Text<'a>>,
    #[serde(borrow, default)]
    namespace: Option<Text<'a>>,
    #[serde(borrow, default)]
    operation: Option<Text<'a>>,
    #[serde(borrow, default)]
    user_info: Option<User<'a>>,
    #[serde(default)]
    dry_run: Option<bool>,
    #[serde(borrow, default)]
    object: Option<&'a RawValue>,
    #[serde(borrow, default)]
    old_object: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(expecting = "a JSON object")]
struct Kind<'a> {
    #[serde(borrow, default)]
    group: Option<Text<'a>>,
    #[serde(borrow, default)]
    version: Option<Text<'a>>,
    #[serde(borrow, default)]
    kind: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(expecting = "a JSON object")]
struct Resource<'a> {
    #[serde(borrow, default)]
    resource: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(expecting = "a JSON object")]
struct User<'a> {
    #[serde(borrow, default)]
    username: Option<Text<'a>>,
    #[serde(borrow, default)]
    groups: Option<Vec<Text<'a>>>,
}

impl<'a> Request<'a> {
    fn checked(self) -> Result<AdmissionRequest<'a>, ReviewError> {
        let uid = required("request.uid", self.uid)?;
        if uid.len() > MAX_UID_BYTES {
            return Err(ReviewError(format!(
                "field request.uid has {} bytes, at most {MAX_UID_BYTES} are allowed",
                uid.len()
            )));
        }
        let kind = self.kind.ok_or_else(|| missing("request.kind"))?;
        let operation = required("request.operation", self.operation)?;
        let operation = Operation::parse(&operation).ok_or_else(|| {
            ReviewError("field request.operation is none of CREATE, UPDATE, DELETE, CONNECT".to_owned())
        })?;
        if matches!(operation, Operation::Create | Operation::Update) {
            expect_object("request.object", self.object.ok_or_else(|| missing("request.object"))?)?;
        }
        if let Some(old_object) = self.old_object {
            expect_object("request.oldObject", old_object)?;
        }
        let user = self.user_info.map(User::owned).unwrap_or_default();
        Ok(AdmissionRequest {
            uid,
            group: optional(kind.group),
            version: optional(kind.version),
            kind: required("request.kind.kind", kind.kind)?,
            resource: optional(self.resource.and_then(|resource| resource.resource)),
            subresource: optional(self.sub_resource),
            name: optional(self.name),
            namespace: optional(self.namespace),
            operation,
            user,
            dry_run: self.dry_run.unwrap_or(false),
            object: self.object,
            old_object: self.old_object,
        })
    }
}

impl<'a> User<'a> {
    fn owned(self) -> UserInfo<'a> {
        UserInfo {
            username: optional(self.username),
            groups: self.groups.unwrap_or_default().into_iter().map(|group| group.0).collect(),
        }
    }
}

fn optional(text: Option<Text<'_>>) -> Cow<'_, str> {
    text.map(|text| text.0).unwrap_or_default()
}

fn required<'a>(field: &str, text: Option<Text<'a>>) -> Result<Cow<'a, str>, ReviewError> {
    let text = text.ok_or_else(|| missing(field))?.0;
    if text.is_empty() { Err(ReviewError(format!("field {field} is empty"))) } else { Ok(text) }
}

fn expect_exactly(field: &str, text: Option<Text<'_>>, expected: &str) -> Result<(), ReviewError> {
    match text {
        None => Err(missing(field)),
        Some(text) if text.0 == expected => Ok(()),
        Some(_) => Err(ReviewError(format!("field {field} is not {expected}"))),
    }
}

fn expect_object(field: &str, value: &RawValue) -> Result<(), ReviewError> {
    if value.get().starts_with('{') { Ok(()) } else { Err(ReviewError(format!("field {field} is not an object"))) }
}

fn missing(field: impl fmt::Display) -> ReviewError {
    ReviewError(format!("field {field} is missing"))
}

/// What serde_json says holds values of the body (`invalid type: string "..."`), which may be secret: only the
/// place and the class of the error leave this module.
fn describe(error: &serde_json::Error) -> String {
    let (line, column) = (error.line(), error.column());
    match error.classify() {
        serde_json::error::Category::Eof => {
            format!("the body ends early, at line {line} column {column}")
        }
        serde_json::error::Category::Data => {
            format!("a field has the wrong type, or is given twice, before line {line} column {column}")
        }
        _ => format!("the body is not JSON, at line {line} column {column}"),
    }
}

#[cfg(test)]
mod tests;
