//! `[dkim]`: how mail of our own is signed on its way out.

use super::Config;
use super::finding::Code;
use super::reader::{Refusal, Section, Setting};
use super::tree::Node;
use secmx_core::mail::Domain;
use std::path::PathBuf;

/// `[dkim]`: signatures (RFC 6376, RFC 8463) of mail that leaves for other domains, when it came from one of our own systems, from a user
/// who authenticated, or from this gateway (bounces), and its author is of a domain that has keys here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dkim {
    /// `keys`: list of `{ domain = "agency.example", selector = "2026a", key = "dkim.pem" }`, PEM files with an RSA or Ed25519 key, as
    /// `secmx dkim keygen` and `openssl genpkey` write them. Mail of the domain, and of domains below it that have none of their own, is
    /// signed with every one of its keys. An entry may have `headers` and `canonicalization` of its own. Read again at each reload and when a file changes; with a key that cannot be read the gateway does
    /// not start, and keeps its old configuration at a reload. Default none: nothing is signed.
    pub keys: Vec<DkimKey>,
    /// `headers`: fields that a signature covers; what is not there is covered too, so that nobody can add it, and From also against another.
    /// Default From, To, Cc, Subject, Date, Message-ID, Reply-To, In-Reply-To, References, MIME-Version, Content-Type,
    /// Content-Transfer-Encoding.
    pub headers: Vec<String>,
    /// `canonicalization`: of header and body, `"relaxed"` or `"simple"` each, what changes on the way without breaking a signature (RFC
    /// 6376, 3.4). Default `"relaxed/relaxed"`.
    pub canonicalization: Canonicalization,
}

/// One entry of `dkim.keys`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DkimKey {
    /// `domain`: the domain that signs, `d=`.
    pub domain: Domain,
    /// `selector`: the name of the key below `_domainkey`, `s=`.
    pub selector: String,
    /// `key`: PEM file with the private key.
    pub key: PathBuf,
    /// `headers`: what this key covers. Default `dkim.headers`.
    pub headers: Option<Vec<String>>,
    /// `canonicalization`: with this key. Default `dkim.canonicalization`.
    pub canonicalization: Option<Canonicalization>,
}

/// `dkim.canonicalization`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Canonicalization {
    /// Of the header: white space and case may change.
    pub relaxed_header: bool,
    /// Of the body: white space may change.
    pub relaxed_body: bool,
}

impl Setting for Canonicalization {
    fn read(node: &Node) -> Result<Self, Refusal> {
        let both = |relaxed_header, relaxed_body| Self { relaxed_header, relaxed_body };
        node.choice(&[
            ("relaxed/relaxed", both(true, true)),
            ("relaxed/simple", both(true, false)),
            ("simple/relaxed", both(false, true)),
            ("simple/simple", both(false, false)),
        ])
    }
}

/// Fields that are covered without a word: what a person or a program relies on, nothing that a list adds.
const HEADERS: [&str; 12] = [
    "From",
    "To",
    "Cc",
    "Subject",
    "Date",
    "Message-ID",
    "Reply-To",
    "In-Reply-To",
    "References",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
];

impl Dkim {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let keys: Vec<DkimKey> = section.tables("keys", DkimKey::read).into_iter().flatten().collect();
        let span = section.span_of("keys");
        for (index, key) in keys.iter().enumerate() {
            let same = |other: &&DkimKey| other.domain == key.domain && other.selector == key.selector;
            if keys.iter().take(index).any(|other| same(&other)) {
                let message = format!("`dkim.keys` names {}._domainkey.{} twice", key.selector, key.domain);
                section.reader.error(span, Code::Twice, message);
            }
        }
        let headers = headers(section).unwrap_or_else(|| HEADERS.map(str::to_owned).to_vec());
        let canonicalization = section.or("canonicalization", Canonicalization { relaxed_header: true, relaxed_body: true });
        Self { keys, headers, canonicalization }
    }
}

impl Config {
    /// The domain that seals, and its key.
    pub(crate) fn sealing_key(&self) -> Option<&DkimKey> {
        let domain = self.authentication.seal.as_ref()?;
        self.dkim.keys.iter().find(|key| key.domain == *domain)
    }
}

impl DkimKey {
    fn read(section: &mut Section<'_>) -> Option<Self> {
        let (domain, selector) = (section.required::<Domain>("domain"), section.required::<String>("selector"));
        let present = section.required::<PathBuf>("key").is_some();
        // RFC 6376, 3.1: a selector is a name below `_domainkey`.
        if selector.as_deref().is_some_and(|selector| Domain::parse(selector).is_err()) {
            let message = format!("`{}`: expected letters, digits and hyphens, such as \"2026a\"", section.dotted("selector"));
            section.reader.error(section.span_of("selector"), Code::Value, message);
        }
        let key = if present { section.path("key") } else { None };
        let (headers, canonicalization) = (headers(section), section.optional("canonicalization"));
        Some(Self { domain: domain?, selector: selector?, key: key?, headers, canonicalization })
    }
}

/// RFC 6376, 5.4: "The From header field MUST be signed".
fn headers(section: &mut Section<'_>) -> Option<Vec<String>> {
    let headers: Vec<String> = section.optional("headers")?;
    if !headers.iter().any(|name| name.eq_ignore_ascii_case("From")) {
        let message = format!("`{}` must name From", section.dotted("headers"));
        section.reader.error(section.span_of("headers"), Code::MissingKey, message);
    }
    Some(headers)
}
