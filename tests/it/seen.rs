//! What a gateway saw is there for authors: messages in its queue, messages that it kept, and what was decided about them.

use crate::authors::MANIFEST;
use crate::decisions::line;
use crate::operating::told;
use crate::policies::guests::QUARANTINE;
use crate::trust::guest;
use anyhow::{Context, Result};
use secmx_lab::client::Client;
use secmx_tests::Rig;
use std::fs;

/// A gateway that quarantines everything, with an author's folder beside it, and one message in quarantine: its queue id.
async fn rig(more: &str) -> Result<(Rig, String)> {
    let mut rig = Rig::world().await?;
    let author = rig.state().join("author");
    fs::create_dir(&author)?;
    fs::write(author.join("policy.toml"), MANIFEST)?;
    fs::write(author.join("guest.wasm"), guest("1.0.0", QUARANTINE)?)?;
    let entry = format!("{more}[[policy]]\nname = \"guest\"\nuse = \"{}\"\n", author.join("guest.wasm").display());
    rig.start("", &entry).await?;
    let mut client = Client::connect(rig.listener("public")?).await?;
    client.command("EHLO probe.test").await?;
    let content = "From: Ana <a@probe.test>\r\nTo: ana@agency.test\r\nSubject: s\r\n\r\nwrite to ana@agency.test";
    let reply = client.transact("a@probe.test", &["ana@agency.test"], content).await?;
    let id = reply.trim().strip_prefix("250 2.0.0 queued as ").context(reply.clone())?.to_owned();
    Ok((rig, id))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_in_the_queue_is_asked_about_and_becomes_a_case() -> Result<()> {
    let (rig, id) = rig("").await?;
    let qid = format!("qid:{id}");
    let (code, text, hints) = told(&rig.secmx(&["policy", "run", &qid, "--folder", "author"], "").await?);
    assert!(code == Some(0) && text.starts_with(&id) && text.contains("ruling     quarantine  policy.word"), "{text}{hints}");
    let (code, _, hints) = told(&rig.secmx(&["policy", "run", "qid:01JD9W3K7Q8Z", "--folder", "author"], "").await?);
    assert!(code == Some(3) && hints.contains("secmx explain 01JD9W3K7Q8Z"), "{code:?} {hints}");

    let add = ["policy", "case", "add", &qid, "--folder", "author", "--anonymise", "--name", "it is \"seen\""];
    let (code, text, hints) = told(&rig.secmx(&add, "").await?);
    assert!(code == Some(0) && text.contains("it expects what the policy says today: quarantine policy.word"), "{text}{hints}");
    let kept = fs::read_to_string(rig.state().join("author/tests/it-is-seen.eml"))?;
    assert_eq!(
        kept, "From: person1@org1.example\r\nTo: person2@org2.example\r\nSubject: s\r\n\r\nwrite to person2@org2.example\r\n",
        "without our trace field, and without those who wrote and read it"
    );
    let cases = fs::read_to_string(rig.state().join("author/tests/cases.toml"))?;
    assert!(cases.contains("person1@org1.example") && !cases.contains(".test"), "{cases}");
    let (code, text, hints) = told(&rig.secmx(&["policy", "test", "author", "--component", "author/guest.wasm"], "").await?);
    assert!(code == Some(0) && text.contains("1 case: 1 passed, 0 failed"), "{text}{hints}\n{cases}");
    let other = ["policy", "case", "add", &qid, "--folder", "author", "--name", "for programs", "--json"];
    let (code, text, hints) = told(&rig.secmx(&other, "").await?);
    let object: serde_json::Value = serde_json::from_str(&text).context(hints)?;
    assert_eq!(
        (code, &object["schema"], &object["message"]),
        (Some(0), &"secmx/policy-case/v1".into(), &"author/tests/for-programs.eml".into())
    );
    assert_eq!(object["outcome"]["reason"], "policy.word", "{object}");
    let (code, _, hints) = told(&rig.secmx(&add, "").await?);
    assert!(code == Some(1) && hints.contains("is there already; --name gives the case another name"), "{hints}");
    Ok(())
}

/// What was sealed is for those with the key, as a case and as a replay; what was decided is read from the log.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_was_kept_is_there_for_who_has_the_key() -> Result<()> {
    let keys = tempfile::tempdir()?;
    let (key, public) = (keys.path().join("team.key"), keys.path().join("team.pub"));
    let (team, key) = (keys.path().join("team").display().to_string(), key.display().to_string());
    let maker = Rig::world().await?;
    let (code, text, hints) = told(&maker.secmx(&["policy", "keygen", &team, "--sealing"], "").await?);
    assert!(code == Some(0) && text.contains("age1"), "{text}{hints}");
    let public = fs::read_to_string(public)?;
    let (rig, id) = rig(&format!("[replay]\nalways = \"quarantine\"\nseal_for = \"{}\"\n", public.trim())).await?;
    let from = ["-c", "secmx.toml"];
    let run = async |arguments: &[&str]| rig.secmx(&[arguments, &from].concat(), "").await.map(|output| told(&output));

    let replay = ["policy", "replay", "author/guest.wasm"];
    let (code, _, hints) = run(&replay).await?;
    assert!(code == Some(1) && hints.contains("1 kept message sealed for a key (--identity FILE), left out"), "{hints}");
    let (code, text, hints) = run(&[&replay[..], &["--identity", &key]].concat()).await?;
    assert!(code == Some(0) && text.starts_with("1 message\n") && text.contains("no message would end differently"), "{text}{hints}");
    let qid = format!("qid:{id}");
    let (code, text, hints) = run(&["policy", "case", "add", &qid, "--folder", "author", "--identity", &key]).await?;
    assert!(code == Some(0), "{text}{hints}");
    let cases = fs::read_to_string(rig.state().join("author/tests/cases.toml"))?;
    assert!(cases.contains("now = 20") && cases.contains("ana@agency.test"), "as it was kept, with its time: {cases}");

    line(&rig, |line| line["ruling"] == "quarantine").await?;
    let (code, text, hints) = run(&["policy", "decisions", "--since", "1h", "--ruling", "quarantine", "--by", "guest"]).await?;
    assert!(code == Some(0) && text.contains(&id) && text.contains("policy.word") && text.lines().count() == 1, "{text}{hints}");
    let (_, text, _) = run(&["policy", "decisions", "--ruling", "reject"]).await?;
    assert_eq!(text, "");
    Ok(())
}
