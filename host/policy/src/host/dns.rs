//! `dns`: by grant, through the gateway's resolver.

use super::State;
use crate::bindings::secmx::policy::dns::{Answer, Failure, Host};
use crate::resolver::{Lookup, NoAnswer};
use wasmtime::{Result, bail};

/// Answers that are remembered.
const LOOKUPS_MAX: usize = 100;

impl Host for State {
    async fn query(&mut self, name: String, kind: String) -> Result<Result<Answer, Failure>> {
        self.note("dns.query", || format!("{name}, {kind}"));
        if !self.identity.granted.dns.iter().any(|granted| granted == "*" || granted.eq_ignore_ascii_case(&kind)) {
            bail!("looking up {kind} is not granted: [[policy]] grant = {{ dns = [{kind:?}] }} gives it");
        }
        let Some(resolver) = self.identity.named.resolver.as_ref().filter(|_| !self.forgets()) else {
            return Ok(Err(Failure::Unavailable));
        };
        let kind = kind.to_ascii_uppercase();
        let found = resolver.look_up(&name, &kind).await;
        if self.story.lookups.len() < LOOKUPS_MAX {
            self.story.lookups.push((format!("{name} {kind}"), found.clone()));
        }
        match found {
            Ok(Lookup { values, secure }) => Ok(Ok(Answer { values, secure })),
            Err(NoAnswer::None) => Ok(Err(Failure::None)),
            Err(NoAnswer::Unavailable) => Ok(Err(Failure::Unavailable)),
            Err(NoAnswer::Bogus) => Ok(Err(Failure::Bogus)),
            Err(NoAnswer::NotGiven(why)) => bail!("{why}"),
        }
    }
}
