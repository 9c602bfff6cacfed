//! What an author of policies sees: cases against a component, each difference told with what the policy did.

use crate::policies::guests::{ADD_FIELD, PASS, QUARANTINE, policy};
use crate::trust::secmx;
use anyhow::{Context, Result};
use secmx_policy::manifest::embed::{self, Embedded};
use secmx_tests::process::binary;
use std::fs;
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader, Lines};

pub(crate) const MANIFEST: &str =
    "[policy]\nname = \"guest\"\nversion = \"1.0.0\"\ninterfaces = [\"content\"]\n[capabilities]\nmessage = \"body\"\n";

const CASES: &str = "[defaults]\ninterface = \"content\"\nmessage = \"m.eml\"\nenvelope = { from = \"a@b.test\", to = [\"c@d.test\"] }\n\
    [[case]]\nname = \"it is kept\"\nexpect = { ruling = \"quarantine\", reason = \"policy.word\" }\n\
    [[case]]\nname = \"it is cheap & small\"\nexpect = { max_fuel = 100_000, max_memory = \"1MiB\" }\n";

/// The folder of a policy named `guest` that was built: this component, these cases, and a message for them.
pub(crate) fn folder(manifest: &str, component: &[u8], cases: &str) -> Result<TempDir> {
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    let embedded = Embedded { manifest: manifest.into(), revision: None, builder: "a test".into() };
    fs::create_dir(at("tests"))?;
    fs::write(at("guest.wasm"), embed::write(component, &embedded).map_err(anyhow::Error::msg)?)?;
    fs::write(at("policy.toml"), manifest)?;
    fs::write(at("tests/cases.toml"), cases)?;
    fs::write(at("tests/m.eml"), "Subject: s\r\n\r\nbody\r\n")?;
    Ok(folder)
}

/// Runs `secmx policy test` over a guest whose `inspect` is this code.
fn test(inspect: &str, cases: &str, arguments: &[&str]) -> Result<(Output, TempDir)> {
    let folder = folder(MANIFEST, &policy("guest", "", inspect).component, cases)?;
    let output =
        Command::new(binary()?).args(["policy", "test", "--component", "guest.wasm"]).args(arguments).current_dir(&folder).output()?;
    Ok((output, folder))
}

#[test]
fn cases_that_hold_are_green() -> Result<()> {
    let (output, folder) = test(QUARANTINE, CASES, &["--junit", "out.xml"])?;
    let text = String::from_utf8(output.stdout)?;
    assert!(output.status.success() && text.contains("2 cases: 2 passed, 0 failed"), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let xml = fs::read_to_string(folder.path().join("out.xml"))?;
    assert!(xml.contains("tests=\"2\" failures=\"0\"") && xml.contains("it is cheap &amp; small"), "{xml}");
    Ok(())
}

#[test]
fn a_case_that_does_not_hold_says_what_came_instead() -> Result<()> {
    let (output, _folder) = test(PASS, CASES, &[])?;
    let text = String::from_utf8(output.stdout)?;
    assert_eq!(output.status.code(), Some(1), "{text}");
    for line in [
        "✗ it is kept",
        "ruling     expected quarantine             got pass",
        "reason     expected policy.word            got –",
        "rerun      secmx policy test -k \"it is kept\" --verbose     look: secmx policy run tests/m.eml",
        "✓ it is cheap & small",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    let (_, folder) = test(PASS, CASES, &["--junit", "out.xml"])?;
    let xml = fs::read_to_string(folder.path().join("out.xml"))?;
    let failure = "<failure message=\"ruling: expected quarantine, got pass; reason: expected policy.word, got –\"/>";
    assert!(xml.contains("tests=\"2\" failures=\"1\"") && xml.contains(failure), "{xml}");
    let (output, _folder) = test("unreachable", CASES, &["--json"])?;
    let value: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!((value["schema"].as_str(), value["ok"].as_bool()), (Some("secmx/policy-test/v1"), Some(false)));
    assert_eq!(value["cases"][0]["outcome"]["ruling"], "error", "{value}");
    assert_eq!(value["cases"][1]["differences"][0]["expected"], "no error", "a fault is never a pass: {value}");
    Ok(())
}

/// Each mistake, and what its author reads.
#[test]
fn mistakes_read_as_an_author_would() -> Result<()> {
    let build = "[policy]\nname = \"guest\"\nversion = \"1.0.0\"\ninterfaces = [\"content\"]\n[build]\noutput = \"out.wasm\"\n";
    let command = |line: &str| format!("{build}command = {line:?}\n");
    for (manifest, cases, arguments, words) in [
        ("[policy\n".to_owned(), CASES, "policy build", "policy.toml:1:8  error P101"),
        (
            MANIFEST.replace("version", "verzion"),
            CASES,
            "policy build",
            "policy.toml:3:1  error P101  unknown field `verzion`, expected one of",
        ),
        (
            MANIFEST.replace("\"1.0.0\"", "1"),
            CASES,
            "policy build",
            "policy.toml:3:11  error P101  invalid type: integer `1`, expected a string",
        ),
        (
            MANIFEST.to_owned() + "[limits]\nmemory = \"16\"\n",
            CASES,
            "policy build",
            "policy.toml:8:1  error P101  `limits.memory`: expected at least \"64KiB\"",
        ),
        (
            command("cp guest.wasm out.wasm").replace("[\"content\"]", "[\"receiver\"]"),
            CASES,
            "policy test",
            "policy guest 1.0.0: P203 `policy.interfaces` names `receiver`, which it does not export",
        ),
        (MANIFEST.to_owned(), CASES, "policy build", "has no [build]: say `command` and `output` there"),
        (command("nosuchtool --yes"), CASES, "policy build", "install it, or correct `build.command` in policy.toml"),
        (command("true"), CASES, "policy build", "succeeded and left no"),
        (command("printf '\\0asm\\1\\0\\0\\0' > out.wasm"), CASES, "policy build", "--target wasm32-wasip2"),
        (MANIFEST.to_owned(), "", "policy test --component guest.wasm", "error P301  there is no [[case]]: add one"),
        (MANIFEST.to_owned(), "[[case]]\n", "policy test --component guest.wasm", "cases.toml:1:1  error P301  missing field `name`"),
        (MANIFEST.to_owned(), &CASES.replace("m.eml", "no.eml"), "policy test --component guest.wasm", "case \"it is kept\": cannot read"),
        (MANIFEST.to_owned(), CASES, "policy test --component guest.wasm -k nothing", "no case matches -k \"nothing\""),
        (MANIFEST.to_owned(), CASES, "policy test --component no.wasm", "cannot read no.wasm"),
    ] {
        let (_, folder) = test(PASS, CASES, &[])?;
        fs::write(folder.path().join("policy.toml"), &manifest)?;
        fs::write(folder.path().join("tests/cases.toml"), cases)?;
        let output = Command::new(binary()?).args(arguments.split(' ')).current_dir(&folder).output()?;
        let text = String::from_utf8([output.stdout, output.stderr].concat())?;
        assert!(!output.status.success() && text.contains(words), "{manifest}{arguments}: expected {words:?}, got\n{text}");
    }
    Ok(())
}

#[test]
fn a_snapshot_is_written_and_then_held_to() -> Result<()> {
    let cases = "[[case]]\nname = \"as it was\"\ninterface = \"content\"\nmessage = \"m.eml\"\nexpect = \"snapshot\"\n";
    let (missing, folder) = test(QUARANTINE, cases, &[])?;
    assert!(String::from_utf8(missing.stdout)?.contains("`secmx policy test --update` writes it"));
    let run = |arguments: &[&str]| {
        Command::new(binary()?)
            .args(["policy", "test", "--component", "guest.wasm"])
            .args(arguments)
            .current_dir(&folder)
            .output()
            .map_err(anyhow::Error::from)
    };
    assert!(run(&["--update"])?.status.success());
    let snapshot = fs::read_to_string(folder.path().join("tests/snapshots/as-it-was.toml"))?;
    assert!(snapshot.contains("ruling = \"quarantine\""), "{snapshot}");
    assert!(run(&[])?.status.success());
    fs::write(folder.path().join("tests/snapshots/as-it-was.toml"), snapshot.replace("quarantine", "pass"))?;
    assert_eq!(run(&[])?.status.code(), Some(1));
    Ok(())
}

#[test]
fn what_is_wrong_with_a_case_is_said_with_its_place() -> Result<()> {
    let (output, _folder) = test(PASS, &CASES.replace("ruling =", "rulling ="), &[])?;
    let text = String::from_utf8(output.stderr)?;
    assert!(text.contains("tests/cases.toml:7:12  error P301  unknown field `rulling`, expected one of `ruling`"), "{text}");
    Ok(())
}

/// What has no header, or half of one, is a message too.
#[test]
fn odd_messages_become_cases() -> Result<()> {
    let folder = folder(MANIFEST, &policy("guest", "", QUARANTINE).component, CASES)?;
    for (number, text) in ["", "only text\r\n", "To\r\n\r\n", "To\r\n", "From: \r\nTo: ,\r\n\r\n"].into_iter().enumerate() {
        fs::write(folder.path().join("odd.eml"), text)?;
        let (code, told) = secmx(folder.path(), &format!("policy case add odd.eml --anonymise --name odd-{number}"))?;
        assert!(code == 0 && told.contains("it expects what the policy says today: quarantine policy.word"), "{text:?}: {told}");
    }
    let (code, told) = secmx(folder.path(), "policy test --component guest.wasm")?;
    assert!(code == 0 && told.contains("7 cases: 7 passed, 0 failed"), "{told}");
    Ok(())
}

/// The cases run again after every change of what `build.watch` names; a build that fails is told, and leaves the component.
#[tokio::test(flavor = "multi_thread")]
async fn cases_run_again_after_every_change() -> Result<()> {
    let component = |inspect: &str| policy("guest", "", inspect).component;
    let build = "[build]\ncommand = \"cat source.bin > out.wasm\"\noutput = \"out.wasm\"\nwatch = [\"source*\"]\n";
    let manifest = MANIFEST.to_owned() + build;
    let folder = folder(&manifest, &component(PASS), CASES)?;
    let write = |octets: &[u8]| fs::write(folder.path().join("source.bin"), octets);
    write(&component(PASS))?;
    let mut command = tokio::process::Command::new(binary()?);
    command.args(["policy", "test", "--watch"]).current_dir(&folder).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.kill_on_drop(true).spawn()?;
    let mut lines = BufReader::new(child.stdout.take().context("its output")?).lines();
    let mut hints = BufReader::new(child.stderr.take().context("its hints")?).lines();

    read_to(&mut lines, "2 cases: 1 passed, 1 failed").await?;
    read_to(&mut hints, "waiting for a change; Ctrl-C ends").await?;
    write(&component(QUARANTINE))?;
    read_to(&mut lines, "2 cases: 2 passed, 0 failed").await?;
    read_to(&mut hints, "waiting for a change").await?;
    write(b"no component")?;
    read_to(&mut hints, "secmx: what was built: not a WebAssembly component").await?;
    read_to(&mut hints, "./guest.wasm is still what was built before").await?;
    read_to(&mut hints, "waiting for a change").await?;
    fs::write(folder.path().join("tests/cases.toml"), CASES.replace("quarantine", "reject"))?;
    read_to(&mut hints, "secmx: what was built").await?;
    Ok(())
}

/// Reads lines until one has this in it.
async fn read_to(lines: &mut Lines<BufReader<impl AsyncRead + Unpin>>, part: &str) -> Result<()> {
    let mut seen = Vec::new();
    while seen.last().is_none_or(|line: &String| !line.contains(part)) {
        let line = tokio::time::timeout(Duration::from_secs(60), lines.next_line()).await;
        seen.push(line.with_context(|| format!("{part}: {seen:?}"))??.with_context(|| format!("{part}: it ended: {seen:?}"))?);
    }
    Ok(())
}

/// What build servers read: the same findings, in their words.
#[test]
fn cases_are_told_to_build_servers() -> Result<()> {
    let cases = CASES.replace("it is kept", "it is 100% kept: #1, always");
    let (output, _folder) = test(PASS, &cases, &["--format", "tap"])?;
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8(output.stdout)?,
        "TAP version 14\n1..2\nnot ok 1 - it is 100% kept: \\#1, always\n  ---\n  message: |-\n    ruling: expected quarantine, got pass\n    \
         reason: expected policy.word, got –\n  ...\nok 2 - it is cheap & small\n"
    );
    let (output, _folder) = test(PASS, &cases, &["--format", "github"])?;
    let text = String::from_utf8(output.stdout)?;
    let annotation = "::error file=tests/cases.toml,line=6,title=it is 100%25 kept%3A #1%2C always::ruling: expected quarantine, got pass%0Areason: \
                      expected policy.word, got –\n";
    assert!(text.contains("2 cases: 1 passed, 1 failed") && text.ends_with(annotation), "{text}");
    let (output, _folder) = test(QUARANTINE, &cases, &["--format", "github"])?;
    assert!(output.status.success() && !String::from_utf8(output.stdout)?.contains("::error"));
    Ok(())
}

/// A case that fails says what the policy asked the gateway for; one that passes only when that is wanted.
#[test]
fn a_case_tells_which_functions_were_called() -> Result<()> {
    let line = "it called  message.octets()\n";
    let inspect = format!("(drop (call $octets (local.get $message))) {ADD_FIELD} {PASS}");
    let (output, _folder) = test(&inspect, CASES, &[])?;
    let text = String::from_utf8(output.stdout)?;
    assert_eq!(text.matches("it called").count(), 1, "{text}");
    let failed = text.split("✓ it is cheap").next().unwrap_or_default();
    assert!(failed.contains(line) && failed.contains("changed    + X-Policy: one"), "{text}");
    let (output, _folder) = test(&inspect, CASES, &["--verbose"])?;
    assert_eq!(String::from_utf8(output.stdout)?.matches(line).count(), 2);
    Ok(())
}

/// A case may be about many messages, and may hold nothing but that none of them makes the policy fail.
#[test]
fn a_case_is_run_with_each_of_its_messages() -> Result<()> {
    let cases = "[defaults]\ninterface = \"content\"\n[[case]]\nname = \"nothing breaks it\"\nmessages = \"corpus/*.eml\"\nexpect = { not_error = true }\n";
    let short = "(i64.lt_u (call $octets (local.get $message)) (i64.const 20))";
    let folder = folder(MANIFEST, &policy("guest", "", &format!("(if {short} (then unreachable)) {PASS}")).component, cases)?;
    let run = || secmx(folder.path(), "policy test --component guest.wasm");
    let (code, text) = run()?;
    assert!(code == 1 && text.contains("case \"nothing breaks it\": no file matches ./tests/corpus/*.eml"), "{code} {text}");
    fs::create_dir(folder.path().join("tests/corpus"))?;
    for (name, text) in [("b.eml", "Subject: long enough\r\n\r\nbody\r\n"), ("a.eml", "Subject: also long\r\n\r\nbody\r\n")] {
        fs::write(folder.path().join("tests/corpus").join(name), text)?;
    }
    let (code, text) = run()?;
    let order = text.find("✓ nothing breaks it [a.eml]").zip(text.find("✓ nothing breaks it [b.eml]"));
    assert!(code == 0 && order.is_some_and(|(a, b)| a < b) && text.contains("2 cases: 2 passed, 0 failed"), "{code} {text}");
    fs::write(folder.path().join("tests/corpus/c.eml"), "S: s\r\n\r\n")?;
    let (code, text) = run()?;
    assert!(code == 1 && text.contains("✗ nothing breaks it [c.eml]") && text.contains("expected no error"), "{code} {text}");
    assert!(text.contains("policy test -k \"nothing breaks it\" --verbose"), "{text}");
    Ok(())
}
