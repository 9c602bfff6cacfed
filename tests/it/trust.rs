//! Signed and locked policies, and replays, as an administrator runs them: the real program over a folder.

use crate::policies::guests::{PASS, QUARANTINE, policy};
use anyhow::{Context, Result};
use secmx_lab::client::Client;
use secmx_policy::manifest::embed::{self, Embedded};
use secmx_tests::Rig;
use secmx_tests::process::binary;
use std::fs;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// A component named `guest` of that version whose `inspect` is this code.
pub(crate) fn guest(version: &str, inspect: &str) -> Result<Vec<u8>> {
    let manifest =
        format!("[policy]\nname = \"guest\"\nversion = \"{version}\"\ninterfaces = [\"content\"]\n[capabilities]\nmessage = \"body\"\n");
    let embedded = Embedded { manifest, revision: None, builder: "a test".into() };
    embed::write(&policy("guest", "", inspect).component, &embedded).map_err(anyhow::Error::msg)
}

/// Runs `secmx` in a folder. Gives its exit code, and all that it said.
fn secmx(folder: &Path, arguments: &str) -> Result<(i32, String)> {
    let output = Command::new(binary()?).args(arguments.split(' ')).current_dir(folder).output()?;
    let text = String::from_utf8([output.stdout, output.stderr].concat())?;
    Ok((output.status.code().context("killed")?, text))
}

fn administrator() -> Result<TempDir> {
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("guest.wasm"), guest("1.0.0", PASS)?)?;
    let text = "[policies]\nkeys = \"team.pub\"\n[[policy]]\nname = \"guest\"\nuse = \"guest.wasm\"\n[[policy]]\nname = \"shipped\"\nuse = \"builtin:no-secrets\"\n";
    fs::write(folder.path().join("secmx.toml"), text)?;
    Ok(folder)
}

/// The whole way: keys, signature, lock, a change that is refused until it is signed and locked, and back.
#[test]
fn nothing_unsigned_or_unlocked_is_loaded() -> Result<()> {
    let folder = administrator()?;
    let run = |arguments: &str| secmx(folder.path(), arguments);
    let expect = |arguments: &str, code: i32, words: &str| {
        let (got, text) = run(arguments)?;
        assert!(got == code && text.contains(words), "{arguments}: {got}\n{text}");
        anyhow::Ok(())
    };
    let check = "check -c secmx.toml";
    expect("policy keygen team", 0, "keep it secret")?;
    expect(check, 7, "P401")?;
    expect("policy lock -c secmx.toml", 1, "P401")?;
    expect("policy sign guest.wasm --key team.key", 0, "guest 1.0.0   signed with ed25519:")?;
    expect("policy verify guest.wasm --key team.pub", 0, "guest 1.0.0   signed with ed25519:")?;
    expect(check, 7, "P406 policy guest is not in")?;
    expect("policy lock -c secmx.toml", 0, "+ guest")?;
    expect(check, 0, "0 errors")?;
    fs::write(folder.path().join("guest.wasm"), guest("1.1.0", QUARANTINE)?)?;
    expect(check, 7, "P403")?;
    expect("policy verify guest.wasm --key team.pub", 1, "P403")?;
    expect("policy sign guest.wasm --key team.key", 0, "guest 1.1.0")?;
    expect(check, 7, "P407 policy guest is guest 1.1.0")?;
    expect("policy lock -c secmx.toml", 0, "was guest 1.0.0")?;
    expect(check, 0, "0 errors")?;
    expect("policy rollback guest -c secmx.toml", 0, "guest 1.0.0")?;
    assert_eq!(fs::read(folder.path().join("guest.wasm"))?, guest("1.0.0", PASS)?);
    expect(check, 0, "0 errors")?;
    expect("policy rollback nobody -c secmx.toml", 1, "no [[policy]] from a file is named \"nobody\"")?;
    Ok(())
}

const MBOX: &str = "From a@b.test Thu Jan  1 00:00:00 2026\nFrom: a@b.test\nTo: c@d.test\nSubject: one\n\nbody\n\nFrom a@b.test Thu Jan  1 00:00:00 2026\nFrom: a@b.test\nTo: c@d.test\nSubject: two\n\nbody\n";

/// "Replaying the version in force over a corpus gives an empty difference", and another version the difference.
#[test]
fn a_replay_tells_what_would_end_differently() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let write = |name: &str, octets: Vec<u8>| fs::write(folder.path().join(name), octets);
    write("old.wasm", guest("1.0.0", PASS)?)?;
    write("new.wasm", guest("1.1.0", QUARANTINE)?)?;
    write("corpus.mbox", MBOX.into())?;
    let (code, text) = secmx(folder.path(), "policy replay old.wasm --against old.wasm --corpus corpus.mbox")?;
    assert!(code == 0 && text.contains("2 messages") && text.contains("no message would end differently"), "{code} {text}");
    let (code, text) = secmx(folder.path(), "policy replay new.wasm --against old.wasm --corpus corpus.mbox --show pass:quarantine")?;
    assert!(
        code == 1 && text.contains("pass → quarantine 2   (policy.word 2)") && text.contains("corpus.mbox 2   policy.word"),
        "{code} {text}"
    );
    let (code, text) = secmx(folder.path(), "policy replay new.wasm --against old.wasm --corpus corpus.mbox --json")?;
    let value: serde_json::Value = serde_json::from_str(&text)?;
    assert_eq!((code, value["same"].as_bool(), value["changes"].as_array().map(Vec::len)), (1, Some(false), Some(2)));
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
    assert!(code == 0 && text.contains("1 messages") && text.contains("no message would end differently"), "{code} {text}");
    let (code, text) = secmx(&folder, "policy replay new.wasm -c secmx.toml --show quarantine:pass")?;
    assert!(code == 1 && text.contains("quarantine → pass 1") && text.contains(&queued), "{code} {text}");
    let (code, text) = secmx(&folder, "policy replay guest.wasm -c secmx.toml --since 1h")?;
    assert!(code == 0 && text.contains("1 messages"), "{code} {text}");
    let about = folder.join("state/replay").join(format!("{queued}.json"));
    let mut kept: serde_json::Value = serde_json::from_slice(&fs::read(&about)?)?;
    kept["at"] = 7.into();
    fs::write(&about, kept.to_string())?;
    let (code, text) = secmx(&folder, "policy replay guest.wasm -c secmx.toml --since 1h")?;
    assert!(code == 1 && text.contains("--since may be too short"), "{code} {text}");
    Ok(())
}
