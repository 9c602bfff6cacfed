//! What a component says of itself, and what it is granted: imported ⊆ declared ⊇ granted.

use crate::guests::{ADD_FIELD, PASS, policy};
use crate::hostile::message;
use crate::receivers::session;
use crate::{runtime, set};
use secmx_policy::manifest::embed::{self, Embedded};
use secmx_policy::manifest::{Grant, MessageAccess};
use secmx_policy::{PolicyInfo, PolicySet, PolicySource};

/// The policy with this manifest in it.
fn with_manifest(mut source: PolicySource, more: &str) -> PolicySource {
    let manifest = format!("[policy]\nname = \"tester\"\nversion = \"1.2.3\"\ninterfaces = [\"content\"]\n{more}");
    let embedded = Embedded { manifest, revision: None, builder: "a test".into() };
    source.component = embed::write(&source.component, &embedded).expect("a component").into();
    source
}

fn refusal(source: PolicySource) -> String {
    PolicySet::load(&runtime().0, vec![source]).expect_err("refused").to_string()
}

#[test]
fn a_policy_is_known_by_its_manifest() {
    let info =
        PolicyInfo::of(&runtime().0, &with_manifest(policy("p", "", PASS), "[capabilities]\nmessage = \"headers\"\n")).expect("loads");
    assert_eq!((info.name.as_str(), info.version.as_deref(), info.interfaces.as_slice()), ("p", Some("1.2.3"), &["content"][..]));
    assert_eq!(info.granted.message, Some(MessageAccess::Headers));
}

#[test]
fn settings_are_held_to_the_schema() {
    let config = "[config]\nblock = { type = \"list\", default = [\"iban\"] }\n";
    let source = PolicySource { settings: r#"{"blok": []}"#.into(), ..with_manifest(policy("p", "", PASS), config) };
    assert_eq!(refusal(source), "policy p 1.2.3: P104 settings: `blok` is not in its schema; did you mean `block`?");
}

#[test]
fn a_grant_goes_no_further_than_the_manifest() {
    let grant = Some(Grant { message: Some(MessageAccess::Body), dns: vec!["TXT".into()], ..Grant::default() });
    let source = PolicySource { grant, ..with_manifest(policy("p", "", PASS), "[capabilities]\nmessage = \"envelope\"\n") };
    assert_eq!(
        refusal(source),
        "policy p 1.2.3: P202 `grant` goes beyond what its policy.toml declares: take away message = \"body\", dns = [\"TXT\"]"
    );
}

#[test]
fn exports_are_what_the_manifest_says() {
    let source = with_manifest(crate::guests::sender("p", PASS), "");
    assert_eq!(
        refusal(source),
        "policy p 1.2.3: P203 `policy.interfaces` names `content`, which it does not export: correct policy.toml or the source, and build again"
    );
}

#[test]
fn a_manifest_that_cannot_be_read_is_a_refusal() {
    let text = refusal(with_manifest(policy("p", "", PASS), "[capabilites]\n"));
    assert!(text.contains("the embedded manifest: policy.toml:5:2 error P101 unknown field `capabilites`"), "{text}");
}

/// The envelope may be changed by whoever may not read the body; reading is what a grant is about.
#[tokio::test]
async fn what_was_not_granted_cannot_be_seen() {
    let read = "(call $octets (local.get $message)) drop";
    for (access, works) in [("none", false), ("envelope", true)] {
        let source =
            with_manifest(policy("p", "", &format!("{ADD_FIELD} {read} {PASS}")), &format!("[capabilities]\nmessage = \"{access}\"\n"));
        let (set, _) = set(vec![source]);
        let answer = set.content(&session(), message()).await;
        assert_eq!(answer.is_ok(), works, "{access}");
        if let Err(fault) = answer {
            assert_eq!(
                fault.to_string(),
                "policy p 1.2.3, content.inspect about 01JD9W3K7Q8Z: message.octets needs the grant message = \"envelope\" and has \"none\"; \
                 [capabilities] of policy.toml declares it"
            );
        }
    }
}
