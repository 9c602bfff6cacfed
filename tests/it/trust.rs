//! Signed and locked policies, as an administrator runs them: the real program over a folder.

use crate::policies::guests::{PASS, QUARANTINE, policy};
use anyhow::{Context, Result};
use secmx_policy::manifest::embed::{self, Embedded};
use secmx_tests::process::binary;
use serde_json::Value;
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
pub(crate) fn secmx(folder: &Path, arguments: &str) -> Result<(i32, String)> {
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

/// The same, for programs: each command says what it did in one object.
#[test]
fn programs_are_told_of_trust_too() -> Result<()> {
    let folder = administrator()?;
    let run = |arguments: &str, code: i32, schema: &str| -> Result<Value> {
        let (got, text) = secmx(folder.path(), &format!("{arguments} --json"))?;
        let value: Value = serde_json::from_str(&text).context(text)?;
        anyhow::ensure!(got == code && value["schema"] == format!("secmx/policy-{schema}/v1"), "{arguments}: {got} {value}");
        Ok(value)
    };
    let keys = run("policy keygen team", 0, "keygen")?;
    let name = keys["public"].as_str().context("a key")?.to_owned();
    assert_eq!((&keys["secret_file"], &keys["public_file"]), (&"team.key".into(), &"team.pub".into()));
    let unsigned = run("policy verify guest.wasm --key team.pub", 1, "verify")?;
    assert!(unsigned["ok"] == false && unsigned["trouble"].as_str().is_some_and(|text| text.starts_with("P401 ")), "{unsigned}");
    let signed = run("policy sign guest.wasm --key team.key", 0, "sign")?;
    assert_eq!((&signed["name"], &signed["version"], &signed["signature"]), (&"guest".into(), &"1.0.0".into(), &"guest.wasm.sig".into()));
    let verified = run("policy verify guest.wasm --key team.pub", 0, "verify")?;
    assert_eq!((&verified["ok"], &verified["key"], &verified["sha256"]), (&true.into(), &name.clone().into(), &signed["sha256"]));
    let lock = |change: &str| -> Result<Value> {
        let mut lock = run("policy lock -c secmx.toml", 0, "lock")?;
        let entry = lock["policies"][0].take();
        anyhow::ensure!(entry["name"] == "guest" && entry["change"] == change, "{change}: {entry}");
        Ok(entry)
    };
    assert_eq!(lock("new")?["is"]["signer"], name);
    lock("same")?;
    fs::write(folder.path().join("guest.wasm"), guest("1.1.0", QUARANTINE)?)?;
    run("policy sign guest.wasm --key team.key", 0, "sign")?;
    let changed = lock("component")?;
    assert_eq!((&changed["was"]["version"], &changed["is"]["version"]), (&"1.0.0".into(), &"1.1.0".into()));
    let back = run("policy rollback guest -c secmx.toml", 0, "rollback")?;
    assert_eq!((&back["was"]["version"], &back["is"]["version"]), (&"1.1.0".into(), &"1.0.0".into()));
    Ok(())
}
