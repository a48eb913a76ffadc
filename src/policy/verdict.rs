//! Verdicts: decisions, findings, and the reason that every allow carries.

use super::{Check, Few, FieldPath, FindingId, List, Mode};
use crate::image::{DigestBuf, Reference};
use crate::release::Release;

/// How loud a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Level {
    /// Mode audit.
    Note,
    /// Mode warn.
    Warning,
    /// Mode enforce.
    Error,
}

impl Level {
    /// `note`, `warning`, `error`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Level::Note => "note",
            Level::Warning => "warning",
            Level::Error => "error",
        }
    }
}

/// What becomes of a request, or of one image of it, from the mildest to the strictest. The default denies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Decision {
    /// Nothing is wrong, for a stated reason.
    Allow,
    /// Something is wrong that is only recorded.
    Audit,
    /// Something is wrong that its author is told.
    Warn,
    /// It could not be decided.
    Unresolved,
    /// Something is wrong that is not let in.
    #[default]
    Deny,
}

impl Decision {
    /// Its name in logs, metrics and JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Decision::Allow => "allow",
            Decision::Audit => "audit",
            Decision::Warn => "warn",
            Decision::Unresolved => "unresolved",
            Decision::Deny => "deny",
        }
    }

    /// Whether the object may pass.
    #[must_use]
    pub const fn admits(self) -> bool {
        matches!(self, Decision::Allow | Decision::Audit | Decision::Warn)
    }
}

impl From<Mode> for Decision {
    /// What a finding in this mode leads to.
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Audit => Decision::Audit,
            Mode::Warn => Decision::Warn,
            Mode::Enforce => Decision::Deny,
        }
    }
}

/// One thing that is wrong with one image, or with the object as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding<'a> {
    /// Which.
    pub id: FindingId,
    /// The check that it belongs to: that of its id, or for TW90x the one that needed the fact.
    pub check: Check,
    /// The effective mode: rule, override, exception and `maxMode` counted in.
    pub mode: Mode,
    /// The policy's name; empty where none is at work (TW198, TW999).
    pub policy: &'a str,
    /// The rule that decided, if one did.
    pub rule: Option<&'a str>,
    /// The exception that let it through, if one did.
    pub exception: Option<&'a str>,
    /// One line of printable ASCII; what stems from the image is escaped and cut.
    pub message: String,
    /// An image to write instead, where one is known.
    pub use_instead: Option<String>,
}

impl Finding<'_> {
    /// Whether it says that something could not be decided, not that it is wrong.
    #[must_use]
    pub const fn is_undecided(&self) -> bool {
        self.id.check().is_none()
    }

    /// How loud it is.
    #[must_use]
    pub const fn level(&self) -> Level {
        match self.mode {
            Mode::Audit => Level::Note,
            Mode::Warn => Level::Warning,
            Mode::Enforce => Level::Error,
        }
    }
}

/// Why one policy let one image in. There is no allow without a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AllowReason<'a> {
    /// A rule, by its name.
    Rule(&'a str),
    /// No rule names it, and the policy says `unmatched: allow`.
    Unmatched,
    /// An exception, by its id; the finding that it excuses stands beside it.
    Exception(&'a str),
    /// There are findings, in a mode that does not deny.
    NotEnforced(Mode),
}

/// What one policy said of one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied<'a> {
    /// The policy's name.
    pub policy: &'a str,
    /// The rule that decided: its name, or `rule N` where it has none.
    pub rule: Option<&'a str>,
    /// What is wrong, by text first; no two of one id for one reason.
    pub findings: Vec<Finding<'a>>,
    /// Why it was let in; none: it was not.
    pub allowed: Option<AllowReason<'a>>,
}

/// What becomes of the digest of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Pinning {
    /// No policy asks for a pin, or the image has a digest already.
    #[default]
    None,
    /// The image is to be written with this digest, which is the one that was judged.
    Write(DigestBuf),
    /// The same, were the check `digest` enforced: nothing is written, only told.
    Told(DigestBuf),
}

/// One image's verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageVerdict<'a> {
    /// Which of the PodSpec's lists it is in.
    pub list: List,
    /// The container's (or volume's) name.
    pub container: Option<&'a str>,
    /// Its place in the object.
    pub field: FieldPath<'a>,
    /// As written.
    pub image: &'a str,
    /// As read, if it could be.
    pub reference: Option<Reference<'a>>,
    /// The tag class shown: own classes of the first applicable policy that has one first, then the built-in order.
    pub class: Option<&'a str>,
    /// One entry for each policy that applies, in the order of their names.
    pub applied: Few<Applied<'a>>,
    /// What becomes of its digest.
    pub pin: Pinning,
    /// What its author is told although nothing is wrong: an answer that is old because the registry fails, say. One
    /// line of printable ASCII each.
    pub notes: Vec<String>,
    /// The strictest over them; `Allow` where no policy applies (the object's findings then say so).
    pub decision: Decision,
}

impl<'a> ImageVerdict<'a> {
    /// All findings on this image, in policy order.
    pub fn findings(&self) -> impl Iterator<Item = &Finding<'a>> {
        self.applied.iter().flat_map(|applied| &applied.findings)
    }
}

/// The release that all images of an object are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OneRelease<'a> {
    /// It.
    pub release: &'a Release,
    /// The strictest mode in which a rule requires one.
    pub mode: Mode,
}

/// The verdict on a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict<'a> {
    /// The strictest over images and object. The default denies.
    pub decision: Decision,
    /// Names of the policies that apply to the namespace, in order; empty: none covers it.
    pub policies: Few<&'a str>,
    /// Findings about the object as a whole (TW197 for too many images, TW198, TW199, TW999).
    pub object_findings: Vec<Finding<'a>>,
    /// Every image judged, in the order given.
    pub images: Vec<ImageVerdict<'a>>,
    /// The release that all images are of, where rules require one.
    pub release: Option<OneRelease<'a>>,
}

impl<'a> Verdict<'a> {
    /// All findings, those of the object first.
    pub fn findings(&self) -> impl Iterator<Item = &Finding<'a>> {
        let of_images = self.images.iter().flat_map(ImageVerdict::findings);
        self.object_findings.iter().chain(of_images)
    }

    /// The verdict on a request whose judging failed (TW999): refused, as far as `max_mode` lets anything be refused.
    #[must_use]
    pub fn internal_failure(max_mode: Mode, message: String) -> Self {
        let finding = Finding {
            id: FindingId::Tw999,
            check: Check::Internal,
            mode: max_mode,
            policy: "",
            rule: None,
            exception: None,
            message,
            use_instead: None,
        };
        Verdict { decision: max_mode.into(), object_findings: vec![finding], ..Verdict::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::{Decision, FindingId, Mode, Verdict};

    #[test]
    fn the_default_denies_and_only_three_decisions_admit() {
        assert_eq!(Decision::default(), Decision::Deny);
        assert!(!Verdict::default().decision.admits());
        assert!(!Decision::Unresolved.admits());
        assert!(Decision::Allow.admits() && Decision::Audit.admits() && Decision::Warn.admits());
    }

    #[test]
    fn ids_are_unique_and_in_order() {
        let codes: Vec<_> = FindingId::ALL.iter().map(|id| id.code()).collect();
        assert!(codes.is_sorted() && codes.windows(2).all(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn an_internal_failure_denies_unless_the_server_enforces_nothing() {
        assert_eq!(Verdict::internal_failure(Mode::Enforce, String::new()).decision, Decision::Deny);
        assert_eq!(Verdict::internal_failure(Mode::Audit, String::new()).decision, Decision::Audit);
    }
}
