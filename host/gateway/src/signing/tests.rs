//! What is trusted and what is not, and what is said of it; and the way back.

use super::*;
use secmx_policy::manifest::embed::{self, Embedded};
use std::fs;
use tempfile::TempDir;

/// A folder with a key, another key, and a component of that version.
struct Ground {
    folder: TempDir,
    key: SigningKey,
}

impl Ground {
    fn new() -> Self {
        let ground = Self { folder: tempfile::tempdir().expect("a folder"), key: SigningKey::generate().expect("a key") };
        ground.key.public().and_then(|public| public.write(&ground.at("team.pub"))).expect("written");
        let stranger = SigningKey::generate().expect("a key");
        stranger.write(&ground.at("stranger.key")).expect("written");
        ground.build("0.1.0");
        ground
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn component(&self) -> PathBuf {
        self.at("guard.wasm")
    }

    fn build(&self, version: &str) {
        let manifest = format!("[policy]\nname = \"guard\"\nversion = \"{version}\"\ninterfaces = [\"content\"]\n");
        let embedded = Embedded { manifest, revision: None, builder: "a test".into() };
        let octets = embed::write(secmx_policy::shipped("no-secrets").expect("shipped"), &embedded).expect("a component");
        fs::write(self.component(), octets).expect("written");
    }

    fn octets(&self) -> Vec<u8> {
        fs::read(self.component()).expect("there")
    }

    fn sign(&self, key: &SigningKey) {
        let subject = Subject::of(&self.octets(), &self.component()).expect("named");
        let signature = Signature::make(&subject, key).expect("signed");
        fs::write(Signature::beside(&self.component()), signature.to_text()).expect("written");
    }

    fn lock(&self, grant: Grant) -> Change {
        let path = self.at("policies.lock");
        let subject = Subject::of(&self.octets(), &self.component()).expect("named");
        let mut lock = Lock::read(&path).expect("reads").unwrap_or_default();
        let change = lock.put("guard", Pinned::new(subject.clone(), None), grant);
        lock.write(&path).expect("written");
        Cellar::of(&path).keep(&self.component(), &self.octets(), &subject.sha256).expect("kept");
        change
    }

    fn check(&self, keys: &[&str], grant: &Grant) -> Result<(), String> {
        let keys: Vec<PathBuf> = keys.iter().map(|key| self.at(key)).collect();
        let trust = Trust::read(&keys, &self.at("policies.lock")).map_err(|error| format!("{error:#}"))?;
        trust.check("guard", &self.component(), &self.octets(), grant).map_err(|trouble| trouble.to_string())
    }
}

fn grant(store: u64) -> Grant {
    Grant { store: Some(store), dns: vec!["TXT".into()], ..Grant::default() }
}

/// With keys, nothing that is unsigned, changed, signed by somebody else or not locked is loaded; each is told from the others.
#[test]
fn only_what_is_signed_and_locked_is_loaded() {
    let ground = Ground::new();
    let refused = |expected: &str| {
        let why = ground.check(&["team.pub"], &grant(1)).expect_err(expected);
        assert!(why.starts_with(expected), "{why}");
        why
    };
    assert_eq!(ground.check(&[], &grant(1)), Ok(()), "without keys and lock nothing is demanded");
    let unsigned = refused("P401");
    assert!(unsigned.contains("secmx policy sign"), "{unsigned}");
    ground.sign(&SigningKey::read(&ground.at("stranger.key")).expect("reads"));
    refused("P404");
    ground.sign(&ground.key);
    refused("P406");
    assert_eq!(ground.lock(grant(1)), Change::New);
    assert_eq!(ground.check(&["team.pub"], &grant(1)), Ok(()));
    let granted = ground.check(&["team.pub"], &grant(2)).expect_err("more than was locked");
    assert!(granted.starts_with("P408") && granted.contains("store = \"2\""), "{granted}");
    ground.build("0.2.0");
    refused("P403");
    ground.sign(&ground.key);
    let other = refused("P407");
    assert!(other.contains("guard 0.2.0") && other.contains("guard 0.1.0") && other.contains("secmx policy rollback guard"), "{other}");
    let path = Signature::beside(&ground.component());
    let text = fs::read_to_string(&path).expect("there");
    fs::write(&path, text.replace("\"signature\": \"", "\"signature\": \"AAAA")).expect("written");
    refused("P405");
    fs::write(&path, "{}").expect("written");
    refused("P402");
    fs::write(ground.component(), secmx_policy::shipped("no-secrets").expect("shipped")).expect("written");
    assert!(ground.check(&["stranger.key"], &grant(1)).expect_err("private").contains("holds a private key"));
}

/// A signature is for one name and version: it cannot be moved to another component.
#[test]
fn a_signature_covers_digest_name_and_version() {
    let ground = Ground::new();
    let keys = [ground.key.public().expect("its half")];
    let subject = Subject::of(&ground.octets(), &ground.component()).expect("named");
    let signature = Signature::make(&subject, &ground.key).expect("signed");
    assert!(signature.check(&subject, &ground.component(), &keys).is_ok());
    for other in [Subject { name: "other".into(), ..subject.clone() }, Subject { version: "0.1.1".into(), ..subject.clone() }] {
        assert_eq!(signature.check(&other, &ground.component(), &keys), Err(Trouble::Forged(ground.component())));
    }
}

/// A lock alone holds components to their digests, and knows the way back.
#[test]
fn a_lock_knows_the_version_before() {
    let ground = Ground::new();
    ground.lock(grant(1));
    let first = ground.octets();
    ground.build("0.2.0");
    assert!(ground.check(&[], &grant(1)).expect_err("another").starts_with("P407"));
    assert!(matches!(ground.lock(grant(1)), Change::From(old) if old.version == "0.1.0"));
    assert_eq!((ground.lock(grant(1)), ground.lock(grant(5)), ground.check(&[], &grant(5))), (Change::Same, Change::Grant, Ok(())));
    let lock = Lock::read(&ground.at("policies.lock")).expect("reads").expect("there");
    let locked = lock.get("guard").expect("there");
    assert_eq!((locked.pinned.version.as_str(), locked.previous.len()), ("0.2.0", 1));
    Cellar::of(&ground.at("policies.lock")).bring_back(&locked.previous[0].sha256, &ground.component()).expect("kept");
    assert_eq!(ground.octets(), first);
    assert!(matches!(ground.lock(grant(5)), Change::From(old) if old.version == "0.2.0"));
    let lock = Lock::read(&ground.at("policies.lock")).expect("reads").expect("there");
    let versions: Vec<_> = lock.get("guard").expect("there").previous.iter().map(|one| one.version.as_str()).collect();
    assert_eq!(versions, ["0.2.0"], "going back and forth keeps each once");
}

/// Without what is another in every run: the folder, and digests.
fn masked(text: &str, folder: &Path) -> String {
    let text = text.replace(&format!("{}/", folder.display()), "");
    let mask = |word: &str| {
        let (digits, rest) = word.split_at(word.trim_end_matches(|c: char| !c.is_ascii_hexdigit()).len());
        if digits.len() < 12 { word.to_owned() } else { format!("0123{rest}") }
    };
    text.split_inclusive(|c: char| !c.is_ascii_hexdigit()).map(mask).collect()
}

/// Everything that is said of trust, one wrong thing after the other, as it was read and found good: `messages.txt`. `SECMX_WRITE_DOCS=1`
/// writes the file anew: then read what changed.
#[test]
fn every_message_is_as_it_was_read() {
    let (ground, mut text) = (Ground::new(), String::new());
    let mut say = |ground: &Ground, name: &str, keys: &str| {
        let why = ground.check(&[keys], &grant(1)).expect_err(name);
        text += &format!("{name}\n    {}\n\n", masked(&why, ground.folder.path()));
    };
    let signature = Signature::beside(&ground.component());
    say(&ground, "not-signed", "team.pub");
    for (name, content) in [("no-signature", "{}"), ("not-even-json", "MZ")] {
        fs::write(&signature, content).expect("written");
        say(&ground, name, "team.pub");
    }
    ground.sign(&ground.key);
    let text_of_it = fs::read_to_string(&signature).expect("there");
    fs::write(&signature, text_of_it.replace("signature/v1", "signature/v9")).expect("written");
    say(&ground, "signed-in-another-way", "team.pub");
    fs::write(&signature, text_of_it.replace("\"signature\": \"", "\"signature\": \"AAAA")).expect("written");
    say(&ground, "forged", "team.pub");
    ground.sign(&SigningKey::read(&ground.at("stranger.key")).expect("reads"));
    say(&ground, "signed-by-somebody-else", "team.pub");
    ground.sign(&ground.key);
    say(&ground, "not-in-the-lock", "team.pub");
    ground.lock(Grant::default());
    say(&ground, "granted-more-than-in-the-lock", "team.pub");
    ground.build("0.2.0");
    say(&ground, "changed-since-it-was-signed", "team.pub");
    ground.sign(&ground.key);
    say(&ground, "another-version-than-in-the-lock", "team.pub");
    say(&ground, "a-private-key", "stranger.key");
    say(&ground, "a-key-that-is-not-there", "nobody.pub");
    say(&ground, "a-key-that-is-none", "guard.wasm");
    fs::write(ground.at("policies.lock"), "[[policy]]\nname = 7\n").expect("written");
    say(&ground, "no-lock", "team.pub");
    fs::remove_file(ground.at("policies.lock")).expect("there");
    // A component with nothing in it.
    fs::write(ground.component(), b"\0asm\x0d\0\x01\0").expect("written");
    say(&ground, "built-without-a-manifest", "team.pub");
    fs::write(ground.component(), "MZ").expect("written");
    say(&ground, "no-component", "team.pub");
    text += &format!("nothing-to-go-back-to\n    {}\n", Trouble::NoPrevious("guard".to_owned()));

    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/signing/messages.txt");
    if std::env::var_os("SECMX_WRITE_DOCS").is_some() {
        fs::write(&path, &text).expect("writable");
    }
    let known = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(known, text, "SECMX_WRITE_DOCS=1 writes it anew: read it as an administrator would");
}
