//! {{NAME}}: mail to domains that have one of the words in `settings.words` goes securely or not at all.

use secmx_guest::{Destination, Ruling, Sender, SenderRole, Setup};
use secmx_guest::serde::Deserialize;

/// The settings, as `[config]` in policy.toml has them.
#[derive(Deserialize)]
#[serde(crate = "secmx_guest::serde")]
struct Settings {
    words: Vec<String>,
}

struct {{TYPE}};

secmx_guest::export!({{TYPE}}: setup, sender);

impl Setup for {{TYPE}} {
    fn check() -> Result<(), String> {
        secmx_guest::settings::<Settings>().map(|_| ())
    }
}

impl Sender for {{TYPE}} {
    fn route(destination: &Destination) -> Ruling {
        let settings: Settings = secmx_guest::settings().expect("checked when the policy was loaded");
        let domain = destination.domain();
        if settings.words.iter().any(|word| domain.contains(&word.to_lowercase())) {
            destination.set_role(SenderRole::SecureOnly);
        }
        Ruling::Pass
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secmx_guest::testing::Gateway;

    #[test]
    fn a_word_is_seen() {
        let mut gateway = Gateway::new(r#"{ "words": ["secret"] }"#);
        let destination = Destination { domain: "secret.example".into(), ..Destination::default() };
        gateway.ask(|| {{TYPE}}::route(&destination));
        assert_eq!(destination.calls.lines(), ["set_role(SenderRole::SecureOnly)"]);
    }
}
