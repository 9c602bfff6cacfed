//! Who answers the DNS questions of policies: the gateway's resolver, or the answers of a test.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

/// Records that were found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lookup {
    /// Each in presentation form; of TXT its strings joined.
    pub values: Vec<String>,
    /// Whether DNSSEC vouches for them.
    pub secure: bool,
}

/// Why there are none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoAnswer {
    /// There are none.
    None,
    /// It could not be told.
    Unavailable,
    /// The answer fails DNSSEC.
    Bogus,
    /// A test does not say: a fault, with this text.
    NotGiven(String),
}

/// What comes of a question.
pub type Answering<'a> = Pin<Box<dyn Future<Output = Result<Lookup, NoAnswer>> + Send + 'a>>;

/// Somebody who can be asked.
pub trait Resolver: Send + Sync + fmt::Debug {
    /// Records of a kind, such as `TXT`, in upper case.
    fn look_up<'a>(&'a self, name: &'a str, kind: &'a str) -> Answering<'a>;
}
