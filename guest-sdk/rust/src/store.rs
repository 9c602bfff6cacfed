//! A small memory of the policy, the same for all messages and after a restart: `store = "1MiB"` in `[capabilities]` of policy.toml, and
//! granted by the administrator.
//!
//! ```no_run
//! // How many messages in the last hour? What is not touched for `ttl` seconds is forgotten.
//! let number = secmx_guest::store::increment("ana@agency.example", 1, Some(3600))?;
//! # Ok::<(), String>(())
//! ```

#[cfg(target_arch = "wasm32")]
pub use crate::bindings::powers::secmx::policy::store::{get, increment, set};
#[cfg(not(target_arch = "wasm32"))]
pub use crate::testing::store::{get, increment, set};
