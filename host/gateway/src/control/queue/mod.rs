//! `/queue/…`: what waits, for whom, and what operators do about it.

mod change;
mod list;
mod show;

pub(crate) use change::{Action, Change, Changed};
pub(crate) use list::{DestinationRow, Destinations, Entries, Entry, Listing, State};
pub(crate) use show::{Shown, shown};

use super::Control;
use axum::Router;
use std::sync::Arc;

pub(super) fn routes() -> Router<Arc<Control>> {
    list::routes().merge(show::routes()).merge(change::routes())
}
