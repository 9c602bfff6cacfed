//! Who may send from anywhere: users with their secrets, out of a file of lines `name secret …`.
//!
//! A secret is an Argon2id hash in PHC form (for PLAIN and LOGIN), `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey` (RFC 5803, RFC
//! 7677), or `cert-sha256:` and the hash of a client certificate in hexadecimal. No password is kept, and no answer tells an unknown
//! user from a wrong password.

use anyhow::{Context, Result, bail};
use argon2::Argon2;
use argon2::password_hash::{PasswordHash, PasswordHashString, PasswordHasher, PasswordVerifier, SaltString};
use aws_lc_rs::{constant_time, digest, hmac, pbkdf2};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::collections::HashMap;
use std::num::NonZeroU32;
use std::path::Path;
use std::{fmt, fs};

/// Iterations of a new SCRAM secret; RFC 7677, 4 asks for 4,096 at least.
const ITERATIONS: NonZeroU32 = NonZeroU32::new(16_384).expect("it is not 0");

/// Octets of a salt.
const SALT_OCTETS: usize = 16;

/// The users of a gateway.
pub struct Users {
    users: HashMap<String, User>,
    /// Hash that a password of nobody is held against, so that it takes as long.
    decoy: PasswordHashString,
    /// Makes the salts of users who do not exist, the same one for a name each time.
    decoy_salts: hmac::Key,
}

#[derive(Debug, Default, PartialEq)]
struct User {
    password: Option<PasswordHashString>,
    scram: Option<ScramSecret>,
    certificates: Vec<Vec<u8>>,
}

/// What a server keeps for SCRAM-SHA-256 (RFC 5802, 3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ScramSecret {
    pub(crate) iterations: NonZeroU32,
    pub(crate) salt: Vec<u8>,
    pub(crate) stored_key: Vec<u8>,
    pub(crate) server_key: Vec<u8>,
}

impl Users {
    /// Reads the file. Errors name the line.
    pub fn load(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| path.display().to_string())
    }

    fn parse(text: &str) -> Result<Self> {
        let mut users = HashMap::new();
        let lines = text.lines().enumerate().map(|(index, line)| (index.saturating_add(1), line.trim()));
        for (number, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
            let (name, user) = User::parse(line).with_context(|| format!("line {number}"))?;
            if users.insert(name.clone(), user).is_some() {
                bail!("line {number}: user {name} is there already");
            }
        }
        let decoy = hash_of("")?;
        Ok(Self { users, decoy, decoy_salts: hmac::Key::new(hmac::HMAC_SHA256, &rand::random::<[u8; 32]>()) })
    }

    /// Whether this is the user's password. Takes tens of milliseconds, whether there is such a user or not.
    pub(crate) fn verify(&self, name: &str, password: &str) -> bool {
        let known = self.users.get(name).and_then(|user| user.password.as_ref());
        let hash = known.unwrap_or(&self.decoy).password_hash();
        let prepared = prepared(password);
        Argon2::default().verify_password(prepared.as_bytes(), &hash).is_ok() && known.is_some()
    }

    /// What the exchange with this name works with; for a user who does not exist, or has no such secret, something that no proof fits.
    pub(crate) fn scram(&self, name: &str) -> ScramSecret {
        let known = self.users.get(name).and_then(|user| user.scram.clone());
        known.unwrap_or_else(|| {
            let salt = hmac::sign(&self.decoy_salts, name.as_bytes()).as_ref().iter().copied().take(SALT_OCTETS).collect();
            let random = || rand::random::<[u8; 32]>().to_vec();
            ScramSecret { iterations: ITERATIONS, salt, stored_key: random(), server_key: random() }
        })
    }

    /// Whose certificate has this SHA-256.
    pub(crate) fn of_certificate(&self, sha256: &[u8]) -> Option<&str> {
        let owns = |user: &User| user.certificates.iter().any(|known| known == sha256);
        self.users.iter().find(|(_, user)| owns(user)).map(|(name, _)| name.as_str())
    }

    /// Whether any user is known by a certificate.
    pub(crate) fn have_certificates(&self) -> bool {
        self.users.values().any(|user| !user.certificates.is_empty())
    }

    /// Mechanisms that at least one user can use, in the order in which they are offered.
    pub(crate) fn mechanisms(&self) -> Vec<String> {
        let has = |test: fn(&User) -> bool| self.users.values().any(test);
        let offers = [
            ("SCRAM-SHA-256", has(|user| user.scram.is_some())),
            ("PLAIN", has(|user| user.password.is_some())),
            ("LOGIN", has(|user| user.password.is_some())),
        ];
        offers.iter().filter(|(_, offered)| *offered).map(|(name, _)| (*name).to_owned()).collect()
    }
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} users", self.users.len())
    }
}

impl User {
    fn parse(line: &str) -> Result<(String, Self)> {
        let mut words = line.split_whitespace();
        let name = words.next().unwrap_or_default().to_owned();
        let mut user = Self::default();
        for secret in words {
            if let Some(text) = secret.strip_prefix("SCRAM-SHA-256$") {
                user.scram = Some(
                    ScramSecret::parse(text).context("a SCRAM-SHA-256 secret is `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey`")?,
                );
            } else if let Some(hex) = secret.strip_prefix("cert-sha256:") {
                user.certificates.push(from_hex(hex).context("`cert-sha256:` is followed by 64 hexadecimal digits")?);
            } else if secret.starts_with("$argon2id$") {
                let hash = PasswordHash::new(secret).map_err(|error| anyhow::anyhow!("the Argon2id hash cannot be read: {error}"))?;
                if hash.hash.is_none() {
                    bail!("the Argon2id hash cannot be read: it ends before the hash");
                }
                user.password = Some(hash.serialize());
            } else {
                bail!(
                    "user {name}: a secret begins with `$argon2id$`, `SCRAM-SHA-256$` or `cert-sha256:`; `secmx user {name}` writes the line"
                );
            }
        }
        if user == Self::default() {
            bail!("user {name} has no secret; `secmx user {name}` writes the line");
        }
        Ok((name, user))
    }
}

impl ScramSecret {
    fn parse(text: &str) -> Option<Self> {
        let (head, keys) = text.split_once('$')?;
        let ((iterations, salt), (stored, server)) = (head.split_once(':')?, keys.split_once(':')?);
        let octets = |text: &str| STANDARD.decode(text).ok();
        let key = |text: &str| octets(text).filter(|key| key.len() == digest::SHA256_OUTPUT_LEN);
        Some(Self { iterations: iterations.parse().ok()?, salt: octets(salt)?, stored_key: key(stored)?, server_key: key(server)? })
    }

    /// RFC 5802, 3: `SaltedPassword := Hi(Normalize(password), salt, i)`, and the keys that follow from it.
    fn of(password: &str, salt: Vec<u8>, iterations: NonZeroU32) -> Self {
        let mut salted = [0; digest::SHA256_OUTPUT_LEN];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, &salt, prepared(password).as_bytes(), &mut salted);
        let salted = hmac::Key::new(hmac::HMAC_SHA256, &salted);
        let client_key = hmac::sign(&salted, b"Client Key");
        let stored_key = digest::digest(&digest::SHA256, client_key.as_ref()).as_ref().to_vec();
        Self { iterations, salt, stored_key, server_key: hmac::sign(&salted, b"Server Key").as_ref().to_vec() }
    }

    /// Whether the proof is one that only the owner of the password can make: `H(ClientProof XOR HMAC(StoredKey, AuthMessage))` is the
    /// stored key (RFC 5802, 3).
    pub(crate) fn proves(&self, proof: &[u8], exchange: &[u8]) -> bool {
        let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &self.stored_key), exchange);
        let client_key: Vec<u8> = proof.iter().zip(signature.as_ref()).map(|(one, other)| one ^ other).collect();
        let hashed = digest::digest(&digest::SHA256, &client_key);
        proof.len() == digest::SHA256_OUTPUT_LEN && constant_time::verify_slices_are_equal(hashed.as_ref(), &self.stored_key).is_ok()
    }

    /// Proves to the client that we know its secret: `HMAC(ServerKey, AuthMessage)`.
    pub(crate) fn signature(&self, exchange: &[u8]) -> Vec<u8> {
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &self.server_key), exchange).as_ref().to_vec()
    }
}

impl fmt::Display for ScramSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [salt, stored, server] = [&self.salt, &self.stored_key, &self.server_key].map(|octets| STANDARD.encode(octets));
        write!(f, "SCRAM-SHA-256${}:{salt}${stored}:{server}", self.iterations)
    }
}

/// A line of the file for a user with this password. Errors when the name or the password cannot be used.
pub fn line(name: &str, password: &str) -> Result<String> {
    if name.is_empty() || name.chars().any(|c| c.is_whitespace() || c.is_control()) || name.starts_with('#') {
        bail!("a user's name has no spaces and does not begin with `#`");
    }
    if password.is_empty() {
        bail!("the password is empty");
    }
    let scram = ScramSecret::of(password, rand::random::<[u8; SALT_OCTETS]>().to_vec(), ITERATIONS);
    Ok(format!("{name} {} {scram}", hash_of(password)?))
}

fn hash_of(password: &str) -> Result<PasswordHashString> {
    let fault = |error| anyhow::anyhow!("Argon2id: {error}");
    let salt = SaltString::encode_b64(&rand::random::<[u8; SALT_OCTETS]>()).map_err(fault)?;
    Ok(Argon2::default().hash_password(prepared(password).as_bytes(), &salt).map_err(fault)?.serialize())
}

/// RFC 4013, or the text itself where that refuses it: what was hashed is what is compared.
pub(crate) fn prepared(password: &str) -> String {
    stringprep::saslprep(password).map_or_else(|_| password.to_owned(), Into::into)
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u32> = text.chars().filter(|c| *c != ':').map(|c| c.to_digit(16)).collect::<Option<_>>()?;
    let octets = digits.chunks_exact(2).map(|pair| u8::try_from(pair.iter().fold(0, |sum, digit| sum * 16 + digit)).ok());
    octets.collect::<Option<Vec<u8>>>().filter(|octets| octets.len() == digest::SHA256_OUTPUT_LEN && digits.len().is_multiple_of(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_back() {
        let line = line("ana", "correct horse").expect("a line");
        let users = Users::parse(&format!("# people\n\n{line}\nbo cert-sha256:{}\n", "AB".repeat(32))).expect("valid");
        assert!(users.verify("ana", "correct horse"));
        assert!(!users.verify("ana", "wrong") && !users.verify("bo", "") && !users.verify("nobody", ""));
        assert_eq!(users.of_certificate(&[0xab; 32]), Some("bo"));
        assert_eq!(users.mechanisms(), ["SCRAM-SHA-256", "PLAIN", "LOGIN"]);
        assert!(!line.contains("correct"));
    }

    #[test]
    fn what_is_wrong_with_a_line_is_said() {
        for (text, word) in [
            ("ana", "no secret"),
            ("ana hunter2", "begins with"),
            ("ana $argon2id$nonsense", "cannot be read"),
            ("ana SCRAM-SHA-256$0:AA==$AA==:AA==", "iterations"),
            ("ana cert-sha256:12", "64 hexadecimal"),
            ("ana cert-sha256:zz", "64 hexadecimal"),
        ] {
            let error = format!("{:#}", Users::parse(text).expect_err(text));
            assert!(error.contains("line 1") && error.contains(word), "{error}");
        }
        assert!(line("a b", "x").is_err() && line("ana", "").is_err());
    }

    /// The example of RFC 7677, 3.
    #[test]
    fn scram_keys_are_those_of_the_rfc() {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").expect("base64");
        let secret = ScramSecret::of("pencil", salt, NonZeroU32::new(4096).expect("not 0"));
        let exchange = "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,\
            c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let proof = STANDARD.decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=").expect("base64");
        assert!(secret.proves(&proof, exchange.as_bytes()));
        assert!(!secret.proves(&proof, b"another exchange") && !secret.proves(&proof[1..], exchange.as_bytes()));
        assert_eq!(STANDARD.encode(secret.signature(exchange.as_bytes())), "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        let text = secret.to_string();
        assert_eq!(ScramSecret::parse(text.trim_start_matches("SCRAM-SHA-256$")), Some(secret));
    }
}
