//! What becomes of each image: pinned already, to be pinned, moved, left, or not known.

use super::digests::{Digests, Question};
use super::spot::{self, Reason, Slot, Spot, Target};
use crate::image::{Reference, Refusal};
use crate::policy::{NonCanonicalHost, Settings};

/// What becomes of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// It has a digest, which is the tag's, or stands alone, or beside a tag that is meant to move.
    Pinned,
    /// Its digest is written, or would be.
    Changed,
    /// It has a digest, and the tag has moved on.
    Drifted,
    /// It is nothing to pin: its tag is meant to move, or it is no image that is pulled.
    Left,
    /// It has no digest, and none can be written.
    Skipped,
    /// Which digest its tag is could not be learned.
    Undecided,
}

impl Status {
    /// As the JSON output has it.
    pub fn name(self) -> &'static str {
        match self {
            Status::Pinned => "pinned",
            Status::Changed => "changed",
            Status::Drifted => "drifted",
            Status::Left => "left",
            Status::Skipped => "skipped",
            Status::Undecided => "undecided",
        }
    }
}

/// What becomes of an image, and why.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    pub status: Status,
    /// The digest that its tag is now, else the one written, where either is known.
    pub digest: Option<String>,
    /// The image with that digest; none where it has none.
    pub pinned: Option<String>,
    /// Why it is not simply pinned, or changed; empty where it is.
    pub why: String,
    /// What to do; may be empty.
    pub help: String,
}

/// What decides besides the image and the registry.
pub(super) struct Terms<'s> {
    pub settings: &'s Settings,
    pub floating: Floating,
    pub drift: Drift,
}

/// What becomes of tags that are meant to move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Floating {
    Left,
    Pinned,
}

/// What becomes of a digest whose tag has moved on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Drift {
    Told,
    Updated,
}

/// What has to be asked about an image before it can be judged.
pub(super) fn question(spot: &Spot, terms: &Terms<'_>) -> Option<Question> {
    let reference = askable(spot, terms).ok()?;
    Question::of(&reference)
}

/// Judges an image. An outcome `Changed` comes with the slot to write its digest into.
pub(super) fn judge<'s>(spot: &'s Spot, terms: &Terms<'_>, digests: &Digests) -> (Outcome, Option<&'s Slot>) {
    let reference = match askable(spot, terms) {
        Ok(reference) => reference,
        Err(outcome) => return (*outcome, None),
    };
    let answer = Question::of(&reference).and_then(|question| digests.get(&question));
    let now = match answer {
        Some(Ok(now)) => now.as_str(),
        Some(Err(unanswered)) => {
            return (Outcome::new(Status::Undecided, &reference, &unanswered.why, &unanswered.help), None);
        }
        None => return (Outcome::new(Status::Undecided, &reference, "nobody was asked", "please report it"), None),
    };
    let pinned = Some(spot::pinned(&spot.image, &reference, now));
    let of = |status| Outcome { status, digest: Some(now.to_owned()), pinned: pinned.clone(), ..Outcome::empty() };
    let tag = reference.tag().unwrap_or_default();
    match (reference.digest(), &spot.target) {
        (Some(written), _) if written.as_str() == now => (of(Status::Pinned), None),
        (Some(_), Target::Slot(slot)) if terms.drift == Drift::Updated => (of(Status::Changed), Some(slot)),
        (Some(written), _) => {
            let why = format!("{tag} is {now} now, not {}", written.as_str());
            let help = match (terms.drift, &spot.target) {
                (Drift::Updated, Target::Fixed(reason)) => format!("{}; {}", reason.why, reason.help),
                _ => "--update writes the digest that it is now".to_owned(),
            };
            (Outcome { why, help, ..of(Status::Drifted) }, None)
        }
        (None, Target::Slot(slot)) => (of(Status::Changed), Some(slot)),
        (None, Target::Fixed(Reason { why, help })) => {
            (Outcome { why: why.to_string(), help: help.to_string(), ..of(Status::Skipped) }, None)
        }
        (None, Target::Unknown(_) | Target::Left(_)) => (of(Status::Skipped), None),
    }
}

/// The reference whose tag is to be asked for, or what becomes of the image without asking.
fn askable<'s>(spot: &'s Spot, terms: &Terms<'_>) -> Result<Reference<'s>, Box<Outcome>> {
    let without = |status, why: &str, help: &str| {
        Box::new(Outcome { status, why: why.to_owned(), help: help.to_owned(), ..Outcome::empty() })
    };
    match &spot.target {
        Target::Unknown(reason) => return Err(without(Status::Skipped, &reason.why, &reason.help)),
        Target::Left(why) => return Err(without(Status::Left, why, "")),
        Target::Slot(_) | Target::Fixed(_) => {}
    }
    let reference = Reference::parse(&spot.image).map_err(|error| {
        let reason = Reason::unreadable(&error);
        without(Status::Skipped, &reason.why, &reason.help)
    })?;
    // As in `resolve`, a host that is written counts as named; where none is, it is docker.io, as to most nodes.
    let refusal = reference.refusals().iter().find(|refusal| match refusal {
        Refusal::IpHost | Refusal::Localhost | Refusal::ShortName => false,
        Refusal::NonCanonicalHost => terms.settings.non_canonical_host == NonCanonicalHost::Refuse,
        _ => true,
    });
    if let Some(refusal) = refusal {
        let why = format!("refused shape {}: {}", refusal.name(), refusal.message());
        return Err(without(Status::Skipped, &why, ""));
    }
    let already = || {
        let digest = reference.digest().map(|digest| digest.as_str().to_owned());
        Box::new(Outcome { status: Status::Pinned, digest, pinned: Some(spot.image.clone()), ..Outcome::empty() })
    };
    if reference.tag().is_none() {
        return Err(already());
    }
    let class = reference.tag_facts().classes.iter().find(|class| class.is_floating());
    match class {
        Some(_) if terms.floating == Floating::Pinned => Ok(reference),
        // What a moving tag was when it was pinned is not expected to be what it is now.
        Some(_) if reference.digest().is_some() => Err(already()),
        Some(class) => {
            let tag = reference.tag().unwrap_or_default();
            let why = if reference.tag_defaulted() {
                "it has no tag, which means latest, a tag that is meant to move".to_owned()
            } else if class.name() == tag {
                format!("{tag} is a tag that is meant to move")
            } else {
                format!("{tag} is a {} tag, meant to move", class.name())
            };
            Err(without(Status::Left, &why, "--floating pins it to what it is now"))
        }
        None => Ok(reference),
    }
}

impl Outcome {
    fn empty() -> Self {
        Outcome { status: Status::Pinned, digest: None, pinned: None, why: String::new(), help: String::new() }
    }

    fn new(status: Status, reference: &Reference<'_>, why: &str, help: &str) -> Self {
        let digest = reference.digest().map(|digest| digest.as_str().to_owned());
        Outcome { status, digest, why: why.to_owned(), help: help.to_owned(), ..Outcome::empty() }
    }

    /// For an image that shares its place with another one that has another digest.
    pub fn contradicted(self) -> Self {
        let why = "its digest is written in the same place as that of another image".to_owned();
        let help = "an alias is shared by two images: write each out".to_owned();
        Outcome { status: Status::Skipped, why, help, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::super::digests::Unanswered;
    use super::*;
    use crate::image::DigestBuf;

    fn digest(of: char) -> String {
        format!("sha256:{}", of.to_string().repeat(64))
    }

    /// `status why` of an image whose tag is `a` now, and whether it is written.
    fn seen(image: &str, floating: Floating, drift: Drift) -> String {
        let spot = Spot::ending(image, &(0..image.len()), image, image.to_owned());
        let settings = Settings::default();
        let terms = Terms { settings: &settings, floating, drift };
        let answer = |question: Question| {
            let unknown = Unanswered { why: "no such tag".to_owned(), help: String::new() };
            let digest = if question.tag == "v9" { Err(unknown) } else { Ok(DigestBuf::parse(&digest('a')).unwrap()) };
            (question, digest)
        };
        let digests: Digests = question(&spot, &terms).into_iter().map(answer).collect();
        let (outcome, slot) = judge(&spot, &terms, &digests);
        assert_eq!(slot.is_some(), outcome.status == Status::Changed, "{image}");
        format!("{} {}", outcome.status.name(), outcome.why.replace(&digest('a'), "A").replace(&digest('b'), "B"))
    }

    #[test]
    fn each_image_has_one_outcome() {
        let (a, b) = (digest('a'), digest('b'));
        for (image, expected) in [
            ("r.example.com/a:v1".to_owned(), "changed "),
            ("nginx:1.27".to_owned(), "changed "),
            (format!("r.example.com/a:v1@{a}"), "pinned "),
            (format!("r.example.com/a:v1@{b}"), "drifted v1 is A now, not B"),
            (format!("r.example.com/a@{b}"), "pinned "),
            ("r.example.com/a:v9".to_owned(), "undecided no such tag"),
            ("r.example.com/a:latest".to_owned(), "left latest is a tag that is meant to move"),
            ("r.example.com/a:main".to_owned(), "left main is a floating tag, meant to move"),
            ("r.example.com/a:env-prod".to_owned(), "left env-prod is a channel tag, meant to move"),
            ("nginx".to_owned(), "left it has no tag, which means latest, a tag that is meant to move"),
            (format!("r.example.com/a:env-prod@{b}"), "pinned "),
            ("R.example.com/a:v1".to_owned(), "skipped refused shape NonCanonicalHost"),
            ("169.254.169.254/a:v1".to_owned(), "skipped refused shape IpHost"),
            ("r.example.com/A:v1".to_owned(), "skipped not a valid image reference"),
        ] {
            let told = seen(&image, Floating::Left, Drift::Told);
            assert!(told.starts_with(expected), "{image}: {told}");
        }
    }

    #[test]
    fn floating_and_update_do_what_they_say() {
        let b = digest('b');
        assert_eq!(seen("r.example.com/a:latest", Floating::Pinned, Drift::Told), "changed ");
        assert_eq!(seen("r.example.com/a", Floating::Pinned, Drift::Told), "changed ");
        let channel = format!("r.example.com/a:env-prod@{b}");
        assert_eq!(seen(&channel, Floating::Left, Drift::Updated), "pinned ");
        assert_eq!(seen(&channel, Floating::Pinned, Drift::Told), "drifted env-prod is A now, not B");
        assert_eq!(seen(&channel, Floating::Pinned, Drift::Updated), "changed ");
        assert_eq!(seen(&format!("r.example.com/a:v1@{b}"), Floating::Left, Drift::Updated), "changed ");
    }
}
