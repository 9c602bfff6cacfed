//! Look-ups through the gateway's resolver: `dns = ["TXT"]` in `[capabilities]` of policy.toml, and granted by the administrator.
//!
//! A [`Failure::Unavailable`] is not a [`Failure::None`]: a policy that cannot tell should defer.

pub use crate::bindings::powers::secmx::policy::dns::{Answer, Failure, query};
