//! What a guest finds of the world that language runtimes expect: nothing of this machine.

use crate::guests::guest;
use crate::hostile::message;
use crate::receivers::session;
use crate::runtime;
use secmx_policy::{Candidate, PolicySet, PolicySource, Trial, Trialled};

/// Tries variables, arguments, files, sockets and names, and traps where there is something; traps when WASI tells another time than the
/// gateway; logs 64 random bits as 16 letters.
const CURIOUS: &str = r#"(component
  (import "secmx:policy/types@0.1.0" (instance $types
    {ruling}))
  (alias export $types "ruling" (type $ruling))
  (import "secmx:policy/session@0.1.0" (instance $sessions (export "session" (type (sub resource)))))
  (alias export $sessions "session" (type $session))
  (import "secmx:policy/message@0.1.0" (instance $messages (export "message" (type (sub resource)))))
  (alias export $messages "message" (type $message))
  (import "secmx:policy/host@0.1.0" (instance $host
    (type $s (enum "debug" "info" "warn")) (export "severity" (type $severity (eq $s)))
    (export "log" (func (param "severity" $severity) (param "text" string)))
    (export "now" (func (result u64)))))
  (import "wasi:cli/environment@0.2.0" (instance $environment
    (export "get-environment" (func (result (list (tuple string string)))))
    (export "get-arguments" (func (result (list string))))
    (export "initial-cwd" (func (result (option string))))))
  (import "wasi:filesystem/types@0.2.0" (instance $files (export "descriptor" (type (sub resource)))))
  (alias export $files "descriptor" (type $descriptor))
  (import "wasi:filesystem/preopens@0.2.0" (instance $folders
    (alias outer 1 $descriptor (type $d)) (export "descriptor" (type $file (eq $d)))
    (export "get-directories" (func (result (list (tuple (own $file) string)))))))
  (import "wasi:sockets/network@0.2.0" (instance $networks
    (export "network" (type (sub resource)))
    (type $e (enum "unknown" "access-denied" "not-supported" "invalid-argument" "out-of-memory" "timeout" "concurrency-conflict"
      "not-in-progress" "would-block" "invalid-state" "new-socket-limit" "address-not-bindable" "address-in-use" "remote-unreachable"
      "connection-refused" "connection-reset" "connection-aborted" "datagram-too-large" "name-unresolvable" "temporary-resolver-failure"
      "permanent-resolver-failure"))
    (export "error-code" (type (eq $e)))
    (type $f (enum "ipv4" "ipv6"))
    (export "ip-address-family" (type (eq $f)))))
  (alias export $networks "network" (type $network))
  (alias export $networks "error-code" (type $failure))
  (alias export $networks "ip-address-family" (type $family))
  (import "wasi:sockets/instance-network@0.2.0" (instance $whole
    (alias outer 1 $network (type $n)) (export "network" (type $own (eq $n)))
    (export "instance-network" (func (result (own $own))))))
  (import "wasi:sockets/ip-name-lookup@0.2.0" (instance $names
    (alias outer 1 $network (type $n)) (export "network" (type $own (eq $n)))
    (alias outer 1 $failure (type $x)) (export "error-code" (type $code (eq $x)))
    (export "resolve-address-stream" (type $stream (sub resource)))
    (export "resolve-addresses" (func (param "network" (borrow $own)) (param "name" string) (result (result (own $stream) (error $code)))))))
  (import "wasi:sockets/tcp@0.2.0" (instance $tcp (export "tcp-socket" (type (sub resource)))))
  (alias export $tcp "tcp-socket" (type $tcp-socket))
  (import "wasi:sockets/tcp-create-socket@0.2.0" (instance $tcps
    (alias outer 1 $failure (type $x)) (export "error-code" (type $code (eq $x)))
    (alias outer 1 $family (type $y)) (export "ip-address-family" (type $kind (eq $y)))
    (alias outer 1 $tcp-socket (type $z)) (export "tcp-socket" (type $socket (eq $z)))
    (export "create-tcp-socket" (func (param "address-family" $kind) (result (result (own $socket) (error $code)))))))
  (import "wasi:sockets/udp@0.2.0" (instance $udp (export "udp-socket" (type (sub resource)))))
  (alias export $udp "udp-socket" (type $udp-socket))
  (import "wasi:sockets/udp-create-socket@0.2.0" (instance $udps
    (alias outer 1 $failure (type $x)) (export "error-code" (type $code (eq $x)))
    (alias outer 1 $family (type $y)) (export "ip-address-family" (type $kind (eq $y)))
    (alias outer 1 $udp-socket (type $z)) (export "udp-socket" (type $socket (eq $z)))
    (export "create-udp-socket" (func (param "address-family" $kind) (result (result (own $socket) (error $code)))))))
  (import "wasi:clocks/wall-clock@0.2.0" (instance $clock
    (type $d (record (field "seconds" u64) (field "nanoseconds" u32))) (export "datetime" (type $time (eq $d)))
    (export "now" (func (result $time)))))
  (import "wasi:random/random@0.2.0" (instance $random (export "get-random-u64" (func (result u64)))))
  (import "wasi:random/insecure-seed@0.2.0" (instance $seed (export "insecure-seed" (func (result (tuple u64 u64))))))
  (core module $memory
    (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 4096))
  (core instance $memory (instantiate $memory))
  (core func $log (canon lower (func $host "log") (memory (core memory $memory "memory"))))
  (core func $now (canon lower (func $host "now")))
  (core func $variables (canon lower (func $environment "get-environment") (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (core func $arguments (canon lower (func $environment "get-arguments") (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (core func $place (canon lower (func $environment "initial-cwd") (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (core func $folders (canon lower (func $folders "get-directories") (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (core func $whole (canon lower (func $whole "instance-network")))
  (core func $resolve (canon lower (func $names "resolve-addresses") (memory (core memory $memory "memory"))))
  (core func $tcp (canon lower (func $tcps "create-tcp-socket") (memory (core memory $memory "memory"))))
  (core func $udp (canon lower (func $udps "create-udp-socket") (memory (core memory $memory "memory"))))
  (core func $clock (canon lower (func $clock "now") (memory (core memory $memory "memory"))))
  (core func $draw (canon lower (func $random "get-random-u64")))
  (core func $seed (canon lower (func $seed "insecure-seed") (memory (core memory $memory "memory"))))
  (core module $code
    (import "env" "memory" (memory 1))
    (import "env" "log" (func $log (param i32 i32 i32)))
    (import "env" "now" (func $now (result i64)))
    (import "env" "variables" (func $variables (param i32)))
    (import "env" "arguments" (func $arguments (param i32)))
    (import "env" "place" (func $place (param i32)))
    (import "env" "folders" (func $folders (param i32)))
    (import "env" "whole" (func $whole (result i32)))
    (import "env" "resolve" (func $resolve (param i32 i32 i32 i32)))
    (import "env" "tcp" (func $tcp (param i32 i32)))
    (import "env" "udp" (func $udp (param i32 i32)))
    (import "env" "clock" (func $clock (param i32)))
    (import "env" "draw" (func $draw (result i64)))
    (import "env" "seed" (func $seed (param i32)))
    (data (i32.const 64) "localhost")
    (func $trap-if (param i32) (if (local.get 0) (then unreachable)))
    (func $empty (call $trap-if (i32.load (i32.const 260))))
    (func $denied (param $code i32)
      (call $trap-if (i32.ne (i32.load8_u (i32.const 256)) (i32.const 1)))
      (call $trap-if (i32.ne (i32.load8_u (i32.const 260)) (local.get $code))))
    (func (export "inspect") (param i32 i32) (result i32) (local $bits i64) (local $at i32)
      (call $variables (i32.const 256)) (call $empty)
      (call $arguments (i32.const 256)) (call $empty)
      (call $place (i32.const 256)) (call $trap-if (i32.load8_u (i32.const 256)))
      (call $folders (i32.const 256)) (call $empty)
      (call $resolve (call $whole) (i32.const 64) (i32.const 9) (i32.const 256)) (call $denied (i32.const 20))
      (call $tcp (i32.const 0) (i32.const 256)) (call $denied (i32.const 1))
      (call $udp (i32.const 1) (i32.const 256)) (call $denied (i32.const 1))
      (call $clock (i32.const 256))
      (call $trap-if (i64.ne (i64.load (i32.const 256)) (call $now)))
      (call $trap-if (i32.load (i32.const 264)))
      (call $seed (i32.const 256))
      (local.set $bits (i64.xor (call $draw) (i64.xor (i64.load (i32.const 256)) (i64.load (i32.const 264)))))
      (loop $more
        (i32.store8 (i32.add (i32.const 512) (local.get $at)) (i32.add (i32.const 97) (i32.and (i32.wrap_i64 (local.get $bits)) (i32.const 15))))
        (local.set $bits (i64.shr_u (local.get $bits) (i64.const 4)))
        (br_if $more (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 1))) (i32.const 16))))
      (call $log (i32.const 1) (i32.const 512) (i32.const 16))
      i32.const 0))
  (core instance $code (instantiate $code (with "env" (instance
    (export "memory" (memory $memory "memory")) (export "log" (func $log)) (export "now" (func $now))
    (export "variables" (func $variables)) (export "arguments" (func $arguments)) (export "place" (func $place))
    (export "folders" (func $folders)) (export "whole" (func $whole)) (export "resolve" (func $resolve)) (export "tcp" (func $tcp))
    (export "udp" (func $udp)) (export "clock" (func $clock)) (export "draw" (func $draw)) (export "seed" (func $seed))))))
  (func $inspect (param "session" (own $session)) (param "message" (own $message)) (result $ruling)
    (canon lift (core func $code "inspect") (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (instance $content (export "inspect" (func $inspect)))
  (export "secmx:policy/content@0.1.0" (instance $content)))"#;

fn curious() -> PolicySource {
    guest("curious", CURIOUS)
}

/// In a gateway there is nothing of the machine, the clock of WASI is the gateway's, and randomness is random.
#[tokio::test]
async fn a_guest_finds_nothing_of_this_machine() {
    let (set, log) = crate::set(vec![curious()]);
    let mut drawn = Vec::new();
    for _ in 0..2 {
        set.content(&session(), message()).await.expect("it found nothing");
        drawn = log.lines().into_iter().filter(|line| line.contains("policy.log")).collect();
    }
    assert!(matches!(&drawn[..], [first, second] if first != second), "{drawn:?}");
}

/// An instance that is asked again is told the time of each question.
#[tokio::test]
async fn the_clock_of_an_instance_goes_on_with_its_questions() {
    let limits = secmx_policy::Limits { max_uses: 100, ..secmx_policy::Limits::default() };
    let (set, _) = crate::set(vec![PolicySource { limits, ..curious() }]);
    let begun = seconds();
    while seconds() < begun + 2 {
        set.content(&session(), message()).await.expect("the same time");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

fn seconds() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs()
}

/// Page 3, B: clock and randomness come from the record, so that a case and a replay end the same each time.
#[tokio::test]
async fn on_trial_clock_and_randomness_are_fixed() {
    let mut drawn = Vec::new();
    for now in [Some(0), Some(1_000_000_000), None] {
        let (runtime, _) = runtime();
        let load = tokio::task::spawn_blocking(move || Candidate::load(&runtime, &curious()).expect("loads"));
        let fixed = Trialled { now, forgets: true };
        let report = load.await.expect("no panic").ask(Trial::Inspect(session(), message()), fixed).await;
        assert!(report.answer.is_ok(), "{now:?}: {:?}", report.answer);
        drawn.push(report.lines);
    }
    assert!(drawn.iter().all(|lines| lines.len() == 1 && *lines == drawn[0]), "{drawn:?}");
    assert!(PolicySet::load(&runtime().0, vec![curious()]).is_ok_and(|set| set.rehearse().is_ok()));
}
