//! What a SecMX policy in Rust stands on: the bindings of `secmx:policy`, one trait for each interface, and one macro.
//!
//! A policy implements only the questions it means to answer; every other one answers [`Ruling::Pass`].
//!
//! ```
//! use secmx_guest::{Content, Message, Ruling, Session};
//!
//! struct NoLargeMail;
//!
//! impl Content for NoLargeMail {
//!     fn inspect(_: &Session, message: &Message) -> Ruling {
//!         match message.octets() {
//!             0..=10_000_000 => Ruling::Pass,
//!             octets => Ruling::quarantine("size.large", &format!("{octets} octets")),
//!         }
//!     }
//! }
//!
//! secmx_guest::export!(NoLargeMail: content);
//! ```
//!
//! Build with `cargo build --release --target wasm32-wasip2`. With `default-features = false` the policy must be `no_std`, and its
//! component imports nothing but what it uses of `secmx:policy`.
#![cfg_attr(all(target_arch = "wasm32", not(feature = "std")), no_std)]

extern crate alloc;
// What the macros expand to names this crate, also within it.
extern crate self as secmx_guest;

mod action;
#[cfg(all(target_arch = "wasm32", not(feature = "std")))]
mod bare;
pub mod bindings;
pub mod dns;
mod export;
pub mod host;
mod ruling;
pub mod store;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;

pub use action::Action;
pub use bindings::imports::secmx::policy::destination::{Answer, Exchanger, Exhausted, Source};
pub use bindings::imports::secmx::policy::message::{Ambiguity, Field, Opacity, Part, Recipient};
pub use bindings::imports::secmx::policy::session::{Certificate, Channel, ClientCertificate};
pub use bindings::imports::secmx::policy::types::{Address, Level, Parameter, Reason, ReceiverRole, Reply, Ruling, SenderRole, TlsVersion};
#[cfg(target_arch = "wasm32")]
pub use bindings::imports::secmx::policy::{destination::Destination, message::Message, session::Session};
#[cfg(target_arch = "wasm32")]
pub use export::exported;
pub use host::settings;
pub use serde;
#[cfg(not(target_arch = "wasm32"))]
pub use testing::{Destination, Message, Session};

use alloc::string::String;

/// Asked when the policy is loaded.
pub trait Setup {
    /// `Err` says in one sentence what is wrong, and keeps the old version in force. The place to read [`settings`] once.
    fn check() -> Result<(), String>;
}

/// Asked while a client talks to a listener.
pub trait Receiver {
    /// The connection opened: set its terms, or refuse it.
    fn greet(session: &Session) -> Ruling {
        let _ = session;
        Ruling::Pass
    }

    /// MAIL arrived. `None` is the null reverse-path.
    fn mail(session: &Session, reverse_path: Option<Address>, parameters: &[Parameter]) -> Ruling {
        let _ = (session, reverse_path, parameters);
        Ruling::Pass
    }

    /// RCPT arrived.
    fn recipient(session: &Session, reverse_path: Option<Address>, forward_path: Address, parameters: &[Parameter]) -> Ruling {
        let _ = (session, reverse_path, forward_path, parameters);
        Ruling::Pass
    }
}

/// Asked once per message, after the end of data and before the reply to it.
pub trait Content {
    /// The message is complete.
    fn inspect(session: &Session, message: &Message) -> Ruling;
}

/// Asked before each delivery to one destination domain, and again when a channel stands.
pub trait Sender {
    /// Builds the plan with the methods of [`Destination`].
    fn route(destination: &Destination) -> Ruling {
        let _ = destination;
        Ruling::Pass
    }

    /// Last word before MAIL FROM: `Pass` or `Accept` sends, anything else goes on with the plan.
    fn admit(destination: &Destination, exchanger: &Exchanger) -> Ruling {
        let _ = (destination, exchanger);
        Ruling::Pass
    }
}
