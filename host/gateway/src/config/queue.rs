//! `[queue]`: how much is delivered at the same time.

use super::reader::Section;

/// `[queue]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    /// `workers`: deliveries at the same time. Default 64.
    pub workers: usize,
    /// `per_destination.connections`: deliveries at the same time to one domain. Default 20.
    pub per_destination: usize,
}

impl Queue {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let workers: u16 = section.or("workers", 64);
        Self { workers: workers.into(), per_destination: section.table("per_destination", |section| section.or("connections", 20)) }
    }
}
