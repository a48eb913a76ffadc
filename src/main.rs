//! The `tagwarden` program: reads the command line, prepares the process, hands over to the library.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _};
use tagwarden::cli::{self, Cli, Exit, Progress, Surroundings};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let command = Cli::command().bin_name(cli::shown_name(std::env::args_os().next().as_deref()));
    let parsed = command.try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are "errors" too, with code 0. A closed pipe is nobody's concern here.
            let _ = error.print();
            return if error.use_stderr() { Exit::Error.into() } else { Exit::Clean.into() };
        }
    };
    // Already installed is impossible here and harmless: it would be this same provider.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();

    let stdout = std::io::stdout();
    let color = cli.color.decide(stdout.is_terminal(), |name| std::env::var(name).ok());
    let width = terminal_size::terminal_size_of(&stdout).map(|(columns, _)| columns.0.into());
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    // None of them locked: the server's threads write their log to standard error, too.
    let mut surroundings = Surroundings {
        input: &mut std::io::stdin(),
        out: &mut std::io::BufWriter::new(stdout),
        err: &mut std::io::stderr(),
        color,
        width,
        progress: if std::io::stderr().is_terminal() { Progress::Shown } else { Progress::Hidden },
        now: i64::try_from(now.as_secs()).unwrap_or(i64::MAX),
    };
    cli::run(cli, &mut surroundings).into()
}
