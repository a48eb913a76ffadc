//! The cluster around us: its version and clocks, what our account may do, what needs to come up without us, and the call itself.

use super::webhooks::{excluded, validate};
use super::{Seen, count};
use crate::cli::doctor::causes::{
    API_VERSION, CLOCK_HERE, CLOCK_OF_REPLICA, INFRASTRUCTURE, NOT_PERMITTED, REVIEW_FAILED, REVIEW_UNCALLED, TOO_MUCH,
};
use crate::cli::doctor::json::text;
use crate::cli::doctor::observe::{Observed, Reviewed, RightKind};

/// Minor versions of Kubernetes that are supported.
const MINORS: std::ops::RangeInclusive<u32> = 33..=37;
/// Seconds by which a replica's clock may differ from the API server's; Leases are held by them.
const SKEW: i64 = 10;
/// The same of this machine, by which ages are reckoned.
const SKEW_HERE: i64 = 60;

/// It answers, and is of a version that we know.
pub(super) fn api_server(observed: &Observed) -> Seen {
    let mut seen = Seen::default();
    let Some((version, _)) = seen.read("the API server's version", &observed.version) else { return seen };
    let mut parts = version.trim_start_matches('v').split('.');
    let (major, minor) = (parts.next(), parts.next().and_then(|minor| minor.parse::<u32>().ok()));
    if major == Some("1") && minor.is_some_and(|minor| MINORS.contains(&minor)) {
        seen.good(format!("Kubernetes {version}"));
    } else {
        seen.finds(API_VERSION, format!("the API server is of version {version}"));
    }
    seen
}

/// The clocks of the replicas, of the API server and of this machine agree.
pub(super) fn clocks(observed: &Observed) -> Seen {
    let mut seen = Seen::default();
    let Some((_, api)) = seen.read("the API server's clock", &observed.version) else { return seen };
    let Some(api) = api else {
        seen.unknown("the API server does not tell its time");
        return seen;
    };
    if api.abs() > SKEW_HERE {
        seen.finds(CLOCK_HERE, format!("this machine's clock is {} the API server's by {} s", side(-api), api.abs()));
    }
    for replica in observed.replicas.iter().flatten() {
        // Whole seconds on both sides, so a second of difference is none.
        let Some(skew) = replica.skew.map(|skew| skew - api) else { continue };
        if skew.abs() > SKEW {
            seen.finds(
                CLOCK_OF_REPLICA,
                format!("the clock of {} is {} the API server's by {} s", replica.name, side(skew), skew.abs()),
            );
        }
    }
    seen.good("those of the API server, the replicas and this machine agree");
    seen
}

fn side(skew: i64) -> &'static str {
    if skew > 0 { "before" } else { "behind" }
}

/// The server's account may do what its features need, and not what would make it worth stealing.
pub(super) fn permissions(observed: &Observed) -> Seen {
    let mut seen = Seen::default();
    let Some(rights) = seen.read("what the server's account may do", &observed.rights) else { return seen };
    for (right, has) in rights {
        match (right.kind, has) {
            (RightKind::Needed, false) => {
                seen.finds(NOT_PERMITTED, format!("the server's account may not {}", right.shown()))
            }
            (RightKind::Surprising, true) => {
                seen.finds(TOO_MUCH, format!("the server's account may {}", right.shown()))
            }
            _ => {}
        }
    }
    let needed = rights.iter().filter(|(right, _)| right.kind == RightKind::Needed).count();
    seen.good(format!("the server's account has the {} that its features need, and no more", count(needed, "right")));
    seen
}

/// Namespaces that look as if the cluster needed them to come up are out of reach.
pub(super) fn infrastructure(observed: &Observed) -> Seen {
    let mut seen = Seen::default();
    let Some(signs) = seen.read("DaemonSets, Deployments and StatefulSets", &observed.infrastructure) else {
        return seen;
    };
    let Some(webhook) = observed.our_validating().and_then(validate) else {
        seen.unknown("there is no webhook on Pods");
        return seen;
    };
    let excluded = excluded(webhook);
    let listed = |namespace: &str| {
        excluded.contains(&namespace)
            || observed.configuration().is_some_and(|config| config.infrastructure_namespaces.contains(namespace))
    };
    let missing: Vec<_> = signs.iter().filter(|sign| !listed(&sign.namespace)).collect();
    if text(webhook, "/failurePolicy") == "Ignore" {
        let names: Vec<&str> = missing.iter().map(|sign| sign.namespace.as_str()).collect();
        seen.good(match names.is_empty() {
            true => "nothing is missing from infrastructureNamespaces".to_owned(),
            false => format!("failurePolicy is Ignore; before you enforce, look at: {}", names.join(", ")),
        });
        return seen;
    }
    for sign in missing {
        seen.finds(INFRASTRUCTURE, format!("the namespace {} is judged, and has {}", sign.namespace, sign.sign));
    }
    seen.good("what looks like it is left out by name");
    seen
}

/// The API server reaches us.
pub(super) fn review(observed: &Observed) -> Seen {
    let mut seen = Seen::default();
    match &observed.reviewed {
        Reviewed::Heard { namespace, verdict } => {
            seen.good(format!("the API server asked us about a Pod in {namespace}, a dry run, which was {verdict}"));
        }
        Reviewed::Failed(said) => seen.finds(REVIEW_FAILED, format!("the API server cannot call: {said}")),
        Reviewed::Unheard { namespace } => {
            seen.finds(
                REVIEW_UNCALLED,
                format!("a Pod in {namespace}, a dry run, was let in, and no replica was asked"),
            );
        }
        Reviewed::Untried(why) => seen.unknown(&why.to_string()),
    }
    seen
}
