//! What fuzz targets reach from outside: the view of a message and the check of edits, which only policies use otherwise.

use crate::convert::{field_name, field_value};
use crate::mime::View;
use bytes::Bytes;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Parses a message as policies see it. Gives how many parts and places of disagreement it found.
pub fn view(message: &[u8]) -> (usize, usize) {
    let view = View::of(&Bytes::copy_from_slice(message), Arc::default());
    let parts = view.parts().len();
    (0..u32::try_from(parts).unwrap_or(u32::MAX)).for_each(|index| drop((view.part_text(index).is_some(), view.digest(index))));
    let names: BTreeSet<_> = view.fields().map(|(name, _)| name).collect();
    names.into_iter().for_each(|name| drop(view.text(name)));
    (parts, view.ambiguities().len())
}

/// Name and value of a field that a policy wants to add, once they are found to be harmless.
pub fn edit(name: &str, value: &str) -> Option<(String, String)> {
    Some((field_name(name.to_owned()).ok()?, field_value(value.to_owned()).ok()?))
}
