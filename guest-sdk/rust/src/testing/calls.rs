//! What a policy did to what it was asked about.

use alloc::string::String;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::fmt::Arguments;

/// In order, a line for each method that changes something: `set_role(SenderRole::SecureOnly)`, `add_field("X-Seen", "yes")`.
#[derive(Debug, Clone, Default)]
pub struct Calls(RefCell<Vec<String>>);

impl Calls {
    /// The lines until now.
    pub fn lines(&self) -> Vec<String> {
        self.0.borrow().clone()
    }

    pub(super) fn add(&self, call: Arguments<'_>) {
        self.0.borrow_mut().push(alloc::fmt::format(call));
    }
}
