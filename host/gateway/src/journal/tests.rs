//! What happens to records shows; what is in them only to whom has the key.

use super::chain::Found;
use super::{Account, Chain, Journals, Kept, open};
use crate::config::Config;
use age::Identity;
use bytes::Bytes;
use std::fs;
use std::path::PathBuf;

struct World {
    folder: tempfile::TempDir,
    config: Config,
    key: age::x25519::Identity,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let key = age::x25519::Identity::generate();
        let text = format!("[paths]\nstate = {:?}\n[journal.all]\nrecipients = [\"{}\"]\n", folder.path(), key.to_public());
        let config = Config::parse("test.toml", &text).expect("valid").0;
        Self { folder, config, key }
    }

    async fn keep(&self, subject: &str) -> Kept {
        let message = [Bytes::from("Received: x\r\n"), Bytes::from(format!("Subject: {subject}\r\n\r\nsecret {subject}\r\n"))];
        let journals = Journals::new(&self.config);
        journals.keep(&["all".to_owned(), "all".to_owned()], &account(subject, &message), &message).await.expect("kept").remove(0)
    }

    fn chain(&self) -> Chain {
        Chain::of(&self.config, "all", &self.config.journal["all"].path)
    }

    fn file(&self, number: u64) -> PathBuf {
        self.folder.path().join(format!("journal/all/{number:012}.journal"))
    }

    fn verify(&self) -> Found {
        self.chain().verify(1).expect("read")
    }
}

fn account(subject: &str, message: &[Bytes]) -> Account {
    use sha2::{Digest, Sha256};
    let octets = message.concat();
    Account {
        schema: "secmx/journalled/v1".into(),
        qid: format!("Q{subject}"),
        at: jiff::Timestamp::UNIX_EPOCH,
        from: "ana@agency.test".into(),
        to: vec!["bo@health.test".into()],
        listener: "inside".into(),
        client: None,
        session: "s1".into(),
        user: None,
        level: "plain".into(),
        standing: "due".into(),
        reason: None,
        tags: Default::default(),
        evidence: Vec::new(),
        octets: octets.len() as u64,
        sha256: super::record::hex(&Sha256::digest(&octets)),
    }
}

#[tokio::test]
async fn a_record_opens_with_its_key_only_and_shows_nothing_without() {
    let world = World::new();
    assert_eq!(world.keep("one").await.number, 1);
    let record = world.chain().read(1).expect("there");
    let clear = String::from_utf8_lossy(&record);
    assert!(
        clear.starts_with("{\"schema\":\"secmx/journal/v1\",\"journal\":\"all\",\"number\":1,") && clear.contains("age-encryption.org/v1")
    );
    assert!(!clear.contains("ana@") && !clear.contains("secret"), "{clear}");
    let opened = open(&record, &[Box::new(world.key.clone()) as Box<dyn Identity>]).expect("opens");
    assert_eq!((opened.account.from.as_str(), opened.account.qid.as_str()), ("ana@agency.test", "Qone"));
    assert_eq!(opened.message, b"Received: x\r\nSubject: one\r\n\r\nsecret one\r\n");
    let stranger = age::x25519::Identity::generate();
    assert!(open(&record, &[Box::new(stranger) as Box<dyn Identity>]).is_err());
}

#[tokio::test]
async fn a_chain_that_nobody_touched_is_whole_also_after_a_restart() {
    let world = World::new();
    assert_eq!(world.verify(), Found::default());
    for (at, subject) in ["a", "b", "c"].into_iter().enumerate() {
        assert_eq!(world.keep(subject).await.number, at as u64 + 1);
    }
    super::chain::restart();
    let last = world.keep("d").await;
    assert_eq!(world.verify(), Found { records: 4, last: Some((4, last.sha256)), troubles: Vec::new() });
    assert_eq!(world.chain().label(2).expect("a label").qid, "Qb");
}

#[tokio::test]
async fn a_record_that_is_missing_or_changed_or_swapped_shows() {
    for (number, text) in [(1, "record 1 is missing"), (2, "record 2 is missing"), (4, "record 4 is missing")] {
        let world = World::new();
        for subject in ["a", "b", "c", "d"] {
            world.keep(subject).await;
        }
        fs::remove_file(world.file(number)).expect("removed");
        assert_eq!(world.verify().troubles, [text], "{number}");
    }
    for number in [1, 2, 3, 4] {
        let world = World::new();
        for subject in ["a", "b", "c", "d"] {
            world.keep(subject).await;
        }
        let mut octets = fs::read(world.file(number)).expect("there");
        let length = octets.len();
        octets[length - 1] ^= 1;
        fs::write(world.file(number), &octets).expect("written");
        assert!(world.verify().troubles.iter().any(|trouble| trouble.contains(&number.to_string())), "{number}: {:?}", world.verify());
        fs::write(world.file(number), &octets[..length / 2]).expect("written");
        assert!(!world.verify().troubles.is_empty(), "cut short: {number}");
    }
    let world = World::new();
    for subject in ["a", "b", "c"] {
        world.keep(subject).await;
    }
    fs::copy(world.file(1), world.file(2)).expect("copied");
    assert!(world.verify().troubles.iter().any(|trouble| trouble == "record 2 is record 1 of journal all"), "{:?}", world.verify());
}

/// What is cut off at the end shows, and goes on showing when the chain goes on.
#[tokio::test]
async fn what_is_cut_off_at_the_end_shows_for_ever() {
    let world = World::new();
    for subject in ["a", "b", "c", "d"] {
        world.keep(subject).await;
    }
    for number in [3, 4] {
        fs::remove_file(world.file(number)).expect("removed");
    }
    assert_eq!(world.verify().troubles, ["records 3 to 4 are missing"]);
    super::chain::restart();
    assert_eq!(world.keep("e").await.number, 5);
    assert_eq!(world.verify().troubles, ["records 3 to 4 are missing"]);
}

#[tokio::test]
async fn what_cannot_be_kept_is_said() {
    let world = World::new();
    let message = [Bytes::from("x")];
    let unknown = Journals::new(&world.config).keep(&["other".to_owned()], &account("a", &message), &message).await;
    assert!(unknown.expect_err("unknown").to_string().contains("[journal.other]"));
    fs::create_dir_all(world.folder.path().join("journal")).expect("made");
    fs::write(world.folder.path().join("journal/all"), "a file in the place of the folder").expect("written");
    let failed = Journals::new(&world.config).keep(&["all".to_owned()], &account("a", &message), &message).await;
    assert!(failed.is_err());
}
