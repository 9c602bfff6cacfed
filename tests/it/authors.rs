//! What an author of policies sees: cases against a component, each difference told with what the policy did.

use crate::policies::guests::{PASS, QUARANTINE, policy};
use anyhow::Result;
use secmx_policy::manifest::embed::{self, Embedded};
use secmx_tests::process::binary;
use std::fs;
use std::process::{Command, Output};

const MANIFEST: &str = "[policy]\nname = \"guest\"\nversion = \"1.0.0\"\ninterfaces = [\"content\"]\n[capabilities]\nmessage = \"body\"\n";

const CASES: &str = "[defaults]\ninterface = \"content\"\nmessage = \"m.eml\"\nenvelope = { from = \"a@b.test\", to = [\"c@d.test\"] }\n\
    [[case]]\nname = \"it is kept\"\nexpect = { ruling = \"quarantine\", reason = \"policy.word\" }\n\
    [[case]]\nname = \"it is cheap & small\"\nexpect = { max_fuel = 100_000, max_memory = \"1MiB\" }\n";

/// Runs `secmx policy test` over a guest whose `inspect` is this code.
fn test(inspect: &str, cases: &str, arguments: &[&str]) -> Result<(Output, tempfile::TempDir)> {
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    let embedded = Embedded { manifest: MANIFEST.into(), revision: None, builder: "a test".into() };
    let component = embed::write(&policy("guest", "", inspect).component, &embedded).map_err(anyhow::Error::msg)?;
    fs::create_dir(at("tests"))?;
    fs::write(at("guest.wasm"), component)?;
    fs::write(at("policy.toml"), MANIFEST)?;
    fs::write(at("tests/cases.toml"), cases)?;
    fs::write(at("tests/m.eml"), "Subject: s\r\n\r\nbody\r\n")?;
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
