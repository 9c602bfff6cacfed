//! Small guests in the text format: policies whose functions are the given code.

use secmx_policy::PolicySource;

/// The types that a ruling is made of, which stand for `{ruling}` in every guest.
const RULING: &str = r#"(type $r (record (field "code" string) (field "text" string)))
    (export "reason" (type $reason (eq $r)))
    (type $e (tuple u8 u16 u16))
    (type $p (record (field "code" u16) (field "enhanced" $e) (field "text" string)))
    (export "reply" (type $reply (eq $p)))
    (type $both (tuple $reply $reason))
    (type $v (variant (case "pass") (case "accept" $reason) (case "reject" $both) (case "defer" $both)
      (case "quarantine" $reason) (case "discard" $reason)))
    (export "ruling" (type (eq $v)))"#;

/// A content policy; `{module}` and `{inspect}` come from the test.
const CONTENT: &str = r#"(component
  (import "secmx:policy/types@0.1.0" (instance $types
    {ruling}))
  (import "secmx:policy/session@0.1.0" (instance $sessions (export "session" (type (sub resource)))))
  (import "secmx:policy/message@0.1.0" (instance $messages
    (export "message" (type $m (sub resource)))
    (export "[method]message.add-field" (func (param "self" (borrow $m)) (param "name" string) (param "value" string)))
    (export "[method]message.set-tag" (func (param "self" (borrow $m)) (param "key" string) (param "value" string)))
    (export "[method]message.replace-part" (func (param "self" (borrow $m)) (param "index" u32) (param "content-type" string)
      (param "body" (list u8)) (result (result (error string)))))
    (export "[method]message.octets" (func (param "self" (borrow $m)) (result u64)))))
  (alias export $types "ruling" (type $ruling))
  (alias export $sessions "session" (type $session))
  (alias export $messages "message" (type $message))
  (core module $memory
    (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 4096))
  (core instance $memory (instantiate $memory))
  (core func $add-field (canon lower (func $messages "[method]message.add-field") (memory (core memory $memory "memory"))))
  (core func $set-tag (canon lower (func $messages "[method]message.set-tag") (memory (core memory $memory "memory"))))
  (core func $replace-part (canon lower (func $messages "[method]message.replace-part")
    (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (core func $octets (canon lower (func $messages "[method]message.octets")))
  (core module $code
    (import "env" "memory" (memory 1))
    (import "env" "octets" (func $octets (param i32) (result i64)))
    (import "env" "add-field" (func $add-field (param i32 i32 i32 i32 i32)))
    (import "env" "set-tag" (func $set-tag (param i32 i32 i32 i32 i32)))
    (import "env" "replace-part" (func $replace-part (param i32 i32 i32 i32 i32 i32 i32)))
    (data (i32.const 64) "X-Policy") (data (i32.const 80) "one\0d\0atwo") (data (i32.const 96) "policy.word")
    {module}
    (func (export "inspect") (param $session i32) (param $message i32) (result i32) {inspect}))
  (core instance $code (instantiate $code (with "env" (instance
    (export "memory" (memory $memory "memory")) (export "add-field" (func $add-field)) (export "set-tag" (func $set-tag))
    (export "replace-part" (func $replace-part)) (export "octets" (func $octets))))))
  (func $inspect (param "session" (own $session)) (param "message" (own $message)) (result $ruling)
    (canon lift (core func $code "inspect") (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (instance $content (export "inspect" (func $inspect)))
  (export "secmx:policy/content@0.1.0" (instance $content)))"#;

/// A sender policy; `{route}` and `{admit}` come from the test.
const SENDER: &str = r#"(component
  (import "secmx:policy/types@0.1.0" (instance $types
    {ruling}
    (type $l (enum "plain" "encrypted" "host" "domain"))
    (export "level" (type (eq $l)))
    (type $o (enum "best-effort" "secure-only"))
    (export "sender-role" (type (eq $o)))))
  (alias export $types "ruling" (type $ruling))
  (alias export $types "level" (type $level))
  (alias export $types "sender-role" (type $role))
  (import "secmx:policy/destination@0.1.0" (instance $destinations
    (alias outer 1 $level (type $l)) (export "level" (type $level (eq $l)))
    (alias outer 1 $role (type $o)) (export "sender-role" (type $role (eq $o)))
    (type $s (enum "secmx-srv" "smtp-tls-srv" "mx" "address-record" "configured"))
    (export "source" (type $source (eq $s)))
    (type $x (record (field "index" u32) (field "name" string) (field "port" u16) (field "source" $source)
      (field "preference" u16) (field "dnssec-secure" bool) (field "expected" $level)))
    (export "exchanger" (type (eq $x)))
    (export "destination" (type $d (sub resource)))
    (export "[method]destination.set-role" (func (param "self" (borrow $d)) (param "role" $role)))
    (export "[method]destination.attempt" (func (param "self" (borrow $d)) (param "exchanger" u32) (param "at-least" $level)))))
  (alias export $destinations "destination" (type $destination))
  (alias export $destinations "exchanger" (type $exchanger))
  (core module $memory
    (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 4096))
  (core instance $memory (instantiate $memory))
  (core func $set-role (canon lower (func $destinations "[method]destination.set-role")))
  (core func $attempt (canon lower (func $destinations "[method]destination.attempt")))
  (core module $code
    (import "env" "memory" (memory 1))
    (import "env" "set-role" (func $set-role (param i32 i32)))
    (import "env" "attempt" (func $attempt (param i32 i32 i32)))
    (data (i32.const 96) "policy.word")
    (func (export "route") (param $destination i32) (result i32) {route})
    (func (export "admit") (param i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) {admit}))
  (core instance $code (instantiate $code (with "env" (instance
    (export "memory" (memory $memory "memory")) (export "set-role" (func $set-role)) (export "attempt" (func $attempt))))))
  (func $route (param "destination" (own $destination)) (result $ruling)
    (canon lift (core func $code "route") (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (func $admit (param "destination" (own $destination)) (param "exchanger" $exchanger) (result $ruling)
    (canon lift (core func $code "admit") (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (instance $sender (export "route" (func $route)) (export "admit" (func $admit)))
  (export "secmx:policy/sender@0.1.0" (instance $sender)))"#;

/// A receiver policy; `{greet}`, `{mail}` and `{recipient}` come from the test.
const RECEIVER: &str = r#"(component
  (import "secmx:policy/types@0.1.0" (instance $types
    (type $a (record (field "local-part" string) (field "domain" string)))
    (export "address" (type (eq $a)))
    (type $k (record (field "keyword" string) (field "value" (option string))))
    (export "parameter" (type (eq $k)))
    {ruling}))
  (alias export $types "address" (type $address))
  (alias export $types "parameter" (type $parameter))
  (alias export $types "ruling" (type $ruling))
  (import "secmx:policy/session@0.1.0" (instance $sessions (export "session" (type (sub resource)))))
  (alias export $sessions "session" (type $session))
  (core module $code
    (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 4096)
    (func (export "greet") (param i32) (result i32) {greet})
    (func (export "mail") (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32) {mail})
    (func (export "recipient") (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) {recipient}))
  (core instance $code (instantiate $code))
  (func $greet (param "session" (own $session)) (result $ruling)
    (canon lift (core func $code "greet") (memory (core memory $code "memory")) (realloc (core func $code "realloc"))))
  (func $mail (param "session" (own $session)) (param "reverse-path" (option $address)) (param "parameters" (list $parameter)) (result $ruling)
    (canon lift (core func $code "mail") (memory (core memory $code "memory")) (realloc (core func $code "realloc"))))
  (func $recipient (param "session" (own $session)) (param "reverse-path" (option $address)) (param "forward-path" $address)
    (param "parameters" (list $parameter)) (result $ruling)
    (canon lift (core func $code "recipient") (memory (core memory $code "memory")) (realloc (core func $code "realloc"))))
  (instance $receiver (export "greet" (func $greet)) (export "mail" (func $mail)) (export "recipient" (func $recipient)))
  (export "secmx:policy/receiver@0.1.0" (instance $receiver)))"#;

/// A content policy with a store and DNS; `{inspect}` comes from the test, and then it passes.
const KEEPER: &str = r#"(component
  (import "secmx:policy/types@0.1.0" (instance $types
    {ruling}))
  (import "secmx:policy/session@0.1.0" (instance $sessions (export "session" (type (sub resource)))))
  (import "secmx:policy/message@0.1.0" (instance $messages (export "message" (type (sub resource)))))
  (import "secmx:policy/store@0.1.0" (instance $store
    (export "increment" (func (param "key" string) (param "by" s64) (param "ttl" (option u32)) (result (result s64 (error string)))))))
  (import "secmx:policy/dns@0.1.0" (instance $dns
    (type $g (variant (case "none") (case "unavailable") (case "bogus")))
    (export "failure" (type $failure (eq $g)))
    (type $a (record (field "values" (list string)) (field "secure" bool)))
    (export "answer" (type $answer (eq $a)))
    (export "query" (func (param "name" string) (param "kind" string) (result (result $answer (error $failure)))))))
  (alias export $types "ruling" (type $ruling))
  (alias export $sessions "session" (type $session))
  (alias export $messages "message" (type $message))
  (core module $memory
    (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 4096))
  (core instance $memory (instantiate $memory))
  (core func $increment (canon lower (func $store "increment") (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (core func $query (canon lower (func $dns "query") (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (core module $code
    (import "env" "memory" (memory 1))
    (import "env" "increment" (func $increment (param i32 i32 i64 i32 i32 i32)))
    (import "env" "query" (func $query (param i32 i32 i32 i32 i32)))
    (data (i32.const 64) "n") (data (i32.const 80) "x.test") (data (i32.const 96) "TXT")
    (func (export "inspect") (param i32 i32) (result i32) {inspect} i32.const 0))
  (core instance $code (instantiate $code (with "env" (instance
    (export "memory" (memory $memory "memory")) (export "increment" (func $increment)) (export "query" (func $query))))))
  (func $inspect (param "session" (own $session)) (param "message" (own $message)) (result $ruling)
    (canon lift (core func $code "inspect") (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (instance $content (export "inspect" (func $inspect)))
  (export "secmx:policy/content@0.1.0" (instance $content)))"#;

/// Gives `pass`: the case number 0 at address 0.
pub(crate) const PASS: &str = "i32.const 0";

/// For [`keeper`]: asks for TXT of x.test; traps when it is not found.
pub(crate) const ASK: &str = "(call $query (i32.const 80) (i32.const 6) (i32.const 96) (i32.const 3) (i32.const 256)) \
    (if (i32.load8_u (i32.const 256)) (then unreachable))";

/// Never ends.
pub(crate) const FOREVER: &str = "(loop $forever (br $forever)) unreachable";

/// Adds the field `X-Policy: one`.
pub(crate) const ADD_FIELD: &str = "(call $add-field (local.get $message) (i32.const 64) (i32.const 8) (i32.const 80) (i32.const 3))";

/// Adds a field whose value is `one`, CR, LF, `two`.
pub(crate) const SMUGGLE: &str = "(call $add-field (local.get $message) (i32.const 64) (i32.const 8) (i32.const 80) (i32.const 8))";

/// Sets the tag `one` to `policy.word`.
pub(crate) const SET_TAG: &str = "(call $set-tag (local.get $message) (i32.const 80) (i32.const 3) (i32.const 96) (i32.const 11))";

/// Gives `quarantine` for the reason `policy.word`, in the same words.
pub(crate) const QUARANTINE: &str = "(i32.store8 (i32.const 0) (i32.const 4)) (i32.store (i32.const 4) (i32.const 96)) \
    (i32.store (i32.const 8) (i32.const 11)) (i32.store (i32.const 12) (i32.const 96)) (i32.store (i32.const 16) (i32.const 11)) \
    (i32.const 0)";

/// For [`keeper`]: adds 1 to what is kept; traps when the sum that comes back is 3.
pub(crate) const COUNT_TO_TWO: &str = "(call $increment (i32.const 64) (i32.const 1) (i64.const 1) (i32.const 0) (i32.const 0) (i32.const 256)) \
    (if (i64.eq (i64.load (i32.const 264)) (i64.const 3)) (then unreachable))";

/// Gives `accept` for the reason `policy.word`.
pub(crate) const ACCEPT: &str = "(i32.store8 (i32.const 0) (i32.const 1)) (i32.store (i32.const 4) (i32.const 96)) \
    (i32.store (i32.const 8) (i32.const 11)) (i32.store (i32.const 12) (i32.const 96)) (i32.store (i32.const 16) (i32.const 11)) \
    (i32.const 0)";

/// A policy from its text.
pub(crate) fn guest(name: &str, text: &str) -> PolicySource {
    PolicySource::new(name, wat::parse_str(text.replace("{ruling}", RULING)).expect("valid text"), "{}")
}

/// A sender policy that admits every channel.
pub(crate) fn sender(name: &str, route: &str) -> PolicySource {
    admitting(name, route, PASS)
}

/// A sender policy.
pub(crate) fn admitting(name: &str, route: &str, admit: &str) -> PolicySource {
    let text = SENDER.replace("{route}", route).replace("{admit}", admit);
    guest(name, &text)
}

/// A receiver policy.
pub(crate) fn receiver(name: &str, greet: &str, mail: &str, recipient: &str) -> PolicySource {
    let text = RECEIVER.replace("{greet}", greet).replace("{mail}", mail).replace("{recipient}", recipient);
    guest(name, &text)
}

/// A content policy that wants `store` and `dns`, and passes after this code.
pub(crate) fn keeper(name: &str, inspect: &str) -> PolicySource {
    guest(name, &KEEPER.replace("{inspect}", inspect))
}

/// A content policy that has the functions of the hostile ones.
pub(crate) fn able(name: &str, inspect: &str) -> PolicySource {
    let text = include_str!("../hostile.wat").replace("{inspect}", inspect).replace("{realloc}", "i32.const 65536").replace("{beside}", "");
    guest(name, &text)
}

/// A content policy; `functions` stand beside its `inspect`.
pub(crate) fn policy(name: &str, functions: &str, inspect: &str) -> PolicySource {
    let text = CONTENT.replace("{module}", functions).replace("{inspect}", inspect);
    guest(name, &text)
}
