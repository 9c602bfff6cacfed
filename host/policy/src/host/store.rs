//! `store`: by grant, see [`crate::store`].

use super::State;
use crate::bindings::secmx::policy::store::Host;
use crate::store::Shelf;
use wasmtime::{Result, format_err};

impl State {
    fn shelf(&self) -> Result<Shelf<'_>> {
        let most = self
            .identity
            .granted
            .store
            .ok_or_else(|| format_err!("the grant `store` is missing: [[policy]] grant = {{ store = \"1MiB\" }} gives it"))?;
        Ok(Shelf { book: &self.identity.book, policy: &self.identity.name, most, now: self.now })
    }
}

impl Host for State {
    fn get(&mut self, key: String) -> Result<Option<Vec<u8>>> {
        self.note("store.get", || key.clone());
        Ok(self.shelf()?.get(&self.writes, &key))
    }

    fn set(&mut self, key: String, value: Vec<u8>, ttl: Option<u32>) -> Result<Result<(), String>> {
        self.note("store.set", || key.clone());
        let mut writes = std::mem::take(&mut self.writes);
        let answer = self.shelf().map(|shelf| shelf.set(&mut writes, key, value, ttl));
        self.writes = writes;
        answer
    }

    fn increment(&mut self, key: String, by: i64, ttl: Option<u32>) -> Result<Result<i64, String>> {
        self.note("store.increment", || format!("{key}, {by}"));
        let mut writes = std::mem::take(&mut self.writes);
        let answer = self.shelf().map(|shelf| shelf.increment(&mut writes, key, by, ttl));
        self.writes = writes;
        answer
    }
}
