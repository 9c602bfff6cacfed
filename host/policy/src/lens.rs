//! How messages are looked into: within which bounds, by which program, with which keys.

use crate::escrow::Escrow;
use crate::text::{Bounds, Program};
use tokio::sync::Semaphore;

/// What the configuration says about looking into messages. One for a generation of policies.
#[derive(Debug)]
pub struct Lens {
    /// How far.
    pub bounds: Bounds,
    /// What reads PDFs. Without one they are read in this process, where a hostile one could take it along: for tests and tools only.
    pub program: Option<Program>,
    /// Keys to open S/MIME with, for inspection only.
    pub escrow: Escrow,
    turns: Semaphore,
}

impl Default for Lens {
    fn default() -> Self {
        Self::new(Bounds::default(), None, Escrow::default())
    }
}

impl Lens {
    /// Puts one together.
    pub fn new(bounds: Bounds, program: Option<Program>, escrow: Escrow) -> Self {
        let turns = Semaphore::new(bounds.programs.max(1));
        Self { bounds, program, escrow, turns }
    }

    /// Waits until a document may be read.
    pub(crate) async fn turn(&self) -> Option<tokio::sync::SemaphorePermit<'_>> {
        self.turns.acquire().await.ok()
    }
}
