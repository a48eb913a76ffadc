//! Not yet.
pub fn run() -> anyhow::Result<()> { Ok(()) }
