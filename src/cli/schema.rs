//! `tagwarden schema`: the JSON Schema of a file format, for editors and CI, and the custom resource made from it.

use clap::Args;

use super::{Exit, Surroundings, written};
use crate::config::config_schema;
use crate::policy::{CustomKind, policy_crd, policy_schema, release_crd, test_schema};
use crate::release::release_schema;

/// The arguments of `schema`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  tagwarden schema policy > imagepolicy-v1.schema.json\n\n\
                        An editor picks it up from the first line of a policy file:\n  \
                        # yaml-language-server: $schema=./imagepolicy-v1.schema.json\n\n\
                        The tests beside a policy:\n  tagwarden schema test > imagepolicytest-v1.schema.json\n\n\
                        The server's configuration file:\n  tagwarden schema config > config-v1.schema.json\n\n\
                        Release files:\n  tagwarden schema release > release-v1.schema.json\n\n\
                        The CustomResourceDefinitions of ImagePolicy and ImageRelease objects:\n  \
                        tagwarden schema crd | kubectl apply -f -\n  \
                        tagwarden schema release-crd | kubectl apply -f -")]
pub struct SchemaArgs {
    /// Which format: `policy`, `test`, `config`, `release`, or `crd` and `release-crd` for the CustomResourceDefinitions
    #[arg(value_name = "FORMAT", default_value = "policy", value_parser = format)]
    format: Format,
}

/// The formats that have a schema.
#[derive(Clone, Copy, Debug)]
enum Format {
    Policy,
    Test,
    Config,
    Release,
    Crd(CustomKind),
}

fn format(name: &str) -> Result<Format, String> {
    match name {
        "policy" => Ok(Format::Policy),
        "test" => Ok(Format::Test),
        "config" => Ok(Format::Config),
        "release" => Ok(Format::Release),
        _ => {
            let kinds = [CustomKind::ImagePolicy, CustomKind::ImageRelease];
            kinds.into_iter().find(|kind| kind.schema() == name).map(Format::Crd).ok_or_else(|| {
                "there is no such schema; use `policy`, `test`, `config`, `release`, `crd` or `release-crd`".to_owned()
            })
        }
    }
}

/// Prints the schema.
pub(super) fn run(args: &SchemaArgs, surroundings: &mut Surroundings<'_>) -> anyhow::Result<Exit> {
    let schema = match args.format {
        Format::Policy => policy_schema(),
        Format::Test => test_schema(),
        Format::Config => config_schema(),
        Format::Release => release_schema(),
        Format::Crd(CustomKind::ImagePolicy) => policy_crd(),
        Format::Crd(CustomKind::ImageRelease) => release_crd(),
    };
    let printed = writeln!(surroundings.out, "{schema:#}").and_then(|()| surroundings.out.flush());
    written(printed, Exit::Clean)
}
