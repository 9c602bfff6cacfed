//! Signatures, chains and SPF against what others wrote: Debian's opendkim, dkimpy and pyspf, both ways.

use crate::World;
use anyhow::{Context, Result, ensure};
use hickory_proto::rr::rdata::{A, MX, TXT};
use hickory_proto::rr::{Name, RData, RecordType};
use secmx_lab::client::Client;
use secmx_lab::dns::Answer;
use secmx_lab::peer::{Behaviour, Peer};
use secmx_tests::{Process, binary};
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

/// Debian's own: its packages are not those of another Python that may come first.
const PYTHON: &str = "/usr/bin/python3";

/// Verifies every signature of a message. On standard input: the message, and records by name.
const VERIFY: &str = "
import dkim, json, sys
given = json.load(sys.stdin)
message = given['message'].encode('latin-1')
look_up = lambda name, timeout=5: given['records'].get(name.decode().rstrip('.'), '').encode()
signatures = message.lower().count(b'dkim-signature:')
def verified(index):
    try:
        return dkim.DKIM(message).verify(idx=index, dnsfunc=look_up)
    except dkim.ValidationError:
        return False
print(json.dumps([verified(index) for index in range(signatures)]))
";

/// Signs a message, and prints the signature.
const SIGN: &str = "
import dkim, json, sys
given = json.load(sys.stdin)
message = given['message'].encode('latin-1')
key = open(given['key'], 'rb').read()
how = given['how'].encode().split(b'/')
if given['algorithm'] == 'ed25519-sha256':
    import base64
    der = base64.b64decode(b''.join(line for line in key.splitlines() if b'-' not in line))
    key = base64.b64encode(der[-32:])
made = dkim.sign(message, b'peer', b'partner.test', key, canonicalize=tuple(how), signature_algorithm=given['algorithm'].encode())
sys.stdout.write(made.decode())
";

/// What pyspf says of each case, with the records of the test in place of DNS.
const SPF: &str = "
import json, spf, sys
given = json.load(sys.stdin)
def look_up(name, kind, *rest, **more):
    found = given['records'].get(name.rstrip('.').lower() + ' ' + kind, [])
    make = {'TXT': lambda text: (text.encode(),), 'A': lambda text: text, 'MX': lambda text: (10, text)}
    return [((name, kind), make[kind](text)) for text in found if kind in make]
spf.DNSLookup = look_up
answer = lambda case: spf.check2(i='127.0.0.1', s='a@' + case, h='mx.client.test')[0]
print(json.dumps([answer(case) for case in given['cases']]))
";

/// Says why and returns true when a program is not here.
fn skipped(programs: &[&str], modules: &str) -> bool {
    let missing = programs.iter().find(|program| !Path::new(program).exists());
    let imports = || Command::new(PYTHON).args(["-c", &format!("import {modules}")]).stderr(Stdio::null()).status();
    let why = match missing {
        Some(program) => Some(format!("{program} is not installed (apt-get install opendkim opendkim-tools)")),
        None if imports().is_ok_and(|status| status.success()) => None,
        None => Some(format!("Debian's Python has no {modules} (apt-get install python3-dkim python3-nacl python3-spf)")),
    };
    if let Some(why) = &why {
        println!("skipped: {why}");
    }
    why.is_some()
}

/// Runs a script with this on its standard input. Gives what it wrote.
fn python(script: &str, input: &Value) -> Result<String> {
    run(Command::new(PYTHON).args(["-c", script]), &input.to_string())
}

fn run(command: &mut Command, input: &str) -> Result<String> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().context("cannot be run")?;
    child.stdin.take().context("no standard input")?.write_all(input.as_bytes())?;
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    Ok(said)
}

/// Makes a key, and gives its record.
fn key(path: &Path, kind: &str) -> Result<String> {
    let said = run(Command::new(binary()?).args(["dkim", "keygen", "--kind", kind]).arg(path), "")?;
    Ok(said.split_once("its record: ").context("a record")?.1.trim().to_owned())
}

/// Publishes a text of any length.
fn publish(world: &World, name: &str, text: &str) {
    let strings = text.as_bytes().chunks(255).map(|part| String::from_utf8_lossy(part).into_owned()).collect();
    world.dns.set(name, RecordType::TXT, Answer::Records(vec![RData::TXT(TXT::new(strings))]));
}

async fn send(gateway: &mut Process, listener: &str, from: &str, to: &str, message: &str) -> Result<()> {
    let mut client = Client::connect(gateway.listener(listener)?).await?;
    client.command("EHLO mx.client.test").await?;
    let reply = client.transact(from, &[to], message.trim_end_matches("\r\n")).await?;
    ensure!(reply.starts_with("250"), "{reply}");
    Ok(())
}

/// Our signatures, RSA and Ed25519, under dkimpy; RSA under opendkim too, which knows nothing else. A changed message fails under both.
#[test]
fn others_verify_what_we_sign() -> Result<()> {
    if skipped(&["/usr/sbin/opendkim"], "dkim, nacl") {
        return Ok(());
    }
    let message = "From: Ana <ana@agency.test>\r\nTo: bo@partner.test\r\nSubject:  two  spaces \r\nDate: Tue, 24 Nov 2026 10:00:00 +0000\r\n\
                   Message-ID: <1@agency.test>\r\n\r\nLine one.  \r\n.dot\r\n\r\n\r\n";
    for how in ["relaxed/relaxed", "simple/simple"] {
        let world = World::new()?;
        let at = |name: &str| world.directory.path().join(name);
        let (rsa, ed25519) = (key(&at("r.pem"), "rsa")?, key(&at("e.pem"), "ed25519")?);
        let identity = world.authority.issue(&["mx.partner.test"])?;
        let partner = world.runtime.block_on(Peer::start(Behaviour::default(), &identity))?;
        world.dns.mx("partner.test", &[(10, "mx.partner.test")]);
        world.dns.host("mx.partner.test", partner.address().ip());
        let port = partner.address().port();
        let signing = format!(
            "[send]\nport = {port}\nports = [{port}]\nallow_private = true\n[dkim]\ncanonicalization = \"{how}\"\nkeys = [\n\
             {{ domain = \"agency.test\", selector = \"r\", key = \"r.pem\" }},\n{{ domain = \"agency.test\", selector = \"e\", key = \"e.pem\" }}]\n"
        );
        let mut gateway = Process::serve(&world.config("deliver_to = \"smtp://127.0.0.1:9\"", &signing)?)?;
        let content = world.runtime.block_on(async {
            send(&mut gateway, "inside", "ana@agency.test", "bo@partner.test", message).await?;
            let taken = partner.wait_for_messages(1, PATIENCE).await;
            Ok::<_, anyhow::Error>(String::from_utf8_lossy(&taken.first().context("taken")?.content).into_owned())
        })?;
        let records = json!({ "r._domainkey.agency.test": rsa, "e._domainkey.agency.test": ed25519 });
        let verified = |message: &str| python(VERIFY, &json!({ "message": message, "records": records }));
        ensure!(verified(&content)?.trim() == "[true, true]", "{how}: {}\n{content}", verified(&content)?);
        let changed = content.replace("Line one", "Line two");
        ensure!(verified(&changed)?.trim() == "[false, false]", "{how}: {}", verified(&changed)?);
        // How opendkim reads a file, as a milter would, is not octet for octet, which `simple` counts.
        if how != "relaxed/relaxed" {
            continue;
        }
        fs::write(at("keys"), format!("r._domainkey.agency.test {rsa}\n"))?;
        fs::write(at("opendkim.conf"), format!("Mode v\nTestPublicKeys {}\n", at("keys").display()))?;
        // It takes a signature of a kind that it does not know for an error of the message.
        let only_rsa = without_last_signature(&content);
        ensure!(only_rsa.contains("a=rsa-sha256") && !only_rsa.contains("a=ed25519"), "{only_rsa}");
        let said = opendkim(&at("opendkim.conf"), &at("message"), &only_rsa)?;
        ensure!(said.contains("dkim=pass (2048-bit key)"), "{how}: {said}\n{only_rsa}");
        let said = opendkim(&at("opendkim.conf"), &at("message"), &only_rsa.replace("Line one", "Line two"))?;
        ensure!(said.contains("dkim=fail"), "{how}: {said}");
    }
    println!("dkimpy: RSA and Ed25519 verified, relaxed and simple; opendkim: RSA");
    Ok(())
}

/// The message without the second of its two signatures.
fn without_last_signature(message: &str) -> String {
    let (first, rest) = message.split_at(message.rfind("DKIM-Signature: ").unwrap_or_default());
    let end = rest.find("\r\nReceived: ").map_or(0, |end| end + 2);
    format!("{first}{}", &rest[end..])
}

/// What opendkim says of a message, in the mode in which it reads a file.
fn opendkim(config: &Path, file: &Path, message: &str) -> Result<String> {
    fs::write(file, message)?;
    let output = Command::new("/usr/sbin/opendkim").arg("-x").arg(config).args(["-vv", "-t"]).arg(file).output()?;
    Ok(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

/// A gateway that judges what comes in, and whom it delivers to.
fn judge(world: &World, authentication: &str) -> Result<(Process, Peer)> {
    let identity = world.authority.issue(&["inside.test"])?;
    let inside = world.runtime.block_on(Peer::start(Behaviour::default(), &identity))?;
    let more = format!("[receive.public]\nlisten = \"127.0.0.1:0\"\nrole = \"BER\"\n[authentication]\nresults = true\n{authentication}");
    let gateway = Process::serve(&world.config(&format!("deliver_to = \"smtp://{}\"", inside.address()), &more)?)?;
    Ok((gateway, inside))
}

/// The word for a method in our field, of each message in turn.
fn words(world: &World, inside: &Peer, number: usize, method: &str) -> Result<Vec<String>> {
    let taken = world.runtime.block_on(inside.wait_for_messages(number, PATIENCE));
    ensure!(taken.len() == number, "{} of {number} came", taken.len());
    let mut found: Vec<(usize, String)> = Vec::new();
    for message in &taken {
        let content = String::from_utf8_lossy(&message.content);
        let word = content.split_once(&format!("\t{method}=")).context("a result")?.1.split(|end: char| !end.is_alphanumeric()).next();
        let place = content.split_once("Subject: ").and_then(|(_, rest)| rest.lines().next()?.parse().ok()).context("its number")?;
        found.push((place, word.unwrap_or_default().to_owned()));
    }
    found.sort();
    Ok(found.into_iter().map(|(_, word)| word).collect())
}

/// What dkimpy and opendkim sign, RSA and Ed25519, is verified; changed it is not, and SHA-1 is not believed (RFC 8301).
#[test]
fn we_verify_what_others_sign() -> Result<()> {
    if skipped(&["/usr/sbin/opendkim", "/usr/sbin/opendkim-testmsg"], "dkim, nacl") {
        return Ok(());
    }
    let world = World::new()?;
    let at = |name: &str| world.directory.path().join(name);
    publish(&world, "r._domainkey.partner.test", &key(&at("r.pem"), "rsa")?);
    publish(&world, "e._domainkey.partner.test", &key(&at("e.pem"), "ed25519")?);
    let (mut gateway, inside) = judge(&world, "")?;
    let mut cases: Vec<(String, &str)> = Vec::new();
    let message = |number: usize| {
        format!(
            "From: bo@partner.test\r\nTo: ana@agency.test\r\nSubject: {number}\r\nDate: Tue, 24 Nov 2026 10:00:00 +0000\r\n\r\nLine  one \r\n\r\n"
        )
    };
    for how in ["relaxed/relaxed", "simple/simple", "relaxed/simple"] {
        for (algorithm, selector) in [("rsa-sha256", "r"), ("ed25519-sha256", "e")] {
            let text = message(cases.len());
            let given = json!({ "message": text, "key": at(&format!("{selector}.pem")), "how": how, "algorithm": algorithm });
            let signature = python(&SIGN.replace("b'peer'", &format!("b'{selector}'")), &given)?;
            cases.push((signature.clone() + &text, "pass"));
            let text = message(cases.len());
            cases.push((signature + &text.replace("Line", "Lime"), "fail"));
        }
    }
    let conf = format!(
        "Mode s\nDomain partner.test\nSelector r\nKeyFile {}\nCanonicalization relaxed/simple\nInternalHosts 0.0.0.0/0\nRequireSafeKeys no\n\
         SignatureAlgorithm rsa-sha256\n",
        at("r.pem").display()
    );
    fs::write(at("sign.conf"), conf)?;
    let text = message(cases.len());
    let said = opendkim(&at("sign.conf"), &at("message"), &text)?;
    let field = said.split_once("hname='DKIM-Signature' hvalue='").and_then(|(_, rest)| rest.split_once('\'')).context(said.clone())?.0;
    cases.push((format!("DKIM-Signature: {}\r\n{text}", field.replace('\n', "\r\n")), "pass"));
    let text = message(cases.len());
    let mut old = Command::new("/usr/sbin/opendkim-testmsg");
    let signed = run(old.args(["-C", "-d", "partner.test", "-s", "r", "-k"]).arg(at("r.pem")), &text)?;
    ensure!(signed.contains("a=rsa-sha1"), "it signs with what nobody should: {signed}");
    cases.push((signed.replace("\r\n", "\n").replace('\n', "\r\n"), "permerror"));
    for (message, _) in &cases {
        world.runtime.block_on(send(&mut gateway, "public", "bo@partner.test", "ana@agency.test", message))?;
    }
    let said = words(&world, &inside, cases.len(), "dkim")?;
    let expected: Vec<&str> = cases.iter().map(|(_, word)| *word).collect();
    ensure!(said == expected, "{said:?} and not {expected:?}");
    println!("{} messages signed by dkimpy and opendkim, as they were and changed: verified as they should be", cases.len());
    Ok(())
}

/// Records of domains that send from 127.0.0.1, or not.
const RECORDS: [(&str, &str, &[&str]); 26] = [
    ("pass.test", "TXT", &["v=spf1 ip4:127.0.0.0/8 -all"]),
    ("fail.test", "TXT", &["v=spf1 ip4:192.0.2.1 -all"]),
    ("softfail.test", "TXT", &["v=spf1 ~all"]),
    ("neutral.test", "TXT", &["v=spf1 ?all"]),
    ("default.test", "TXT", &["v=spf1 ip4:192.0.2.1"]),
    ("other.test", "TXT", &["some other text"]),
    ("malformed.test", "TXT", &["v=spf1 ip4:999.1.1.1 -all"]),
    ("a.test", "TXT", &["v=spf1 a -all"]),
    ("a.test", "A", &["127.0.0.1"]),
    ("mx.test", "TXT", &["v=spf1 mx -all"]),
    ("mx.test", "MX", &["host.mx.test"]),
    ("host.mx.test", "A", &["127.0.0.1"]),
    ("include.test", "TXT", &["v=spf1 include:pass.test -all"]),
    ("notincluded.test", "TXT", &["v=spf1 include:fail.test ?all"]),
    ("nothingthere.test", "TXT", &["v=spf1 include:nobody.test -all"]),
    ("redirect.test", "TXT", &["v=spf1 redirect=fail.test"]),
    ("exists.test", "TXT", &["v=spf1 exists:%{ir}.%{v}._spf.%{d2} -all"]),
    ("1.0.0.127.in-addr._spf.exists.test", "A", &["127.0.0.2"]),
    ("macro.test", "TXT", &["v=spf1 a:%{l}.%{o} -all"]),
    ("a.macro.test", "A", &["127.0.0.1"]),
    ("loop.test", "TXT", &["v=spf1 include:loop.test -all"]),
    ("six.test", "TXT", &["v=spf1 ip6:::1 -all"]),
    ("order.test", "TXT", &["v=spf1 -ip4:127.0.0.1 ip4:127.0.0.0/8 -all"]),
    ("unknown.test", "TXT", &["v=spf1 moo -all"]),
    ("modifier.test", "TXT", &["v=spf1 moo=x ip4:127.0.0.1 -all"]),
    ("exp.test", "TXT", &["v=spf1 -all exp=pass.test"]),
];

/// What mail-auth does not refuse: it passes over a term that makes no sense, where RFC 7208, 4.6 wants `permerror`.
const LENIENT: [(&str, &str, &str); 2] = [("malformed.test", "fail", "permerror"), ("unknown.test", "neutral", "permerror")];

/// SPF says what pyspf says, of every domain above and of one that publishes nothing, but for what is known.
#[test]
fn spf_agrees_with_pyspf() -> Result<()> {
    if skipped(&[], "spf") {
        return Ok(());
    }
    let world = World::new()?;
    for (name, kind, texts) in RECORDS {
        for text in texts {
            match kind {
                "TXT" => publish(&world, name, text),
                "A" => world.dns.set(name, RecordType::A, Answer::Records(vec![RData::A(A(text.parse()?))])),
                _ => world.dns.set(name, RecordType::MX, Answer::Records(vec![RData::MX(MX::new(10, Name::from_ascii(text)?))])),
            }
        }
    }
    let mut domains: Vec<&str> = RECORDS.iter().filter(|(_, kind, _)| *kind == "TXT").map(|(name, ..)| *name).collect();
    domains.push("nobody.test");
    let records: serde_json::Map<String, Value> =
        RECORDS.iter().map(|(name, kind, texts)| (format!("{name} {kind}"), json!(texts))).collect();
    let theirs: Vec<String> = serde_json::from_str(&python(SPF, &json!({ "records": records, "cases": domains }))?)?;
    let (mut gateway, inside) = judge(&world, "")?;
    for (number, domain) in domains.iter().enumerate() {
        let message = format!("From: a@{domain}\r\nSubject: {number}\r\n\r\nx\r\n");
        world.runtime.block_on(send(&mut gateway, "public", &format!("a@{domain}"), "ana@agency.test", &message))?;
    }
    let ours = words(&world, &inside, domains.len(), "spf")?;
    let differences: Vec<_> =
        (0..domains.len()).filter(|at| ours[*at] != theirs[*at]).map(|at| (domains[at], &*ours[at], &*theirs[at])).collect();
    println!("SPF of {} domains: {} judged otherwise than by pyspf, as it is known", domains.len(), differences.len());
    ensure!(differences == LENIENT, "domain, ours, theirs: {differences:?}");
    Ok(())
}

/// Seals a message whose field Authentication-Results of `mx.list.test` says what was found, and prints the set.
const SEAL: &str = "
import dkim, json, sys
given = json.load(sys.stdin)
message = given['message'].encode('latin-1')
made = dkim.arc_sign(message, b'r', b'list.test', open(given['key'], 'rb').read(), b'mx.list.test')
sys.stdout.write(b''.join(made).decode())
";

/// What dkimpy says of the chain of a message.
const CHAIN: &str = "
import dkim, json, sys
given = json.load(sys.stdin)
look_up = lambda name, timeout=5: given['records'].get(name.decode().rstrip('.'), '').encode()
result, sets, why = dkim.arc_verify(given['message'].encode('latin-1'), dnsfunc=look_up)
print((result or b'ended').decode(), len(sets), why)
";

/// A message that a list sends on, with what it found.
fn from_list(number: usize) -> String {
    format!(
        "Authentication-Results: mx.list.test; arc=none; dmarc=pass header.from=partner.test\r\nFrom: bo@partner.test\r\nTo: ana@agency.test\r\n\
         Subject: {number}\r\nDate: Tue, 24 Nov 2026 10:00:00 +0000\r\n\r\nLine  one \r\n\r\n"
    )
}

/// A chain of dkimpy's holds for us, and no longer when the message or a set was changed.
#[test]
fn we_verify_chains_that_others_seal() -> Result<()> {
    if skipped(&[], "dkim, authres") {
        return Ok(());
    }
    let world = World::new()?;
    let key_file = world.directory.path().join("r.pem");
    publish(&world, "r._domainkey.list.test", &key(&key_file, "rsa")?);
    let (mut gateway, inside) = judge(&world, "")?;
    let seal = |message: &str| python(SEAL, &json!({ "message": message, "key": key_file }));
    let mut cases: Vec<(String, &str)> = Vec::new();
    let whole = |number: usize| Ok::<_, anyhow::Error>(seal(&from_list(number))? + &from_list(number));
    cases.push((from_list(0), "none"));
    cases.push((whole(1)?, "pass"));
    cases.push((whole(2)?.replace("Line", "Lime"), "fail"));
    cases.push((whole(3)?.replacen("dmarc=pass", "dmarc=fail", 1), "fail"));
    cases.push((whole(4)?.replacen("ARC-Seal:", "X-Seal:", 1), "fail"));
    // Twice by the same list, which found that the chain held.
    let once =
        whole(5)?.replace("\r\nAuthentication-Results: mx.list.test; arc=none", "\r\nAuthentication-Results: mx.list.test; arc=pass");
    let twice = seal(&once)?;
    ensure!(twice.contains("i=2"), "{twice}");
    cases.push((twice + &once, "pass"));
    for (message, _) in &cases {
        world.runtime.block_on(send(&mut gateway, "public", "bo@partner.test", "ana@agency.test", message))?;
    }
    let said = words(&world, &inside, cases.len(), "arc")?;
    let expected: Vec<&str> = cases.iter().map(|(_, word)| *word).collect();
    ensure!(said == expected, "{said:?} and not {expected:?}");
    println!("{} messages sealed by dkimpy, as they were and changed: judged as they should be", cases.len());
    Ok(())
}

/// What we seal holds for dkimpy: a first set, and one behind a chain of dkimpy's although a policy of ours changed the message.
#[test]
fn others_verify_what_we_seal() -> Result<()> {
    if skipped(&[], "dkim, authres") {
        return Ok(());
    }
    let world = World::new()?;
    let at = |name: &str| world.directory.path().join(name);
    let (list, own) = (key(&at("r.pem"), "rsa")?, key(&at("own.pem"), "rsa")?);
    publish(&world, "r._domainkey.list.test", &list);
    let more = "seal = \"agency.test\"\n[dkim]\nkeys = [{ domain = \"agency.test\", selector = \"own\", key = \"own.pem\" }]\n\
                [[policy]]\nname = \"disclaimer\"\nuse = \"builtin:disclaimer\"\nsettings = { text = \"No guarantee.\" }\n";
    let (mut gateway, inside) = judge(&world, more)?;
    let chained = python(SEAL, &json!({ "message": from_list(1), "key": at("r.pem") }))? + &from_list(1);
    for message in [from_list(0), chained.clone(), chained.replace("Line", "Lime").replace("Subject: 1", "Subject: 2")] {
        world.runtime.block_on(send(&mut gateway, "public", "bo@partner.test", "ana@agency.test", &message))?;
    }
    let taken = world.runtime.block_on(inside.wait_for_messages(3, PATIENCE));
    let content = |number: usize| {
        let all = taken.iter().map(|taken| String::from_utf8_lossy(&taken.content).into_owned());
        all.into_iter().find(|content| content.contains(&format!("\r\nSubject: {number}\r\n"))).context("taken")
    };
    let records = json!({ "r._domainkey.list.test": list, "own._domainkey.agency.test": own });
    let said = |message: &str| python(CHAIN, &json!({ "message": message, "records": records }));
    for (number, expected) in [(0, "pass 1 success"), (1, "pass 2 success")] {
        let message = content(number)?;
        ensure!(message.starts_with("ARC-Seal: ") && message.contains("No guarantee."), "{message}");
        ensure!(said(&message)?.trim() == expected, "{number}: {}\n{message}", said(&message)?);
        let changed = message.replace("No guarantee.", "A guarantee.");
        ensure!(said(&changed)?.starts_with("fail"), "{number}: {}", said(&changed)?);
    }
    let broken = content(2)?;
    ensure!(broken.starts_with("Received: "), "a chain that did not hold is not gone on with: {broken}");
    println!("dkimpy: our seal verified, alone and behind another, with the message changed by a policy");
    Ok(())
}
