//! SASL mechanisms as the client sees them: SCRAM-SHA-256 (RFC 5802, RFC 7677), PLAIN (RFC 4616), LOGIN.

use crate::logins::Login;
use crate::users::prepared;
use aws_lc_rs::{constant_time, digest, hmac, pbkdf2};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secmx_core::smtp::client::{LoginStep, Prompt};
use std::num::NonZeroU32;
use std::sync::Arc;

/// Rounds of hashing that a host may ask of us: RFC 7677, 4 asks for 4,096 at least, and a host that lies must not keep a core busy.
const ITERATIONS: std::ops::RangeInclusive<u32> = 4096..=1_000_000;

/// One login at one host.
pub(super) struct Exchange {
    login: Arc<Login>,
    stage: Stage,
}

/// What comes next.
enum Stage {
    Begin,
    LoginName,
    LoginPassword,
    /// Our nonce, and `client-first-message-bare`.
    ScramFirst(String, String),
    /// The signature by which the host shows that it knows the secret too.
    ScramFinal(Vec<u8>),
    Done,
}

impl Exchange {
    pub(super) fn new(login: Arc<Login>) -> Self {
        Self { login, stage: Stage::Begin }
    }

    /// Whether our part is over: a host that says 235 before that has not proved what its mechanism asks of it.
    pub(super) fn is_done(&self) -> bool {
        matches!(self.stage, Stage::Done)
    }

    /// Takes one step. Hashing takes time: it runs beside the other deliveries.
    pub(super) async fn step(&mut self, prompt: Prompt) -> LoginStep {
        match (std::mem::replace(&mut self.stage, Stage::Done), prompt) {
            (Stage::Begin, Prompt::Begin(offered)) => self.begin(&offered, &STANDARD.encode(rand::random::<[u8; 18]>())),
            (Stage::LoginName, Prompt::Challenge(_)) => {
                self.stage = Stage::LoginPassword;
                LoginStep::Answer(self.login.user.clone().into_bytes())
            }
            (Stage::LoginPassword, Prompt::Challenge(_)) => LoginStep::Answer(self.login.password.clone().into_bytes()),
            (Stage::ScramFirst(nonce, bare), Prompt::Challenge(challenge)) => {
                let login = Arc::clone(&self.login);
                let proof = tokio::task::spawn_blocking(move || prove(&login.password, &nonce, &bare, &challenge)).await;
                match proof.ok().flatten() {
                    Some((answer, signature)) => {
                        self.stage = Stage::ScramFinal(signature);
                        LoginStep::Answer(answer.into_bytes())
                    }
                    None => LoginStep::GiveUp("its SCRAM challenge is not one".into()),
                }
            }
            (Stage::ScramFinal(signature), Prompt::Challenge(last)) => {
                let theirs = last.strip_prefix(b"v=").and_then(|text| STANDARD.decode(text).ok()).unwrap_or_default();
                match constant_time::verify_slices_are_equal(&theirs, &signature) {
                    Ok(()) => LoginStep::Answer(Vec::new()),
                    Err(_) => LoginStep::GiveUp("it does not know our secret, so it is not the host it should be".into()),
                }
            }
            _ => LoginStep::GiveUp("it asks for more than its mechanism has".into()),
        }
    }

    fn begin(&mut self, offered: &[String], nonce: &str) -> LoginStep {
        let offers = |name: &str| offered.iter().any(|offer| offer == name);
        let Login { user, password } = self.login.as_ref();
        if offers("SCRAM-SHA-256") {
            let bare = format!("n={},r={nonce}", user.replace('=', "=3D").replace(',', "=2C"));
            let initial = format!("n,,{bare}").into_bytes();
            self.stage = Stage::ScramFirst(nonce.to_owned(), bare);
            LoginStep::Begin { mechanism: "SCRAM-SHA-256".into(), initial: Some(initial) }
        } else if offers("PLAIN") {
            LoginStep::Begin { mechanism: "PLAIN".into(), initial: Some(format!("\0{user}\0{password}").into_bytes()) }
        } else if offers("LOGIN") {
            self.stage = Stage::LoginName;
            LoginStep::Begin { mechanism: "LOGIN".into(), initial: None }
        } else {
            LoginStep::GiveUp(format!("it offers AUTH with {} only, and none of them is known here", offered.join(", ")))
        }
    }
}

/// Reads `server-first-message`; gives `client-final-message`, and the signature that must come back (RFC 5802, 3 and 7).
fn prove(password: &str, nonce: &str, bare: &str, challenge: &[u8]) -> Option<(String, Vec<u8>)> {
    let challenge = std::str::from_utf8(challenge).ok()?;
    let mut attributes = challenge.split(',');
    let both = attributes.next()?.strip_prefix("r=")?;
    let salt = STANDARD.decode(attributes.next()?.strip_prefix("s=")?).ok()?;
    let iterations: u32 = attributes.next()?.strip_prefix("i=")?.parse().ok()?;
    if both.strip_prefix(nonce).is_none_or(str::is_empty) || !ITERATIONS.contains(&iterations) {
        return None;
    }
    let mut salted = [0; digest::SHA256_OUTPUT_LEN];
    let iterations = NonZeroU32::new(iterations)?;
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, &salt, prepared(password).as_bytes(), &mut salted);
    let sign = |key: &[u8], text: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text).as_ref().to_vec();
    let (client_key, server_key) = (sign(&salted, b"Client Key"), sign(&salted, b"Server Key"));
    // "biws" is "n,," in base64: no channel binding.
    let without_proof = format!("c=biws,r={both}");
    let exchange = format!("{bare},{challenge},{without_proof}");
    let signature = sign(digest::digest(&digest::SHA256, &client_key).as_ref(), exchange.as_bytes());
    let proof: Vec<u8> = client_key.iter().zip(&signature).map(|(one, other)| one ^ other).collect();
    Some((format!("{without_proof},p={}", STANDARD.encode(proof)), sign(&server_key, exchange.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(user: &str, password: &str) -> Exchange {
        Exchange::new(Arc::new(Login { user: user.into(), password: password.into() }))
    }

    fn begin(mechanism: &str) -> Prompt {
        Prompt::Begin(vec!["X-OAUTH".into(), mechanism.into()])
    }

    /// The exchange of RFC 7677, 3, with its nonces.
    #[tokio::test]
    async fn scram_is_that_of_the_rfc() {
        let first = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096".to_vec();
        let begun = || {
            let mut exchange = exchange("user", "pencil");
            let offered = ["SCRAM-SHA-256".to_owned(), "PLAIN".to_owned()];
            let initial = Some(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO".to_vec());
            let first = LoginStep::Begin { mechanism: "SCRAM-SHA-256".into(), initial };
            assert_eq!(exchange.begin(&offered, "rOprNGfwEbeRWgbNEkqO"), first);
            exchange
        };
        let mut scram = begun();
        let last = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        assert_eq!(scram.step(Prompt::Challenge(first.clone())).await, LoginStep::Answer(last.into()));
        assert!(!scram.is_done(), "the host has proved nothing yet");
        let signature = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=".to_vec();
        assert_eq!(scram.step(Prompt::Challenge(signature)).await, LoginStep::Answer(Vec::new()));
        assert!(scram.is_done());

        let mut lied_to = begun();
        lied_to.step(Prompt::Challenge(first.clone())).await;
        assert!(matches!(lied_to.step(Prompt::Challenge(b"v=AAAA".to_vec())).await, LoginStep::GiveUp(_)));
        let text = String::from_utf8(first).expect("ASCII");
        for bad in
            [text.replace("rOpr", "sOpr"), text.replace("4096", "4095"), text.replace("4096", "999999999"), "r=x".into(), String::new()]
        {
            assert!(matches!(begun().step(Prompt::Challenge(bad.clone().into())).await, LoginStep::GiveUp(_)), "{bad}");
        }
    }

    #[tokio::test]
    async fn plain_and_login_say_name_and_password() {
        let mut plain = exchange("ana", "pencil");
        let initial = Some(b"\0ana\0pencil".to_vec());
        assert_eq!(plain.step(begin("PLAIN")).await, LoginStep::Begin { mechanism: "PLAIN".into(), initial });
        assert!(plain.is_done() && matches!(plain.step(Prompt::Challenge(Vec::new())).await, LoginStep::GiveUp(_)));
        let mut login = exchange("ana", "pencil");
        assert_eq!(login.step(begin("LOGIN")).await, LoginStep::Begin { mechanism: "LOGIN".into(), initial: None });
        assert_eq!(login.step(Prompt::Challenge(b"Username:".to_vec())).await, LoginStep::Answer(b"ana".to_vec()));
        assert_eq!(login.step(Prompt::Challenge(b"Password:".to_vec())).await, LoginStep::Answer(b"pencil".to_vec()));
        assert!(matches!(exchange("ana", "pencil").step(begin("NTLM")).await, LoginStep::GiveUp(_)));
    }
}
