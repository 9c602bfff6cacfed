//! Look-ups through the gateway's resolver: `dns = ["TXT"]` in `[capabilities]` of policy.toml, and granted by the administrator.
//!
//! A [`Failure::Unavailable`] is not a [`Failure::None`]: a policy that cannot tell should defer.

#[cfg(target_arch = "wasm32")]
pub use crate::bindings::powers::secmx::policy::dns::query;
pub use crate::bindings::powers::secmx::policy::dns::{Answer, Failure};
#[cfg(not(target_arch = "wasm32"))]
pub use crate::testing::names::query;
