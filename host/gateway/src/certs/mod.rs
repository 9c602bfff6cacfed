//! Our own certificates: where they come from, and how they stay fresh while the gateway runs.
//!
//! They are, in this order, the files in `tls.certs`, what an ACME authority issued, and, when neither can be used, a self-signed one: "a
//! lost gateway key stops all mail" was the trouble of the old gateways, so a lost or broken key here never takes STARTTLS away (L1-1).

mod acme;
mod challenges;
mod closet;
mod keeper;

pub use acme::{AcmeFolder, rotate};
pub use challenges::Challenges;
pub use closet::{Closet, Outfit};
pub use keeper::Keeper;
