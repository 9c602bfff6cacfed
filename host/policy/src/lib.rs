//! `secmx-policy` asks Wasm: the only crate that knows wasmtime.
//!
//! Facts go in, rulings and effects come out. A policy runs in a fresh instance for each question (or for a few, where its
//! limits say so), with limits on time, memory and host calls, and without any power but those of `secmx:policy` (folder `wit`). What a policy does wrong is a [`Fault`]: it defers
//! the one message that it was asked about and never passes or bounces it, and nothing else notices (invariant 6).

mod ber;
mod bindings;
mod breaker;
mod builtin;
pub mod cases;
mod chain;
mod compile;
mod component;
mod convert;
mod effects;
mod escrow;
mod facts;
mod fault;
mod host;
mod lens;
pub mod manifest;
mod mime;
mod minutes;
mod occasion;
mod opacity;
mod policy;
pub mod reach;
mod rehearsal;
mod resolver;
mod sandbox;
mod set;
mod shadow;
mod store;
mod tally;
mod text;
mod trial;
pub mod units;

pub use breaker::Tolerance;
pub use builtin::{BUILTINS, SHIPPED, shipped};
pub use chain::{Greeting, Hearing, Inspection, Routing};
pub use compile::{COMPILE, CompileLimits, Workshop, compile_child, this_program};
pub use effects::Tags;
pub use escrow::{Escrow, EscrowError};
pub use facts::{Answer, Authenticity, DestinationFacts, ExchangerFacts, MessageFacts, Octets, SessionFacts, Source};
pub use fault::{Fault, LoadError};
pub use lens::Lens;
pub use minutes::{Cost, Minutes, Said};
pub use occasion::{Condition, Occasion};
pub use resolver::{Answering, Lookup, NoAnswer, Resolver};
pub use sandbox::{Limits, Observer, Runtime, RuntimeLimits};
pub use set::{Duty, Mode, Named, OnError, PolicyInfo, PolicySet, PolicySource};
pub use shadow::{Editor, Following, ShadowDifference, ShadowTally};
pub use store::Book;
pub use tally::Tallied;
pub use text::{Bounds, Gap, Program, answer as read_document};
pub use trial::{Candidate, Report, Trial, Trialled};
