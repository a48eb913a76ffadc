//! `tagwarden hook test`: the policies of the mounted files compile, and the server that the API server calls judges by them.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;
use clap::Args;

use super::patience::{Again, Patience};
use super::{Failure, answer, call, configuration, duration, failed, ok, runtime};
use crate::cli::{Exit, Surroundings, written};
use crate::cluster::{
    Cluster, ServiceAddress, ServiceTarget, Services, Target, Webhook, WebhookConfigurations, WebhookKind,
};
use crate::server::{self, StartError};

/// The arguments of `hook test`.
#[derive(Debug, Args)]
#[command(after_help = "`helm test` runs this. In this order: the configuration and the policies of its directories \
    compile; the validating webhook configuration that `webhooks.validating` names is there, with a caBundle; the \
    Service that it names answers over TLS with a certificate that caBundle vouches for; it answers a review (the \
    creation of a Pod in namespace `default`, as a dry run) and judges by these same policies. Where `tls.clientCA` is \
    set, only the API server may ask, and the test ends with TLS.\n\n\
    All but the compiling is tried again until --timeout: after an installation replicas become ready, and a changed \
    ConfigMap takes up to two minutes to reach them.\n\n\
    Exit codes: 0 all is well; 2 something is not, what and what to do about it.")]
pub(super) struct TestArgs {
    /// The server's configuration file
    #[arg(long, env = "TAGWARDEN_CONFIG", value_name = "FILE")]
    config: PathBuf,
    /// How long to try
    #[arg(long, value_name = "DURATION", default_value = "120s", value_parser = duration)]
    timeout: Duration,
    /// Connect there instead of to the Service's cluster IP, which is not looked up then: for tests from outside the
    /// cluster's network
    #[arg(long, value_name = "ADDR:PORT")]
    address: Option<SocketAddr>,
}

pub(super) fn run(args: &TestArgs, surroundings: &mut Surroundings<'_>) -> anyhow::Result<Exit> {
    let Some(config) = configuration(&args.config, surroundings) else { return Ok(Exit::Error) };
    let mut told = ok(&format!("configuration: {} compiles", args.config.display()), surroundings);
    let policies = match server::policies_of_files(&config) {
        Ok(policies) => policies,
        Err(refused) => {
            // Nobody is left to tell when standard error is closed too.
            let _ = writeln!(surroundings.err, "{}", StartError::Policies(refused).to_string().trim_end());
            told = told
                .and(failed("policies: they do not compile, see the lines with carets; correct them", surroundings));
            return written(told, Exit::Error);
        }
    };
    let count = policies.policies().count();
    told = told.and(ok(&format!("policies: {count} compile, hash {}", policies.hash()), surroundings));
    let Some(configuration) = &config.webhooks.validating else {
        bail!("{} names no webhook configuration to test: name ours in 'webhooks.validating'", args.config.display());
    };
    let route = Route {
        configuration,
        address: args.address,
        clients: if config.tls.client_ca.is_some() { Clients::OnlyTheApiServer } else { Clients::Anyone },
        // Objects are policies too then, and what they come to is for the replicas to say.
        policy_hash: (!config.policy_objects).then(|| policies.hash()),
    };
    let (passed, outcome) = runtime()?.block_on(async {
        let cluster = Cluster::configured().await.map_err(anyhow::Error::msg)?;
        Ok::<_, anyhow::Error>(route.follow(&cluster, args.timeout, surroundings).await)
    })?;
    for step in passed {
        told = told.and(ok(&step, surroundings));
    }
    match outcome {
        Ok(()) => written(told, Exit::Clean),
        Err(failure) => {
            told = told.and(failed(&failure.to_string(), surroundings));
            written(told, Exit::Error)
        }
    }
}

/// Who may send reviews.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Clients {
    Anyone,
    /// Whoever shows a certificate of `tls.clientCA`.
    OnlyTheApiServer,
}

/// The API server's way to the server, and what is to be found at its end.
#[derive(Clone, Copy, Debug)]
struct Route<'a> {
    configuration: &'a str,
    address: Option<SocketAddr>,
    clients: Clients,
    /// None: not known here.
    policy_hash: Option<&'a str>,
}

impl Route<'_> {
    /// Follows the route until all is well or the time is over. Gives what went well the last time, and what did not.
    async fn follow(
        &self,
        cluster: &Cluster,
        limit: Duration,
        surroundings: &mut Surroundings<'_>,
    ) -> (Vec<String>, Result<(), Failure>) {
        let mut patience = Patience::of(limit);
        let mut last: Option<Failure> = None;
        loop {
            let mut passed = Vec::new();
            let Err(failure) = self.once(cluster, &mut passed).await else { return (passed, Ok(())) };
            if last.as_ref() != Some(&failure) {
                // A closed standard error takes nothing from the test.
                let _: io::Result<()> = writeln!(surroundings.err, "waiting {failure}");
            }
            if patience.again().await == Again::No {
                return (passed, Err(failure));
            }
            last = Some(failure);
        }
    }

    async fn once(&self, cluster: &Cluster, passed: &mut Vec<String>) -> Result<(), Failure> {
        let name = self.configuration;
        let read = WebhookConfigurations::of(cluster).read(WebhookKind::Validating, name).await;
        let read = read.map_err(|sentence| Failure::new(sentence, "without it nothing else can be tested"))?;
        let found = read.ok_or_else(|| {
            Failure::new(
                format!("there is no ValidatingWebhookConfiguration '{name}'"),
                "apply the chart again, or correct 'webhooks.validating'",
            )
        })?;
        let webhook = first(name, &found.webhooks)?;
        passed.push(format!("webhook configuration: '{name}' is there, its webhooks: {}", found.webhooks.len()));

        let trust = call::Trust::only(&webhook.ca_bundle).map_err(|problem| {
            let cause = format!("the caBundle of '{name}' cannot be used: {problem}");
            Failure::new(cause, "it is to hold the PEM certificates of authorities")
        })?;
        passed.push(format!("caBundle: its authorities: {}", trust.authorities));

        let Target::Service(service) = &webhook.target else {
            return Err(Failure::new(
                format!("'{name}' does not name a Service to call"),
                "the chart's configurations do: apply it again",
            ));
        };
        let address = match self.address {
            Some(address) => address,
            None => cluster_address(cluster, service).await?,
        };
        let server_name = format!("{}.{}.svc", service.name, service.namespace);
        let stream = trust.connect(address, &server_name).await?;
        passed.push(format!("Service {}/{}: TLS with {address} as {server_name}", service.namespace, service.name));
        if self.clients == Clients::OnlyTheApiServer {
            passed.push("review: not sent, because 'tls.clientCA' lets only the API server ask".to_owned());
            return Ok(());
        }

        let uid = answer::uid();
        let body = call::post(stream, &server_name, &service.path, answer::review(&uid).to_string()).await?;
        let judgement = answer::read(&body, &uid).map_err(|problem| Failure::new(problem, "see the replicas' logs"))?;
        let by = self.judged_by(judgement.policy_hash.as_deref())?;
        passed.push(format!("review: answered '{}', judged by {by}", judgement.decision.name()));
        Ok(())
    }

    /// By which policies, for people.
    fn judged_by(&self, hash: Option<&str>) -> Result<&'static str, Failure> {
        match (hash, self.policy_hash) {
            (Some(hash), Some(expected)) if hash == expected => Ok("these policies"),
            (Some(_), None) => Ok("policies of files and objects"),
            (Some(hash), Some(expected)) => Err(Failure::new(
                format!("the replicas judge by other policies: theirs have the hash {hash}, these {expected}"),
                "see /readyz?verbose and the replicas' logs; a change takes up to two minutes to reach mounted files",
            )),
            (None, _) => Err(Failure::new(
                "the replica that answered has no policies in force",
                "see /readyz?verbose and the replicas' logs",
            )),
        }
    }
}

/// The webhook to call. All of them must have a caBundle: the API server calls none without.
fn first<'w>(name: &str, webhooks: &'w [Webhook]) -> Result<&'w Webhook, Failure> {
    if let Some(without) = webhooks.iter().find(|webhook| webhook.ca_bundle.is_empty()) {
        return Err(Failure::new(
            format!("webhook '{}' of '{name}' has no caBundle", without.name),
            "self-managed: the elected replica writes it, see its log; cert-manager: its cainjector does; otherwise give it in the values",
        ));
    }
    webhooks.first().ok_or_else(|| Failure::new(format!("'{name}' holds no webhooks"), "apply the chart again"))
}

async fn cluster_address(cluster: &Cluster, service: &ServiceTarget) -> Result<SocketAddr, Failure> {
    let ServiceTarget { namespace, name, port, .. } = service;
    let found = Services::of(cluster).address(namespace, name).await;
    let found = found.map_err(|sentence| Failure::new(sentence, "or name its address by --address"))?;
    match found {
        ServiceAddress::ClusterIp(ip) => Ok(SocketAddr::new(ip, *port)),
        ServiceAddress::None => Err(Failure::new(
            format!("the Service {namespace}/{name} has no cluster IP"),
            "the chart's Service has one: apply it again; or name an address by --address",
        )),
        ServiceAddress::Absent => {
            Err(Failure::new(format!("there is no Service {namespace}/{name}"), "apply the chart again"))
        }
    }
}
