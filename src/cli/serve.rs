//! `tagwarden serve`: the admission server, from its flags to its exit code.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::certs;
use crate::cluster::Cluster;
use crate::config::{CertificateSource, Config, LogFormat, Overrides};
use crate::document::Color;
use crate::policy::Mode;
use crate::server::{self, Options, Source, StartError};
use crate::telemetry;

/// Where `--dev` keeps its certificates.
const DEV_CERTIFICATES: &str = "certs/dev";
/// The policies that `--dev` loads where none are named.
const DEV_POLICIES: &str = "policies/starter";

/// The arguments of `serve`. Each has a variable beside it; flag, then variable, then file.
#[derive(Clone, Debug, Args)]
pub struct ServeArgs {
    /// The configuration file
    #[arg(long, env = "TAGWARDEN_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// A directory of policy files (not searched recursively); may be given several times
    #[arg(long, env = "TAGWARDEN_POLICIES", value_name = "DIR", value_delimiter = ',')]
    pub policies: Vec<PathBuf>,
    /// Where the webhook listens [default: 0.0.0.0:8443]; port 0 takes a free one
    #[arg(long, env = "TAGWARDEN_LISTEN", value_name = "ADDR:PORT")]
    pub listen: Option<SocketAddr>,
    /// Where /livez, /readyz and /metrics listen [default: 0.0.0.0:8080]
    #[arg(long, env = "TAGWARDEN_HEALTH_LISTEN", value_name = "ADDR:PORT")]
    pub health_listen: Option<SocketAddr>,
    /// The server's certificate chain, PEM
    #[arg(long, env = "TAGWARDEN_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// Its key, PEM
    #[arg(long, env = "TAGWARDEN_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// Caps every denial: audit, warn, enforce [default: enforce]
    #[arg(long, env = "TAGWARDEN_MAX_MODE", value_name = "MODE")]
    pub max_mode: Option<Mode>,
    /// Contact no API server; labels of namespaces are then unknown
    #[arg(long, env = "TAGWARDEN_NO_CLUSTER")]
    pub no_cluster: bool,
    /// json or text [default: text on a terminal, json otherwise]
    #[arg(long, env = "TAGWARDEN_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
    /// For a laptop: certificates in certs/dev, policies/starter, a readable log, no cluster
    #[arg(long, env = "TAGWARDEN_DEV")]
    pub dev: bool,
}

/// Serves until a signal ends it. What keeps it from starting is told on `errors`.
///
/// Gives the exit code: 0 after a signal, 2 where it could not start.
pub fn serve(args: ServeArgs, errors: &mut dyn Write) -> u8 {
    match run(args) {
        Ok(()) => 0,
        Err(problem) => {
            // Rendered problems end their own lines.
            let problem = problem.trim_end();
            // Where even standard error is closed, the exit code still tells.
            let _ = writeln!(errors, "{problem}");
            2
        }
    }
}

fn run(args: ServeArgs) -> Result<(), String> {
    let no_cluster = args.no_cluster || args.dev;
    let (config, source) = configure(args)?;
    // Dropped last, so that whoever ends tells of it; and before an error is told of, which is written at once.
    let _logging = telemetry::start(config.log).map_err(|error| format!("error: cannot start: {error}"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("error: cannot start: {error}"))?;
    runtime.block_on(async {
        // Before anything listens, so that no signal finds nobody.
        let mut signals = signals().map_err(|error| format!("error: cannot listen to signals: {error}"))?;
        let cluster = match no_cluster {
            true => None,
            false => Some(Cluster::configured().await.map_err(|sentence| format!("error: {sentence}"))?),
        };
        let started = server::start(Options { config, source, cluster }).await;
        let running = started.map_err(|error| match error {
            StartError::Sentence(sentence) => format!("error: {sentence}"),
            StartError::Policies(_) => error.to_string(),
        })?;
        running.run(&mut signals).await;
        Ok(())
    })
}

/// SIGTERM and SIGINT, one message each.
fn signals() -> std::io::Result<mpsc::Receiver<()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (sender, receiver) = mpsc::channel(2);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if sender.send(()).await.is_err() {
                return;
            }
        }
    });
    Ok(receiver)
}

/// The configuration with the flags laid over it, and what `--dev` fills in where nothing was said.
fn configure(args: ServeArgs) -> Result<(Config, Source), String> {
    let mut overrides = Overrides {
        policy_dirs: args.policies,
        webhook: args.listen,
        health: args.health_listen,
        tls_cert: args.tls_cert,
        tls_key: args.tls_key,
        max_mode: args.max_mode,
        log_format: args.log_format,
    };
    if overrides.tls_cert.is_some() != overrides.tls_key.is_some() && args.config.is_none() {
        return Err("error: --tls-cert and --tls-key go together; name both".to_owned());
    }
    if args.dev {
        overrides.log_format = overrides.log_format.or(Some(LogFormat::Text));
    }
    let load = |overrides: &Overrides| {
        let read = Config::load(args.config.as_deref(), overrides);
        read.map_err(|error| error.rendered(Color::Never))
    };
    let mut config = load(&overrides)?;
    if args.dev {
        develop(&config, &mut overrides)?;
        config = load(&overrides)?;
    }
    Ok((config, Source { file: args.config, overrides }))
}

/// Fills in certificates and policies where neither a flag nor the file names any.
fn develop(config: &Config, overrides: &mut Overrides) -> Result<(), String> {
    if config.policy_dirs.is_empty() {
        overrides.policy_dirs = vec![PathBuf::from(DEV_POLICIES)];
    }
    if let CertificateSource::Files { cert: None, key: None } = config.tls.certificate {
        let made = certs::develop(Path::new(DEV_CERTIFICATES), server::now());
        let files = made.map_err(|error| format!("error: {error}"))?;
        overrides.tls_cert = Some(files.cert);
        overrides.tls_key = Some(files.key);
    }
    Ok(())
}
