//! Who wrote a message from outside, as far as SPF (RFC 7208), DKIM (RFC 6376, RFC 8463), ARC (RFC 8617) and DMARC (RFC 9989) tell. mail-auth
//! finds it out.
//!
//! Facts only: what becomes of the message is for policies. "Could not tell" is `temperror`, never `none` and never `fail` (invariant 5).

mod chain;
mod field;
mod found;

#[cfg(test)]
mod tests;

pub(crate) use chain::result_in;
pub(crate) use field::{forged, ours};
pub(crate) use found::Found;

use crate::config::Config;
use crate::dns;
use anyhow::Result;
use bytes::Bytes;
use chain::Chain;
use found::Method;
use mail_auth::common::crypto::Algorithm;
use mail_auth::dkim::DkimError;
use mail_auth::dmarc::verify::DmarcParameters;
use mail_auth::spf::verify::SpfParameters;
use mail_auth::{AuthenticatedMessage, DkimOutput, DkimResult, DmarcOutput, DnsError, Error, MessageAuthenticator, SpfOutput, SpfResult};
use secmx_core::mail::ReversePath;
use secmx_policy::Authenticity;
use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout_at};

/// Messages of up to this many octets are verified at once; larger ones, whose octets take time to digest, off the way of others.
const SMALL: usize = 64 << 10;

/// Finds out who wrote messages, as `[authentication]` says. Clones share what is remembered of DNS.
#[derive(Clone)]
pub(crate) struct Authenticator {
    with: Arc<MessageAuthenticator>,
    time: Duration,
    signatures: usize,
}

/// A message as it came in, with what its sender said.
#[derive(Debug, Clone)]
pub(crate) struct Arrival {
    /// Address of the client.
    pub(crate) client: IpAddr,
    /// Argument of EHLO.
    pub(crate) hello: Option<String>,
    /// From the envelope.
    pub(crate) reverse_path: ReversePath,
    /// The message as it was received.
    pub(crate) octets: Bytes,
}

/// One message whose author can be asked about. Nothing is looked up before somebody asks.
pub(crate) struct Question {
    authenticator: Authenticator,
    arrival: Arrival,
    found: OnceCell<Found>,
}

impl Authenticator {
    /// As the configuration says. Errors when no resolver can be built.
    pub(crate) fn new(config: &Config) -> Result<Self> {
        let with = Arc::new(MessageAuthenticator(dns::resolver(&config.dns)?));
        Ok(Self { with, time: config.authentication.time, signatures: config.authentication.signatures })
    }

    /// A message that may be asked about.
    pub(crate) fn about(&self, arrival: Arrival) -> Question {
        Question { authenticator: self.clone(), arrival, found: OnceCell::new() }
    }

    /// Finds out. Whatever happens, even within the library, there is an answer.
    async fn find_out(&self, arrival: &Arrival) -> Found {
        let (this, arrival) = (self.clone(), arrival.clone());
        let task = if arrival.octets.len() <= SMALL {
            tokio::spawn(async move { this.examine(&arrival).await })
        } else {
            let here = Handle::current();
            tokio::task::spawn_blocking(move || here.block_on(this.examine(&arrival)))
        };
        task.await.unwrap_or_else(|_| Found::unknown())
    }

    async fn examine(&self, arrival: &Arrival) -> Found {
        let until = Instant::now() + self.time;
        let message = AuthenticatedMessage::parse(&arrival.octets).map(|mut message| {
            message.dkim_headers.truncate(self.signatures);
            message.errors.truncate(self.signatures);
            message
        });
        let message = message.unwrap_or_default();
        let hello = arrival.hello.as_deref().unwrap_or_default();
        let path = arrival.reverse_path.as_ref().map(ToString::to_string);
        let (spf, dkim, arc) = tokio::join!(
            self.spf(arrival.client, hello, path.as_deref(), until),
            self.dkim(&message, until),
            self.arc(arrival, &message, until)
        );
        let domain = arrival.reverse_path.as_ref().map_or_else(|| hello.to_owned(), |path| path.domain().to_string());
        let dmarc = match authors(&message) {
            Authors::One => {
                let question = DmarcParameters::new(&message, &dkim, &domain, &spf);
                timeout_at(until, self.with.verify_dmarc(question)).await.ok()
            }
            // RFC 9989 speaks of one author's domain; what has none or several cannot be judged.
            Authors::Other => {
                let dmarc = Method::new("dmarc", "permerror");
                return Found::new(spf_method(&spf, hello, path.as_deref()), dkim_methods(&dkim), arc, dmarc, None);
            }
        };
        let (dmarc, policy) = dmarc_method(dmarc.as_ref(), &spf, &dkim);
        Found::new(spf_method(&spf, hello, path.as_deref()), dkim_methods(&dkim), arc, dmarc, policy)
    }

    async fn arc(&self, arrival: &Arrival, message: &AuthenticatedMessage<'_>, until: Instant) -> Chain {
        let output = timeout_at(until, self.with.verify_arc(message)).await.ok();
        let chain = Chain::of(message, output.as_ref());
        // RFC 8617, 10.2: what a report on DMARC needs to name who handed the message over.
        Chain { method: chain.method.with("smtp.remote-ip", &arrival.client.to_string()), ..chain }
    }

    /// RFC 7208, 2.3 and 2.4: the MAIL FROM identity, or that of EHLO for the null reverse-path.
    async fn spf(&self, client: IpAddr, hello: &str, path: Option<&str>, until: Instant) -> SpfOutput {
        let question = match path {
            Some(path) => SpfParameters::verify_mail_from(client, hello, hello, path),
            None => SpfParameters::verify_ehlo(client, hello, hello),
        };
        let answer = timeout_at(until, self.with.verify_spf(question)).await;
        answer.unwrap_or_else(|_| SpfOutput::new(String::new()).with_result(SpfResult::TempError))
    }

    async fn dkim<'a>(&self, message: &'a AuthenticatedMessage<'a>, until: Instant) -> Vec<DkimOutput<'a>> {
        let late = || DkimOutput::temp_err(Error::Dns(DnsError::Resolver("no answer in time".into())));
        let answer = timeout_at(until, self.with.verify_dkim(message)).await;
        let answer = answer.unwrap_or_else(|_| message.dkim_headers.iter().map(|field| late().with_signature(&field.header)).collect());
        // RFC 8301, 3.1: "rsa-sha1 MUST NOT be used for signing or verifying."
        let weak = |output: &DkimOutput<'_>| output.signature().is_some_and(|signature| signature.a == Algorithm::RsaSha1);
        let refused = || DkimOutput::perm_err(Error::Dkim(DkimError::UnsupportedAlgorithm));
        answer.into_iter().map(|output| if weak(&output) { refused() } else { output }).collect()
    }
}

/// How many domains the authors of a message have.
enum Authors {
    One,
    Other,
}

fn authors(message: &AuthenticatedMessage<'_>) -> Authors {
    let mut domains: Vec<&str> = message.from.iter().map(|from| from.rsplit_once('@').map_or("", |(_, domain)| domain)).collect();
    domains.dedup();
    if matches!(domains.as_slice(), [domain] if !domain.is_empty()) { Authors::One } else { Authors::Other }
}

fn spf_method(output: &SpfOutput, hello: &str, path: Option<&str>) -> Method {
    let result = match output.result() {
        SpfResult::Pass => "pass",
        SpfResult::Fail => "fail",
        SpfResult::SoftFail => "softfail",
        SpfResult::Neutral => "neutral",
        SpfResult::TempError => "temperror",
        SpfResult::PermError => "permerror",
        SpfResult::None => "none",
    };
    let identity = path.map_or(("smtp.helo", hello), |path| ("smtp.mailfrom", path));
    Method::new("spf", result).with(identity.0, identity.1)
}

fn dkim_methods(outputs: &[DkimOutput<'_>]) -> Vec<Method> {
    if outputs.is_empty() {
        return vec![Method::new("dkim", "none")];
    }
    outputs.iter().map(dkim_method).collect()
}

fn dkim_method(output: &DkimOutput<'_>) -> Method {
    let (result, why) = match output.result() {
        DkimResult::Pass => ("pass", None),
        // RFC 8601, 2.7.1: "fail" is a signature that was acceptable and failed the test, which another body is.
        DkimResult::Neutral(why @ Error::Dkim(DkimError::FailedBodyHashMatch)) => ("fail", Some(why)),
        DkimResult::Neutral(why) => ("neutral", Some(why)),
        DkimResult::Fail(why) => ("fail", Some(why)),
        DkimResult::PermError(why) => ("permerror", Some(why)),
        DkimResult::TempError(why) => ("temperror", Some(why)),
        DkimResult::None => ("none", None),
    };
    let method = Method::new("dkim", result).because(why.map(ToString::to_string));
    match output.signature() {
        Some(signature) => method.with("header.d", &signature.d).with("header.s", &signature.s).with("header.b", &first_of(&signature.b)),
        None => method,
    }
}

/// RFC 6008: enough of a signature to tell it from others.
fn first_of(signature: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(&signature[..signature.len().min(6)])
}

/// The result, and what the author's domain asks for.
fn dmarc_method(output: Option<&DmarcOutput>, spf: &SpfOutput, dkim: &[DkimOutput<'_>]) -> (Method, Option<&'static str>) {
    use mail_auth::DmarcResult::{Pass, PermError, TempError};
    use mail_auth::dmarc::Policy;
    let Some(output) = output else { return (Method::new("dmarc", "temperror"), None) };
    let results = [output.spf_result(), output.dkim_result()];
    let unsure = spf.result() == SpfResult::TempError || dkim.iter().any(|output| matches!(output.result(), DkimResult::TempError(_)));
    let result = match output.dmarc_record() {
        _ if results.contains(&&Pass) => "pass",
        None if results.iter().any(|result| matches!(result, TempError(_))) => "temperror",
        None if results.iter().any(|result| matches!(result, PermError(_))) => "permerror",
        None => "none",
        Some(_) if unsure => "temperror",
        Some(_) => "fail",
    };
    let policy = output.dmarc_record().map(|_| match output.policy() {
        Policy::Reject => "reject",
        Policy::Quarantine => "quarantine",
        Policy::None | Policy::Unspecified => "none",
    });
    let method = Method::new("dmarc", result).with("header.from", output.domain());
    (method.with("policy.dmarc", policy.unwrap_or_default()), policy)
}

impl Question {
    /// What was found, if somebody asked.
    pub(crate) fn known(&self) -> Option<&Found> {
        self.found.get()
    }

    /// What was found, once for all who ask.
    pub(crate) async fn found(&self) -> &Found {
        self.found.get_or_init(|| self.authenticator.find_out(&self.arrival)).await
    }
}

impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Question").field("found", &self.found).finish_non_exhaustive()
    }
}

impl Authenticity for Question {
    fn result<'a>(&'a self, method: &'a str) -> Pin<Box<dyn Future<Output = Option<String>> + Send + 'a>> {
        Box::pin(async move { self.found().await.result(method).map(str::to_owned) })
    }
}
