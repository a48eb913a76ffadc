//! The status of our objects, written by the elected replica where it differs; nothing waits for it.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::{Force, ObjectProblem, Standing, Standings};
use crate::cluster::{CustomObjects, Leadership};
use crate::policy::{CustomKind, Seconds};

/// Reasons of the condition Ready: the stored version is in force, an earlier one is, one was.
const IN_FORCE: &str = "InForce";
const EARLIER_IN_FORCE: &str = "EarlierVersionInForce";
const LOST: &str = "Lost";
/// Those that say that a version is or was in force.
const REASONS_OF_FORCE: [&str; 3] = [IN_FORCE, EARLIER_IN_FORCE, LOST];

/// How often statuses are compared with what they should be, besides whenever something changes.
const INTERVAL: Duration = Duration::from_secs(10);
/// Diagnostics of one status.
const DIAGNOSTICS: usize = 20;
/// Characters of one of their texts.
const CHARACTERS: usize = 400;

/// Writes statuses while this replica is the elected one, until nobody judges any more.
pub(super) async fn keep(
    objects: CustomObjects,
    mut standings: watch::Receiver<Standings>,
    mut leadership: Leadership,
) {
    let mut writer = Writer { objects, written: BTreeMap::new(), told: None };
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            changed = standings.changed() => if changed.is_err() { return },
            () = leadership.changed() => writer.written.clear(),
        }
        let judged = standings.borrow_and_update().clone();
        if leadership.held() {
            writer.write_all(&judged, &leadership).await;
        }
    }
}

/// Whether a status says that some version of its object was in force, when it was written or before it was lost.
pub(in crate::server) fn was_in_force(status: &Value) -> bool {
    let kinds = [CustomKind::ImagePolicy, CustomKind::ImageRelease];
    let reasons = status["conditions"].as_array().into_iter().flatten().map(|condition| &condition["reason"]);
    kinds.iter().any(|kind| status[fingerprint(*kind)].is_string())
        || reasons.into_iter().any(|reason| REASONS_OF_FORCE.iter().any(|of| reason == of))
}

/// The key that says which version is in force.
const fn fingerprint(kind: CustomKind) -> &'static str {
    match kind {
        CustomKind::ImagePolicy => "hash",
        CustomKind::ImageRelease => "id",
    }
}

struct Writer {
    objects: CustomObjects,
    /// By uid: the watch shows what was written a moment later.
    written: BTreeMap<String, Value>,
    /// What went wrong last, to say it once.
    told: Option<String>,
}

impl Writer {
    async fn write_all(&mut self, judged: &Standings, leadership: &Leadership) {
        let listing = self.objects.listing();
        let mut failure = None;
        for (name, standing) in &judged.by_name {
            let Some(object) = judged.objects.get(name) else { continue };
            // As it is by now; a later version is judged in a moment.
            let stored = listing.borrow().objects.as_ref().and_then(|known| known.get(name).cloned());
            let Some(stored) = stored.filter(|stored| stored.uid == object.uid) else { continue };
            let before = self.written.get(&object.uid).unwrap_or(&stored.status);
            let kind = self.objects.kind();
            let about = About { kind, generation: object.generation, standing, set_in_force: judged.set_in_force };
            let status = about.status(before, crate::server::now());
            if status == stored.status || !leadership.held() {
                continue;
            }
            let mut patch = status.clone();
            if patch.get(fingerprint(kind)).is_none() {
                // A merge patch takes a key out only where it says null.
                patch[fingerprint(kind)] = Value::Null;
            }
            match self.objects.write_status(name, &object.uid, &patch).await {
                Ok(()) => {
                    tracing::debug!(object = name, "the status of an {} is written", kind.name());
                    self.written.insert(object.uid.clone(), status);
                }
                Err(problem) => failure = Some(format!("{name}: {problem}")),
            }
        }
        self.written.retain(|uid, _| judged.objects.values().any(|object| object.uid == *uid));
        if failure.is_some() && failure != self.told {
            let kind = self.objects.kind().name();
            tracing::warn!(problem = failure, "cannot write the status of an {kind}; trying again");
        }
        self.told = failure;
    }
}

/// What a status says.
struct About<'s> {
    kind: CustomKind,
    generation: i64,
    standing: &'s Standing,
    set_in_force: bool,
}

impl About<'_> {
    /// The status; times of conditions that hold as before are those of `before`.
    fn status(&self, before: &Value, now: Seconds) -> Value {
        let Standing { force, hash, problems } = self.standing;
        let count = problems.len();
        let errors = if count == 1 {
            "this version has an error".to_owned()
        } else {
            format!("this version has {count} errors")
        };
        let (ready, reason, message) = match force {
            Force::This if self.set_in_force => ("True", IN_FORCE, "this version is in force".to_owned()),
            Force::This => {
                ("False", "Waiting", "the server's other policies have errors; nothing is in force".to_owned())
            }
            Force::Earlier => ("False", EARLIER_IN_FORCE, format!("{errors}; the last good one is in force")),
            Force::Lost => ("False", LOST, format!("{errors}; one was in force, and none that is known compiles")),
            Force::None => ("False", "Invalid", format!("{errors}; no version of it is in force")),
        };
        let valid = problems.is_empty();
        let (invalid, why, what) = match valid {
            true => ("False", "Valid", "this version has no errors".to_owned()),
            false => ("True", "Invalid", errors),
        };
        let condition = |kind: &str, status: &str, reason: &str, message: &str| {
            json!({
                "type": kind, "status": status, "reason": reason, "message": message,
                "observedGeneration": self.generation, "lastTransitionTime": since(before, kind, status, now),
            })
        };
        let mut status = json!({
            "observedGeneration": self.generation,
            "conditions": [condition("Ready", ready, reason, &message), condition("Invalid", invalid, why, &what)],
            "diagnostics": problems.iter().take(DIAGNOSTICS).map(diagnostic).collect::<Vec<_>>(),
        });
        if let (Some(hash), true) = (hash, self.set_in_force) {
            status[fingerprint(self.kind)] = hash.as_str().into();
        }
        status
    }
}

/// When the condition came to be so.
fn since(before: &Value, kind: &str, status: &str, now: Seconds) -> String {
    let conditions = before["conditions"].as_array().into_iter().flatten();
    let same = conditions
        .filter(|c| c["type"] == kind && c["status"] == status)
        .find_map(|c| c["lastTransitionTime"].as_str());
    let time = || Timestamp::from_second(now).unwrap_or(Timestamp::UNIX_EPOCH).to_string();
    same.map_or_else(time, str::to_owned)
}

fn diagnostic(problem: &ObjectProblem) -> Value {
    let mut told = json!({"path": cut(&problem.path), "message": cut(&problem.message)});
    if !problem.help.is_empty() {
        told["help"] = cut(&problem.help.join("; ")).into();
    }
    told
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(CHARACTERS) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{About, CHARACTERS, DIAGNOSTICS, Force, ObjectProblem, Standing, was_in_force};
    use crate::policy::CustomKind;
    use serde_json::{Value, json};

    fn problem(message: &str) -> ObjectProblem {
        let help = vec!["a".to_owned(), "b".to_owned()];
        let (object, path) = ("p".to_owned(), "spec.mode".to_owned());
        ObjectProblem { kind: CustomKind::ImagePolicy, object, path, message: message.to_owned(), help }
    }

    fn status(force: Force, problems: &[ObjectProblem], set_in_force: bool, before: &Value, now: i64) -> Value {
        let standing = Standing { force, hash: Some("h".to_owned()), problems: problems.to_vec() };
        About { kind: CustomKind::ImagePolicy, generation: 7, standing: &standing, set_in_force }.status(before, now)
    }

    fn condition<'s>(status: &'s Value, kind: &str) -> &'s Value {
        status["conditions"].as_array().unwrap().iter().find(|c| c["type"] == kind).unwrap()
    }

    #[test]
    fn reasons_follow_what_is_in_force() {
        let bad = [problem("x")];
        for (force, problems, set, ready, reason, invalid) in [
            (Force::This, &[][..], true, "True", "InForce", "False"),
            (Force::This, &[][..], false, "False", "Waiting", "False"),
            (Force::Earlier, &bad[..], true, "False", "EarlierVersionInForce", "True"),
            (Force::Lost, &bad[..], false, "False", "Lost", "True"),
            (Force::None, &bad[..], true, "False", "Invalid", "True"),
        ] {
            let status = status(force, problems, set, &Value::Null, 0);
            let condition = condition(&status, "Ready");
            assert_eq!((&condition["status"], &condition["reason"]), (&json!(ready), &json!(reason)));
            assert_eq!(self::condition(&status, "Invalid")["status"], invalid, "{reason}");
            assert_eq!(status["observedGeneration"], 7);
            assert_eq!(status["hash"].is_string(), set);
        }
    }

    #[test]
    fn a_release_is_told_by_its_id_and_both_say_that_they_were_in_force() {
        let standing = Standing { force: Force::This, hash: Some("sha256:h".to_owned()), problems: Vec::new() };
        let about = About { kind: CustomKind::ImageRelease, generation: 1, standing: &standing, set_in_force: true };
        let status = about.status(&Value::Null, 0);
        assert_eq!((&status["id"], &status["hash"]), (&json!("sha256:h"), &Value::Null));
        assert!(was_in_force(&json!({"id": "sha256:h"})) && was_in_force(&json!({"hash": "h"})));
        assert!(was_in_force(&json!({"conditions": [{"reason": "Lost"}]})));
        assert!(!was_in_force(&json!({"conditions": [{"reason": "Invalid"}], "id": null})));
    }

    #[test]
    fn the_time_of_a_condition_changes_with_its_status_only() {
        let first = status(Force::This, &[], true, &Value::Null, 0);
        assert_eq!(condition(&first, "Ready")["lastTransitionTime"], "1970-01-01T00:00:00Z");
        assert_eq!(status(Force::This, &[], true, &first, 60), first);
        let second = status(Force::Earlier, &[problem("x")], true, &first, 60);
        assert_eq!(condition(&second, "Ready")["lastTransitionTime"], "1970-01-01T00:01:00Z");
        let third = status(Force::None, &[problem("x")], true, &second, 120);
        assert_eq!(condition(&third, "Ready")["lastTransitionTime"], "1970-01-01T00:01:00Z", "False as before");
    }

    #[test]
    fn diagnostics_are_bounded() {
        let many = vec![problem(&"é".repeat(2 * CHARACTERS)); DIAGNOSTICS + 5];
        let status = status(Force::None, &many, true, &Value::Null, 0);
        let told = status["diagnostics"].as_array().unwrap();
        assert_eq!(told.len(), DIAGNOSTICS);
        assert_eq!(told[0]["message"].as_str().unwrap().chars().count(), CHARACTERS + 3);
        assert_eq!((&told[0]["path"], &told[0]["help"]), (&json!("spec.mode"), &json!("a; b")));
        assert!(condition(&status, "Ready")["message"].as_str().unwrap().contains("25 errors"));
    }
}
