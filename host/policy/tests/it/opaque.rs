//! Every opaque kind that Debian's tools make, and the clear ones beside them: none is missed, none is flagged.
//!
//! A tool that is not installed leaves its rows out, and the test says so; `apt-get install openssl gpg 7zip qpdf zip` brings them all.

use crate::shipped::{code, inspect, only};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// Runs in the shell of a folder with `plain.txt`, `plain.pdf`, `key.pem`, `cert.pem` and `entity.eml`: the tool, what it makes, and what
/// the policy must say of that.
const CASES: &[(&str, &str, &str, &str)] = &[
    ("openssl", "openssl cms -encrypt -binary -in entity.eml -outform DER -out out -aes256 cert.pem", "opaque.smime", "CMS, DER"),
    ("openssl", "openssl cms -encrypt -stream -in entity.eml -outform DER -out out -aes256 cert.pem", "opaque.smime", "CMS, streamed"),
    ("openssl", "openssl cms -encrypt -in entity.eml -outform DER -out out -aes-256-gcm cert.pem", "opaque.smime", "CMS, GCM"),
    ("openssl", "openssl cms -encrypt -in entity.eml -outform PEM -out out -aes256 cert.pem", "opaque.smime", "CMS, PEM"),
    ("openssl", "openssl smime -encrypt -in entity.eml -outform DER -out out -aes256 cert.pem", "opaque.smime", "PKCS #7"),
    ("openssl", "openssl cms -sign -nodetach -in entity.eml -signer cert.pem -inkey key.pem -outform DER -out out", "pass", "signed"),
    (
        "openssl",
        "openssl cms -sign -nodetach -stream -in entity.eml -signer cert.pem -inkey key.pem -outform DER -out out",
        "pass",
        "signed",
    ),
    ("openssl", "openssl cms -sign -in entity.eml -signer cert.pem -inkey key.pem -outform DER -out out", "pass", "a signature alone"),
    (
        "openssl",
        "openssl cms -encrypt -in entity.eml -out inner.eml -aes256 cert.pem && \
         openssl cms -sign -nodetach -in inner.eml -signer cert.pem -inkey key.pem -outform DER -out out",
        "opaque.smime",
        "encrypted, then signed",
    ),
    ("openssl", "openssl enc -aes-256-cbc -pbkdf2 -pass pass:x -in plain.txt -out out", "opaque.archive", "openssl enc"),
    ("gpg", "gpg $G --passphrase x -c -o out plain.txt", "opaque.openpgp", "symmetric"),
    ("gpg", "gpg $G --passphrase x --armor -c -o out plain.txt", "opaque.openpgp", "symmetric, armour"),
    ("gpg", "gpg $G --trust-model always -e -r a@b.test -o out plain.txt", "opaque.openpgp", "to a key"),
    ("gpg", "gpg $G --passphrase '' --clearsign -o out plain.txt", "pass", "clear-signed"),
    ("gpg", "gpg $G --armor --export -o out", "pass", "a public key"),
    ("7zz", "7zz a -bso0 -px -mhe=off o.7z plain.txt plain.pdf && mv o.7z out", "opaque.archive", "7z"),
    ("7zz", "7zz a -bso0 -px -mhe=on o.7z plain.txt && mv o.7z out", "opaque.archive", "7z, header too"),
    ("7zz", "7zz a -bso0 o.7z plain.txt plain.pdf && mv o.7z out", "pass", "7z"),
    ("7zz", "7zz a -bso0 -tzip -px -mem=AES256 o.zip plain.txt && mv o.zip out", "opaque.archive", "ZIP, AES"),
    ("7zz", "7zz a -bso0 -tzip -px -mem=ZipCrypto o.zip plain.txt && mv o.zip out", "opaque.archive", "ZIP, ZipCrypto"),
    ("7zz", "7zz a -bso0 -tzip o.zip plain.txt plain.pdf && mv o.zip out", "pass", "ZIP"),
    ("zip", "zip -q -P x o.zip plain.txt && mv o.zip out", "opaque.archive", "Info-ZIP"),
    ("zip", "zip -q o.zip plain.txt && zip -q -P x o.zip plain.pdf && mv o.zip out", "opaque.archive", "ZIP, the second file only"),
    ("zip", "zip -q -0 o.zip plain.pdf && mv o.zip out", "pass", "ZIP, stored"),
    ("qpdf", "qpdf --warning-exit-0 --encrypt u o 256 -- plain.pdf out", "opaque.document", "PDF, AES-256"),
    ("qpdf", "qpdf --warning-exit-0 --allow-weak-crypto --encrypt u o 128 --use-aes=n -- plain.pdf out", "opaque.document", "PDF, RC4"),
    (
        "qpdf",
        "qpdf --warning-exit-0 --object-streams=generate --encrypt u o 256 -- plain.pdf out",
        "opaque.document",
        "PDF, object streams",
    ),
    ("qpdf", "qpdf --warning-exit-0 --object-streams=generate plain.pdf out", "pass", "PDF"),
];

/// A PDF of one empty page that says `/Encrypt` in a comment. Its table of references is left to the reader to rebuild.
const PDF: &str = "%PDF-1.4\n% about /Encrypt\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n\
    3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]>>endobj\ntrailer<</Root 1 0 R/Size 4>>\n%%EOF\n";

pub(crate) fn is_there(tool: &str) -> bool {
    Command::new("sh").args(["-c", &format!("command -v {tool}")]).stdout(Stdio::null()).status().is_ok_and(|status| status.success())
}

pub(crate) fn run(folder: &Path, script: &str) -> bool {
    let gnupg = folder.join("gnupg");
    let mut shell = Command::new("sh");
    shell.args(["-ec", &format!("G='--batch --quiet --no-tty --pinentry-mode loopback --homedir {}'; {script}", gnupg.display())]);
    shell.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// A folder with what the tools work on.
fn workshop() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let text: String = (0..400).map(|line| format!("line {line} of a text that compresses\n")).collect();
    fs::write(at("plain.txt"), &text).expect("written");
    fs::write(at("plain.pdf"), PDF).expect("written");
    fs::write(at("entity.eml"), format!("Content-Type: text/plain\r\n\r\n{text}")).expect("written");
    fs::create_dir(at("gnupg")).expect("a folder");
    assert!(run(folder.path(), "chmod 700 gnupg"));
    if is_there("openssl") {
        assert!(run(folder.path(), "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=a -keyout key.pem -out cert.pem -days 9"));
    }
    if is_there("gpg") {
        assert!(run(folder.path(), "gpg $G --passphrase '' --quick-gen-key a@b.test"));
    }
    folder
}

/// A message with these octets attached, under a name and type that tell nothing.
pub(crate) fn message(octets: &[u8]) -> String {
    let lines: Vec<String> = STANDARD.encode(octets).as_bytes().chunks(76).map(|line| String::from_utf8_lossy(line).into_owned()).collect();
    format!(
        "Subject: s\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\ntext\r\n--x\r\nContent-Type: application/octet-stream\r\n\
         Content-Disposition: attachment; filename=file\r\nContent-Transfer-Encoding: base64\r\n\r\n{}\r\n--x--\r\n",
        lines.join("\r\n")
    )
}

#[tokio::test]
async fn no_opaque_kind_is_missed_and_no_clear_one_is_flagged() {
    let missing: Vec<&str> = ["openssl", "gpg", "7zz", "qpdf", "zip"].into_iter().filter(|tool| !is_there(tool)).collect();
    if !missing.is_empty() {
        eprintln!("left out, because not installed: {}", missing.join(", "));
    }
    let (set, folder, mut wrong) = (only("opaque-content", "{}"), workshop(), Vec::new());
    for (_, script, expected, what) in CASES.iter().filter(|(tool, ..)| !missing.contains(tool)) {
        if !run(folder.path(), &format!("rm -f out o.zip o.7z; {script}")) {
            wrong.push(format!("{what}: the tool failed: {script}"));
            continue;
        }
        let octets = fs::read(folder.path().join("out")).expect("made");
        let answer = inspect(&set, message(&octets)).await;
        if code(&answer) != *expected {
            wrong.push(format!("{what}: {} instead of {expected}: {script}", code(&answer)));
        }
    }
    // Ends what the tool left running for this folder.
    run(folder.path(), "command -v gpgconf && gpgconf --homedir gnupg --kill all");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn what_the_protocols_of_mail_look_like() {
    let set = only("opaque-content", "{}");
    let armour = format!("-----BEGIN PGP MESSAGE-----\r\n\r\n{}\r\n=abcd\r\n-----END PGP MESSAGE-----\r\n", "hQEMA".repeat(30));
    for (octets, expected) in [
        (format!("Subject: s\r\n\r\nHello,\r\n\r\n{armour}"), "opaque.openpgp"),
        (format!("Subject: s\r\nContent-Type: text/html\r\n\r\n<pre>{armour}</pre>"), "opaque.openpgp"),
        ("Subject: s\r\nContent-Type: multipart/encrypted; protocol=\"application/pgp-encrypted\"; boundary=x\r\n\r\n--x\r\n\r\na\r\n--x--\r\n".into(), "opaque.openpgp"),
        ("Subject: s\r\n\r\nIt begins with -----BEGIN PGP MESSAGE-----, you know.\r\n".into(), "pass"),
        ("Subject: s\r\nContent-Type: message/partial; id=a; number=1; total=2\r\n\r\nx\r\n".into(), "opaque.unreadable"),
    ] {
        assert_eq!(code(&inspect(&set, octets.clone()).await), expected, "{octets}");
    }
}
