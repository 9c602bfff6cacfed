//! {{NAME}}: refuses clients whose EHLO name has one of the words in `settings.words`.

use secmx_guest::{Receiver, Ruling, Session, Setup, Address, Parameter};
use secmx_guest::serde::Deserialize;

/// The settings, as `[config]` in policy.toml has them.
#[derive(Deserialize)]
#[serde(crate = "secmx_guest::serde")]
struct Settings {
    words: Vec<String>,
}

struct {{TYPE}};

secmx_guest::export!({{TYPE}}: setup, receiver);

impl Setup for {{TYPE}} {
    fn check() -> Result<(), String> {
        secmx_guest::settings::<Settings>().map(|_| ())
    }
}

impl Receiver for {{TYPE}} {
    fn mail(session: &Session, _: Option<Address>, _: &[Parameter]) -> Ruling {
        let settings: Settings = secmx_guest::settings().expect("checked when the policy was loaded");
        let hello = session.hello().unwrap_or_default().to_lowercase();
        match settings.words.iter().find(|word| hello.contains(&word.to_lowercase())) {
            Some(_) => Ruling::reject(550, (5, 7, 1), "Not welcome here", "hello.word"),
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
        let session = Session { hello: Some("secret.example".into()), ..Session::default() };
        let ruling = gateway.ask(|| {{TYPE}}::mail(&session, None, &[]));
        assert_eq!(ruling, Ruling::reject(550, (5, 7, 1), "Not welcome here", "hello.word"));
    }
}
