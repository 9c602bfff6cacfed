//! Addresses, envelopes and trace fields: what mail is made of, without the protocol that moves it (RFC 5321, 4.1.2; RFC 5322).

mod domain;
pub mod dsn;
mod envelope;
mod mailbox;
pub mod trace;

pub use domain::{AddressError, Domain, MailDomain};
pub use envelope::{BodyKind, Envelope, Parameter};
pub use mailbox::{Mailbox, ReversePath};
