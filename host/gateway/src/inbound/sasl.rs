//! SASL mechanisms as the server sees them: PLAIN (RFC 4616), LOGIN, SCRAM-SHA-256 (RFC 5802, RFC 7677).
//!
//! An exchange is a value; what it takes time for (Argon2id) runs beside the sessions, a few at a time.

use crate::users::{ScramSecret, Users};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secmx_core::smtp::server::AuthRefusal;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Passwords that are hashed at the same time: each takes a core and 19 MiB.
static HASHING: Semaphore = Semaphore::const_new(2);

/// What a step comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// The client must say more; this is what it is told.
    Challenge(Vec<u8>),
    /// The exchange is over: a user, or why not.
    Done(Result<String, AuthRefusal>),
}

/// An exchange under way: what the next message of the client is.
#[derive(Debug)]
pub(super) enum Exchange {
    Plain,
    LoginName,
    LoginPassword(String),
    ScramFirst,
    ScramFinal(Box<Scram>),
    /// The client hears that we know its secret too, and answers with nothing.
    ScramEnd(String),
    Over,
}

/// SCRAM between the client's two messages.
#[derive(Debug)]
pub(super) struct Scram {
    user: String,
    secret: ScramSecret,
    /// The channel binding that the second message must repeat.
    binding: String,
    nonce: String,
    /// `client-first-message-bare + "," + server-first-message`.
    exchange: String,
}

impl Exchange {
    /// An exchange of that mechanism, with its name. `None` for one that is not known.
    pub(super) fn begin(mechanism: &str) -> Option<(&'static str, Self)> {
        match mechanism {
            "PLAIN" => Some(("PLAIN", Self::Plain)),
            "LOGIN" => Some(("LOGIN", Self::LoginName)),
            "SCRAM-SHA-256" => Some(("SCRAM-SHA-256", Self::ScramFirst)),
            _ => None,
        }
    }

    /// What the client is told when it sent no initial response.
    pub(super) fn invitation(&self) -> Vec<u8> {
        match self {
            Self::LoginName => b"Username:".to_vec(),
            _ => Vec::new(),
        }
    }

    /// Takes a message of the client.
    pub(super) async fn step(&mut self, users: &Arc<Users>, message: Vec<u8>) -> Progress {
        let Ok(message) = String::from_utf8(message) else { return Progress::Done(Err(AuthRefusal::Malformed)) };
        match std::mem::replace(self, Self::Over) {
            Self::Plain => match plain(&message) {
                Some((user, password)) => Progress::Done(check(users, user, password).await),
                None => Progress::Done(Err(AuthRefusal::Malformed)),
            },
            Self::LoginName => {
                *self = Self::LoginPassword(message);
                Progress::Challenge(b"Password:".to_vec())
            }
            Self::LoginPassword(user) => Progress::Done(check(users, user, message).await),
            Self::ScramFirst => match Scram::first(users, &message, &nonce()) {
                Some((scram, challenge)) => {
                    *self = Self::ScramFinal(Box::new(scram));
                    Progress::Challenge(challenge.into_bytes())
                }
                None => Progress::Done(Err(AuthRefusal::Malformed)),
            },
            Self::ScramFinal(scram) => match scram.second(&message) {
                Ok(signature) => {
                    *self = Self::ScramEnd(scram.user);
                    Progress::Challenge(format!("v={signature}").into_bytes())
                }
                Err(refusal) => Progress::Done(Err(refusal)),
            },
            Self::ScramEnd(user) if message.is_empty() => Progress::Done(Ok(user)),
            Self::ScramEnd(_) | Self::Over => Progress::Done(Err(AuthRefusal::Malformed)),
        }
    }
}

/// RFC 4616, 2: `[authzid] NUL authcid NUL passwd`. Nobody acts for somebody else here.
fn plain(message: &str) -> Option<(String, String)> {
    let mut parts = message.split('\0');
    let (other, user, password) = (parts.next()?, parts.next()?, parts.next()?);
    let fits = parts.next().is_none() && !user.is_empty() && (other.is_empty() || other == user);
    fits.then(|| (user.to_owned(), password.to_owned()))
}

async fn check(users: &Arc<Users>, user: String, password: String) -> Result<String, AuthRefusal> {
    let Ok(_turn) = HASHING.acquire().await else { return Err(AuthRefusal::Fault) };
    let users = Arc::clone(users);
    let checked = tokio::task::spawn_blocking(move || users.verify(&user, &password).then_some(user)).await;
    checked.map_err(|_| AuthRefusal::Fault)?.ok_or(AuthRefusal::Credentials)
}

impl Scram {
    /// Reads `client-first-message`, and gives what the server says to it (RFC 5802, 7).
    fn first(users: &Users, message: &str, ours: &str) -> Option<(Self, String)> {
        let (flag, rest) = message.split_once(',')?;
        let (other, bare) = rest.split_once(',')?;
        // Channel binding is not offered: a client that demands it ("p=") cannot be served.
        let known_flag = matches!(flag, "n" | "y");
        let mut attributes = bare.split(',');
        let user = unescape(attributes.next()?.strip_prefix("n=")?)?;
        let theirs = attributes.next()?.strip_prefix("r=")?;
        let as_itself = other.is_empty() || other.strip_prefix("a=").and_then(unescape).is_some_and(|other| other == user);
        if !known_flag || !as_itself || theirs.is_empty() {
            return None;
        }
        let secret = users.scram(&user);
        let nonce = format!("{theirs}{ours}");
        let answer = format!("r={nonce},s={},i={}", STANDARD.encode(&secret.salt), secret.iterations);
        let scram =
            Self { user, secret, binding: STANDARD.encode(format!("{flag},{other},")), nonce, exchange: format!("{bare},{answer}") };
        Some((scram, answer))
    }

    /// Reads `client-final-message`, and gives our signature in base64.
    fn second(&self, message: &str) -> Result<String, AuthRefusal> {
        let (without_proof, proof) = message.rsplit_once(",p=").ok_or(AuthRefusal::Malformed)?;
        let mut attributes = without_proof.split(',');
        let binding = attributes.next().and_then(|attribute| attribute.strip_prefix("c=")).ok_or(AuthRefusal::Malformed)?;
        let nonce = attributes.next().and_then(|attribute| attribute.strip_prefix("r=")).ok_or(AuthRefusal::Malformed)?;
        let proof = STANDARD.decode(proof).map_err(|_| AuthRefusal::Malformed)?;
        let exchange = format!("{},{without_proof}", self.exchange);
        if binding == self.binding && nonce == self.nonce && self.secret.proves(&proof, exchange.as_bytes()) {
            Ok(STANDARD.encode(self.secret.signature(exchange.as_bytes())))
        } else {
            Err(AuthRefusal::Credentials)
        }
    }
}

/// RFC 5802, 5.1: `=2C` is a comma and `=3D` an equals sign; any other `=` is an error.
fn unescape(text: &str) -> Option<String> {
    let plain = text.replace("=2C", ",").replace("=3D", "\0");
    if plain.contains('=') || text.is_empty() { None } else { Some(plain.replace('\0', "=")) }
}

fn nonce() -> String {
    STANDARD.encode(rand::random::<[u8; 18]>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn users() -> Arc<Users> {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("users");
        let rfc = "user SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
        let line = crate::users::line("ana", "pencil").expect("a line");
        fs::write(&path, format!("{rfc}\n{line}\n")).expect("written");
        Arc::new(Users::load(&path).expect("valid"))
    }

    #[tokio::test]
    async fn plain_and_login_check_a_password() {
        let users = users();
        let credentials = Progress::Done(Err(AuthRefusal::Credentials));
        let malformed = Progress::Done(Err(AuthRefusal::Malformed));
        let ana = || Progress::Done(Ok("ana".into()));
        for (message, expected) in [
            ("\0ana\0pencil", &ana()),
            ("ana\0ana\0pencil", &ana()),
            ("boss\0ana\0pencil", &malformed),
            ("\0ana\0wrong", &credentials),
            ("\0nobody\0pencil", &credentials),
            ("ana pencil", &malformed),
            ("\0ana\0pencil\0", &malformed),
            ("", &malformed),
        ] {
            let (_, mut exchange) = Exchange::begin("PLAIN").expect("known");
            assert_eq!(&exchange.step(&users, message.into()).await, expected, "{message:?}");
            assert_eq!(exchange.step(&users, b"\0ana\0pencil".to_vec()).await, malformed, "an exchange that is over stays over");
        }
        let (_, mut login) = Exchange::begin("LOGIN").expect("known");
        assert_eq!(login.step(&users, b"ana".to_vec()).await, Progress::Challenge(b"Password:".to_vec()));
        assert_eq!(login.step(&users, b"pencil".to_vec()).await, ana());
        assert!(Exchange::begin("CRAM-MD5").is_none());
    }

    /// The exchange of RFC 7677, 3, with its nonces.
    #[test]
    fn scram_is_that_of_the_rfc() {
        let users = users();
        let (scram, challenge) =
            Scram::first(&users, "n,,n=user,r=rOprNGfwEbeRWgbNEkqO", "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0").expect("well formed");
        assert_eq!(challenge, "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
        let last = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        assert_eq!(scram.second(last).as_deref(), Ok("6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="));
        for (wrong, refusal) in [
            (last.replace("biws", "eSws"), AuthRefusal::Credentials),
            (last.replace("rOpr", "sOpr"), AuthRefusal::Credentials),
            (last.replace("dHzb", "AAAA"), AuthRefusal::Credentials),
            (last.replace(",p=", ",q="), AuthRefusal::Malformed),
            ("p=".to_owned(), AuthRefusal::Malformed),
        ] {
            assert_eq!(scram.second(&wrong), Err(refusal), "{wrong}");
        }
    }

    #[test]
    fn scram_reads_strictly_and_tells_nothing_of_users() {
        let users = users();
        for bad in [
            "",
            "n",
            "n,,",
            "n,,n=user",
            "p=tls-unique,,n=user,r=x",
            "n,a=boss,n=user,r=x",
            "n,,n=us=er,r=x",
            "n,,n=user,r=",
            "n,,m=1,n=user,r=x",
        ] {
            assert!(Scram::first(&users, bad, "s").is_none(), "{bad}");
        }
        let ask = |name: &str| Scram::first(&users, &format!("n,,n={name},r=c"), "s").expect("well formed");
        let ((nobody, first), (_, again)) = (ask("nobody"), ask("nobody"));
        assert_eq!(first, again, "who does not exist has one salt");
        assert_eq!(nobody.second(&format!("c=biws,r=cs,p={}", STANDARD.encode([0; 32]))), Err(AuthRefusal::Credentials));
    }
}
