//! `tagwarden schema`: the JSON Schema of a file format, for editors and CI, and the custom resource made from it.

use clap::Args;

use super::{Exit, Surroundings, written};
use crate::config::config_schema;
use crate::policy::{policy_crd, policy_schema, test_schema};
use crate::release::release_schema;

/// The arguments of `schema`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  tagwarden schema policy > imagepolicy-v1.schema.json\n\n\
                        An editor picks it up from the first line of a policy file:\n  \
                        # yaml-language-server: $schema=./imagepolicy-v1.schema.json\n\n\
                        The tests beside a policy:\n  tagwarden schema test > imagepolicytest-v1.schema.json\n\n\
                        The server's configuration file:\n  tagwarden schema config > config-v1.schema.json\n\n\
                        Release files:\n  tagwarden schema release > release-v1.schema.json\n\n\
                        The CustomResourceDefinition of ImagePolicy objects:\n  \
                        tagwarden schema crd | kubectl apply -f -")]
pub struct SchemaArgs {
    /// Which format: `policy`, `test`, `config`, `release`, or `crd` for the CustomResourceDefinition
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
    Crd,
}

fn format(name: &str) -> Result<Format, String> {
    match name {
        "policy" => Ok(Format::Policy),
        "test" => Ok(Format::Test),
        "config" => Ok(Format::Config),
        "release" => Ok(Format::Release),
        "crd" => Ok(Format::Crd),
        _ => Err("there is no such schema; use `policy`, `test`, `config`, `release` or `crd`".to_owned()),
    }
}

/// Prints the schema.
pub(super) fn run(args: &SchemaArgs, surroundings: &mut Surroundings<'_>) -> anyhow::Result<Exit> {
    let schema = match args.format {
        Format::Policy => policy_schema(),
        Format::Test => test_schema(),
        Format::Config => config_schema(),
        Format::Release => release_schema(),
        Format::Crd => policy_crd(),
    };
    let printed = writeln!(surroundings.out, "{schema:#}").and_then(|()| surroundings.out.flush());
    written(printed, Exit::Clean)
}
