//! How a command ends: one code for each kind of end, the same for all commands.

use super::remote::Told;
use std::io;
use std::process::ExitCode;

/// Exit codes. The numbers are stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Exit {
    /// 0: yes, or done.
    Yes = 0,
    /// 1: the answer is no, or it could not be done.
    No = 1,
    /// 2: the arguments are wrong.
    Usage = 2,
    /// 3: there is no such thing.
    NotFound = 3,
    /// 4: the gateway cannot be reached.
    Unreachable = 4,
    /// 5: not allowed.
    NotAllowed = 5,
    /// 6: cannot tell now.
    CannotTell = 6,
    /// 7: the configuration is invalid.
    Misconfigured = 7,
    /// 70: our bug.
    Bug = 70,
}

impl Exit {
    /// The code for what stopped a command.
    pub fn of(error: &anyhow::Error) -> Self {
        if let Some(told) = error.chain().find_map(|cause| cause.downcast_ref::<Told>()) {
            return told.exit;
        }
        match error.chain().find_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind) {
            Some(io::ErrorKind::PermissionDenied) => Self::NotAllowed,
            _ => Self::No,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn an_error_finds_its_code_through_its_context() {
        let refused = io::Error::from(io::ErrorKind::PermissionDenied);
        let error = Err::<(), _>(refused).context("cannot listen on 0.0.0.0:25").expect_err("an error");
        assert_eq!(Exit::of(&error), Exit::NotAllowed);
        assert_eq!(Exit::of(&anyhow::anyhow!("something else")), Exit::No);
    }
}
