//! The count of a day, kept over restarts: what is there is written within some seconds, and once more at the end.

use crate::kept;
use jiff::civil::Date;
use secmx_core::mail::Domain;
use secmx_core::secmx::tls_rpt::{Day, Detail, Policy, Tally};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long what was counted may stay in memory only.
const SAVED_EVERY: Duration = Duration::from_secs(5);

/// Policies of one domain and day that are told apart.
const POLICIES_MAX: usize = 20;

/// What was counted, by day (UTC) and domain.
#[derive(Debug)]
pub struct Books {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    sheets: BTreeMap<(Date, Domain), Sheet>,
    changed: bool,
}

/// One domain on one day.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sheet {
    /// Sessions, by policy.
    pub day: Day,
    /// Places that have this report.
    pub told: BTreeSet<String>,
}

/// How a sheet is kept.
#[derive(Serialize, Deserialize)]
struct Row {
    date: Date,
    domain: Domain,
    policies: Vec<(Policy, Tally)>,
    told: BTreeSet<String>,
}

impl Books {
    /// Reads them; nothing was counted where there is no file, or one that cannot be read, which is then moved aside and said.
    pub fn open(state: &Path) -> (Self, Option<String>) {
        let path = state.join("tls-rpt.json");
        let (rows, trouble) = kept::open::<Vec<Row>>(&path);
        let sheets = rows.into_iter().map(sheet).collect();
        (Self { path, state: Mutex::new(State { sheets, changed: false }) }, trouble)
    }

    /// Counts one session of `today`. Beyond `domains_max` domains of a day no new one is counted.
    pub fn count(&self, today: Date, policy: Policy, result: Result<(), Detail>, domains_max: usize) {
        let mut state = self.lock();
        let State { sheets, changed } = &mut *state;
        let key = (today, policy.policy_domain.clone());
        if !sheets.contains_key(&key) && sheets.keys().rev().take_while(|(date, _)| *date == today).count() >= domains_max {
            return;
        }
        let sheet = sheets.entry(key).or_default();
        if sheet.day.len() < POLICIES_MAX || sheet.day.contains_key(&policy) {
            sheet.day.entry(policy).or_default().add(result);
            *changed = true;
        }
    }

    /// What there is of days before `today`; of all days without one.
    pub fn sheets(&self, before: Option<Date>) -> Vec<(Date, Domain)> {
        let sheets = &self.lock().sheets;
        sheets.keys().filter(|(date, _)| before.is_none_or(|today| *date < today)).cloned().collect()
    }

    /// One of them.
    pub fn sheet(&self, key: &(Date, Domain)) -> Option<Sheet> {
        self.lock().sheets.get(key).cloned()
    }

    /// A place has the report; on disk before this returns, so that a restart does not send it twice.
    pub fn told(&self, key: &(Date, Domain), place: String) {
        {
            let mut state = self.lock();
            let State { sheets, changed } = &mut *state;
            if let Some(sheet) = sheets.get_mut(key) {
                *changed |= sheet.told.insert(place);
            }
        }
        self.save();
    }

    /// Nobody else wants to hear of it.
    pub fn close(&self, key: &(Date, Domain)) {
        let mut state = self.lock();
        let State { sheets, changed } = &mut *state;
        *changed |= sheets.remove(key).is_some();
    }

    /// Writes it whenever it has changed, and once more at the end. A write that fails is tried again.
    pub async fn keep(&self, stop: CancellationToken) {
        kept::saving(SAVED_EVERY, stop, || self.save()).await;
    }

    fn save(&self) {
        let rows: Vec<Row> = {
            let mut state = self.lock();
            if !std::mem::take(&mut state.changed) {
                return;
            }
            state.sheets.iter().map(|(key, sheet)| row(key, sheet)).collect()
        };
        if serde_json::to_vec(&rows).map_err(Into::into).and_then(|json| kept::write(&self.path, &json)).is_err() {
            self.lock().changed = true;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn sheet(row: Row) -> ((Date, Domain), Sheet) {
    ((row.date, row.domain), Sheet { day: row.policies.into_iter().collect(), told: row.told })
}

fn row((date, domain): &(Date, Domain), sheet: &Sheet) -> Row {
    let policies = sheet.day.iter().map(|(policy, tally)| (policy.clone(), tally.clone())).collect();
    Row { date: *date, domain: domain.clone(), policies, told: sheet.told.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secmx_core::secmx::tls_rpt::{PolicyType, ResultType};

    fn policy(domain: &str) -> Policy {
        let policy_domain = Domain::parse(domain).expect("valid");
        Policy { policy_type: PolicyType::NoPolicyFound, policy_string: Vec::new(), policy_domain, mx_host: Vec::new() }
    }

    #[test]
    fn counts_stay_over_a_restart_and_domains_are_bounded() {
        let folder = tempfile::tempdir().expect("a directory");
        let (books, trouble) = Books::open(folder.path());
        assert_eq!((books.sheets(None).len(), trouble), (0, None));
        let (first, second) = (Date::constant(2026, 11, 23), Date::constant(2026, 11, 24));
        books.count(first, policy("a.test"), Ok(()), 2);
        books.count(first, policy("a.test"), Err(Detail::new(ResultType::TlsaInvalid, "no match")), 2);
        books.count(second, policy("b.test"), Ok(()), 2);
        books.count(second, policy("c.test"), Ok(()), 2);
        books.count(second, policy("d.test"), Ok(()), 2);
        let key = (first, Domain::parse("a.test").expect("valid"));
        books.told(&key, "mailto:x@a.test".into());
        let (again, _) = Books::open(folder.path());
        assert_eq!(again.sheets(None).len(), 3, "the fourth is too many");
        assert_eq!(again.sheets(Some(second)), std::slice::from_ref(&key));
        let sheet = again.sheet(&key).expect("kept");
        let tally = &sheet.day[&policy("a.test")];
        assert_eq!((tally.successful, tally.failed, sheet.told.len()), (1, 1, 1));
        again.close(&key);
        again.save();
        assert_eq!(Books::open(folder.path()).0.sheets(Some(second)), []);
        std::fs::write(folder.path().join("tls-rpt.json"), "{").expect("written");
        let (fresh, trouble) = Books::open(folder.path());
        assert!(fresh.sheets(None).is_empty() && trouble.is_some_and(|text| text.contains("damaged")));
    }
}
