//! `tagwarden completions`: what a shell completes, made from the command line's own definition.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::{Cli, Exit, Surroundings, written};

/// The arguments of `completions`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    tagwarden completions bash > /etc/bash_completion.d/tagwarden\n  \
    tagwarden completions zsh > \"${fpath[1]}/_tagwarden\"\n  \
    tagwarden completions fish > ~/.config/fish/completions/tagwarden.fish")]
pub struct CompletionsArgs {
    /// Whose completions
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
}

/// Prints the completions.
pub(super) fn run(args: &CompletionsArgs, surroundings: &mut Surroundings<'_>) -> anyhow::Result<Exit> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "tagwarden", &mut text);
    let printed = surroundings.out.write_all(&text).and_then(|()| surroundings.out.flush());
    written(printed, Exit::Clean)
}
