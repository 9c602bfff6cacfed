//! {{NAME}}: keeps messages whose subject has one of the words in `settings.words`.

use secmx_guest::{Content, Message, Ruling, Session, Setup};
use secmx_guest::serde::Deserialize;

/// The settings, as `[config]` in policy.toml has them.
#[derive(Deserialize)]
#[serde(crate = "secmx_guest::serde")]
struct Settings {
    words: Vec<String>,
}

struct {{TYPE}};

secmx_guest::export!({{TYPE}}: setup, content);

impl Setup for {{TYPE}} {
    fn check() -> Result<(), String> {
        secmx_guest::settings::<Settings>().map(|_| ())
    }
}

impl Content for {{TYPE}} {
    fn inspect(_: &Session, message: &Message) -> Ruling {
        let settings: Settings = secmx_guest::settings().expect("checked when the policy was loaded");
        let subject = message.text("Subject").join(" ").to_lowercase();
        match settings.words.iter().find(|word| subject.contains(&word.to_lowercase())) {
            Some(word) => Ruling::quarantine("subject.word", &format!("the subject has {word:?}")),
            None => Ruling::Pass,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secmx_guest::testing::Gateway;

    #[test]
    fn a_word_is_seen() {
        let mut gateway = Gateway::new(r#"{ "words": ["secret"] }"#);
        let message = Message::plain("a Secret plan", "the text");
        let ruling = gateway.ask(|| {{TYPE}}::inspect(&Session::default(), &message));
        assert_eq!(ruling, Ruling::quarantine("subject.word", "the subject has \"secret\""));
    }
}
