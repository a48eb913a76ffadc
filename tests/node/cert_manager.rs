//! cert-manager makes our certificate and fills in caBundle: its own controllers, from installing to renewals under load.

use crate::Bed;
use crate::harness::{CertManager, NAMESPACE, PATIENCE, Release, merged, until_true};
use crate::tls::{base64, decoded, names};
use crate::traffic::{Traffic, assert_untouched, expiry};
use serde_json::{Value, json};
use std::time::Instant;

/// The chart's Certificates; each has the name of its Secret, but that of the replicas ends in `-tls`.
const LEAF: &str = "tagwarden";
const AUTHORITY: &str = "tagwarden-authority";

pub fn row_54_renewals_of_cert_manager(bed: &Bed) {
    let release = bed.release();
    release.remove();
    let mut cert_manager = CertManager::start(&bed.cluster, bed.node());
    let mut values = merged(&release.enforcing(), &json!({"certManager": {"enabled": true}}));
    values["tls"] = json!({});
    let begun = Instant::now();
    // Replicas start without their Secret and are ready only when it is mounted and caBundle trusts it.
    let replicas = release.install(&values);
    bed.report.figure(format!("cert-manager: from install to ready: {:.1} s", begun.elapsed().as_secs_f64()));
    let first = Leaf::of(&release);
    assert_eq!(names(&first.certificate), ["tagwarden.tagwarden.svc", "tagwarden.tagwarden.svc.cluster.local"]);
    let authority = secret(&release, AUTHORITY);
    assert_eq!(first.authority, decoded(&authority["data"]["tls.crt"]), "the authority signs the certificate");
    assert_injected(&release, &first.authority);

    // Deleting the Secret is how a person renews without cert-manager's own tool.
    let traffic = Traffic::start(bed, "cert-manager renews the certificate");
    let second = renewed_leaf(bed, &release);
    assert_eq!(second.authority, first.authority, "a renewal of the certificate leaves its authority alone");
    traffic.finish();
    assert_injected(&release, &first.authority);

    // The authority alone, which changes nothing yet; then the certificate, whose Secret brings the new authority: caBundle
    // has it at once and the replicas when the kubelet gets to it, so for a while either certificate meets the other's bundle.
    let traffic = Traffic::start(bed, "cert-manager renews the authority");
    cert_manager.renew(NAMESPACE, AUTHORITY);
    until_true("the authority to be renewed", PATIENCE, || {
        secret(&release, AUTHORITY)["data"]["tls.crt"] != authority["data"]["tls.crt"]
    });
    assert_eq!(secret(&release, AUTHORITY)["data"]["tls.key"], authority["data"]["tls.key"], "under the same key");
    let third = renewed_leaf(bed, &release);
    assert_ne!(third.authority, first.authority, "the certificate brings the new authority");
    traffic.finish();
    assert_injected(&release, &third.authority);
    assert_untouched(&release, &replicas);

    // An upgrade leaves what was injected alone.
    release.upgrade(&values, &["--wait", "--timeout=120s"]).accepted();
    assert_injected(&release, &third.authority);
    release.test().accepted();
    cert_manager.check();
    release.remove();
    // cert-manager keeps the Secrets of Certificates that are gone.
    release.admin().run(&["delete", "secret", "tagwarden-tls", AUTHORITY]).accepted();
}

/// What the Secret of our certificate holds, as PEM.
struct Leaf {
    certificate: String,
    authority: String,
}

impl Leaf {
    fn of(release: &Release<'_>) -> Self {
        let secret = secret(release, "tagwarden-tls");
        assert_eq!(secret["type"], "kubernetes.io/tls");
        assert_eq!(secret["metadata"]["annotations"]["cert-manager.io/certificate-name"], LEAF);
        assert!(decoded(&secret["data"]["tls.key"]).contains("PRIVATE KEY"));
        Leaf { certificate: decoded(&secret["data"]["tls.crt"]), authority: decoded(&secret["data"]["ca.crt"]) }
    }
}

/// Deletes the Secret and waits until every replica serves what cert-manager made in its place.
fn renewed_leaf(bed: &Bed, release: &Release<'_>) -> Leaf {
    let expiries = || -> Vec<f64> { release.pods().iter().map(|pod| expiry(bed, pod)).collect() };
    let before = expiries();
    let old = Leaf::of(release).certificate;
    let begun = Instant::now();
    release.admin().run(&["delete", "secret", "tagwarden-tls"]).accepted();
    until_true("cert-manager to write the Secret again", PATIENCE, || {
        release.admin().get("secret/tagwarden-tls").is_some_and(|new| decoded(&new["data"]["tls.crt"]) != old)
    });
    let written = begun.elapsed();
    until_true("each replica to use the new certificate", 3 * PATIENCE, || {
        expiries().iter().zip(&before).all(|(now, before)| now > before)
    });
    let (written, used) = (written.as_secs_f64(), begun.elapsed().as_secs_f64());
    bed.report
        .figure(format!("cert-manager: Secret written after {written:.1} s, used by both replicas after {used:.1} s"));
    Leaf::of(release)
}

fn secret(release: &Release<'_>, name: &str) -> Value {
    release.admin().get(&format!("secret/{name}")).unwrap_or_else(|| panic!("there is no Secret {name}"))
}

/// Waits until every webhook of both configurations trusts this authority and no other.
fn assert_injected(release: &Release<'_>, authority: &str) {
    let bundle = base64(authority);
    until_true("cert-manager to inject the authority", PATIENCE, || {
        let bundles = release.bundles();
        bundles.len() >= 3 && bundles.iter().all(|now| now == &bundle)
    });
}
