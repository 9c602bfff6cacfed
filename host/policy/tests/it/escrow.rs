//! Escrow: what openssl encrypts to the operator's key is seen by the policies, whatever the way; to others it stays opaque.

use crate::opaque::{is_there, message, run};
use crate::shipped::{code, inspect};
use secmx_policy::{Bounds, Escrow, Lens, PolicySet, PolicySource, shipped};
use std::fs;
use std::path::Path;

/// `openssl cms -encrypt` with these words, whether to us, and whether it opens.
const WAYS: &[(&str, bool)] = &[
    ("-aes256 -outform DER rsa.pem", true),
    ("-aes128 -outform DER rsa.pem", true),
    ("-aes192 -outform DER rsa.pem", true),
    ("-aes256 -stream -outform DER rsa.pem", true),
    ("-aes256 -outform PEM rsa.pem", true),
    ("-aes256 -keyid -outform DER rsa.pem", true),
    ("-aes-128-gcm -outform DER rsa.pem", true),
    ("-aes-256-gcm -stream -outform DER rsa.pem", true),
    ("-aes256 -outform DER -recip rsa.pem -keyopt rsa_padding_mode:oaep", true),
    ("-aes256 -outform DER -recip rsa.pem -keyopt rsa_padding_mode:oaep -keyopt rsa_oaep_md:sha256 -keyopt rsa_mgf1_md:sha256", true),
    ("-aes256 -outform DER -recip ec.pem", true),
    ("-aes128 -outform DER -recip ec.pem -keyopt ecdh_kdf_md:sha256", true),
    ("-aes256 -outform DER -recip ec384.pem -keyopt ecdh_kdf_md:sha384", true),
    ("-aes256 -outform DER other.pem rsa.pem", true),
    ("-aes256 -outform DER other.pem", false),
    ("-des3 -outform DER rsa.pem", false),
];

const KEYS: &str = "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=a -keyout rsa.key -out rsa.pem -days 9 && \
    openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=b -keyout other.key -out other.pem -days 9 && \
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=c -keyout ec.key -out ec.pem -days 9 && \
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-384 -nodes -subj /CN=d -keyout ec384.key -out ec384.pem -days 9";

/// DER of a PEM file.
fn der(path: &Path) -> Vec<u8> {
    let text = fs::read_to_string(path).expect("PEM");
    let body: String = text.lines().filter(|line| !line.starts_with("-----")).collect();
    base64::Engine::decode(&base64::engine::general_purpose::STANDARD, body).expect("base64")
}

/// Opens at most this many parts of a message.
fn set(folder: &Path, openings: usize) -> PolicySet {
    let mut escrow = Escrow::default();
    for name in ["rsa", "ec", "ec384"] {
        escrow.add(&der(&folder.join(format!("{name}.pem"))), &der(&folder.join(format!("{name}.key")))).expect("a key");
    }
    let policy = |name: &str| PolicySource::new(name, shipped(name).expect("shipped"), "{}");
    let (set, _) = crate::set(vec![policy("opaque-content"), policy("no-secrets")]);
    set.through(Lens::new(Bounds { openings, ..Bounds::default() }, None, escrow))
}

#[tokio::test]
async fn what_is_encrypted_to_a_key_of_escrow_is_seen() {
    if !is_there("openssl") {
        eprintln!("skipped: openssl is not installed");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    assert!(run(folder.path(), KEYS), "openssl makes keys");
    fs::write(folder.path().join("entity.eml"), "Content-Type: text/plain\r\n\r\npay NL91ABNA0417164300\r\n").expect("written");
    let set = set(folder.path(), 20);
    let mut wrong = Vec::new();
    for (words, opens) in WAYS {
        assert!(run(folder.path(), &format!("openssl cms -encrypt -binary -in entity.eml -out out {words}")), "{words}");
        let octets = fs::read(folder.path().join("out")).expect("made");
        let answer = inspect(&set, message(&octets)).await;
        let expected = if *opens { "secrets.iban" } else { "opaque.smime" };
        if code(&answer) != expected {
            wrong.push(format!("{words}: {}", code(&answer)));
        }
        assert!(!format!("{:?}", answer.effects.evidence).contains("4300"), "what was encrypted is not in the evidence");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What is beyond the bound stays opaque, and is never taken for clear.
#[tokio::test]
async fn as_many_parts_are_opened_as_the_bound_says() {
    if !is_there("openssl") {
        eprintln!("skipped: openssl is not installed");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    assert!(run(folder.path(), KEYS), "openssl makes keys");
    fs::write(folder.path().join("entity.eml"), "Content-Type: text/plain\r\n\r\nnothing\r\n").expect("written");
    assert!(run(folder.path(), "openssl cms -encrypt -binary -in entity.eml -out out -aes256 -outform DER rsa.pem"), "encrypted");
    let part = message(&fs::read(folder.path().join("out")).expect("made"));
    let two = format!("Content-Type: multipart/mixed; boundary=two\r\n\r\n--two\r\n{part}\r\n--two\r\n{part}\r\n--two--\r\n");
    for (openings, expected) in [(2, "pass"), (1, "opaque.smime"), (0, "opaque.smime")] {
        assert_eq!(code(&inspect(&set(folder.path(), openings), two.clone()).await), expected, "{openings}");
    }
}

#[test]
fn a_key_that_cannot_be_used_is_refused_in_a_sentence() {
    let error = Escrow::default().add(b"junk", b"junk").expect_err("refused").to_string();
    assert_eq!(error, "the certificate is no X.509 certificate");
}
