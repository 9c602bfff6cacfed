//! `store`: the small memory of policies, by grant, one shelf a policy, each bounded.
//!
//! What a call writes is kept beside it ([`Writes`]) and put down only when the call has succeeded, like all effects.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Octets that an entry counts beside its key and value, so that many small ones are bounded too.
const ENTRY_OCTETS: u64 = 64;

/// The longest key, octets.
const KEY_OCTETS_MAX: usize = 256;

/// What all policies keep. Shared by generations, so that a reload forgets nothing.
#[derive(Debug, Default)]
pub struct Book {
    shelves: Mutex<Shelves>,
    version: AtomicU64,
}

/// Entries by policy and key.
type Shelves = BTreeMap<String, BTreeMap<String, Entry>>;

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    value: Vec<u8>,
    /// When it ends, seconds since 1970-01-01T00:00:00Z; `None` never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<u64>,
}

/// What one call wrote and has not put down, in order of keys.
#[derive(Debug, Default)]
pub(crate) struct Writes(BTreeMap<String, Write>);

#[derive(Debug)]
enum Write {
    Set(Entry),
    Add { by: i64, until: Option<u64> },
}

impl Book {
    /// What [`Book::to_json`] wrote. Errors in one sentence.
    pub fn from_json(json: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(json)
            .map(|shelves| Self { shelves: Mutex::new(shelves), version: AtomicU64::new(0) })
            .map_err(|error| error.to_string())
    }

    /// All of it, to be written to disk.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(&*self.shelves()).unwrap_or_default()
    }

    /// Another number when something was put down since.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    fn shelves(&self) -> MutexGuard<'_, Shelves> {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn entry(&self, policy: &str, key: &str, now: u64) -> Option<Entry> {
        self.shelves().get(policy)?.get(key).filter(|entry| entry.until.is_none_or(|until| now < until)).cloned()
    }

    /// Octets that the policy's entries count now; what has ended is forgotten.
    fn octets(&self, policy: &str, now: u64) -> u64 {
        let mut shelves = self.shelves();
        let Some(shelf) = shelves.get_mut(policy) else { return 0 };
        shelf.retain(|_, entry| entry.until.is_none_or(|until| now < until));
        shelf.iter().map(|(key, entry)| weight(key, entry.value.len())).sum()
    }

    /// Puts down what a call wrote.
    pub(crate) fn put_down(&self, policy: &str, writes: Writes, now: u64) {
        if writes.0.is_empty() {
            return;
        }
        let mut shelves = self.shelves();
        let shelf = shelves.entry(policy.to_owned()).or_default();
        for (key, write) in writes.0 {
            let entry = match write {
                Write::Set(entry) => entry,
                // Two calls that count side by side both count.
                Write::Add { by, until } => {
                    let before = shelf.get(&key).filter(|entry| entry.until.is_none_or(|until| now < until));
                    let until = before.map_or(until, |entry| entry.until);
                    let sum = before.and_then(|entry| number(&entry.value)).unwrap_or(0).saturating_add(by);
                    Entry { value: sum.to_string().into_bytes(), until }
                }
            };
            shelf.insert(key, entry);
        }
        self.version.fetch_add(1, Ordering::Release);
    }
}

fn weight(key: &str, value: usize) -> u64 {
    key.len() as u64 + value as u64 + ENTRY_OCTETS
}

fn number(value: &[u8]) -> Option<i64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// The shelf of one policy during one call.
pub(crate) struct Shelf<'a> {
    pub(crate) book: &'a Book,
    pub(crate) policy: &'a str,
    /// Octets that the policy was granted.
    pub(crate) most: u64,
    /// Seconds since 1970-01-01T00:00:00Z.
    pub(crate) now: u64,
}

impl Shelf<'_> {
    pub(crate) fn get(&self, writes: &Writes, key: &str) -> Option<Vec<u8>> {
        match writes.0.get(key) {
            Some(Write::Set(entry)) => Some(entry.value.clone()),
            Some(Write::Add { by, .. }) => Some(self.sum(key).unwrap_or(0).saturating_add(*by).to_string().into_bytes()),
            None => self.book.entry(self.policy, key, self.now).map(|entry| entry.value),
        }
    }

    pub(crate) fn set(&self, writes: &mut Writes, key: String, value: Vec<u8>, ttl: Option<u32>) -> Result<(), String> {
        self.fits(writes, &key, value.len())?;
        writes.0.insert(key, Write::Set(Entry { value, until: self.until(ttl) }));
        Ok(())
    }

    /// Adds to a number and gives the sum. An entry keeps the end it began with.
    pub(crate) fn increment(&self, writes: &mut Writes, key: String, by: i64, ttl: Option<u32>) -> Result<i64, String> {
        let before = self.get(writes, &key);
        if before.as_ref().is_some_and(|value| number(value).is_none()) {
            return Err(format!("`{key}` is not a number"));
        }
        self.fits(writes, &key, 20)?;
        let until = self.until(ttl);
        match writes.0.get_mut(&key) {
            Some(Write::Add { by: sum, .. }) => *sum = sum.saturating_add(by),
            Some(Write::Set(entry)) => entry.value = number(&entry.value).unwrap_or(0).saturating_add(by).to_string().into_bytes(),
            None => drop(writes.0.insert(key, Write::Add { by, until })),
        }
        Ok(before.as_deref().and_then(number).unwrap_or(0).saturating_add(by))
    }

    fn sum(&self, key: &str) -> Option<i64> {
        self.book.entry(self.policy, key, self.now).and_then(|entry| number(&entry.value))
    }

    fn until(&self, ttl: Option<u32>) -> Option<u64> {
        ttl.map(|seconds| self.now.saturating_add(seconds.into()))
    }

    fn fits(&self, writes: &Writes, key: &str, octets: usize) -> Result<(), String> {
        if key.is_empty() || key.len() > KEY_OCTETS_MAX {
            return Err(format!("a key has 1 to {KEY_OCTETS_MAX} octets"));
        }
        let pending: u64 =
            writes.0.iter().map(|(key, write)| weight(key, if let Write::Set(entry) = write { entry.value.len() } else { 20 })).sum();
        let used = self.book.octets(self.policy, self.now).saturating_add(pending);
        match used.saturating_add(weight(key, octets)) {
            sum if sum <= self.most => Ok(()),
            _ => Err(format!("the store is full: {used} of {} octets are used", self.most)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shelf(book: &Book, now: u64) -> Shelf<'_> {
        Shelf { book, policy: "p", most: 400, now }
    }

    #[test]
    fn what_a_call_wrote_is_there_for_it_and_then_for_the_next() {
        let (book, mut writes) = (Book::default(), Writes::default());
        assert_eq!(shelf(&book, 0).increment(&mut writes, "n".into(), 2, Some(10)), Ok(2));
        assert_eq!(shelf(&book, 0).increment(&mut writes, "n".into(), 3, None), Ok(5));
        assert_eq!(shelf(&book, 0).get(&writes, "n"), Some(b"5".to_vec()));
        assert_eq!(shelf(&book, 0).get(&Writes::default(), "n"), None, "another call does not see it yet");
        book.put_down("p", writes, 0);
        let again = Book::from_json(&book.to_json()).expect("what was written reads");
        for (now, expected) in [(9, Some(b"5".to_vec())), (10, None)] {
            assert_eq!(shelf(&again, now).get(&Writes::default(), "n"), expected, "{now}");
        }
        let other = Shelf { policy: "q", ..shelf(&book, 0) };
        assert_eq!(other.get(&Writes::default(), "n"), None, "each policy has its own");
    }

    #[test]
    fn it_is_bounded() {
        let (book, mut writes) = (Book::default(), Writes::default());
        assert_eq!(shelf(&book, 0).set(&mut writes, "a".into(), vec![0; 300], None), Ok(()));
        assert_eq!(
            shelf(&book, 0).set(&mut writes, "b".into(), vec![0; 100], None),
            Err("the store is full: 365 of 400 octets are used".into())
        );
        book.put_down("p", writes, 0);
        let mut writes = Writes::default();
        assert!(shelf(&book, 0).set(&mut writes, "b".into(), vec![0; 100], None).is_err());
        assert!(shelf(&book, 0).set(&mut writes, "k".repeat(257), Vec::new(), None).is_err());
        assert_eq!(shelf(&book, 0).increment(&mut writes, "a".into(), 1, None), Err("`a` is not a number".into()));
    }
}
