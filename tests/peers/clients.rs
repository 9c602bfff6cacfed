//! Clients that people really use, against a listener for the inside: msmtp, curl and Python's smtplib, in the clear and over STARTTLS,
//! with octets beyond ASCII, addresses beyond ASCII, notices asked for, and 30 MiB; and Dovecot behind LMTP.

use crate::dovecot::{self, Dovecot};
use crate::{PATIENCE, World};
use anyhow::{Context, Result, ensure};
use secmx_lab::peer::{Behaviour, Peer};
use secmx_tests::Process;
use secmx_tests::postfix::free_port;
use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};

const LARGE_OCTETS: usize = 30 * 1024 * 1024;

/// Runs a client with a message on its standard input. Errors with what it said when it does not exit 0.
fn run(command: &mut Command, message: &[u8]) -> Result<()> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().context("cannot be run")?;
    child.stdin.take().context("no standard input")?.write_all(message)?;
    let output = child.wait_with_output()?;
    let said = [output.stdout, output.stderr].concat();
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&said));
    Ok(())
}

fn message(subject: &str, body: &[u8]) -> Vec<u8> {
    [format!("From: ana@agency.test\r\nTo: bo@agency.test\r\nSubject: {subject}\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n").as_bytes(), body].concat()
}

fn large() -> Vec<u8> {
    let line = [b"0123456789".repeat(7), b"\r\n".to_vec()].concat();
    line.repeat(LARGE_OCTETS / line.len())
}

fn msmtp(server: SocketAddr, more: &[&str], message: &[u8]) -> Result<()> {
    let mut command = Command::new("msmtp");
    command.args(["--file=/dev/null", "--auth=off", "--from=ana@agency.test"]);
    command.args([format!("--host={}", server.ip()), format!("--port={}", server.port())]);
    run(command.args(more).arg("bo@agency.test"), message)
}

fn curl(server: SocketAddr, more: &[&str], message: &[u8]) -> Result<()> {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--insecure", "--mail-from", "ana@agency.test", "--mail-rcpt", "bo@agency.test"]);
    run(command.args(more).args(["--upload-file", "-", &format!("smtp://{server}/client.test")]), message)
}

/// `options` go to `sendmail` as they are, `to` is the recipient.
fn smtplib(server: SocketAddr, secure: bool, to: &str, options: &str, message: &[u8]) -> Result<()> {
    let script = format!(
        "import smtplib, ssl, sys\ns = smtplib.SMTP('{}', {}, timeout=60)\ns.ehlo('client.test')\n{}\
         s.sendmail('ana@agency.test', ['{to}'], sys.stdin.buffer.read(), {options})\ns.quit()\n",
        server.ip(),
        server.port(),
        if secure { "s.starttls(context=ssl._create_unverified_context()); s.ehlo('client.test')\n" } else { "" },
    );
    run(Command::new("python3").args(["-c", &script]), message)
}

fn skipped(tools: &[&str]) -> bool {
    let missing = tools.iter().find(|tool| !Path::new("/usr/bin").join(tool).exists());
    if let Some(tool) = missing {
        println!("skipped: Debian's {tool} is not installed (apt-get install {tool})");
    }
    missing.is_some()
}

#[test]
fn real_clients_are_taken_from() -> Result<()> {
    if skipped(&["msmtp", "curl", "python3"]) {
        return Ok(());
    }
    let world = World::new()?;
    let identity = world.authority.issue(&["inside.test"])?;
    let inside = world.runtime.block_on(Peer::start(Behaviour::default(), &identity))?;
    let config = world.config(&format!("deliver_to = \"smtp://{}\"", inside.address()), "")?;
    let mut gateway = Process::serve(&config)?;
    let server = gateway.listener("inside")?;
    let eight_bit = "Grüße aus Zürich\r\n.a line with a dot\r\n".as_bytes();
    msmtp(server, &["--tls=off"], &message("msmtp plain", eight_bit))?;
    msmtp(server, &["--tls=on", "--tls-starttls=on", "--tls-certcheck=off"], &message("msmtp secure", eight_bit))?;
    msmtp(server, &["--tls=off", "--dsn-notify=failure,delay", "--dsn-return=hdrs"], &message("msmtp DSN", eight_bit))?;
    curl(server, &[], &message("curl plain", eight_bit))?;
    curl(server, &["--ssl-reqd"], &message("curl secure", eight_bit))?;
    smtplib(server, false, "bo@agency.test", "[]", &message("smtplib plain", eight_bit))?;
    smtplib(server, true, "bo@agency.test", "['BODY=8BITMIME']", &message("smtplib secure", eight_bit))?;
    smtplib(server, true, "bö@agency.test", "['SMTPUTF8', 'BODY=8BITMIME']", &message("smtplib UTF-8", eight_bit))?;
    smtplib(server, true, "bo@agency.test", "['RET=HDRS', 'ENVID=1'], ['NOTIFY=FAILURE']", &message("smtplib DSN", eight_bit))?;
    let body = large();
    curl(server, &["--ssl-reqd"], &message("curl large", &body))?;
    let subjects = [
        "msmtp plain",
        "msmtp secure",
        "msmtp DSN",
        "curl plain",
        "curl secure",
        "smtplib plain",
        "smtplib secure",
        "smtplib DSN",
        "smtplib UTF-8",
        "curl large",
    ];
    let taken = world.runtime.block_on(inside.wait_for_messages(subjects.len(), PATIENCE));
    for subject in subjects {
        let mark = format!("Subject: {subject}\r\n");
        let (header, content) = taken
            .iter()
            .find_map(|message| {
                let at = message.content.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
                let (header, body) = message.content.split_at(at);
                (String::from_utf8_lossy(header).contains(&mark)).then_some((header, body))
            })
            .with_context(|| format!("{subject} did not arrive\n{}", gateway.log()))?;
        let wanted = if subject == "curl large" { body.as_slice() } else { eight_bit };
        ensure!(content == wanted, "{subject}: {} octets instead of {}", content.len(), wanted.len());
        let secure = subject.ends_with("secure") || subject == "curl large";
        ensure!(!secure || String::from_utf8_lossy(header).contains("with ESMTPS"), "{subject}");
    }
    ensure!(taken.iter().any(|message| message.forward_paths == ["bö@agency.test"]), "the address beyond ASCII arrives as it was");
    Ok(())
}

#[test]
fn dovecot_takes_over_lmtp() -> Result<()> {
    if let Some(why) = dovecot::missing() {
        println!("skipped: {why}");
        return Ok(());
    }
    let world = World::new()?;
    let address = free_port(Ipv4Addr::LOCALHOST)?;
    let dovecot = Dovecot::start(address)?;
    let config = world.config(&format!("deliver_to = {{ \"*\" = \"lmtp://{address}\" }}"), "")?;
    let mut gateway = Process::serve(&config)?;
    let server = gateway.listener("inside")?;
    let body = large();
    let path = world.directory.path().join("large.eml");
    fs::write(&path, message("large", &body))?;
    smtplib(server, true, "bo@agency.test", "[], ['NOTIFY=SUCCESS']", &message("small", "Grüße\r\n.dot\r\n".as_bytes()))?;
    smtplib(server, true, "bo@agency.test", "[]", &fs::read(&path)?)?;
    let mail = dovecot.mailbox_when("bo@agency.test", 2, PATIENCE).with_context(|| gateway.log())?;
    let text: Vec<String> = mail.iter().map(|octets| String::from_utf8_lossy(octets).replace("\r\n", "\n")).collect();
    ensure!(text.iter().any(|text| text.contains("Subject: small\n") && text.ends_with("Grüße\n.dot\n")), "the small one: {}", text[0]);
    let lines = body.len() / 72;
    ensure!(text.iter().any(|text| text.contains("Subject: large\n") && text.matches("0123456789\n").count() == lines), "the large one");
    let notice = dovecot.mailbox_when("ana@agency.test", 1, PATIENCE)?;
    ensure!(String::from_utf8_lossy(&notice[0]).contains("Action: delivered"), "{}", String::from_utf8_lossy(&notice[0]));
    Ok(())
}
