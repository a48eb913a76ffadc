//! cert-manager makes our certificate and fills in caBundle: its own controllers, from installing to renewals under load.

use crate::Bed;
use crate::harness::{CertManager, Injector, NAMESPACE, PATIENCE, Release, merged, until_true};
use crate::tls::{base64, decoded, names};
use crate::traffic::{Traffic, assert_untouched, expiry};
use serde_json::{Value, json};
use std::time::Instant;

/// The Secret that the replicas mount.
const TLS: &str = "tagwarden-tls";

/// The authority's Certificate, and its Secret.
const AUTHORITY: &str = "tagwarden-authority";

pub fn row_54_renewals_of_cert_manager(bed: &Bed) {
    let release = bed.release();
    release.remove();
    let mut cert_manager = CertManager::start(&bed.cluster, bed.node(), Injector::Merges);
    let mut values = merged(&release.enforcing(), &json!({"certManager": {"enabled": true}}));
    values["tls"] = json!({}); // cert-manager refuses certificates of minutes
    let begun = Instant::now();
    // Replicas start without their Secret and are ready only when it is mounted and caBundle trusts it.
    let replicas = release.install(&values);
    bed.report.figure(format!("cert-manager: from install to ready: {:.1} s", begun.elapsed().as_secs_f64()));
    let first = Leaf::of(&release);
    assert_eq!(names(&first.certificate), ["tagwarden.tagwarden.svc", "tagwarden.tagwarden.svc.cluster.local"]);
    assert_eq!(first.authority, signer(&release), "the authority signs the certificate");
    assert_injected(&release, &first.authority);

    let traffic = Traffic::start(bed, "cert-manager renews the certificate");
    let second = renewed(bed, &release);
    assert_eq!(second.authority, first.authority, "a renewal of the certificate leaves its authority alone");
    traffic.finish();
    assert_injected(&release, &first.authority);

    let traffic = Traffic::start(bed, "cert-manager renews the authority");
    let third = renewed_with_authority(bed, &release, &cert_manager);
    traffic.finish();
    assert_injected(&release, &format!("{}{}", first.authority, third.authority));

    cert_manager.restart(bed.node(), Injector::Replaces);
    let traffic = Traffic::start(bed, "the same by a cert-manager before 1.19");
    let fourth = renewed_with_authority(bed, &release, &cert_manager);
    traffic.finish();
    assert_injected(&release, &fourth.authority);
    assert_untouched(&release, &replicas);

    // An upgrade leaves what was injected alone.
    release.upgrade(&values, &["--wait", "--timeout=120s"]).accepted();
    assert_injected(&release, &fourth.authority);
    release.test().accepted();
    cert_manager.check();
    release.remove();
    // cert-manager keeps the Secrets of Certificates that are gone.
    release.admin().run(&["delete", "secret", TLS, AUTHORITY]).accepted();
}

/// What the Secret of our certificate holds, as PEM.
struct Leaf {
    certificate: String,
    authority: String,
}

impl Leaf {
    fn of(release: &Release<'_>) -> Self {
        let secret = secret(release, TLS);
        assert_eq!(secret["type"], "kubernetes.io/tls");
        assert_eq!(secret["metadata"]["annotations"]["cert-manager.io/certificate-name"], "tagwarden");
        assert!(decoded(&secret["data"]["tls.key"]).contains("PRIVATE KEY"));
        Leaf { certificate: decoded(&secret["data"]["tls.crt"]), authority: decoded(&secret["data"]["ca.crt"]) }
    }
}

/// Renews the authority, which changes nothing yet, and then the certificate, whose Secret brings the new authority: caBundle
/// has it at once and the replicas when the kubelet gets to it. For a while either certificate meets the other's authority.
fn renewed_with_authority(bed: &Bed, release: &Release<'_>, cert_manager: &CertManager) -> Leaf {
    let key = secret(release, AUTHORITY)["data"]["tls.key"].clone();
    let old = signer(release);
    cert_manager.renew(NAMESPACE, AUTHORITY);
    until_true("the authority to be renewed", PATIENCE, || signer(release) != old);
    assert_eq!(secret(release, AUTHORITY)["data"]["tls.key"], key, "the authority is renewed under the same key");
    let leaf = renewed(bed, release);
    assert_eq!(leaf.authority, signer(release), "the certificate brings the new authority");
    leaf
}

/// Deletes the Secret, by which a person renews without cert-manager's own tool, and waits until every replica serves what
/// cert-manager makes in its place.
fn renewed(bed: &Bed, release: &Release<'_>) -> Leaf {
    let expiries = || -> Vec<f64> { release.pods().iter().map(|pod| expiry(bed, pod)).collect() };
    let before = expiries();
    let old = Leaf::of(release).certificate;
    let begun = Instant::now();
    release.admin().run(&["delete", "secret", TLS]).accepted();
    until_true("cert-manager to write the Secret again", PATIENCE, || {
        release.admin().get(&format!("secret/{TLS}")).is_some_and(|new| decoded(&new["data"]["tls.crt"]) != old)
    });
    let written = begun.elapsed().as_secs_f64();
    until_true("each replica to use the new certificate", 3 * PATIENCE, || {
        expiries().iter().zip(&before).all(|(now, before)| now > before)
    });
    let used = begun.elapsed().as_secs_f64();
    bed.report.figure(format!("cert-manager: Secret written after {written:.1} s, used by all after {used:.1} s"));
    Leaf::of(release)
}

/// The authority's own certificate, as PEM.
fn signer(release: &Release<'_>) -> String {
    decoded(&secret(release, AUTHORITY)["data"]["tls.crt"])
}

fn secret(release: &Release<'_>, name: &str) -> Value {
    release.admin().get(&format!("secret/{name}")).unwrap_or_else(|| panic!("there is no Secret {name}"))
}

/// Waits until every webhook of both configurations trusts these authorities and no other.
fn assert_injected(release: &Release<'_>, authorities: &str) {
    let bundle = base64(authorities);
    until_true("cert-manager to inject the authority", PATIENCE, || {
        let bundles = release.bundles();
        bundles.len() >= 3 && bundles.iter().all(|now| now == &bundle)
    });
}
