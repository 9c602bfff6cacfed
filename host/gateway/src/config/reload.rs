//! `[reload]`: what a running gateway takes over by itself.

use super::reader::Section;

/// `[reload]`. What it says of a change is in the log, and in `secmx status` when it was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reload {
    /// `watch`: whether the files of policies and lists and `policies.lock` are taken over when they change, as `secmx policy reload`
    /// does. The configuration itself never is: `secmx reload`. Default `true`.
    pub watch: bool,
    /// `rehearse`: whether policies are shown a small message before they come into force, at the start too; one that fails on it then does
    /// not. Default `true`.
    pub rehearse: bool,
}

impl Reload {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        Self { watch: section.or("watch", true), rehearse: section.or("rehearse", true) }
    }
}
