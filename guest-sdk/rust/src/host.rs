//! What the gateway offers beside the facts: the log, settings, lists, the time, counters. There is nothing else: no files, no network.

#[cfg(target_arch = "wasm32")]
use crate::bindings::imports::secmx::policy::host;
#[cfg(not(target_arch = "wasm32"))]
use crate::testing::host;
use alloc::string::{String, ToString};
use serde::de::DeserializeOwned;

pub use crate::bindings::imports::secmx::policy::host::Severity;
pub use host::{count, in_list, log, now};

/// This policy's settings as a type of its own. An error is one sentence that names the field; return it from
/// [`Setup::check`](crate::Setup::check), and the administrator sees it when the configuration is loaded.
pub fn settings<T: DeserializeOwned>() -> Result<T, String> {
    serde_json::from_str(&host::settings()).map_err(|error| error.to_string())
}

/// Writes a line for developers to the log: `debug!("{} parts", n)`.
#[macro_export]
macro_rules! debug {
    ($($text:tt)*) => { $crate::host::__log($crate::host::Severity::Debug, core::format_args!($($text)*)) };
}

/// Writes a line to the log: `info!("{} parts", n)`.
#[macro_export]
macro_rules! info {
    ($($text:tt)*) => { $crate::host::__log($crate::host::Severity::Info, core::format_args!($($text)*)) };
}

/// Writes a line that an operator should see to the log.
#[macro_export]
macro_rules! warning {
    ($($text:tt)*) => { $crate::host::__log($crate::host::Severity::Warn, core::format_args!($($text)*)) };
}

/// What the macros call.
#[doc(hidden)]
pub fn __log(severity: Severity, text: core::fmt::Arguments<'_>) {
    log(severity, &alloc::fmt::format(text));
}
