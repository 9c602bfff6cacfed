//! What the policy platform is told: the configured policies, and the role policies with `[send]` as their settings.

use super::{Breaker, Component, Config, Direction, ListenerRole, Mode, OnError, Outward, Pattern, Policies, Policy, When};
use crate::edit::Edits;
use crate::signing::Trust;
use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use secmx_core::mail::{Domain, Mailbox};
use secmx_policy::manifest::{Manifest, embed};
use secmx_policy::{Condition, Limits, Named, Occasion, PolicySource, Resolver, Tolerance};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

impl Config {
    /// Everything that the policy platform has to load, the configured policies first and in order, without those that are off. Errors
    /// name the component that cannot be read, or that nobody vouches for. `resolver` answers the DNS questions of policies.
    pub fn policy_sources(&self, resolver: Option<Arc<dyn Resolver>>) -> Result<Vec<PolicySource>> {
        let named = Arc::new(Named { editor: Some(Arc::new(Edits)), ..self.named(resolver) });
        let asked = self.policy.iter().filter(|policy| policy.mode != Mode::Off);
        let trust = Trust::read(&self.policies.keys, &self.policies.lock)?;
        let mut sources = asked.map(|policy| self.source(policy, &named, &trust)).collect::<Result<Vec<_>>>()?;
        let best_effort =
            json!({ "secure_wait": seconds(self.send.secure_wait), "plaintext": if self.send.plaintext { "allow" } else { "deny" } });
        let sos = &self.send.sos;
        let secure_only = json!({ "accept": sos.accept, "floor": sos.floor, "max_wait": seconds(sos.max_wait) });
        for (name, settings) in [("bes", best_effort), ("sos", secure_only)] {
            sources.extend(PolicySource::builtin(name, settings.to_string()));
        }
        Ok(sources)
    }

    /// What policies may refer to.
    pub(crate) fn named(&self, resolver: Option<Arc<dyn Resolver>>) -> Named {
        let lists = self.list.iter().map(|(name, list)| (name.clone(), list.members.clone())).collect();
        Named { lists, journals: self.journal.keys().cloned().collect(), resolver, ..Named::default() }
    }

    fn source(&self, policy: &Policy, named: &Arc<Named>, trust: &Trust) -> Result<PolicySource> {
        let Policy { name, component, grant, .. } = policy;
        let octets = component.octets().with_context(|| format!("cannot read policy {name} from {component}"))?;
        if let Component::File(path) = component {
            trust.check(name, path, &octets, &grant.grant())?;
        }
        self.source_with(policy, octets, named)
    }

    /// What is loaded for an entry, with this component, for which nobody has to vouch.
    pub(crate) fn source_with(&self, policy: &Policy, octets: Vec<u8>, named: &Arc<Named>) -> Result<PolicySource> {
        let Policy { name, settings, grant, .. } = policy;
        if let Some(missing) = grant.lists.iter().find(|list| !self.list.contains_key(*list)) {
            bail!("policy {name}: grant.lists names {missing:?}, and there is no [list.{missing}]");
        }
        let limits = limits(&self.policies, policy, embed::manifest(&octets).ok().flatten().as_ref());
        let mut source = PolicySource::new(name.clone(), octets, Value::Object(settings.clone()).to_string());
        source.limits = limits;
        source.named = Arc::clone(named);
        source.on_error = match policy.on_error {
            OnError::Defer => secmx_policy::OnError::Defer,
            OnError::Quarantine => secmx_policy::OnError::Quarantine,
            OnError::Reject => secmx_policy::OnError::Reject,
            OnError::Accept => secmx_policy::OnError::Accept,
        };
        let Breaker { faults, within, wait, wait_max } = policy.breaker;
        source.tolerance = Tolerance { faults, within, wait, wait_max };
        source.mode = if policy.mode == Mode::Shadow { secmx_policy::Mode::Shadow } else { secmx_policy::Mode::Enforce };
        source.grant = Some(grant.grant());
        source.when = (policy.when != When::default()).then(|| self.condition(&policy.when) as Arc<dyn Condition>);
        Ok(source)
    }

    fn condition(&self, when: &When) -> Arc<Clause> {
        let submit = self.receive.iter().filter(|(_, listener)| listener.role == ListenerRole::Submit);
        Arc::new(Clause {
            when: when.clone(),
            domains: self.domains.clone(),
            submit: submit.map(|(name, _)| name.clone()).collect(),
            send: self.send.clone(),
        })
    }
}

/// The administrator's word, else the author's within what is usual, else what is usual.
fn limits(usual: &Policies, policy: &Policy, manifest: Option<&Manifest>) -> Limits {
    let wanted = manifest.map(|manifest| manifest.limits).unwrap_or_default();
    let octets = |octets: u64| usize::try_from(octets).unwrap_or(usize::MAX);
    let own = &policy.limits;
    let default = Limits::default();
    Limits {
        time: own.time.or(wanted.time.map(|time| time.min(usual.time))).unwrap_or(usual.time),
        wall: own.wall.unwrap_or(default.wall),
        memory_bytes: octets(
            own.memory_octets.or(wanted.memory.map(|memory| memory.min(usual.memory_octets))).unwrap_or(usual.memory_octets),
        ),
        log_bytes: own.log_octets.map_or(default.log_bytes, octets),
        hand_over_bytes: own.hand_over_octets.map_or(default.hand_over_bytes, octets),
        effects: own.effects.unwrap_or(default.effects),
        handles: own.handles.unwrap_or(default.handles),
        max_uses: own.max_uses.or(wanted.max_uses.map(|uses| uses.min(usual.max_uses))).unwrap_or(default.max_uses),
    }
}

/// `[policy.when]` with what it must know of the rest of the configuration.
#[derive(Debug)]
struct Clause {
    when: When,
    domains: Vec<Domain>,
    submit: Vec<String>,
    send: Outward,
}

impl Condition for Clause {
    fn holds(&self, occasion: &Occasion<'_>) -> bool {
        let When { direction, listeners, from, to, role } = &self.when;
        let ours = |mailbox: &Mailbox| mailbox.domain().name().is_some_and(|domain| self.domains.contains(domain));
        let any = |patterns: &[Pattern], mailbox: &Mailbox| patterns.iter().any(|pattern| pattern.names(mailbox));
        let known = occasion.recipients;
        let listener = occasion.listener.is_none_or(|name| listeners.is_empty() || listeners.iter().any(|one| one == name));
        let sender = occasion.reverse_path.is_none_or(|path| match path {
            Some(mailbox) => from.is_empty() || any(from, mailbox),
            None => from.is_empty() || from.contains(&Pattern::Everyone),
        });
        let recipient = to.is_empty() || known.is_empty() || known.iter().any(|mailbox| any(to, mailbox));
        let way = direction.is_none_or(|direction| match known {
            [] => occasion.listener.is_none_or(|name| self.submit.iter().any(|one| one == name) == (direction == Direction::Out)),
            known => known.iter().any(|mailbox| ours(mailbox) == (direction == Direction::In)),
        });
        let plays = role.is_none_or(|role| match occasion.role {
            Some(known) => known == role,
            None => {
                let now = Timestamp::now();
                let mut outside = known.iter().filter(|mailbox| !ours(mailbox));
                known.is_empty() || outside.any(|mailbox| self.send.rule_for(mailbox, now).demand.role == role)
            }
        });
        listener && sender && recipient && way && plays
    }
}

/// Whole seconds, as the role policies take them. A part of one is a whole one: only 0 is none.
fn seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use secmx_core::role::SenderRole;

    /// One row for each word of `when`: what is known, and whether the policy is asked.
    #[test]
    fn a_policy_is_asked_when_its_conditions_hold() {
        let base = "domains = [\"agency.test\"]\ndeliver_to = \"smtp://10.0.0.1:25\"\n[receive.public]\nlisten = \"192.0.2.1:25\"\nrole = \"BER\"\n\
                    [receive.inside]\nlisten = \"192.0.2.2:25\"\nrole = \"submit\"\n\
                    [[send.rule]]\nname = \"gov\"\nto = \"*.govt.test\"\nrole = \"SOS\"\n";
        let mailbox = |text: &str| Mailbox::parse(text.as_bytes(), false).expect("valid");
        let (ours, gov, else_) = (mailbox("ana@agency.test"), mailbox("bo@tax.govt.test"), mailbox("c@partner.test"));
        let (from_ours, from_null) = (Some(ours.clone()), None);
        let content = |listener, from, to| Occasion { listener: Some(listener), reverse_path: Some(from), recipients: to, role: None };
        let greet = |listener| Occasion { listener: Some(listener), ..Occasion::default() };
        let to_gov = [gov.clone()];
        let to_ours = [ours.clone()];
        let to_both = [ours, else_];
        let leaving = |role| Occasion { listener: None, reverse_path: Some(&from_ours), recipients: &to_gov, role: Some(role) };
        for (when, occasion, expected) in [
            ("direction = \"out\"", greet("inside"), true),
            ("direction = \"out\"", greet("public"), false),
            ("direction = \"out\"", content("public", &from_null, &to_ours), false),
            ("direction = \"out\"", content("inside", &from_ours, &to_both), true),
            ("direction = \"in\"", content("inside", &from_ours, &to_both), true),
            ("direction = \"in\"", leaving(SenderRole::SecureOnly), false),
            ("listener = \"public\"", content("inside", &from_ours, &to_gov), false),
            ("listener = [\"inside\", \"public\"]", content("inside", &from_ours, &to_gov), true),
            ("listener = \"public\"", leaving(SenderRole::BestEffort), true),
            ("from = \"agency.test\"", content("inside", &from_ours, &to_gov), true),
            ("from = \"agency.test\"", content("inside", &from_null, &to_gov), false),
            ("from = \"*\"", content("inside", &from_null, &to_gov), true),
            ("to = \"*.govt.test\"", content("inside", &from_ours, &to_both), false),
            ("to = \"*.govt.test\"", content("inside", &from_ours, &to_gov), true),
            ("to = \"*.govt.test\"", greet("inside"), true),
            ("role = \"SOS\"", content("inside", &from_ours, &to_gov), true),
            ("role = \"SOS\"", content("inside", &from_ours, &to_both), false),
            ("role = \"SOS\"", leaving(SenderRole::BestEffort), false),
            ("direction = \"out\", role = \"SOS\"", leaving(SenderRole::SecureOnly), true),
        ] {
            let text = format!("{base}[[policy]]\nname = \"x\"\nuse = \"/dev/null\"\nwhen = {{ {when} }}\n");
            let (config, _) = Config::parse("secmx.toml", &text).expect("valid");
            assert_eq!(config.condition(&config.policy[0].when).holds(&occasion), expected, "{when} {occasion:?}");
        }
    }

    #[test]
    fn the_administrator_has_the_last_word_on_limits() {
        let manifest = "[policy]\nname = \"x\"\nversion = \"0.1.0\"\ninterfaces = [\"content\"]\n[limits]\ntime = \"20ms\"\nmemory = \"64MiB\"\nmax_uses = 7\n";
        let manifest = Manifest::parse(manifest).expect("valid");
        let policy = |limits: &str| {
            let text = format!("[[policy]]\nname = \"x\"\nuse = \"/dev/null\"\n{limits}");
            Config::parse("secmx.toml", &text).expect("valid").0
        };
        let config = policy("");
        let taken = limits(&config.policies, &config.policy[0], Some(&manifest));
        assert_eq!(taken.max_uses, 7);
        assert_eq!((taken.time, taken.memory_bytes), (Duration::from_millis(20), 16 << 20), "an author asks for less, never for more");
        let config = policy("limits = { time = \"1s\", memory = \"64MiB\", max_uses = 2 }\nbreaker = { faults = 9 }\n");
        let taken = limits(&config.policies, &config.policy[0], Some(&manifest));
        let tolerance = config.policy_sources(None).expect("a null device is a component so far")[0].tolerance;
        assert_eq!((taken.max_uses, tolerance), (2, Tolerance { faults: 9, ..Tolerance::default() }));
        assert_eq!((taken.time, taken.memory_bytes), (Duration::from_secs(1), 64 << 20));
        assert_eq!(policy("breaker = { faults = 0 }\n").policy[0].breaker.faults, 0, "it never opens");
    }

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
        let sources = config.policy_sources(None).expect("nothing to read");
        let settings: Vec<_> = sources.iter().map(|source| (source.name.as_str(), source.settings.as_str())).collect();
        let expected =
            [("bes", r#"{"plaintext":"deny","secure_wait":90}"#), ("sos", r#"{"accept":"srv-only","floor":"domain","max_wait":3600}"#)];
        let same = |(one, other): (&(&str, &str), &(&str, &str))| {
            let value = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
            one.0 == other.0 && value(one.1) == value(other.1)
        };
        assert!(settings.len() == 2 && settings.iter().zip(&expected).all(same), "{settings:?}");
    }
}
