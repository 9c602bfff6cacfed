//! Mail to the listed domains goes out secure only (SOS), or not at all.

use secmx_guest::serde::Deserialize;
use secmx_guest::{Destination, Ruling, Sender, SenderRole, Setup, settings};

#[derive(Deserialize)]
#[serde(crate = "secmx_guest::serde", deny_unknown_fields)]
struct Settings {
    /// `health.test` is that domain, `.health.test` every domain below it.
    domains: Vec<String>,
}

struct ByDomain;

secmx_guest::export!(ByDomain: setup, sender);

impl Setup for ByDomain {
    fn check() -> Result<(), String> {
        match settings::<Settings>()?.domains.as_slice() {
            [] => Err("`domains` names no domain".into()),
            _ => Ok(()),
        }
    }
}

impl Sender for ByDomain {
    fn route(destination: &Destination) -> Ruling {
        let settings: Settings = settings().expect("they were checked");
        let domain = destination.domain();
        let listed = |entry: &String| domain == *entry || (entry.starts_with('.') && domain.ends_with(entry.as_str()));
        if settings.domains.iter().any(listed) {
            destination.set_role(SenderRole::SecureOnly);
        }
        Ruling::Pass
    }
}
