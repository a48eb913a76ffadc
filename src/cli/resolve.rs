//! `tagwarden resolve`: from tags to digests, media types and platforms, for several images side by side.

mod output;

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use futures_util::future::join_all;
use tokio::time::Instant;

use super::engine::configuration;
use super::registries::{DEADLINE, Registries, remedy};
use super::report::{Format, canonical};
use super::{Exit, Surroundings, written};
use crate::config::Overrides;
use crate::image::{Reference, Refusal};
use crate::policy::{FindingId, NonCanonicalHost, Settings};
use crate::registry::{Description, Failure};

/// The arguments of `resolve`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    tagwarden resolve registry.example.com/acme/api:v1.4.2\n  \
    tagwarden resolve --format json docker.io/library/nginx:1.27 ghcr.io/org/app:v1\n  \
    tagwarden resolve --config tagwarden.yaml localhost:5000/app:dev\n\n\
    Each host that is written here is asked, and no other; images are written in full (docker.io/library/nginx, not \
    nginx). The configuration's `registries` say which hosts have private addresses, plain HTTP, an authority or \
    credentials of their own; without credentials there, those of `docker login` are used.\n\n\
    Exit codes: 0 all are resolved; 1 one is no image reference, is of a refused shape, or its tag is another digest \
    than the one beside it; 2 usage or configuration error; 3 a registry gave no answer. Where several hold: 2, 1, 3.")]
pub struct ResolveArgs {
    /// Image references, in full
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
    /// The server's configuration file: its registries, time-outs and references decide here too
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The output's format
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    format: Format,
}

/// What became of one image.
pub(super) struct Resolution<'a> {
    /// As written.
    image: &'a str,
    /// As read.
    pub reference: Option<Reference<'a>>,
    /// What the registry says of it.
    description: Option<Description>,
    /// What is wrong; none: nothing.
    pub finding: Option<Wrong>,
}

/// Why an image is not resolved, or should not be used.
pub(super) struct Wrong {
    /// Which finding it would be in a review.
    pub id: FindingId,
    /// The class, to branch on: the reason of an unreadable reference, the refused shape, or the class of a failure.
    pub reason: &'static str,
    /// One sentence.
    pub message: String,
    /// What to write or do instead.
    pub help: Option<String>,
}

/// Asks, prints, and ends as the worst of them says.
pub(super) fn run(args: &ResolveArgs, surroundings: &mut Surroundings<'_>) -> anyhow::Result<Exit> {
    let Some(config) = configuration(args.config.as_deref(), &Overrides::default(), surroundings) else {
        return Ok(Exit::Error);
    };
    let mut resolutions: Vec<_> = args.images.iter().map(|image| read(image, &config.settings)).collect();
    let unread = |resolution: &&mut Resolution<'_>| resolution.finding.is_none();
    let hosts: BTreeSet<String> = resolutions.iter_mut().filter(unread).filter_map(|read| host(read)).collect();
    if !hosts.is_empty() {
        let registries = Registries::new(config.registry, hosts, surroundings)?;
        let deadline = Instant::now() + DEADLINE;
        let asked = resolutions.iter_mut().filter(unread).map(|resolution| ask(resolution, &registries, deadline));
        registries.wait("the images", surroundings, join_all(asked));
    }
    let verdict = resolutions.iter().map(Resolution::exit).fold(Exit::Clean, Exit::and);
    if resolutions.iter().any(|resolution| resolution.finding.is_none() && resolution.description.is_none()) {
        bail!("an image was not asked for: please report it");
    }
    let printed = match args.format {
        Format::Plain => output::plain(&resolutions, surroundings.out),
        Format::Json => output::json(&resolutions, surroundings.out),
    };
    written(printed, verdict)
}

/// Reads a reference and holds it against the refused shapes; the host typed counts as named by a rule.
pub(super) fn read<'a>(image: &'a str, settings: &Settings) -> Resolution<'a> {
    let empty = Resolution { image, reference: None, description: None, finding: None };
    let reference = match Reference::parse(image) {
        Ok(reference) => reference,
        Err(error) => {
            let message = format!("not a valid image reference: {} (at byte {})", error.message(), error.position);
            let (reason, help) =
                (error.reason.name(), error.suggestion.map(|better| format!("did you mean {better}?")));
            return Resolution { finding: Some(Wrong { id: FindingId::Tw100, reason, message, help }), ..empty };
        }
    };
    let refusal = reference.refusals().iter().find(|refusal| match refusal {
        Refusal::IpHost | Refusal::Localhost => false,
        Refusal::NonCanonicalHost => settings.non_canonical_host == NonCanonicalHost::Refuse,
        _ => true,
    });
    let finding = refusal.map(|refusal| Wrong {
        id: FindingId::Tw101,
        reason: refusal.name(),
        message: format!("refused shape {}: {}", refusal.name(), refusal.message()),
        help: match refusal {
            Refusal::ShortName => Some(format!("use: {reference}")),
            Refusal::NonCanonicalHost => Some(format!("use: {}", canonical(&reference))),
            _ => None,
        },
    });
    Resolution { reference: Some(reference), finding, ..empty }
}

/// The registry to ask for an image.
fn host(resolution: &Resolution<'_>) -> Option<String> {
    Some(resolution.reference.as_ref()?.canonical_registry().into_owned())
}

/// Asks for one image: for its tag where it has one, which must then be the digest beside it.
async fn ask(resolution: &mut Resolution<'_>, registries: &Registries, deadline: Instant) {
    let Some(reference) = &resolution.reference else { return };
    let Some(wanted) = reference.tag().or(reference.digest().map(|digest| digest.as_str())) else { return };
    let (host, repository) = (reference.canonical_registry(), reference.repository());
    let answer = registries.resolver.describe(&host, &repository, wanted, registries.asker(None), deadline).await;
    match answer {
        Ok(description) => {
            resolution.finding = disagreement(reference, &description);
            resolution.description = Some(description);
        }
        Err(failure) => resolution.finding = Some(undecided(&failure, &host)),
    }
}

/// The finding on `name:tag@digest` whose tag is another digest.
fn disagreement(reference: &Reference<'_>, description: &Description) -> Option<Wrong> {
    let (tag, digest) = (reference.tag()?, reference.digest()?);
    if description.digest == digest {
        return None;
    }
    Some(Wrong {
        id: FindingId::Tw200,
        reason: "digest",
        message: format!("{tag} is {}, not {}", description.digest, digest.as_str()),
        help: Some("write the tag alone to have it resolved, or the digest that it is now".to_owned()),
    })
}

/// The finding on an image that the registry did not tell about.
pub(super) fn undecided(failure: &Failure, host: &str) -> Wrong {
    Wrong {
        id: failure.kind.class().finding(),
        reason: failure.kind.name(),
        message: failure.what.clone(),
        help: Some(remedy(failure.kind, host)),
    }
}

impl Wrong {
    /// How a command ends because of it.
    pub fn exit(&self) -> Exit {
        if self.id.check().is_none() { Exit::Undecided } else { Exit::Violation }
    }
}

impl Resolution<'_> {
    fn exit(&self) -> Exit {
        self.finding.as_ref().map_or(Exit::Clean, Wrong::exit)
    }

    /// The image with the digest that its tag is now; nothing where a finding speaks against it.
    fn pinned(&self) -> Option<String> {
        let (reference, description) = (self.reference.as_ref()?, self.description.as_ref()?);
        if self.finding.is_some() {
            return None;
        }
        let mut text = reference.name().into_owned();
        if let Some(tag) = reference.tag() {
            text.push(':');
            text.push_str(tag);
        }
        Some(format!("{text}@{}", description.digest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::FailureKind;

    /// `ID reason help` of what reading finds, or nothing.
    fn found(image: &str, settings: &Settings) -> String {
        match read(image, settings).finding {
            Some(wrong) => format!("{} {} {}", wrong.id.code(), wrong.reason, wrong.help.unwrap_or_default()),
            None => String::new(),
        }
    }

    #[test]
    fn the_host_typed_counts_as_named_and_other_traps_stay_traps() {
        let settings = Settings::default();
        for fine in ["localhost:5000/app:v1", "192.168.1.1:5000/app:v1", "ghcr.io/org/app", "docker.io/library/nginx"] {
            assert_eq!(found(fine, &settings), "", "{fine}");
        }
        for (image, said) in [
            ("nginx:1.27", "TW101 ShortName use: docker.io/library/nginx:1.27"),
            ("sha256:2d71164", "TW101 ImageId "),
            ("GHCR.io/org/app:v1", "TW101 NonCanonicalHost use: ghcr.io/org/app:v1"),
            ("169.254.169.254/app:v1", "TW101 IpHost "),
            ("ghcr.io/Org/app", "TW100 Uppercase did you mean ghcr.io/org/app?"),
            ("a b", "TW100 NonAsciiOrSpace "),
        ] {
            assert_eq!(found(image, &settings), said);
        }
        let normalise = Settings { non_canonical_host: NonCanonicalHost::Normalise, ..settings };
        assert_eq!(found("GHCR.io/org/app:v1", &normalise), "");
    }

    #[test]
    fn each_class_of_failure_is_a_finding_with_a_remedy() {
        for (kind, code) in [
            (FailureKind::Timeout, "TW900"),
            (FailureKind::Unreachable, "TW900"),
            (FailureKind::Tls, "TW900"),
            (FailureKind::NotFoundOrNoAccess, "TW901"),
            (FailureKind::Unauthorized, "TW901"),
            (FailureKind::RateLimited { until: None }, "TW902"),
            (FailureKind::Protocol, "TW903"),
        ] {
            let wrong = undecided(&Failure::new(kind, "what"), "a.example");
            assert_eq!((wrong.id.code(), wrong.reason, wrong.message.as_str()), (code, kind.name(), "what"));
            let resolution = Resolution { image: "", reference: None, description: None, finding: Some(wrong) };
            assert_eq!(resolution.exit(), Exit::Undecided);
        }
    }
}
