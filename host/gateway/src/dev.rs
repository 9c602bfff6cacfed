//! `secmx dev`: a gateway with all four roles in a small world of its own, and an account of what each role did.
//!
//! Everything is real but the world: TLS, DNS, Wasm policies, the durable spool. Nothing leaves the loopback interface.

mod account;
mod stage;

use crate::cli::Exit;
use account::Account;
use anyhow::Result;
use stage::Stage;
use std::io::Write;
use std::time::Instant;

/// Plays the world. With `once` it ends after the account, else at Ctrl-C. Exit 1 when the account is not what the roles promise.
pub async fn run(once: bool, json: bool) -> Result<Exit> {
    let began = Instant::now();
    let stage = Stage::set().await?;
    let up = began.elapsed();
    let account = Account::of(&stage, up).await?;
    let text = if json { account.to_json()? } else { account.to_text() };
    std::io::stdout().lock().write_all(text.as_bytes())?;
    let good = account.is_as_promised();
    if !once {
        print!("{}", stage.directions());
        tokio::signal::ctrl_c().await?;
    }
    stage.strike().await;
    Ok(if good { Exit::Yes } else { Exit::No })
}
