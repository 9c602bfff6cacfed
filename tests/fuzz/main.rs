//! Fuzz targets as plain functions (S12): what strangers send us, every entry of a corpus of the cases we know, and then mutants of them.
//!
//! `cargo test` gives the mutants of each target two seconds; `SECMX_FUZZ_SECONDS=3600 cargo test -p secmx-tests --test fuzz` gives them an
//! hour, with `SECMX_FUZZ_SEED` where another run began. A failure prints target, seed and octets; add the octets to
//! `tests/cases/smtp.json`.

mod corpus;
mod mutate;
mod spool;
mod targets;

use corpus::CORPUS;
use mutate::Mutator;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// Runs one target on every entry of the corpus as it is, then on mutants until its time is over.
fn run(name: &str, target: impl Fn(&[u8], &mut Mutator)) {
    let began = Instant::now();
    for (number, entry) in (0..).zip(CORPUS.iter()) {
        play(&format!("{name}, entry {number}"), entry, &mut Mutator::new(number), &target);
    }
    let (time, replayed) = (Duration::from_secs(setting("SECMX_FUZZ_SECONDS", 2)), began.elapsed());
    let (first, began) = (setting("SECMX_FUZZ_SEED", 0), Instant::now());
    let mut seed = first;
    while began.elapsed() < time {
        let mut mutator = Mutator::new(seed);
        let input = mutator.input();
        play(&format!("{name}, SECMX_FUZZ_SEED={seed}"), &input, &mut mutator, &target);
        seed += 1;
    }
    println!("{name}: {} entries in {replayed:?}, {} mutants in {:?}", CORPUS.len(), seed - first, began.elapsed());
}

/// Says which input it was when the target fails on it.
fn play(name: &str, input: &[u8], mutator: &mut Mutator, target: &impl Fn(&[u8], &mut Mutator)) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(input, mutator))) {
        eprintln!("{name}: {:?}", String::from_utf8_lossy(input));
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn s12_commands() {
    run("commands", targets::commands);
}

#[test]
fn s12_server_session() {
    run("server session", targets::server_session);
}

#[test]
fn s12_client_session() {
    run("client session", targets::client_session);
}

#[test]
fn s12_replies() {
    run("replies", targets::replies);
}

#[test]
fn s12_content() {
    run("content", targets::content);
}

#[test]
fn s12_addresses() {
    run("addresses", targets::addresses);
}

#[test]
fn s12_what_domains_publish() {
    run("what domains publish", targets::published);
}

#[test]
fn s12_configuration() {
    run("configuration", targets::configuration);
}

/// S2, S4: written at once, octet by octet, and split at each offset, the same is said and the same is taken, and none of it is forged.
#[test]
fn s2_s4_it_does_not_matter_where_octets_are_cut() {
    let (mut cases, mut splits) = (0, 0);
    for (name, wire) in corpus::borders() {
        cases += 1;
        splits += targets::cut_everywhere(name, &wire);
    }
    println!("cut everywhere: {cases} cases, {splits} splits");
    assert!(cases > 300, "{cases}");
}

#[test]
fn s12_chunks() {
    run("chunks", targets::chunks);
}

#[test]
fn s12_views_of_messages() {
    run("views of messages", targets::views);
}

#[test]
fn s12_edits() {
    run("edits", targets::edits);
}

#[test]
fn s12_spool_records() {
    run("spool records", spool::records);
}

/// The targets can fail: a server that took a bare LF for a line end would be found out.
#[test]
fn the_judge_of_the_wire_can_say_no() {
    assert!(targets::is_lines(b"a\r\n.\r\n") && targets::is_lines(b""));
    for bad in [&b"a\n"[..], b"a\rb\r\n", b"a", b"\r\n\r"] {
        assert!(!targets::is_lines(bad), "{bad:?}");
    }
}
