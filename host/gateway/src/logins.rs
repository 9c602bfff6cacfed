//! Who we are to the hosts that the configuration names, with the passwords that it only points at.

use crate::config::Config;
use anyhow::{Context, Result};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// A name and its password.
pub struct Login {
    /// The name.
    pub user: String,
    /// The password.
    pub password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "login of {}", self.user)
    }
}

/// Every login, by the host as the queue names it.
#[derive(Debug, Default)]
pub struct Logins(HashMap<String, Arc<Login>>);

impl Logins {
    /// Reads the passwords. Errors name the host and where its password should be.
    pub fn load(config: &Config) -> Result<Self> {
        let read = |login: &crate::config::Login| {
            let password = login.password.reveal().with_context(|| format!("send.login for {}", login.host))?;
            Ok((login.host.to_string(), Arc::new(Login { user: login.user.clone(), password })))
        };
        config.send.logins.iter().map(read).collect::<Result<_>>().map(Self)
    }

    /// Who we are to that host.
    pub fn at(&self, next_hop: &str) -> Option<Arc<Login>> {
        self.0.get(next_hop).cloned()
    }
}
