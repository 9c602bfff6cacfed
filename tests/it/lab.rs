//! Every case of the lab's table, played through the real delivery under both sender roles, and by the lab's client at both receivers.

use anyhow::{Result, ensure};
use secmx::lab::{NAME, Own, Plan, Report, Sender, Verdict, play};
use secmx_core::role::SenderRole;
use secmx_lab::cases::{Case, Fate, Need, table};
use secmx_lab::client::secure;
use secmx_lab::ground::{Ground, Ports, Setup};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn setup() -> Setup {
    Setup { ports: Ports::default(), own: NAME.into(), keys: None }
}

async fn run(change: impl Fn(&mut Case), only: impl Fn(&Case) -> bool) -> Result<Report> {
    let mut ground = Ground::build(setup(), only).await?;
    ground.scenes.iter_mut().for_each(|scene| change(&mut scene.case));
    ground.knocks.iter_mut().for_each(change);
    let own = Own::start(&ground, None, Some(&PathBuf::from(secmx_tests::cache()))).await?;
    own.settle().await;
    let plan = Plan {
        roles: vec![SenderRole::BestEffort, SenderRole::SecureOnly],
        given: vec![Need::Crl, Need::OwnName],
        receivers: vec![("BER", own.listener("public")?), ("SOR", own.listener("secure")?)],
    };
    play(Arc::new(ground), Arc::new(Sender::Own(Box::new(own))), &plan).await
}

/// L2-2, L2-4, L2-5, L2-6, L2-7, S-3, S5: 154 cases, each with the outcome and the code that the table has for each role.
#[tokio::test(flavor = "multi_thread")]
async fn every_case_of_the_lab_ends_as_the_table_has_it() -> Result<()> {
    let report = run(|_| {}, |_| true).await?;
    ensure!(report.is_good() && report.count(Verdict::Skipped) == 0, "{}", report.to_text());
    let played: BTreeSet<(String, &str)> = report.rows.iter().map(|row| (row.id.clone(), row.role)).collect();
    for case in table()? {
        let roles = if case.bes.is_some() { ["BES", "SOS"] } else { ["BER", "SOR"] };
        ensure!(roles.iter().all(|role| played.contains(&(case.id.clone(), role))), "{} was not played", case.id);
    }
    Ok(())
}

/// A wrong outcome, a wrong code, a wrong host, a host that must not be called, a wrong reply: each is a failure.
#[tokio::test(flavor = "multi_thread")]
async fn the_lab_can_say_no() -> Result<()> {
    let ids = ["cert-good", "cert-expired", "srv-priority", "tls-absent", "rx-plain"];
    let spoil = |case: &mut Case| match case.id.as_str() {
        "cert-good" => case.bes = Some(Fate::Encrypted),
        "cert-expired" => case.sos = Some(Fate::Returned("5.7.10".into())),
        "srv-priority" => case.by = Some("secmail".into()),
        "tls-absent" => case.never = Some("mx".into()),
        _ => case.sor = Some("250".into()),
    };
    let report = run(spoil, |case| ids.contains(&case.id.as_str())).await?;
    let failed: Vec<String> =
        report.rows.iter().filter(|row| row.verdict == Verdict::Failed).map(|row| format!("{} {}", row.id, row.role)).collect();
    let wanted =
        ["cert-good BES", "cert-expired SOS", "srv-priority BES", "srv-priority SOS", "tls-absent BES", "tls-absent SOS", "rx-plain SOR"];
    assert_eq!(failed, wanted, "{}", report.to_text());
    assert!(!report.is_good());
    Ok(())
}

async fn secmx(directory: &Path, arguments: &[&str]) -> Result<(Option<i32>, String)> {
    let output = tokio::process::Command::new(secmx_tests::process::binary()?)
        .args(arguments)
        .current_dir(directory)
        .env_remove("SECMX_CONFIG")
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(Duration::from_secs(60), output).await??;
    Ok((output.status.code(), format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))))
}

/// What the program itself does: a run under a configuration whose floor is lower than the table's, the three reports, the end codes.
#[tokio::test(flavor = "multi_thread")]
async fn the_program_plays_the_lab_and_tells_the_truth() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let at = directory.path();
    let cache = format!("[paths]\ncache = {:?}\n", secmx_tests::cache());
    std::fs::write(at.join("lax.toml"), format!("hostname = \"lax.test\"\n{cache}[send]\nsos = {{ floor = \"encrypted\" }}\n"))?;
    let (code, text) = secmx(
        at,
        &["lab", "run", "--gateway", "lax.toml", "--only", "cert-*ex*", "--json", "r.json", "--html", "r.html", "--junit", "r.xml"],
    )
    .await?;
    ensure!(code == Some(1) && text.contains("FAIL  cert-expired") && text.contains("SOS expected: returned 5.7.5"), "{code:?} {text}");
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(at.join("r.json"))?)?;
    ensure!(report["failed"].as_u64() == Some(2) && report["passed"].as_u64() == Some(4), "{report}");
    let [html, junit] = ["r.html", "r.xml"].map(|name| std::fs::read_to_string(at.join(name)).unwrap_or_default());
    ensure!(html.contains("cert-expired-intermediate") && !html.contains("http://") && junit.contains("failures=\"2\""), "{html} {junit}");
    std::fs::write(at.join("strict.toml"), format!("hostname = \"strict.test\"\n{cache}"))?;
    let (code, text) = secmx(at, &["lab", "run", "--gateway", "strict.toml", "--only", "cert-expired", "--role", "sos"]).await?;
    ensure!(code == Some(0) && text.contains("3 cases, 3 outcomes: 3 pass, 0 fail"), "{code:?} {text}");
    let (code, text) = secmx(at, &["lab", "run", "--only", "no-such-case"]).await?;
    ensure!(code == Some(3) && text.contains("secmx lab list"), "{code:?} {text}");
    let (code, text) = secmx(at, &["lab", "list", "--only", "dane-match", "--json"]).await?;
    ensure!(code == Some(0) && text.contains("\"bes\": \"domain\""), "{code:?} {text}");
    Ok(())
}

/// A certificate that was asked for is what it was asked to be, and two of one directory have one authority.
#[tokio::test]
async fn certificates_are_made_for_others() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let at = directory.path();
    let mut roots = Vec::new();
    for (case, days) in [("expired", "-3"), ("cert-wrong-name", "30")] {
        let (code, text) = secmx(at, &["lab", "cert", case, "--host", "mx.p.test", "--days", days, "-o", "bad.pem"]).await?;
        ensure!(code == Some(0), "{text}");
        let pem = std::fs::read_to_string(at.join("bad.pem"))?;
        ensure!(pem.matches("BEGIN PRIVATE KEY").count() == 1 && pem.matches("BEGIN CERTIFICATE").count() == 1, "{pem}");
        roots.push(std::fs::read_to_string(at.join("lab/ca-key.pem"))?);
    }
    ensure!(roots[0] == roots[1] && at.join("lab/ca.pem").exists());
    let (code, text) = secmx(at, &["lab", "cert", "no-such-flaw"]).await?;
    ensure!(code == Some(3) && text.contains("lists them"), "{text}");
    Ok(())
}

/// What a sender made of text behind 220 is seen by whether it waits for an answer over TLS.
#[tokio::test]
async fn who_acts_on_injected_text_is_told_from_who_discards_it() -> Result<()> {
    let ground = Ground::build(setup(), |case| case.id == "tls-injection").await?;
    let scene = &ground.scenes[0];
    for (said, believed) in [("EHLO a.test\r\n", false), ("EHLO a.test\r\nMAIL FROM:<a@a.test>\r\n", true)] {
        let mut stream = TcpStream::connect(scene.hosts[0].1.address()).await?;
        stream.write_all(b"EHLO a.test\r\nSTARTTLS\r\n").await?;
        until(&mut stream, "AUTH PLAIN\r\n").await?;
        let mut stream = secure(stream, "mx.tls-injection.lab.test", None).await?;
        stream.write_all(said.as_bytes()).await?;
        until(&mut stream, "250 HELP\r\n").await?;
        ensure!(scene.was_believed() == believed, "{believed}");
    }
    Ok(())
}

/// Hears until that was said.
async fn until(stream: &mut (impl AsyncRead + Unpin), said: &str) -> Result<()> {
    let (mut heard, mut buffer) = (String::new(), [0; 4096]);
    while !heard.contains(said) {
        let length = tokio::time::timeout(Duration::from_secs(20), stream.read(&mut buffer)).await??;
        ensure!(length > 0, "closed after {heard}");
        heard.push_str(&String::from_utf8_lossy(&buffer[..length]));
    }
    Ok(())
}

/// A row that no world is built for does not pass in silence.
#[tokio::test]
async fn a_case_that_nobody_plays_is_an_error() -> Result<()> {
    let mut ground = Ground::build(setup(), |case| case.id == "cert-good").await?;
    let mut case = table()?.remove(0);
    case.id = "cert-of-nobody".into();
    let error = ground.add(case).await.err().map(|error| format!("{error:#}")).unwrap_or_default();
    assert!(error.contains("nobody plays cert-of-nobody"), "{error}");
    Ok(())
}
