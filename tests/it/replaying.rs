//! `secmx policy replay`: a policy in force and another, asked about the same messages as the configuration would have them asked.

use crate::policies::guests::{ADD_FIELD, PASS, QUARANTINE};
use crate::trust::{guest, secmx};
use anyhow::{Context, Result, ensure};
use secmx_lab::client::Client;
use secmx_tests::Rig;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// One message that comes in and one that goes out.
const MBOX: &str = "From a@b.test Thu Jan  1 00:00:00 2026\nFrom: a@b.test\nTo: c@d.test\nSubject: one\n\nbody\n\nFrom a@b.test Thu Jan  1 00:00:00 2026\nFrom: c@d.test\nTo: a@b.test\nSubject: two\n\nbody\n";

const BASE: &str =
    "domains = [\"d.test\"]\ndeliver_to = \"smtp://127.0.0.1:2525\"\n[receive.public]\nlisten = \"127.0.0.1:2526\"\nrole = \"BER\"\n";

/// A folder with an old and a new policy, both of this code, and a configuration with these entries.
fn folder(old: &str, new: &str, entries: &str) -> Result<TempDir> {
    let folder = tempfile::tempdir()?;
    let write = |name: &str, octets: &[u8]| fs::write(folder.path().join(name), octets);
    write("old.wasm", &guest("1.0.0", old)?)?;
    write("new.wasm", &guest("1.1.0", new)?)?;
    write("corpus.mbox", MBOX.as_bytes())?;
    write("secmx.toml", format!("{BASE}{entries}").as_bytes())?;
    Ok(folder)
}

/// Replays with the configuration of the folder over its corpus. Gives the exit code and all that was said.
fn replay(folder: &TempDir, arguments: &str) -> Result<(i32, String)> {
    secmx(folder.path(), &format!("policy replay {arguments} -c secmx.toml --corpus corpus.mbox"))
}

fn expect(folder: &TempDir, arguments: &str, code: i32, words: &[&str]) -> Result<()> {
    let (got, text) = replay(folder, arguments)?;
    ensure!(got == code && words.iter().all(|word| text.contains(word)), "{arguments}: {got}, expected {code} and {words:?}\n{text}");
    Ok(())
}

/// "Replaying the version in force over a corpus gives an empty difference", and another version the difference.
#[test]
fn a_replay_tells_what_would_end_differently() -> Result<()> {
    let folder = folder(PASS, QUARANTINE, "")?;
    expect(&folder, "old.wasm --against old.wasm --to nobody", 1, &["corpus.mbox 1: `envelope.to`: expected an address such as"])?;
    expect(&folder, "old.wasm --against old.wasm", 0, &["2 messages", "no message would end differently"])?;
    let shown = ["pass → quarantine 2   (policy.word 2)", "corpus.mbox 2   policy.word"];
    expect(&folder, "new.wasm --against old.wasm --show pass:quarantine", 1, &shown)?;
    expect(&folder, "new.wasm --against old.wasm --set word=x", 1, &["policy guest 1.1.0: P104 settings: `word` is not in its schema"])?;
    fs::write(folder.path().join("empty.eml"), "")?;
    expect(&folder, "new.wasm --against old.wasm --corpus empty.eml", 1, &["3 messages", "pass → quarantine 3"])?;
    let (code, text) = replay(&folder, "new.wasm --against old.wasm --json")?;
    let value: Value = serde_json::from_str(&text)?;
    assert_eq!((code, value["same"].as_bool(), value["changes"].as_array().map(Vec::len)), (1, Some(false), Some(2)));
    Ok(())
}

/// A policy for mail that goes out is not counted over mail that comes in, whatever it would say of it.
#[test]
fn a_replay_asks_when_a_gateway_would() -> Result<()> {
    let entry = |when: &str| format!("[[policy]]\nname = \"guest\"\nuse = \"old.wasm\"\nwhen = {{ {when} }}\n");
    let changed = "pass → quarantine 1 ";
    expect(&folder(PASS, QUARANTINE, &entry("direction = \"out\""))?, "new.wasm", 1, &["2 messages", "not asked 1:", changed])?;
    expect(&folder(PASS, QUARANTINE, &entry("from = \"nobody.test\""))?, "new.wasm", 6, &["not asked 2:", "nothing was compared"])?;
    let submitted = folder(PASS, QUARANTINE, &entry("listener = \"public\""))?;
    expect(&submitted, "new.wasm", 1, &["pass → quarantine 2 "])?;
    expect(&submitted, "new.wasm --listener inside", 6, &["not asked 2:"])
}

/// The entry's limits are those of the question.
#[test]
fn a_replay_is_held_to_the_limits_of_the_entry() -> Result<()> {
    let twice = format!("{ADD_FIELD} {ADD_FIELD} {PASS}");
    let entry = |limits: &str| format!("[[policy]]\nname = \"guest\"\nuse = \"old.wasm\"\nlimits = {{ {limits} }}\n");
    expect(&folder(&twice, &twice, &entry("effects = 2"))?, "new.wasm", 0, &["no message would end differently"])?;
    let one = folder(PASS, &twice, &entry("effects = 1"))?;
    expect(&one, "new.wasm", 1, &["pass → error 2", "! guest 1.1.0 failed 2 times, first at corpus.mbox 1: more than 1 effects"])
}

/// Where both fail at everything nothing is alike: that is no empty difference.
#[test]
fn a_replay_of_faults_is_no_yes() -> Result<()> {
    let broken = folder("unreachable", "unreachable", "[[policy]]\nname = \"guest\"\nuse = \"old.wasm\"\n")?;
    let words = [
        "policy errors",
        "not compared 2: both policies failed",
        "! guest 1.0.0 failed 2 times, first at corpus.mbox 1: ",
        "nothing was compared",
    ];
    expect(&broken, "new.wasm", 6, &words)?;
    let (_, text) = replay(&broken, "new.wasm --json")?;
    let value: Value = serde_json::from_str(&text)?;
    assert_eq!((value["same"].as_bool(), value["compared"].as_u64(), value["both_failed"].as_u64()), (Some(false), Some(0), Some(2)));
    Ok(())
}

/// The entry is the one that uses it, or another version of it, whatever that is called; or the one that is named.
#[test]
fn a_replay_finds_the_entry_that_would_change() -> Result<()> {
    let entry = |name: &str, component: &str, when: &str| {
        format!("[[policy]]\nname = \"{name}\"\nuse = \"{component}\"\nwhen = {{ direction = \"{when}\" }}\n")
    };
    let otherwise = folder(PASS, QUARANTINE, &entry("watchman", "old.wasm", "out"))?;
    expect(&otherwise, "new.wasm", 1, &["guest 1.0.0", "not asked 1:", "pass → quarantine 1 "])?;
    expect(&otherwise, "new.wasm --policy guest", 3, &["no [[policy]] named \"guest\"; it has watchman"])?;
    expect(
        &otherwise,
        "builtin:attachments",
        1,
        &["no [[policy]] of the configuration uses builtin:attachments", "--policy NAME", "--against"],
    )?;
    let two = folder(PASS, QUARANTINE, &(entry("in", "old.wasm", "in") + &entry("out", "old.wasm", "out")))?;
    expect(&two, "new.wasm", 1, &["in, out may be meant: --policy NAME says which [[policy]]"])?;
    expect(&two, "new.wasm --policy out --show pass:quarantine", 1, &["corpus.mbox 2   policy.word"])?;
    let both = folder(PASS, QUARANTINE, &(entry("in", "old.wasm", "in") + &entry("out", "new.wasm", "out")))?;
    expect(
        &both,
        "new.wasm",
        0,
        &["guest 1.1.0           guest 1.1.0", "not asked 1:", "quarantine                         1                     1"],
    )
}

/// Journals are those of the configuration; builtins are replayed as they are used.
#[test]
fn a_replay_knows_the_journals() -> Result<()> {
    let journal = folder(PASS, PASS, &(journal()? + "[[policy]]\nname = \"copies\"\nuse = \"builtin:journal\"\n"))?;
    expect(
        &journal,
        "builtin:journal",
        0,
        &["builtin:journal", "  pass                               2                     2", "no message would end differently"],
    )
}

/// Messages are looked into as far as the configuration says.
#[test]
fn a_replay_looks_as_far_as_a_gateway() -> Result<()> {
    let corpus = policies().join("attachments/tests").display().to_string();
    for (content, ruling) in [("", "reject"), ("[content]\ndepth = 1\n", "pass")] {
        let entries = format!("{content}[[policy]]\nname = \"files\"\nuse = \"builtin:attachments\"\n");
        let place = folder(PASS, PASS, &entries)?;
        let arguments = format!("policy replay builtin:attachments -c secmx.toml --json --corpus {corpus}/nested.eml");
        let (code, text) = secmx(place.path(), &arguments)?;
        let value: Value = serde_json::from_str(&text).context(text)?;
        assert_eq!(
            (code, &value["old"]["rulings"], &value["new"]["rulings"]),
            (0, &serde_json::json!({ ruling: 1 }), &serde_json::json!({ ruling: 1 }))
        );
    }
    Ok(())
}

/// Makes a key, and a message that is encrypted to it.
const SEALED: &str = "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=a -keyout rsa.key -out rsa.pem -days 9 && \
    printf 'Content-Type: text/plain\\r\\n\\r\\npay NL91ABNA0417164300\\r\\n' > entity && \
    openssl cms -encrypt -binary -aes256 -in entity -out sealed.eml rsa.pem";

/// What is encrypted to a key of escrow is looked into.
#[test]
fn a_replay_opens_what_a_gateway_opens() -> Result<()> {
    if Command::new("openssl").arg("version").output().is_err() {
        println!("skipped: openssl is not installed");
        return Ok(());
    }
    for (escrow, ruling) in [("", "pass"), ("[escrow]\nkeys = [{ cert = \"rsa.pem\", key = \"rsa.key\" }]\n", "quarantine")] {
        let place = folder(PASS, PASS, &format!("{escrow}[[policy]]\nname = \"secrets\"\nuse = \"builtin:no-secrets\"\n"))?;
        let made = Command::new("sh").args(["-ec", SEALED]).current_dir(&place).output()?;
        ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let (code, text) = secmx(place.path(), "policy replay builtin:no-secrets -c secmx.toml --json --corpus sealed.eml")?;
        let value: Value = serde_json::from_str(&text).context(text)?;
        assert_eq!((code, &value["new"]["rulings"]), (0, &serde_json::json!({ ruling: 1 })), "{value}");
    }
    Ok(())
}

/// A journal, sealed for a key of its own.
fn journal() -> Result<String> {
    let keys = tempfile::tempdir()?;
    let (_, text) = secmx(keys.path(), "policy keygen journal --sealing --json")?;
    let keys: Value = serde_json::from_str(&text).context(text)?;
    Ok(format!("[journal.all]\nrecipients = [{}]\n", keys["public"]))
}

fn policies() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies")
}

/// Every shipped content policy, and a change of its settings that some message of the corpus shows. What `dmarc` judges is not in one.
const SHIPPED: [(&str, &str, Option<&str>); 7] = [
    ("attachments", "", Some("action=hold")),
    ("classification", "", Some("markings=[\"nothing\"]")),
    ("disclaimer", "text = \"No guarantee.\"", Some("text=Other.")),
    ("dmarc", "", None),
    ("journal", "", Some("tags=[\"classification\"]")),
    ("no-secrets", "", Some("action=reject")),
    ("opaque-content", "", Some("action=reject")),
];

/// "Replaying the version in force over a corpus gives an empty difference": each shipped policy over the messages of all of them, which
/// they pass, change, hold and refuse.
#[test]
fn shipped_policies_replay_without_a_difference() -> Result<()> {
    let entry = |(name, settings, _): &(&str, &str, _)| {
        format!("[[policy]]\nname = \"{name}\"\nuse = \"builtin:{name}\"\nsettings = {{ {settings} }}\n")
    };
    let entries = journal()? + &SHIPPED.iter().map(entry).collect::<String>();
    let place = folder(PASS, PASS, &entries)?;
    let corpus =
        SHIPPED.iter().map(|(name, ..)| format!(" --corpus {}", policies().join(name).join("tests").display())).collect::<String>();
    let ask = |name: &str, more: &str| -> Result<(i32, Value)> {
        let (code, text) = secmx(place.path(), &format!("policy replay builtin:{name} -c secmx.toml --json{corpus}{more}"))?;
        Ok((code, serde_json::from_str(&text).context(text)?))
    };
    assert_eq!(secmx_policy::SHIPPED.map(|(name, _)| name), SHIPPED.map(|(name, ..)| name));
    let mut rulings = BTreeSet::new();
    for (name, _, setting) in SHIPPED {
        let (code, same) = ask(name, "")?;
        assert_eq!((code, &same["changes"], &same["both_failed"]), (0, &serde_json::json!([]), &serde_json::json!(0)), "{name}: {same}");
        assert_eq!((&same["compared"], &same["old"]["rulings"]), (&same["messages"], &same["new"]["rulings"]), "{name}: {same}");
        rulings.extend(same["old"]["rulings"].as_object().into_iter().flat_map(|object| object.keys().cloned()));
        if let Some(setting) = setting {
            let (code, other) = ask(name, &format!(" --set {setting}"))?;
            assert!(code == 1 && other["changes"].as_array().is_some_and(|changes| !changes.is_empty()), "{name}, {setting}: {other}");
        }
    }
    assert_eq!(rulings.into_iter().collect::<Vec<_>>(), ["pass", "quarantine", "reject"]);
    Ok(())
}

/// What a gateway kept is replayed without a corpus; the version in force gives an empty difference.
#[tokio::test(flavor = "multi_thread")]
async fn kept_messages_are_replayed() -> Result<()> {
    let mut rig = Rig::world().await?;
    let folder = rig.state().to_owned();
    fs::write(folder.join("guest.wasm"), guest("1.0.0", QUARANTINE)?)?;
    fs::write(folder.join("new.wasm"), guest("1.1.0", PASS)?)?;
    let more =
        format!("[replay]\nalways = \"quarantine\"\n[[policy]]\nname = \"guest\"\nuse = \"{}\"\n", folder.join("guest.wasm").display());
    let text = rig.configuration("", &more);
    fs::write(folder.join("secmx.toml"), &text)?;
    rig.start_with(&text).await?;
    let mut client = Client::connect(rig.listener("public")?).await?;
    client.command("EHLO probe.test").await?;
    let answer = client.transact("a@probe.test", &["ana@agency.test"], "Subject: s\r\n\r\nbody").await?;
    let queued = answer.trim().strip_prefix("250 2.0.0 queued as ").context(answer.clone())?.to_owned();
    rig.stop().await;
    let log = fs::read_to_string(folder.join("state/decisions.jsonl"))?;
    assert!(log.contains("\"replayable\":true"), "{log}");
    let (code, text) = secmx(&folder, "policy replay guest.wasm -c secmx.toml")?;
    assert!(code == 0 && text.contains("1 message\n") && text.contains("no message would end differently"), "{code} {text}");
    let (code, text) = secmx(&folder, "policy replay new.wasm -c secmx.toml --show quarantine:pass")?;
    assert!(code == 1 && text.contains("quarantine → pass 1") && text.contains(&queued), "{code} {text}");
    let (code, text) = secmx(&folder, "policy replay guest.wasm -c secmx.toml --since 1h")?;
    assert!(code == 0 && text.contains("1 message\n"), "{code} {text}");
    let about = folder.join("state/replay").join(format!("{queued}.json"));
    let mut kept: Value = serde_json::from_slice(&fs::read(&about)?)?;
    kept["at"] = 7.into();
    fs::write(&about, kept.to_string())?;
    let (code, text) = secmx(&folder, "policy replay guest.wasm -c secmx.toml --since 1h")?;
    assert!(code == 1 && text.contains("--since may be too short"), "{code} {text}");
    Ok(())
}
