//! Our MTA-STS policy as text (RFC 8461, 3.2), and the id under which DNS announces it.

use crate::config::{Config, StsMode};
use sha2::{Digest, Sha256};

/// A policy to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StsPolicy {
    /// What is served at `https://mta-sts.DOMAIN/.well-known/mta-sts.txt`.
    pub text: String,
    /// For the TXT record; another one for every other text. RFC 8461, 3.1: 1 to 32 letters and digits.
    pub id: String,
}

/// The policy that `config` asks for, the same for all of `domains`. `None` when none is published.
pub fn policy(config: &Config) -> Option<StsPolicy> {
    let mode = match config.publish.mta_sts {
        StsMode::None => return None,
        StsMode::Testing => "testing",
        StsMode::Enforce => "enforce",
    };
    let hosts: String = config.publish.mx.iter().map(|host| format!("mx: {host}\r\n")).collect();
    let text = format!("version: STSv1\r\nmode: {mode}\r\n{hosts}max_age: {}\r\n", config.publish.max_age.as_secs());
    let digest = Sha256::digest(text.as_bytes());
    let id = digest.iter().take(10).map(|octet| format!("{octet:02x}")).collect();
    Some(StsPolicy { text, id })
}

impl StsPolicy {
    /// Whether a request for that host is one for this policy.
    pub(super) fn is_for(&self, config: &Config, host: &str) -> bool {
        let name = host.split(':').next().unwrap_or_default().to_ascii_lowercase();
        name.strip_prefix("mta-sts.").is_some_and(|domain| config.domains.iter().any(|ours| ours.as_str() == domain))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_is_as_rfc_8461_writes_it() {
        let text = "hostname = \"mx.a.test\"\ndomains = [\"a.test\"]\ndeliver_to = \"smtp://127.0.0.1:9\"\n\
                    [publish]\nmta_sts = \"enforce\"\nmax_age = \"1d\"\n";
        let read = |text: &str| Config::parse("test.toml", text).expect("reads well").0;
        let config = read(text);
        let first = policy(&config).expect("published");
        assert_eq!(first.text, "version: STSv1\r\nmode: enforce\r\nmx: mx.a.test\r\nmax_age: 86400\r\n");
        assert!(first.id.len() <= 32 && first.id.chars().all(|c| c.is_ascii_alphanumeric()));
        assert_ne!(first.id, policy(&read(&text.replace("enforce", "testing"))).expect("published").id);
        assert!(
            first.is_for(&config, "MTA-STS.a.test:443") && !first.is_for(&config, "mta-sts.b.test") && !first.is_for(&config, "a.test")
        );
        assert_eq!(policy(&read(&text.replace("\"enforce\"", "\"none\""))), None);
    }
}
