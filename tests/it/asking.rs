//! `secmx policy run` and `secmx policy bench`: a policy asked about messages at hand, and how long it takes for an answer.

use crate::authors::{self, MANIFEST};
use crate::operating::told;
use crate::policies::guests::{ASK, QUARANTINE, keeper, policy, sender};
use crate::trust::secmx;
use anyhow::{Context, Result};
use secmx_tests::Rig;
use secmx_tests::process::binary;
use serde_json::Value;
use std::fs::{self, File};
use std::process::Command;

const CASES: &str = "[defaults]\ninterface = \"content\"\nmessage = \"m.eml\"\n[[case]]\nname = \"it is kept\"\nexpect = { ruling = \"quarantine\" }\n\
    [[case]]\nname = \"whatever it is\"\nmessages = \"*.eml\"\nexpect = { not_error = true }\n";

const MBOX: &str =
    "From a@b.test Thu Jan  1 00:00:00 2026\nSubject: one\n\nbody\n\nFrom a@b.test Thu Jan  1 00:00:00 2026\nSubject: two\n\nbody\n";

fn objects(text: &str) -> Result<Vec<Value>> {
    text.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect()
}

/// A file, a folder, an mbox, standard input: each message has its name, and each its answer.
#[test]
fn messages_at_hand_are_asked_about() -> Result<()> {
    let folder = authors::folder(MANIFEST, &policy("guest", "", QUARANTINE).component, CASES)?;
    fs::write(folder.path().join("tests/a.eml"), "Subject: a\r\n\r\n")?;
    fs::write(folder.path().join("tests/no-message.txt"), "text")?;
    fs::write(folder.path().join("all.mbox"), MBOX)?;
    for (place, names) in
        [("tests/m.eml", &["tests/m.eml"][..]), ("tests", &["tests/a.eml", "tests/m.eml"]), ("all.mbox", &["all.mbox 1", "all.mbox 2"])]
    {
        let (code, text) = secmx(folder.path(), &format!("policy run {place} --json"))?;
        let told = objects(&text)?;
        assert_eq!((code, told.iter().map(|one| one["message"].as_str()).collect::<Option<Vec<_>>>()), (0, Some(names.to_vec())), "{text}");
        assert!(told.iter().all(|one| one["outcome"]["ruling"] == "quarantine" && one["schema"] == "secmx/policy-run/v1"), "{text}");
    }
    let input = File::open(folder.path().join("tests/m.eml"))?;
    let output = Command::new(binary()?).args(["policy", "run", "-"]).current_dir(&folder).stdin(input).output()?;
    let text = String::from_utf8(output.stdout)?;
    assert!(output.status.success() && text.starts_with("-\n") && text.contains("ruling     quarantine  policy.word"), "{text}");
    let (code, text) = secmx(folder.path(), "policy run nowhere.eml")?;
    assert!(code == 1 && text.contains("cannot read nowhere.eml"), "{text}");
    fs::create_dir(folder.path().join("empty"))?;
    let (code, text) = secmx(folder.path(), "policy run empty")?;
    assert!(code == 1 && text.contains("there is no message in empty: the names of messages end in .eml"), "{text}");
    let sends = MANIFEST.replace("content", "sender");
    let folder = authors::folder(&sends, &sender("guest", "i32.const 0").component, CASES)?;
    let (code, text) = secmx(folder.path(), "policy run tests/m.eml")?;
    assert!(code == 1 && text.contains("guest answers nothing about messages (`content`): `secmx policy test` asks it"), "{text}");
    Ok(())
}

/// What DNS answered once is written down, and answers from then on: another run, and a case.
#[tokio::test(flavor = "multi_thread")]
async fn what_dns_answered_becomes_a_case() -> Result<()> {
    let rig = Rig::world().await?;
    rig.dns.txt("x.test", &["v"]);
    let manifest = MANIFEST.to_owned() + "dns = [\"TXT\"]\nstore = \"1KiB\"\n";
    let cases = "[[case]]\nname = \"as it was\"\ninterface = \"content\"\nmessage = \"m.eml\"\nexpect = { ruling = \"pass\" }\n";
    let folder = authors::folder(&manifest, &keeper("unnamed", ASK).component, cases)?;
    let author = folder.path().display().to_string();
    let record = folder.path().join("tests/m.host.jsonl").display().to_string();
    fs::write(rig.file(), rig.configuration("", ""))?;
    let message = folder.path().join("tests/m.eml").display().to_string();
    let run = async |more: &[&str]| {
        rig.secmx(&[&["policy", "run", &message, "--folder", &author], more].concat(), "").await.map(|output| told(&output))
    };

    let (code, text, hints) = run(&[]).await?;
    assert!(code == Some(1) && text.contains("no network is asked here: x.test TXT needs --allow-net, or --replay FILE"), "{text}{hints}");
    let (code, text, hints) = run(&["--allow-net", "--record", &record, "-c", "secmx.toml"]).await?;
    assert!(code == Some(0) && text.contains("ruling     pass"), "{text}{hints}");
    let asked = rig.dns.asked().len();
    let written = fs::read_to_string(&record)?;
    let line: Value = serde_json::from_str(&written).context(written.clone())?;
    assert_eq!((&line["schema"], &line["dns"]["x.test TXT"]["values"]), (&"secmx/host-answers/v1".into(), &serde_json::json!(["v"])));
    let (code, text, hints) = run(&["--replay", &record]).await?;
    assert!(code == Some(0) && text.contains("ruling     pass"), "{text}{hints}");

    let test = || secmx(folder.path(), "policy test --component guest.wasm");
    let (code, text) = test()?;
    assert!(code == 1 && text.contains("the case does not say what DNS answers: add dns = { \"x.test TXT\" = \"none\" }"), "{text}");
    fs::write(folder.path().join("tests/cases.toml"), cases.replace("expect", "replay = \"m.host.jsonl\"\nexpect"))?;
    let (code, text) = test()?;
    assert!(code == 0 && text.contains("1 case: 1 passed, 0 failed"), "{text}");
    assert_eq!(rig.dns.asked().len(), asked, "what was recorded is not asked again");
    Ok(())
}

/// How long an answer takes is told for each case about one message, and for each message that is named; that is no judgement.
#[test]
fn answers_are_timed() -> Result<()> {
    let folder = authors::folder(MANIFEST, &policy("guest", "", QUARANTINE).component, CASES)?;
    let (code, text) = secmx(folder.path(), "policy bench --times 20")?;
    let words: Vec<&str> = text.split_whitespace().collect();
    assert!(code == 0 && text.lines().count() == 1 && words.starts_with(&["it", "is", "kept", "p50"]) && words.contains(&"p99"), "{text}");
    for command in ["policy bench --times 20 --json", "policy run tests --bench 20 --json"] {
        let (code, text) = secmx(folder.path(), command)?;
        let told = objects(&text)?;
        let [one] = &told[..] else { anyhow::bail!("{command}: {text}") };
        assert_eq!(
            (code, &one["schema"], &one["times"], &one["faults"]),
            (0, &"secmx/policy-bench/v1".into(), &20.into(), &0.into()),
            "{text}"
        );
        assert!(one["p50_us"].as_f64() > Some(0.0) && one["p50_us"].as_f64() <= one["p99_us"].as_f64(), "{text}");
    }
    let broken = authors::folder(MANIFEST, &policy("guest", "", "unreachable").component, CASES)?;
    let (_, text) = secmx(broken.path(), "policy bench --times 20")?;
    assert!(text.trim_end().ends_with("   20 faults"), "{text}");
    let (code, text) = secmx(broken.path(), "policy bench no-such-folder")?;
    assert!(code == 1 && text.contains("cannot read no-such-folder/policy.toml"), "{text}");
    Ok(())
}
