//! Clients that people really use: msmtp, curl and Python's smtplib.

use anyhow::{Context, Result, ensure};
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

const LARGE_OCTETS: usize = 30 * 1024 * 1024;

/// How a message is sent.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Options {
    /// Over STARTTLS.
    pub(crate) secure: bool,
    /// To an address beyond ASCII.
    pub(crate) utf8: bool,
    /// With BODY=8BITMIME.
    pub(crate) eight_bit: bool,
    /// With notices asked for.
    pub(crate) dsn: bool,
}

impl Options {
    pub(crate) fn recipient(&self) -> &'static str {
        if self.utf8 { "bö@agency.test" } else { "bo@agency.test" }
    }
}

/// Runs a client with a message on its standard input. Errors with what it said when it does not exit 0.
fn run(command: &mut Command, message: &[u8]) -> Result<()> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().context("cannot be run")?;
    child.stdin.take().context("no standard input")?.write_all(message)?;
    let output = child.wait_with_output()?;
    let said = [output.stdout, output.stderr].concat();
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&said));
    Ok(())
}

/// A message with this body.
pub(crate) fn message(subject: &str, body: &[u8]) -> Vec<u8> {
    let fields = "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n";
    [format!("From: ana@agency.test\r\nTo: bo@agency.test\r\nSubject: {subject}\r\n{fields}\r\n").as_bytes(), body].concat()
}

/// A body of about 30 MiB.
pub(crate) fn large() -> Vec<u8> {
    let line = [b"0123456789".repeat(7), b"\r\n".to_vec()].concat();
    line.repeat(LARGE_OCTETS / line.len())
}

pub(crate) fn msmtp(server: SocketAddr, options: &Options, message: &[u8]) -> Result<()> {
    let mut command = Command::new("msmtp");
    command.args(["--file=/dev/null", "--auth=off", "--from=ana@agency.test"]);
    command.args([format!("--host={}", server.ip()), format!("--port={}", server.port())]);
    command.args(if options.secure { &["--tls=on", "--tls-starttls=on", "--tls-certcheck=off"][..] } else { &["--tls=off"] });
    command.args(if options.dsn { &["--dsn-notify=success", "--dsn-return=hdrs"][..] } else { &[] });
    run(command.arg(options.recipient()), message)
}

pub(crate) fn curl(server: SocketAddr, options: &Options, message: &[u8]) -> Result<()> {
    let mut command = Command::new("curl");
    // What RFC 3461 adds to a forward-path stands behind it in the option, where curl sends it at all.
    let recipient = if options.dsn { "<bo@agency.test> NOTIFY=SUCCESS" } else { options.recipient() };
    command.args(["--silent", "--show-error", "--insecure", "--mail-from", "ana@agency.test", "--mail-rcpt", recipient]);
    command.args(if options.secure { &["--ssl-reqd"][..] } else { &[] });
    run(command.args(["--upload-file", "-", &format!("smtp://{server}/client.test")]), message)
}

pub(crate) fn smtplib(server: SocketAddr, options: &Options, message: &[u8]) -> Result<()> {
    smtplib_to(server, options.recipient(), options, message)
}

/// smtplib, to any recipient.
pub(crate) fn smtplib_to(server: SocketAddr, to: &str, options: &Options, message: &[u8]) -> Result<()> {
    let mail = [(options.utf8, "'SMTPUTF8'"), (options.eight_bit || options.utf8, "'BODY=8BITMIME'"), (options.dsn, "'RET=HDRS'")];
    let mail: Vec<_> = mail.iter().filter(|(wanted, _)| *wanted).map(|(_, option)| *option).collect();
    let starttls = "c = ssl.create_default_context()\nc.check_hostname = False\nc.verify_mode = ssl.CERT_NONE\ns.starttls(context=c)\ns.ehlo('client.test')\n";
    let script = format!(
        "import smtplib, ssl, sys\ns = smtplib.SMTP('{}', {}, timeout=60)\ns.ehlo('client.test')\n{}\
         s.sendmail('ana@agency.test', ['{to}'], sys.stdin.buffer.read(), [{}], [{}])\ns.quit()\n",
        server.ip(),
        server.port(),
        if options.secure { starttls } else { "" },
        mail.join(", "),
        if options.dsn { "'NOTIFY=SUCCESS'" } else { "" },
    );
    run(Command::new("python3").args(["-c", &script]), message)
}

/// Says which program is missing, if one is.
pub(crate) fn skipped(tools: &[&str]) -> bool {
    let missing = tools.iter().find(|tool| !Path::new("/usr/bin").join(tool).exists());
    if let Some(tool) = missing {
        println!("skipped: Debian's {tool} is not installed (apt-get install {tool})");
    }
    missing.is_some()
}
