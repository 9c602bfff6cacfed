//! Whole sessions without a socket: a sender against peers that lie, and the two sides against each other.

mod delivery;
mod liar;
mod pair;
mod random;
mod secure_only;
