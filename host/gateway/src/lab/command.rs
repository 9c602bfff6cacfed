//! Another sender: a command hands it a message, and the lab sees what reaches its hosts, and what comes back.

use super::Sent;
use anyhow::{Context, Result};
use secmx_lab::cases::Fate;
use secmx_lab::ground::{Ground, HOME, Scene};
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Commands that run at the same time.
const COMMANDS: usize = 8;

/// The command, and how long is waited.
pub struct Command {
    /// What the shell runs; `{case}`, `{role}` (`bes`, `sos`, `first`), `{to}` and `{from}` are replaced.
    pub template: String,
    /// How long mail may take from the end of the command to a host of the lab, or back.
    pub patience: Duration,
    places: Arc<Semaphore>,
}

impl Command {
    /// A sender that is told by this command.
    pub fn new(template: String, patience: Duration) -> Self {
        Self { template, patience, places: Arc::new(Semaphore::new(COMMANDS)) }
    }

    pub(super) async fn send(&self, ground: &Ground, scene: &Scene, user: &str) -> Result<Sent> {
        let (id, to) = (&scene.case.id, format!("{user}@{}", scene.domain));
        let from = format!("{user}-{id}@{HOME}");
        let line = self.template.replace("{case}", id).replace("{role}", user).replace("{to}", &to).replace("{from}", &from);
        let output = self.run(&line).await?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(if output.stderr.is_empty() { &output.stdout } else { &output.stderr }).into_owned();
            let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default().trim().to_owned();
            return Ok(Sent {
                fate: Fate::Returned(String::new()),
                by: None,
                detail: format!("the command ended with {}: {last}", output.status),
            });
        }
        let wait = async {
            loop {
                if let Some(arrival) = scene.arrival(user) {
                    let fate = if arrival.tls { Fate::Tls } else { Fate::Plain };
                    return Sent { fate, detail: arrival.host.clone(), by: Some(arrival.host) };
                }
                let returned = ground.home.messages().into_iter().find(|message| message.forward_paths.contains(&from));
                if let Some(returned) = returned {
                    let (code, detail) = notice(&String::from_utf8_lossy(&returned.content));
                    return Sent { fate: Fate::Returned(code), by: None, detail };
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let nothing = || Sent { fate: Fate::Waits(String::new()), by: None, detail: format!("nothing came of it in {:?}", self.patience) };
        Ok(tokio::time::timeout(self.patience, wait).await.unwrap_or_else(|_| nothing()))
    }

    async fn run(&self, line: &str) -> Result<Output> {
        let _place = self.places.acquire().await?;
        let running = tokio::process::Command::new("sh").arg("-c").arg(line).stdin(Stdio::null()).kill_on_drop(true).output();
        tokio::time::timeout(self.patience, running).await.with_context(|| format!("{line} does not end"))?.context("cannot run sh")
    }
}

/// Status and diagnosis of a delivery status notification (RFC 3464).
fn notice(content: &str) -> (String, String) {
    let field = |name: &str| content.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned());
    (field("Status:").unwrap_or_default(), field("Diagnostic-Code:").unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_says_its_status() {
        let content = "Subject: no\n\nReporting-MTA: dns; x\n\nFinal-Recipient: rfc822; a@b\nStatus: 5.7.5\nDiagnostic-Code: X-Postfix; not trusted\n";
        assert_eq!(notice(content), ("5.7.5".into(), "X-Postfix; not trusted".into()));
        assert_eq!(notice("hello"), (String::new(), String::new()));
    }
}
