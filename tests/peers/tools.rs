//! Judges that others wrote: testssl.sh against a listener, and the driver of the shared bad inputs against the whole gateway.

use crate::World;
use anyhow::{Context, Result, ensure};
use secmx_lab::client::Client;
use secmx_lab::peer::{Behaviour, Peer};
use secmx_tests::Process;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Grades of testssl.sh that say that something is wrong.
const WRONG: [&str; 4] = ["LOW", "MEDIUM", "HIGH", "CRITICAL"];

#[derive(Debug, Deserialize)]
struct Finding {
    id: String,
    severity: String,
    finding: String,
}

/// What testssl.sh says of any certificate that a test made for itself, or of any host without records in the real DNS.
fn is_about_the_certificate(finding: &Finding) -> bool {
    finding.id.starts_with("cert_") || matches!(finding.id.as_str(), "DNS_CAArecord" | "OCSP_stapling")
}

/// Nothing worse than the test certificate.
#[test]
fn testssl_finds_nothing_but_the_test_certificate() -> Result<()> {
    let Some(program) = ["/usr/bin/testssl", "/usr/bin/testssl.sh"].into_iter().find(|path| Path::new(path).exists()) else {
        println!("skipped: Debian's testssl.sh is not installed (apt-get install testssl.sh)");
        return Ok(());
    };
    let world = World::new()?;
    let listener = "[receive.tested]\nlisten = \"127.0.0.1:0\"\nrole = \"BER\"\nlimits = { per_ip = 200 }\n";
    let mut gateway = Process::serve(&world.config("deliver_to = \"smtp://127.0.0.1:9\"", listener)?)?;
    let address = gateway.listener("tested")?;
    let report = world.directory.path().join("testssl.json");
    let output = Command::new("timeout")
        .args(["240", program, "--quiet", "--color", "0", "--warnings", "batch", "--nodns", "min", "--starttls", "smtp"])
        .args(["--protocols", "--std", "--server-preference", "--fs", "--vulnerable", "--server-defaults", "--jsonfile"])
        .arg(&report)
        .arg(address.to_string())
        .output()
        .context("cannot run testssl.sh")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.code() != Some(124), "testssl.sh did not come to an end:\n{said}");
    let findings: Vec<Finding> = serde_json::from_str(&fs::read_to_string(&report)?).with_context(|| said.clone())?;
    let found = |id: &str| findings.iter().find(|finding| finding.id == id).map(|finding| finding.finding.as_str());
    ensure!(found("TLS1_3").is_some_and(|found| found.contains("offered")), "it did not look: {said}");
    ensure!(found("cipherlist_NULL").is_some_and(|found| found.contains("not offered")), "it did not grade the ciphers: {said}");
    let wrong: Vec<_> = findings
        .iter()
        .filter(|finding| WRONG.contains(&finding.severity.as_str()) && !is_about_the_certificate(finding))
        .map(|finding| format!("{} {}: {}", finding.severity, finding.id, finding.finding))
        .collect();
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    println!("testssl.sh: {} findings, none of them wrong but for the certificate", findings.len());
    Ok(())
}

/// The stages of the shared cases that the driver plays.
const DRIVEN: [&str; 7] = ["smtp-command", "open-relay", "data-body", "bdat", "pipelining", "connect", "starttls-server"];

#[derive(Debug, Deserialize)]
struct Cases {
    entries: Vec<SharedCase>,
}

#[derive(Debug, Deserialize)]
struct SharedCase {
    stage: String,
}

/// The shared cases, where they are: beside the repository, or where `SECMX_SHARED` says.
fn shared() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    let directory = std::env::var_os("SECMX_SHARED").map_or(beside, PathBuf::from);
    directory.join("tools/run_bad_inputs.py").exists().then_some(directory)
}

/// Whether a line of the log says that a message of this sender was taken.
fn is_queued_from(line: &str, sender: &str) -> bool {
    let event: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
    event["event"] == "message.queued" && event["reverse_path"] == sender
}

/// S1: the driver of the shared cases plays all that it can, and has nothing to complain of.
#[test]
fn s1_the_shared_driver_finds_nothing_bad() -> Result<()> {
    let Some(shared) = shared() else {
        println!("skipped: the shared cases are not beside this repository (SECMX_SHARED says where else)");
        return Ok(());
    };
    let world = World::new()?;
    let identity = world.authority.issue(&["inside.test"])?;
    let inside = world.runtime.block_on(Peer::start(Behaviour::default(), &identity))?;
    fs::write(world.directory.path().join("recipients"), "user@example.test\npostmaster@example.test\n")?;
    let more = "[recipients]\nlist = \"recipients\"\n\
                [receive.public]\nlisten = \"127.0.0.1:0\"\nrole = \"BER\"\nlimits = { message = \"10MiB\", per_ip = 500 }\n";
    let config = world.config(&format!("deliver_to = \"smtp://{}\"", inside.address()), more)?;
    fs::write(&config, fs::read_to_string(&config)?.replace("\"agency.test\"", "\"example.test\""))?;
    let mut gateway = Process::serve(&config)?;
    let address = gateway.listener("public")?;
    let cases: Cases = serde_json::from_str(&fs::read_to_string(shared.join("cases/bad_inputs.json"))?)?;
    let (held, mut told) = (cases.entries.iter().filter(|case| DRIVEN.contains(&case.stage.as_str())).count(), BTreeMap::new());
    // It waits most of the time, so a few of them share the cases.
    let drivers = ["^[a-d]", "^[e-l]", "^m", "^[n-z]"].map(|cases| {
        let mut driver = Command::new("timeout");
        driver.args(["300", "python3"]).arg(shared.join("tools/run_bad_inputs.py"));
        driver.args([&address.ip().to_string(), &address.port().to_string(), "--only", cases]);
        driver.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().context("cannot run python3")
    });
    for driver in drivers {
        let output = driver?.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let counts = said.lines().next().unwrap_or_default();
        println!("run_bad_inputs.py: {counts}");
        let counts: BTreeMap<String, usize> = serde_json::from_str(&counts.replace('\'', "\""))
            .with_context(|| format!("{said}{}", String::from_utf8_lossy(&output.stderr)))?;
        ensure!(counts.keys().all(|outcome| outcome == "ok" || outcome.starts_with("skip")), "{said}");
        counts.into_iter().for_each(|(outcome, count)| *told.entry(outcome).or_insert(0) += count);
    }
    ensure!(told.values().sum::<usize>() == held, "{told:?} of {held} cases");
    // It passes over a case by itself, or because we do not offer something: that is one alone, which is about a server without CHUNKING.
    ensure!(told.get("skip-nocap") == Some(&1), "{told:?}");
    // What is logged of the canary is logged behind all that was taken before it.
    let canary = world.runtime.block_on(async {
        let mut client = Client::connect(address).await?;
        client.command("EHLO canary.test").await?;
        client.transact("canary@probe.test", &["user@example.test"], "Subject: canary\r\n\r\nx").await
    })?;
    ensure!(canary.starts_with("250"), "{canary}");
    gateway.wait_for("message.queued", |event| event["reverse_path"] == "canary@probe.test")?;
    let forged: Vec<_> = gateway.log().lines().filter(|line| is_queued_from(line, "boss@example.test")).map(str::to_owned).collect();
    ensure!(forged.is_empty(), "forged messages: {forged:#?}");
    ensure!(gateway.log().lines().any(|line| is_queued_from(line, "a@probe.test")), "nothing was taken at all");
    Ok(())
}
