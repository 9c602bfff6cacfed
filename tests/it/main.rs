//! Tests of the whole: hermetic, on loopback, with ports from the system.

mod tidy;
