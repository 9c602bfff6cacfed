//! Each shipped content policy as an administrator meets it: configured from the example in its README and nothing else, and its refusal as
//! the sender reads it, which is the one that the README shows.

use anyhow::{Context, Result, ensure};
use secmx_lab::ca::Flaw;
use secmx_lab::client::Client;
use secmx_lab::peer::Behaviour;
use secmx_tests::Rig;
use std::fs;
use std::path::Path;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

/// A policy, a message that it objects to, and with which code.
struct Trial {
    policy: &'static str,
    /// Over which listener it comes, from whom and to whom.
    way: (&'static str, &'static str, &'static str),
    message: &'static str,
    code: &'static str,
}

const OUT: (&str, &str, &str) = ("inside", "ana@agency.test", "bo@elsewhere.example");

const TRIALS: [Trial; 5] = [
    Trial {
        policy: "opaque-content",
        way: OUT,
        message: "Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\nHello\r\n--x\r\nContent-Type: application/zip; name=offer.zip\r\n\
                  Content-Transfer-Encoding: base64\r\n\r\nUEsDBBQAAQAIAA==\r\n--x--",
        code: "opaque.archive",
    },
    Trial {
        policy: "no-secrets",
        way: OUT,
        message: "Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\nNL91 ABNA 0417 1643 00, NL91ABNA0417164300\r\n--x--",
        code: "secrets.iban",
    },
    Trial { policy: "classification", way: OUT, message: "Subject: RESTRICTED: figures\r\n\r\nHello", code: "classification.fence" },
    Trial {
        policy: "attachments",
        way: OUT,
        message: "Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\nHello\r\n--x\r\n\
                  Content-Disposition: attachment; filename=invoice.js\r\n\r\nx\r\n--x--",
        code: "attachments.name",
    },
    Trial {
        policy: "dmarc",
        way: ("public", "eve@bank.test", "ana@agency.test"),
        message: "From: eve@bank.test\r\n\r\nHello",
        code: "dmarc.reject",
    },
];

/// The README of a policy.
fn readme(policy: &str) -> Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies").join(policy).join("README.md");
    fs::read_to_string(&path).with_context(|| path.display().to_string())
}

/// The example in it.
fn example(readme: &str) -> Result<&str> {
    readme.split_once("```toml\n").and_then(|(_, rest)| rest.split_once("```")).map(|(block, _)| block).context("an example")
}

/// What it says that a sender reads.
fn shown(readme: &str) -> String {
    readme.lines().filter_map(|line| line.strip_prefix("> ")).collect::<Vec<_>>().join(" ")
}

/// A reply as one line.
fn line(reply: &str) -> String {
    let text = reply.lines().map(|line| line.get("550-5.7.1 ".len()..).unwrap_or_default().trim());
    format!("{} {}", reply.get(.."550".len()).unwrap_or_default(), reply.get(4..9).unwrap_or_default())
        + " "
        + &text.collect::<Vec<_>>().join(" ")
}

async fn rig(configuration: &str) -> Result<Rig> {
    let mut rig = Rig::world().await?;
    rig.dns.txt("bank.test", &["v=spf1 -all"]);
    rig.dns.txt("_dmarc.bank.test", &["v=DMARC1; p=reject"]);
    rig.start("", configuration).await?;
    Ok(rig)
}

async fn send(rig: &Rig, (listener, from, to): (&str, &str, &str), message: &str) -> Result<String> {
    let mut client = Client::connect(rig.listener(listener)?).await?;
    client.command("EHLO probe.test").await?;
    client.transact(from, &[to], message).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_policy_does_what_its_readme_shows() -> Result<()> {
    for Trial { policy, way, message, code } in TRIALS {
        let readme = readme(policy)?;
        let example = example(&readme)?;
        let rig = rig(example).await?;
        let reply = send(&rig, way, message).await?;
        if example.contains("\"hold\"") {
            ensure!(reply.starts_with("250"), "{policy}: {reply}");
            let list = rig.secmx(&["quarantine", "list"], "").await?;
            let list = String::from_utf8_lossy(&list.stdout).into_owned();
            ensure!(list.contains(code), "{policy} holds it: {list}");
        }
        let fine = send(&rig, way, "From: ana@agency.test\r\nSubject: s\r\n\r\nHello").await?;
        ensure!(fine.starts_with("250"), "{policy}: what it has nothing against passes: {fine}");
        // What it holds with this example, it refuses with the other word that its table has.
        let refusing = if example.contains("\"hold\"") { self::rig(&example.replace("\"hold\"", "\"reject\"")).await? } else { rig };
        let reply = send(&refusing, way, message).await?;
        ensure!(line(&reply) == shown(&readme), "{policy}: the sender reads\n{}\nand not\n{}", line(&reply), shown(&readme));
        ensure!(readme.contains(&format!("`{code}`")), "{policy}: its README names {code}");
        refusing.event("policy.ruled", |event| event["code"] == code && event["ruling"] == "reject").await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_of_the_journal_keeps_a_copy() -> Result<()> {
    let mut rig = Rig::world().await?;
    let key = rig.state().join("journal.key").display().to_string();
    let made = rig.secmx(&["journal", "keygen", &key], "").await?;
    let said = String::from_utf8_lossy(&made.stdout).into_owned();
    let public = said.split('"').find(|word| word.starts_with("age1")).context(said.clone())?;
    let readme = readme("journal")?;
    rig.start("", &example(&readme)?.replace("age1…", public)).await?;
    ensure!(send(&rig, OUT, "Subject: s\r\n\r\nHello").await?.starts_with("250"));
    let file = rig.file().display().to_string();
    let verified = rig.secmx(&["journal", "verify", "-c", &file], "").await?;
    ensure!(verified.status.success() && String::from_utf8_lossy(&verified.stdout).contains("1 records"), "{verified:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_of_the_disclaimer_adds_its_text() -> Result<()> {
    let readme = readme("disclaimer")?;
    let mut rig = Rig::world().await?;
    let partner = rig.host("mx.partner.test", 172, Behaviour::default(), Flaw::None).await?;
    rig.dns.mx("partner.test", &[(10, "mx.partner.test")]);
    rig.start("", example(&readme)?).await?;
    ensure!(send(&rig, ("inside", "ana@agency.test", "bo@partner.test"), "Subject: s\r\n\r\nHello").await?.starts_with("250"));
    let taken = partner.wait_for_messages(1, PATIENCE).await;
    let content = String::from_utf8_lossy(&taken[0].content).into_owned();
    let text = "Hello\r\n\r\nThis message may be confidential. If it is not for you, please tell the sender and delete it.\r\n";
    ensure!(content.ends_with(text), "{content}");
    Ok(())
}

/// Nothing that a README shows is left out here.
#[test]
fn every_readme_with_an_example_is_tried() -> Result<()> {
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let tried = TRIALS.iter().any(|trial| trial.policy == name) || matches!(&*name, "journal" | "disclaimer");
        ensure!(readme(&name)?.contains("[[policy]]") == tried, "{name}");
    }
    Ok(())
}
