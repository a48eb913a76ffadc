//! One server of the demo: the same as `serve` starts, with an example's policy and a certificate of its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context as _;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::client::Client;
use super::examples::Example;
use super::registry::ExampleRegistry;
use super::scratch::Scratch;
use super::stock::HOST;
use crate::certs::{self, DevFiles};
use crate::config::{CertificateSource, Config, ReleaseOrigin, ReleaseSource, Tls};
use crate::policy::{Choice, Seconds};
use crate::registry::{self, CacheSettings, RegistrySettings};
use crate::server::{self, Options, Source};

/// How long the demo's server takes a registry's answer for fresh: no scene waits for the lifetimes of real life.
pub(super) const REMEMBERED: Duration = Duration::from_millis(1);

/// The name that the certificate is for.
const NAME: &str = "localhost";

/// Certificates for every server of the demo.
pub(super) struct Certificates {
    /// Where they are.
    pub files: DevFiles,
    authority: CertificateDer<'static>,
}

impl Certificates {
    /// Makes an authority and a leaf in the temporary directory.
    pub fn new(scratch: &Scratch, now: Seconds) -> anyhow::Result<Self> {
        let files = certs::develop(scratch.path(), now)?;
        let authority = CertificateDer::from_pem_file(&files.ca).context("cannot read the certificate just made")?;
        Ok(Certificates { files, authority })
    }
}

/// A started server.
pub(super) struct Running {
    server: server::Running,
    authority: CertificateDer<'static>,
}

impl Running {
    /// Starts one with the policy of an example, on free ports of loopback; ready when this returns.
    pub async fn start(
        scratch: &Scratch,
        certificates: &Certificates,
        example: &Example,
        registry: registry::Settings,
    ) -> anyhow::Result<Self> {
        let policy = scratch.write(&format!("{}/policy.yaml", example.name), example.policy)?;
        let directory = policy.parent().unwrap_or(scratch.path()).to_owned();
        let mut releases = Vec::new();
        for (name, text) in example.releases {
            let file = scratch.write(&format!("{}/releases/{name}", example.name), text)?;
            let dir = file.parent().unwrap_or(scratch.path()).to_owned();
            releases =
                vec![ReleaseSource { origin: ReleaseOrigin::Directory(dir), choice: Choice::newest_everywhere() }];
        }
        let files = &certificates.files;
        let certificate = CertificateSource::Files { cert: Some(files.cert.clone()), key: Some(files.key.clone()) };
        let tls = Tls { certificate, ..Tls::default() };
        let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let config = Config {
            webhook: free,
            health: free,
            tls,
            policy_dirs: vec![directory],
            releases,
            registry,
            // Nobody routes to us who would have to be told first.
            shutdown_delay: Duration::ZERO,
            ..Config::default()
        };
        let options = Options { config, source: Source::default(), cluster: None };
        let server = server::start(options).await?;
        Ok(Running { server, authority: certificates.authority.clone() })
    }

    /// Where it takes reviews.
    pub fn webhook(&self) -> SocketAddr {
        self.server.webhook
    }

    /// Where it tells about itself.
    pub fn health(&self) -> SocketAddr {
        self.server.health
    }

    /// Connects to it.
    pub async fn client(&self) -> anyhow::Result<Client> {
        Client::connect(self.webhook(), NAME, self.authority.clone()).await
    }

    /// Drains and ends it.
    pub async fn stop(self) {
        self.server.stop().await;
    }
}

/// Settings of a server that asks the example registry wherever a policy says [`HOST`].
pub(super) fn asking(example: &ExampleRegistry, scratch: &Scratch) -> anyhow::Result<registry::Settings> {
    let ca = scratch.write("registry-ca.crt", example.authority())?;
    let host = RegistrySettings {
        host: HOST.to_owned(),
        endpoint: Some(example.endpoint()),
        ca: Some(ca),
        client_cert: None,
        insecure: false,
        private: true,
        credentials: None,
        credential_namespaces: None,
        realm_hosts: Vec::new(),
        max_concurrent: None,
    };
    // Nothing learned stays fresh, so that a tag's move shows at once and an outage finds only what is old.
    let cache = CacheSettings { immutable_ttl: REMEMBERED, floating_ttl: REMEMBERED, ..CacheSettings::default() };
    Ok(registry::Settings { registries: vec![host], cache, ..registry::Settings::default() })
}

/// What ends a demo that is kept.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Listens from now on, so that a signal between this and [`Signals::wait`] counts.
    pub fn new() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Signals { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    /// Until the first one.
    pub async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
