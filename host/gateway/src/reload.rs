//! How another generation comes into force: built aside, and only when all of it is good does a pointer move. What is not good changes
//! nothing, and says why.

use crate::certs::Closet;
use crate::config::{Config, Finding};
use crate::decisions::Decisions;
use crate::generation::{Current, Generation};
use crate::log::Log;
use crate::tls::Revocations;
use anyhow::{Result, anyhow};
use jiff::Timestamp;
use secmx_core::report::Event;
use secmx_policy::{PolicyInfo, Runtime};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Puts generations in force, one after the other.
pub struct Reloader {
    current: Current,
    runtime: Runtime,
    revocations: Arc<Revocations>,
    decisions: Decisions,
    log: Log,
    /// Where the configuration came from; `None` when there was no file.
    path: Option<PathBuf>,
    /// Reloads come one after the other.
    turn: Mutex<()>,
    standing: Mutex<Standing>,
    moved: Notify,
}

/// Which generation is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// 1 for the one that the gateway began with.
    pub number: u64,
    /// Since when.
    pub since: Timestamp,
    /// Why the last reload changed nothing; absent when it did its work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// A reload that did its work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// The generation in force now.
    pub generation: u64,
    /// How it differs from the last one, in words; empty when it does not.
    pub changes: Vec<String>,
}

impl Reloaded {
    /// One sentence.
    pub fn in_words(&self) -> String {
        let changes = if self.changes.is_empty() { "nothing changed".to_owned() } else { self.changes.join("; ") };
        format!("generation {} is in force: {changes}", self.generation)
    }
}

/// Why everything stays as it was.
#[derive(Debug)]
pub enum Refused {
    /// The configuration does not read well.
    Findings(Vec<Finding>),
    /// This key cannot be taken over by a running gateway.
    NeedsRestart(&'static str),
    /// It reads well, but something it names cannot be used: a policy, a certificate.
    Unusable(String),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nothing was changed: ")?;
        match self {
            Self::Findings(findings) => f.write_str(&findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")),
            Self::NeedsRestart(key) => write!(f, "`{key}` changed: that needs a restart"),
            Self::Unusable(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Refused {}

impl Reloader {
    pub(crate) fn new(
        current: Current,
        runtime: Runtime,
        revocations: Arc<Revocations>,
        decisions: Decisions,
        log: Log,
        path: Option<PathBuf>,
        now: Timestamp,
    ) -> Self {
        Self {
            current,
            runtime,
            revocations,
            decisions,
            log,
            path,
            turn: Mutex::default(),
            standing: Mutex::new(Standing { number: 1, since: now, refused: None }),
            moved: Notify::new(),
        }
    }

    /// Returns when another generation has come into force since the last return. One may wait.
    pub(crate) async fn moved(&self) {
        self.moved.notified().await;
    }

    /// Which generation is in force.
    pub fn standing(&self) -> Standing {
        self.kept().clone()
    }

    /// Reads the configuration again, and everything that it names. Blocks for a while.
    pub fn from_file(&self) -> Result<Reloaded, Refused> {
        match Config::load(self.path.as_deref()) {
            Ok((config, _)) => self.put(config),
            Err(findings) => Err(self.refuse(Refused::Findings(findings))),
        }
    }

    /// Reads again what the configuration in force names: policies, certificates, lists. Blocks for a while.
    pub fn again(&self) -> Result<Reloaded, Refused> {
        let _turn = self.turn();
        match self.current.load().config.clone().with_lists_read_again() {
            Ok(config) => self.put_in_turn(config),
            Err(error) => Err(self.refuse(Refused::Unusable(format!("{error:#}")))),
        }
    }

    /// Puts this configuration in force. Open transactions finish with what they began with. Blocks for a while.
    pub fn put(&self, config: Config) -> Result<Reloaded, Refused> {
        let _turn = self.turn();
        self.put_in_turn(config)
    }

    fn put_in_turn(&self, config: Config) -> Result<Reloaded, Refused> {
        let old = self.current.load_full();
        if let Some(key) = old.config.needs_restart(&config) {
            return Err(self.refuse(Refused::NeedsRestart(key)));
        }
        let new = match self.build(config) {
            Ok(new) => Arc::new(new),
            Err(error) => return Err(self.refuse(Refused::Unusable(format!("{error:#}")))),
        };
        let changes = changes(&old, &new);
        self.decisions.enable(new.config.decisions.enabled);
        self.current.store(new);
        let generation = {
            let mut standing = self.kept();
            *standing = Standing { number: standing.number + 1, since: Timestamp::now(), refused: None };
            standing.number
        };
        self.moved.notify_one();
        let reloaded = Reloaded { generation, changes };
        self.log.write(&Event::Reloaded { ok: true, detail: reloaded.in_words() });
        Ok(reloaded)
    }

    /// A certificate that cannot be read is a reason to keep everything: a running gateway has something better than a stand-in to show.
    fn build(&self, config: Config) -> Result<Generation> {
        let outfit = Closet::default().gather(&config)?;
        outfit.troubles.first().map_or(Ok(()), |text| Err(anyhow!("{text}")))?;
        Generation::build(config, &self.runtime, &outfit.identities, &self.revocations)
    }

    fn refuse(&self, why: Refused) -> Refused {
        self.log.write(&Event::Reloaded { ok: false, detail: why.to_string() });
        self.kept().refused = Some(why.to_string());
        why
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn kept(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is different now: tables of the configuration, certificates, policies.
fn changes(old: &Generation, new: &Generation) -> Vec<String> {
    let mut changes: Vec<String> = old.config.differences(&new.config).into_iter().map(|key| format!("`{key}`")).collect();
    let (before, after) = (old.policies.policies(), new.policies.policies());
    let named = |policies: &[PolicyInfo], name: &str| policies.iter().find(|policy| policy.name == name).cloned();
    for policy in &after {
        match named(&before, &policy.name) {
            None => changes.push(format!("policy {} is new: {}", policy.name, component(policy))),
            Some(old) if old.sha256 != policy.sha256 => {
                changes.push(format!("policy {}: {} instead of {}", policy.name, component(policy), component(&old)));
            }
            Some(_) => {}
        }
    }
    changes.extend(before.iter().filter(|old| named(&after, &old.name).is_none()).map(|old| format!("policy {} is gone", old.name)));
    if old.certificates != new.certificates {
        changes.push("certificates".into());
    }
    changes
}

/// Version and beginning of the digest.
fn component(policy: &PolicyInfo) -> String {
    let version = policy.version.as_deref().map(|version| format!("{version} ")).unwrap_or_default();
    format!("{version}({})", policy.sha256.get(..12).unwrap_or(&policy.sha256))
}
