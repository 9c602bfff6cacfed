//! Refuses clients by their address.

use secmx_guest::host::count;
use secmx_guest::serde::Deserialize;
use secmx_guest::{Receiver, Ruling, Session, Setup, settings};

#[derive(Deserialize)]
#[serde(crate = "secmx_guest::serde", deny_unknown_fields)]
struct Settings {
    /// `192.0.2.7` is that address; `192.0.2.` and `2001:db8:` are every address that begins so.
    refuse: Vec<String>,
    #[serde(default = "text")]
    text: String,
}

fn text() -> String {
    "mail from your address is not taken here".into()
}

struct Greeting;

secmx_guest::export!(Greeting: setup, receiver);

impl Setup for Greeting {
    fn check() -> Result<(), String> {
        settings::<Settings>().map(drop)
    }
}

impl Receiver for Greeting {
    fn greet(session: &Session) -> Ruling {
        let Settings { refuse, text } = settings().expect("they were checked");
        let address = session.client_address();
        if !refuse.iter().any(|entry| address == *entry || (entry.ends_with(['.', ':']) && address.starts_with(entry.as_str()))) {
            return Ruling::Pass;
        }
        count("refused", 1);
        Ruling::reject(554, (5, 7, 1), &text, "greeting.address")
    }
}
