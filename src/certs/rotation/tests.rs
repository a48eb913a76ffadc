//! Single steps of a rotation, and years of them with replicas and API servers that notice late.

use std::sync::Arc;

use proptest::prelude::*;

use super::super::{Authority, Validity};
use super::{Bundle, LATE, LONGEST_PAUSE, MOST_PREVIOUS, RotationTimes, Seen, State, Step, leaf_is_due, plan};

const NOW: i64 = 1_800_000_000;
const DAY: i64 = 86_400;
/// A week and a year, as shipped.
const SHIPPED: RotationTimes = RotationTimes { leaf: 7 * DAY, ca: 365 * DAY };

const IN_PLACE: Seen<'static> = Seen { bundle: Bundle::InPlace, wish: "" };
const NOT_IN_PLACE: Seen<'static> = Seen { bundle: Bundle::NotInPlace, wish: "" };

fn fresh() -> State {
    State::new(NOW, SHIPPED, "").unwrap()
}

/// What is planned, and the state after it.
fn step(state: State, seen: Seen<'_>, now: i64) -> (Step, State) {
    let step = plan(&state, seen, now, SHIPPED);
    (step, state.after(step, seen, now, SHIPPED).unwrap())
}

#[test]
fn a_rotation_publishes_waits_switches_keeps_and_drops() {
    let old = fresh();
    let first = old.signer.pem().to_owned();
    assert_eq!(step(old.clone(), IN_PLACE, NOW + SHIPPED.ca * 2 / 3 - 1).0, Step::Rest);
    let now = NOW + SHIPPED.ca / 3 * 2;
    let (made, state) = step(old, IN_PLACE, now);
    assert_eq!(made, Step::Make);
    assert!(state.signer.pem() == first && state.bundle().matches("BEGIN").count() == 2);
    assert_eq!(step(state.clone(), NOT_IN_PLACE, now + 10 * DAY).0, Step::Rest, "it is not published");
    let (noted, state) = step(state, IN_PLACE, now + 60);
    assert_eq!(noted, Step::Note(Some(now + 60)));
    assert_eq!(step(state.clone(), IN_PLACE, now + 60 + LONGEST_PAUSE - 1).0, Step::Rest);
    let bundle = state.bundle();
    let switched = now + 60 + LONGEST_PAUSE;
    let (switch, state) = step(state, IN_PLACE, switched);
    assert_eq!(switch, Step::Switch);
    assert_ne!(state.signer.pem(), first);
    assert_eq!(state.bundle(), bundle, "a switch changes nothing that is published");
    let end = switched + SHIPPED.leaf + LATE;
    assert_eq!(step(state.clone(), IN_PLACE, end - 1).0, Step::Rest);
    let (dropped, state) = step(state, IN_PLACE, end);
    assert_eq!(dropped, Step::Drop);
    assert_eq!(state.bundle(), state.signer.pem());
}

#[test]
fn somebody_who_edits_the_bundle_starts_the_pause_anew() {
    let now = NOW + SHIPPED.ca;
    let wish = Seen { wish: "now", ..IN_PLACE };
    let state = step(fresh(), wish, NOW).1;
    let state = step(state, wish, NOW + 10).1;
    let (withdrawn, state) = step(state, NOT_IN_PLACE, NOW + 10 + LONGEST_PAUSE);
    assert_eq!(withdrawn, Step::Note(None));
    assert_eq!(step(state.clone(), wish, NOW + 400).0, Step::Note(Some(NOW + 400)));
    // Nothing holds any more that the old one signed: whatever is published, the next one signs.
    assert_eq!(step(state, NOT_IN_PLACE, now).0, Step::Switch);
}

#[test]
fn a_publication_in_the_future_is_noted_anew() {
    let state = step(fresh(), Seen { wish: "now", ..IN_PLACE }, NOW).1;
    let state = state.after(Step::Note(Some(NOW + 10 * DAY)), IN_PLACE, NOW, SHIPPED).unwrap();
    assert_eq!(step(state, IN_PLACE, NOW).0, Step::Note(Some(NOW)));
}

#[test]
fn a_wish_is_acted_on_once() {
    let wish = |wish| Seen { wish, ..IN_PLACE };
    assert_eq!(step(fresh(), IN_PLACE, NOW).0, Step::Rest, "no wish");
    let (made, state) = step(fresh(), wish("1"), NOW);
    assert_eq!(made, Step::Make);
    let state = step(state, wish("1"), NOW).1;
    let (switched, state) = step(state, wish("1"), NOW + LONGEST_PAUSE);
    assert_eq!(switched, Step::Switch);
    assert_eq!(step(state.clone(), wish("1"), NOW + LONGEST_PAUSE).0, Step::Rest, "the same wish");
    assert_eq!(step(state, wish("2"), NOW + LONGEST_PAUSE).0, Step::Make, "another");
    assert_eq!(plan(&State::new(NOW, SHIPPED, "1").unwrap(), wish("1"), NOW, SHIPPED), Step::Rest, "older than it");
}

#[test]
fn whoever_wishes_too_often_waits() {
    let mut state = fresh();
    let (mut now, mut made) = (NOW, 0);
    for wish in 0..100 {
        let seen = &Seen { wish: &format!("wish {wish}"), ..IN_PLACE };
        for _ in 0..4 {
            let (step, after) = step(state, *seen, now);
            made += usize::from(step == Step::Make);
            (state, now) = (after, now + LONGEST_PAUSE);
        }
    }
    assert_eq!((made, state.previous.len()), (MOST_PREVIOUS, MOST_PREVIOUS));
}

#[test]
fn an_authority_that_others_may_still_sign_with_stays_published() {
    let before = fresh();
    let before = before.signer.pem();
    let mut foreign = fresh();
    assert!(foreign.keep_known(before, NOW, SHIPPED));
    assert!(foreign.bundle().contains(before));
    assert!(!foreign.keep_known(before, NOW, SHIPPED), "it is known by now");
    assert_eq!(step(foreign, IN_PLACE, NOW + SHIPPED.leaf + LATE).0, Step::Drop);
    assert!(!fresh().keep_known(before, NOW + SHIPPED.ca, SHIPPED), "it has ended");
    let mut full = fresh();
    full.previous = (0..MOST_PREVIOUS).map(|_| fresh().signer.pem().to_owned()).collect();
    assert!(full.keep_known(before, NOW, SHIPPED), "it is in use, whatever else is published");
    assert!(full.bundle().contains(before));
}

#[test]
fn no_authority_signs_what_outlives_it() {
    let authority = Authority::new("test", NOW, 1000).unwrap();
    for (lifetime, end) in [(500, 900), (601, 1000), (5000, 1000)] {
        let leaf = authority.server(&["a".to_owned()], NOW + 400, lifetime).unwrap();
        assert_eq!(super::super::validity(leaf.cert.as_bytes()).unwrap().not_after, NOW + end, "{lifetime}");
    }
}

#[test]
fn a_certificate_is_renewed_at_two_thirds_unless_no_later_one_can_be_had() {
    let made = |at: i64, lifetime: i64| Validity { not_before: at - 3600, not_after: at + lifetime };
    let (leaf, signer) = (made(NOW, 900), made(NOW, 9000));
    assert!(!leaf_is_due(leaf, signer, NOW + 599));
    assert!(leaf_is_due(leaf, signer, NOW + 600));
    assert!(!leaf_is_due(leaf, Validity { not_after: NOW + 900, ..signer }, NOW + 800), "it holds as long as can be");
    let short = made(NOW, 120);
    assert!(!leaf_is_due(short, signer, NOW + 19) && leaf_is_due(short, signer, NOW + 20), "it would not be ready");
}

/// Pseudo-random numbers, the same for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: i64) -> i64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        i64::try_from(self.0 >> 1).unwrap() % limit.max(1)
    }
}

struct Replica {
    /// What it saw of the Secret last.
    signer: Arc<Authority>,
    leaf: Validity,
    leaf_signer: Arc<Authority>,
    looks_at: i64,
}

impl Replica {
    fn sign(&mut self, now: i64, times: RotationTimes) {
        let end = (now + times.leaf).min(self.signer.validity().not_after);
        self.leaf = Validity { not_before: now - 3600, not_after: end };
        self.leaf_signer = Arc::clone(&self.signer);
    }
}

/// A webhook configuration, as the API servers may still see it: each version with the time from which nobody does.
struct Configuration(Vec<(String, i64)>);

/// Lets time pass, and checks at each moment that each replica's certificate holds and that each API server trusts it.
/// Gives the number of rotations.
fn live(times: RotationTimes, lives: i64, seed: u64) -> usize {
    let mut dice = Dice(seed | 1);
    let pause = LONGEST_PAUSE.min(times.leaf / 10);
    // The API servers' watches are behind for less than the pause; replicas and the elected one are behind for longer.
    let api_lag = pause * 3 / 4;
    let late = LATE.min(times.leaf / 4);
    let absence = (pause * 20).min(times.leaf / 4);
    let mut secret = State::new(NOW, times, "").unwrap();
    let first = Arc::clone(&secret.signer);
    let configuration = || Configuration(vec![(secret.bundle(), i64::MAX)]);
    let mut configurations = [configuration(), configuration()];
    let replica = |_| {
        let (signer, leaf_signer) = (Arc::clone(&first), Arc::clone(&first));
        let mut replica = Replica { signer, leaf: first.validity(), leaf_signer, looks_at: NOW };
        replica.sign(NOW, times);
        replica
    };
    let mut replicas: Vec<Replica> = (0..3).map(replica).collect();
    let (mut now, mut elected_at, mut rotations, mut wish) = (NOW, NOW, 0, String::new());
    while now < NOW + lives * times.ca {
        if dice.below(2000) == 0 {
            wish = now.to_string();
        }
        for replica in &mut replicas {
            if replica.looks_at <= now {
                replica.signer = Arc::clone(&secret.signer);
                replica.looks_at = now + 1 + dice.below(late);
            }
            if replica.leaf_signer.pem() != replica.signer.pem()
                || leaf_is_due(replica.leaf, replica.signer.validity(), now)
            {
                replica.sign(now, times);
            }
        }
        if elected_at <= now {
            let wanted = secret.bundle();
            let mut bundle = Bundle::InPlace;
            for Configuration(versions) in &mut configurations {
                let current = versions.last_mut().unwrap();
                if current.0 != wanted {
                    bundle = Bundle::NotInPlace;
                    // A patch may fail.
                    if dice.below(3) > 0 {
                        current.1 = now + api_lag;
                        versions.push((wanted.clone(), i64::MAX));
                    }
                }
            }
            let seen = Seen { bundle, wish: &wish };
            let step = plan(&secret, seen, now, times);
            rotations += usize::from(step == Step::Switch);
            secret = secret.after(step, seen, now, times).unwrap();
            elected_at = now + if dice.below(10) == 0 { dice.below(absence) } else { pause / 6 };
        }
        for Configuration(versions) in &mut configurations {
            versions.retain(|(_, until)| *until > now);
        }
        for replica in &replicas {
            assert!(replica.leaf.not_after > now, "a certificate has ended");
            assert!(replica.leaf.not_after <= replica.leaf_signer.validity().not_after, "it outlives its authority");
            for (bundle, _) in configurations.iter().flat_map(|configuration| &configuration.0) {
                assert!(bundle.contains(replica.leaf_signer.pem()), "an API server does not trust a replica");
            }
        }
        let quiet = secret.next.is_none() && replicas.iter().all(|replica| replica.signer.pem() == secret.signer.pem());
        now += if quiet { times.leaf / 40 } else { pause / 6 };
    }
    rotations
}

#[test]
fn ten_years_of_rotations_leave_no_gap() {
    let rotations = live(SHIPPED, 10, 7);
    assert!(rotations >= 14, "one at two thirds of each year, and some that were wished for: {rotations}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_rotation_leaves_a_gap(leaf in 120..30 * DAY, leaves in 4_i64..12, seed: u64) {
        live(RotationTimes { leaf, ca: leaf * leaves }, 3, seed);
    }
}
