//! `host`: the log, settings, lists, the time, counters.

use super::State;
use crate::bindings::secmx::policy::host::{Host, Severity};
use wasmtime::{Result, bail, format_err};

impl Host for State {
    fn log(&mut self, severity: Severity, text: String) -> Result<()> {
        let severity = match severity {
            Severity::Debug => "debug",
            Severity::Info => "info",
            Severity::Warn => "warn",
        };
        self.write(severity, text);
        Ok(())
    }

    fn settings(&mut self) -> Result<String> {
        Ok(self.identity.settings.clone())
    }

    fn in_list(&mut self, name: String, value: String) -> Result<bool> {
        self.note("host.in-list", || format!("{name}, {value}"));
        if !self.identity.granted.lists.iter().any(|list| *list == name || list == "*") {
            bail!("the list `{name}` is not granted: [[policy]] grant = {{ lists = [{name:?}] }} gives it");
        }
        let list = self
            .identity
            .named
            .lists
            .get(&name)
            .ok_or_else(|| format_err!("the configuration names no list `{name}`: [list.{name}] makes one"))?;
        Ok(list.contains(&value.to_lowercase()))
    }

    fn now(&mut self) -> Result<u64> {
        Ok(self.now)
    }

    fn count(&mut self, name: String, by: u64) -> Result<()> {
        let is_word =
            !name.is_empty() && name.len() <= 64 && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !is_word || (self.story.counts.len() >= 32 && !self.story.counts.contains_key(&name)) {
            bail!("a counter is a word of lower-case letters, digits and hyphens, and a question has at most 32");
        }
        let counter = self.story.counts.entry(name).or_default();
        *counter = counter.saturating_add(by);
        Ok(())
    }
}
