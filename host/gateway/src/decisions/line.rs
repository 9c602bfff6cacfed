//! One decision as one line: schema `secmx/decision/v1`. Fields are only ever added.

use crate::config::{DecisionEvidence, Decisions, Redacted};
use crate::log;
use jiff::Timestamp;
use secmx_core::mail::{Mailbox, ReversePath};
use secmx_core::queue::QueueId;
use secmx_core::ruling::{Evidence, Reason};
use secmx_policy::{Mode, Said};
use serde_json::{Map, Value, json};
use std::net::IpAddr;

/// Recipients that a line names; the rest is counted.
const NAMED: usize = 50;

/// Characters of an excerpt that stay when it is masked, and of how many one stays.
const SHOWN: (usize, usize) = (4, 4);

/// Who let a quarantined message go, and why.
#[derive(Debug, Clone, Copy)]
pub struct Release<'a> {
    /// The operator.
    pub user: &'a str,
    /// In their words.
    pub reason: &'a str,
    /// Code of the one reason that they override.
    pub overruled: &'a str,
}

/// What was decided about what.
#[derive(Debug, Clone, Default)]
pub struct Decision<'a> {
    /// Interface and function, such as `content.inspect`.
    pub question: &'a str,
    /// Queue id of the message, when it has or would have had one.
    pub queue: Option<QueueId>,
    /// Session id.
    pub session: Option<&'a str>,
    /// Address of the client.
    pub client: Option<IpAddr>,
    /// `in` to one of ours, `out` to others.
    pub direction: Option<&'a str>,
    /// `BER`, `SOR`, `BES` or `SOS`.
    pub role: Option<&'a str>,
    /// Who sends; `None` when there is no transaction.
    pub from: Option<&'a ReversePath>,
    /// Who receives.
    pub to: &'a [Mailbox],
    /// Octets of the message.
    pub octets: Option<u64>,
    /// Its subject.
    pub subject: Option<String>,
    /// `accept`, `reject`, `defer`, `quarantine`, `discard`, `bounce`.
    pub ruling: &'a str,
    /// Why.
    pub reason: Option<Reason>,
    /// Who was asked, in order, and what each said.
    pub chain: &'a [Said],
    /// What policies quote.
    pub evidence: &'a [Evidence],
    /// Whether the message is kept for `secmx policy replay`.
    pub replayable: bool,
    /// The operator at whose word policies were asked again.
    pub release: Option<Release<'a>>,
}

impl Decision<'_> {
    /// The line, with its end. `id` is its own; a line that comes twice after a crash has the same.
    pub fn line(&self, id: QueueId, at: Timestamp, how: &Decisions) -> String {
        let hides = |what| how.redact.contains(&what);
        let mut line = Map::new();
        let mut put = |key: &str, value: Value| {
            if !value.is_null() {
                line.insert(key.to_owned(), value);
            }
        };
        put("qid", json!(self.queue));
        put("session", json!(self.session));
        put("client", json!(self.client.filter(|_| !hides(Redacted::Client))));
        let (interface, _) = self.question.split_once('.').unwrap_or((self.question, ""));
        put("interface", json!(interface));
        put("question", json!(self.question));
        put("direction", json!(self.direction));
        put("role", json!(self.role));
        put("from", json!(self.from.map(|from| from.as_ref().map_or(String::new(), |from| address(from, hides(Redacted::From))))));
        if !self.to.is_empty() {
            put("to", self.to.iter().take(NAMED).map(|to| Value::String(address(to, hides(Redacted::Recipient)))).collect());
            put("recipients", json!(self.to.len()));
        }
        put("size", json!(self.octets));
        put("subject", json!(self.subject.as_ref().filter(|_| !hides(Redacted::Subject))));
        put("ruling", json!(self.ruling));
        put("reason", json!(self.reason.as_ref().map(|reason| &reason.code)));
        put("text", json!(self.reason.as_ref().map(|reason| &reason.text)));
        put("by", json!(self.chain.iter().rfind(|said| said.ruling != "pass").map(Said::title)));
        put("chain", self.chain.iter().map(link).collect());
        if !self.evidence.is_empty() {
            put("evidence", self.evidence.iter().map(|seen| excerpt(seen, how.evidence)).collect());
        }
        put("total_us", json!(self.chain.iter().map(micros).sum::<u64>()));
        put("replayable", json!(self.replayable));
        let release = |release: Release<'_>| json!({ "user": release.user, "reason": release.reason, "overruled": release.overruled });
        put("release", json!(self.release.map(release)));
        finished(id, at, line)
    }
}

/// A difference between a shadow and the policies in force, as a line.
pub(super) fn difference(id: QueueId, at: Timestamp, event: &secmx_core::report::Event<'_>) -> Option<String> {
    let secmx_core::report::Event::ShadowDiffers { policy, version, subject, enforced, shadow, code } = event else { return None };
    let title = version.map_or_else(|| (*policy).to_owned(), |version| format!("{policy}@{version}"));
    let about = if QueueId::parse(subject).is_some() { "qid" } else { "session" };
    let line = json!({
        about: subject,
        "interface": "content",
        "question": "content.inspect",
        "mode": "shadow",
        "enforced": enforced,
        "ruling": shadow,
        "reason": code,
        "by": title,
    });
    Some(finished(id, at, line.as_object().cloned().unwrap_or_default()))
}

/// Schema, id and time first, as one line that deceives nobody who reads it.
fn finished(id: QueueId, at: Timestamp, fields: Map<String, Value>) -> String {
    let fields = Value::Object(fields).to_string();
    let rest = fields.strip_prefix('{').unwrap_or(&fields);
    log::honest(&format!("{{\"schema\":\"secmx/decision/v1\",\"id\":\"{id}\",\"ts\":\"{at:.3}\",{rest}")) + "\n"
}

fn link(said: &Said) -> Value {
    let mut link = json!({
        "policy": said.title(),
        "sha256": said.sha256(),
        "mode": if said.mode == Mode::Shadow { "shadow" } else { "enforce" },
        "ruling": said.ruling,
        "us": micros(said),
    });
    let mut put = |key: &str, value: Value| link[key] = value;
    if let Some(reason) = &said.reason {
        put("reason", json!(reason.code));
    }
    if let Some(fault) = &said.fault {
        put("fault", json!(fault));
    }
    if said.cost.memory_bytes > 0 {
        put("mem_kib", json!(said.cost.memory_bytes.div_ceil(1024)));
    }
    if !said.cost.calls.is_empty() {
        put("host", said.cost.calls.iter().map(|(name, number)| ((*name).to_owned(), json!(number))).collect());
    }
    link
}

fn micros(said: &Said) -> u64 {
    u64::try_from(said.took.as_micros()).unwrap_or(u64::MAX)
}

fn address(mailbox: &Mailbox, hidden: bool) -> String {
    match mailbox.local_part().chars().next().filter(|_| hidden) {
        Some(first) => format!("{first}***@{}", mailbox.domain()),
        None => mailbox.to_string(),
    }
}

fn excerpt(seen: &Evidence, how: DecisionEvidence) -> Value {
    let text = match how {
        DecisionEvidence::Full => seen.excerpt.clone(),
        DecisionEvidence::Masked => {
            let (most, of) = SHOWN;
            let shown: String = seen.excerpt.chars().take((seen.excerpt.chars().count() / of).min(most)).collect();
            shown + "…"
        }
    };
    json!({ "part": seen.part, "offset": seen.offset, "excerpt": text })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn decided(redaction: &str) -> Value {
        let (config, _) = Config::parse("x.toml", redaction).expect("valid");
        let to = [Mailbox::parse(b"bo@health.example", false).expect("valid"), Mailbox::parse(b"x@y.example", false).expect("valid")];
        let from = Some(Mailbox::parse(b"ana@agency.example", false).expect("valid"));
        let evidence = [
            Evidence { part: 2, offset: 1041, excerpt: "NL91ABNA0417164300".into() },
            Evidence { part: 0, offset: 0, excerpt: "abc".into() },
        ];
        let decision = Decision {
            question: "content.inspect",
            queue: Some(QueueId::new(1, 2)),
            from: Some(&from),
            to: &to,
            client: Some([10, 0, 0, 7].into()),
            subject: Some("the \u{202e}plan".into()),
            ruling: "quarantine",
            reason: Some(Reason { code: "dlp.iban".into(), text: "IBAN in part 2".into() }),
            evidence: &evidence,
            ..Decision::default()
        };
        let line = decision.line(QueueId::new(5, 0), Timestamp::UNIX_EPOCH, &config.decisions);
        assert!(
            line.starts_with("{\"schema\":\"secmx/decision/v1\",\"id\":\"") && line.ends_with("}\n") && !line.contains('\u{202e}'),
            "{line}"
        );
        serde_json::from_str(&line).expect("JSON")
    }

    #[test]
    fn a_line_says_no_more_than_it_may() {
        let line = decided("");
        assert_eq!((line["to"][0].as_str(), line["from"].as_str()), (Some("b***@health.example"), Some("ana@agency.example")));
        assert_eq!((line["client"].as_str(), line["subject"].as_str()), (Some("10.0.0.7"), None));
        assert_eq!((line["evidence"][0]["excerpt"].as_str(), line["evidence"][1]["excerpt"].as_str()), (Some("NL91…"), Some("…")));
        assert_eq!((line["reason"].as_str(), line["recipients"].as_u64()), (Some("dlp.iban"), Some(2)));
        let line = decided("[decisions]\nredact = [\"from.local\", \"client\"]\nevidence = \"full\"\n");
        assert_eq!((line["to"][0].as_str(), line["from"].as_str()), (Some("bo@health.example"), Some("a***@agency.example")));
        assert_eq!((line["client"].as_str(), line["subject"].as_str()), (None, Some("the \u{202e}plan")));
        assert_eq!(line["evidence"][0]["excerpt"], "NL91ABNA0417164300");
    }
}
