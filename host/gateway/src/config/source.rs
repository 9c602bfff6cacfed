//! What the policy platform is told: the configured policies, and the role policies with `[send]` as their settings.

use super::{Config, OnError, Policies, Policy};
use anyhow::{Context, Result};
use secmx_policy::{Limits, PolicySource};
use serde_json::json;
use std::fs;
use std::time::Duration;

impl Config {
    /// Everything that the policy platform has to load, the configured policies first and in order. Errors name the component that
    /// cannot be read.
    pub fn policy_sources(&self) -> Result<Vec<PolicySource>> {
        let mut sources = self.policy.iter().map(|policy| policy.source(&self.policies)).collect::<Result<Vec<_>>>()?;
        let best_effort =
            json!({ "secure_wait": seconds(self.send.secure_wait), "plaintext": if self.send.plaintext { "allow" } else { "deny" } });
        let sos = &self.send.sos;
        let secure_only = json!({ "accept": sos.accept, "floor": sos.floor, "max_wait": seconds(sos.max_wait) });
        for (name, settings) in [("bes", best_effort), ("sos", secure_only)] {
            sources.extend(PolicySource::builtin(name, settings.to_string()));
        }
        Ok(sources)
    }
}

impl Policy {
    fn source(&self, policies: &Policies) -> Result<PolicySource> {
        let component =
            fs::read(&self.component).with_context(|| format!("cannot read policy {} from {}", self.name, self.component.display()))?;
        let settings = serde_json::Value::Object(self.settings.clone()).to_string();
        let mut source = PolicySource::new(self.name.clone(), component, settings);
        let memory_bytes = usize::try_from(policies.memory_octets).unwrap_or(usize::MAX);
        source.limits = Limits { time: policies.time, memory_bytes, ..Limits::default() };
        source.on_error = match self.on_error {
            OnError::Defer => secmx_policy::OnError::Defer,
        };
        Ok(source)
    }
}

/// Whole seconds, as the role policies take them. A part of one is a whole one: only 0 is none.
fn seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_wait_is_not_no_wait() {
        assert_eq!(seconds(Duration::ZERO), 0);
        assert_eq!(seconds(Duration::from_millis(1)), 1);
        assert_eq!(seconds(Duration::from_secs(600)), 600);
    }

    /// The settings that reach the role policies are those of `[send]`.
    #[test]
    fn send_is_the_settings_of_the_role_policies() {
        let text =
            "[send]\nsecure_wait = \"90s\"\nplaintext = \"deny\"\nsos = { accept = \"srv-only\", floor = \"domain\", max_wait = \"1h\" }\n";
        let (config, _) = Config::parse("secmx.toml", text).expect("valid");
        let sources = config.policy_sources().expect("nothing to read");
        let settings: Vec<_> = sources.iter().map(|source| (source.name.as_str(), source.settings.as_str())).collect();
        let expected =
            [("bes", r#"{"plaintext":"deny","secure_wait":90}"#), ("sos", r#"{"accept":"srv-only","floor":"domain","max_wait":3600}"#)];
        let same = |(one, other): (&(&str, &str), &(&str, &str))| {
            let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
            one.0 == other.0 && value(one.1) == value(other.1)
        };
        assert!(settings.len() == 2 && settings.iter().zip(&expected).all(same), "{settings:?}");
    }
}
