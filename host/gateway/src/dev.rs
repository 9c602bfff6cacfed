//! `secmx dev`: stub
use crate::cli::Exit;
/// stub
pub async fn run(_once: bool, _json: bool) -> anyhow::Result<Exit> { Ok(Exit::Yes) }
