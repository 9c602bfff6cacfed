//! Standing orders of operators that are about destinations: mail for a suspended one waits until the order ends. They outlive a restart,
//! and each has an end, so that none is forgotten.

use crate::config::Pattern;
use crate::kept;
use anyhow::{Context, Result};
use jiff::Timestamp;
use secmx_core::mail::MailDomain;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// One suspended destination, or all below a domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspension {
    /// `health.example`, `*.govt.nz` or `*`, as in `send.rule.to`.
    pub to: String,
    /// When it ends by itself.
    pub until: Timestamp,
    /// Why, in the operator's words.
    pub reason: String,
    /// Who ordered it.
    pub by: String,
    /// When.
    pub since: Timestamp,
}

impl Suspension {
    /// Whether mail for that domain waits because of it.
    pub fn covers(&self, domain: &MailDomain) -> bool {
        Pattern::parse(&self.to).is_some_and(|pattern| pattern.covers(domain))
    }
}

/// All of them, and the file that keeps them.
pub struct Orders {
    path: PathBuf,
    list: Mutex<Vec<Suspension>>,
    changed: Notify,
}

impl Orders {
    /// Reads those below `state`; none where there is no file. Errors name it.
    pub fn open(state: &Path) -> Result<Self> {
        let path = state.join("orders.json");
        let list = match fs::read(&path) {
            Ok(json) => serde_json::from_slice(&json)
                .with_context(|| format!("{} is damaged; move it away and no destination is suspended", path.display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        Ok(Self { path, list: Mutex::new(list), changed: Notify::new() })
    }

    /// Those that hold at `now`.
    pub fn standing(&self, now: Timestamp) -> Vec<Suspension> {
        self.list().iter().filter(|order| order.until > now).cloned().collect()
    }

    /// Whether mail for that domain waits at `now`.
    pub fn suspends(&self, domain: &MailDomain, now: Timestamp) -> bool {
        self.list().iter().any(|order| order.until > now && order.covers(domain))
    }

    /// When the next one ends.
    pub fn next_end(&self, now: Timestamp) -> Option<Timestamp> {
        self.list().iter().map(|order| order.until).filter(|until| *until > now).min()
    }

    /// Gives an order; one for the same destinations gives way to it. It holds, and is on disk, when this returns.
    pub fn suspend(&self, order: Suspension) -> Result<()> {
        self.edit(order.since, |list| {
            list.retain(|old| old.to != order.to);
            list.push(order);
        })
    }

    /// Ends the order that was given in these words. Gives it; `None` when there is none.
    pub fn resume(&self, to: &str, now: Timestamp) -> Result<Option<Suspension>> {
        let Some(order) = self.standing(now).into_iter().find(|order| order.to == to) else { return Ok(None) };
        self.edit(now, |list| list.retain(|old| old.to != to))?;
        Ok(Some(order))
    }

    /// Returns when an order was given or ended since the last return. One scheduler waits.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    fn edit(&self, now: Timestamp, edit: impl FnOnce(&mut Vec<Suspension>)) -> Result<()> {
        let mut list = self.list();
        let mut new: Vec<Suspension> = list.iter().filter(|order| order.until > now).cloned().collect();
        edit(&mut new);
        kept::write(&self.path, &serde_json::to_vec_pretty(&new)?).with_context(|| format!("cannot write {}", self.path.display()))?;
        *list = new;
        drop(list);
        self.changed.notify_one();
        Ok(())
    }

    fn list(&self) -> MutexGuard<'_, Vec<Suspension>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    fn order(to: &str, until: i64) -> Suspension {
        Suspension { to: to.into(), until: at(until), reason: "their maintenance".into(), by: "ana".into(), since: at(0) }
    }

    #[test]
    fn orders_hold_until_they_end_and_outlive_a_restart() {
        let state = tempfile::tempdir().expect("a directory");
        let domain = |name: &str| MailDomain::parse(name).expect("valid");
        let orders = Orders::open(state.path()).expect("new");
        orders.suspend(order("partner.test", 100)).expect("written");
        orders.suspend(order("*.govt.test", 50)).expect("written");
        let orders = Orders::open(state.path()).expect("again");
        assert!(orders.suspends(&domain("partner.test"), at(99)) && !orders.suspends(&domain("partner.test"), at(100)));
        assert!(orders.suspends(&domain("health.govt.test"), at(49)) && !orders.suspends(&domain("govt.test"), at(49)));
        assert_eq!(orders.next_end(at(10)), Some(at(50)));
        orders.suspend(order("partner.test", 200)).expect("written");
        assert_eq!(orders.standing(at(60)), [order("partner.test", 200)], "the newer order for the same destination holds");
        assert_eq!(orders.resume("partner.test", at(60)).expect("written"), Some(order("partner.test", 200)));
        assert_eq!(orders.resume("partner.test", at(60)).expect("nothing to write"), None);
        assert!(!orders.suspends(&domain("partner.test"), at(60)));
    }
}
