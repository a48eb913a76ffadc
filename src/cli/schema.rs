//! `tagwarden schema`: the JSON Schema of a file format, for editors and CI.

use clap::Args;

use super::{Exit, Surroundings, written};
use crate::policy::policy_schema;

/// The arguments of `schema`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  tagwarden schema policy > imagepolicy-v1.schema.json\n\n\
                        An editor picks it up from the first line of a policy file:\n  \
                        # yaml-language-server: $schema=./imagepolicy-v1.schema.json")]
pub struct SchemaArgs {
    /// Which format: `policy`
    #[arg(value_name = "FORMAT", default_value = "policy", value_parser = format)]
    format: Format,
}

/// The formats that have a schema.
#[derive(Clone, Copy, Debug)]
enum Format {
    Policy,
}

fn format(name: &str) -> Result<Format, String> {
    match name {
        "policy" => Ok(Format::Policy),
        "test" | "config" | "release" => Err(format!("the schema `{name}` is not supported yet; use `policy`")),
        _ => Err("there is no such schema; use `policy`".to_owned()),
    }
}

/// Prints the schema.
pub(super) fn run(args: &SchemaArgs, surroundings: &mut Surroundings<'_>) -> anyhow::Result<Exit> {
    let schema = match args.format {
        Format::Policy => policy_schema(),
    };
    let printed = writeln!(surroundings.out, "{schema:#}").and_then(|()| surroundings.out.flush());
    written(printed, Exit::Clean)
}
