//! One test's own place: a namespace, a server with its policies, and the webhooks between them.

use super::control_plane::{Cluster, User};
use super::kubectl::Kubectl;
use super::pki::Authority;
use super::server::{Server, ServerOptions};
use super::webhooks::{CallPath, Registration, Webhooks};
use serde_json::{Value, json};

/// A namespace that a server of its own guards.
#[derive(Debug)]
pub struct Bed {
    pub cluster: &'static Cluster,
    pub namespace: String,
    pub authority: Authority,
    pub webhooks: Webhooks,
    pub server: Server,
}

/// What a [`Bed`] is made of.
#[derive(Debug)]
pub struct Builder<'a> {
    name: &'a str,
    policies: Vec<(&'a str, &'a str)>,
    config: Option<&'a str>,
    labels: Value,
    call: CallPath,
    failure_policy: Option<&'a str>,
    timeout: Option<u32>,
    configured_kinds: Option<Value>,
}

impl Bed {
    /// Begins a bed; `name` becomes the namespace's name and is unique in the suite.
    pub fn named(name: &str) -> Builder<'_> {
        Builder {
            name,
            policies: Vec::new(),
            config: None,
            labels: json!({}),
            call: CallPath::Url,
            failure_policy: None,
            timeout: None,
            configured_kinds: None,
        }
    }

    /// kubectl as a developer in this namespace.
    pub fn dana(&self) -> Kubectl {
        self.as_user(User::Dana)
    }

    /// kubectl as the cluster's administrator in this namespace.
    pub fn admin(&self) -> Kubectl {
        self.as_user(User::Admin)
    }

    /// The audit line of the creation of a Pod of this namespace, refused or not.
    pub fn audited_creation(&self, pod: &str) -> Value {
        self.cluster.audited_creation(&self.namespace, pod)
    }

    pub fn as_user(&self, user: User) -> Kubectl {
        self.cluster.as_user(user).within(&self.namespace)
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        let admin = self.cluster.as_user(User::Admin);
        // Also while a failed test unwinds, so nothing may be asserted here.
        let _ = admin.run(&["delete", "namespace", &self.namespace, "--wait=false"]);
    }
}

impl<'a> Builder<'a> {
    /// Adds a policy file.
    pub fn policy(mut self, file: &'a str, text: &'a str) -> Self {
        self.policies.push((file, text));
        self
    }

    /// Gives the server a configuration file.
    pub fn config(mut self, text: &'a str) -> Self {
        self.config = Some(text);
        self
    }

    /// Labels the namespace.
    pub fn labels(mut self, labels: Value) -> Self {
        self.labels = labels;
        self
    }

    /// How the API server calls; by URL unless said.
    pub fn call(mut self, call: CallPath) -> Self {
        self.call = call;
        self
    }

    /// One failure policy for all three webhooks; as shipped unless said.
    pub fn failure_policy(mut self, policy: &'a str) -> Self {
        self.failure_policy = Some(policy);
        self
    }

    /// The webhooks' time-out in seconds; as shipped unless said.
    pub fn timeout(mut self, seconds: u32) -> Self {
        self.timeout = Some(seconds);
        self
    }

    /// Rules of a further webhook, for configured kinds.
    pub fn configured_kinds(mut self, rules: Value) -> Self {
        self.configured_kinds = Some(rules);
        self
    }

    /// Starts it all, and waits until the API server calls the server.
    pub fn start(self) -> Bed {
        let cluster = Cluster::shared();
        cluster.create_namespace(self.name, &self.labels);
        let authority = Authority::new("webhook-ca");
        let server = Server::ready(
            cluster,
            &ServerOptions {
                name: self.name,
                namespace: self.name,
                policies: &self.policies,
                config: self.config,
                authority: &authority,
            },
        );
        let webhooks = Webhooks::install(
            cluster,
            &Registration {
                namespace: self.name,
                address: server.webhook(),
                mutating: None,
                call: self.call,
                authorities: &authority.pem,
                failure_policy: self.failure_policy,
                timeout: self.timeout,
                configured_kinds: self.configured_kinds,
            },
        );
        webhooks.wait_until_called(&[&server]);
        Bed { cluster, namespace: self.name.to_owned(), authority, webhooks, server }
    }
}
