//! The Helm chart, rendered by the real helm: what comes out, what is refused, and what is generated from it.

mod cert_manager;
mod configuration;
mod generated;
mod monitoring;
mod permissions;
mod pods;
mod refusals;
mod render;
mod restricted;
mod values;
mod webhooks;
