//! `tagwarden man`: manual pages, made from the command line's own definition.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, CommandFactory as _};

use super::{Cli, Exit, Surroundings, files, written};

/// The arguments of `man`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    tagwarden man | man -l -\n  \
    tagwarden man check | man -l -\n  \
    tagwarden man --all /usr/local/share/man/man1")]
pub struct ManArgs {
    /// The verb whose page is printed; without one that of the program
    #[arg(value_name = "VERB", num_args = 0..=2)]
    verb: Vec<String>,
    /// Write the pages of all verbs into this directory instead
    #[arg(long, value_name = "DIR", conflicts_with = "verb")]
    all: Option<PathBuf>,
}

/// Prints a page, or writes all of them.
pub(super) fn run(args: &ManArgs, surroundings: &mut Surroundings<'_>) -> anyhow::Result<Exit> {
    let mut program = Cli::command().disable_help_subcommand(true);
    // Names of pages are those of the verbs with what stands before them.
    program.build();
    if let Some(directory) = &args.all {
        let cannot = || format!("cannot write manual pages into {}", files::shown(directory));
        std::fs::create_dir_all(directory).with_context(cannot)?;
        clap_mangen::generate_to(program, directory).with_context(cannot)?;
        return Ok(Exit::Clean);
    }
    let mut command = &program;
    for verb in &args.verb {
        command = command.find_subcommand(verb).with_context(|| {
            let known: Vec<_> = command.get_subcommands().map(clap::Command::get_name).collect();
            format!("there is no verb '{verb}'; there are: {}", known.join(", "))
        })?;
    }
    let name = command.get_bin_name().unwrap_or("tagwarden").replace(' ', "-");
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).title(name).render(&mut page)?;
    let printed = surroundings.out.write_all(&page).and_then(|()| surroundings.out.flush());
    written(printed, Exit::Clean)
}
