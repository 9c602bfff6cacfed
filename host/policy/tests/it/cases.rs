//! The cases that each shipped policy brings (`policies/NAME/tests/cases.toml`), run as `secmx policy test policies/NAME` runs them, over the
//! components that the gateway embeds.

use bytes::Bytes;
use secmx_policy::cases::{Cases, Expect, Outcome};
use secmx_policy::{PolicySource, SHIPPED};
use std::fs;
use std::path::Path;

#[tokio::test]
async fn every_shipped_policy_does_what_its_cases_say() {
    let (runtime, _) = crate::runtime();
    let mut wrong = Vec::new();
    for (name, component) in SHIPPED {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies").join(name).join("tests");
        let text = fs::read_to_string(folder.join("cases.toml")).unwrap_or_else(|error| panic!("{name}: {error}"));
        let cases = Cases::parse(&text).unwrap_or_else(|error| panic!("{name}: {error}")).cases;
        assert!(cases.len() >= 3, "{name}");
        for case in cases {
            let message = case.given.message.as_ref().map(|file| fs::read(folder.join(file)).expect("a message")).unwrap_or_default();
            let source = PolicySource::new(name, component, "{}");
            let report =
                case.run(&runtime, &source, Bytes::from(message)).await.unwrap_or_else(|why| panic!("{name}: {}: {why}", case.name));
            let Expect::These(expected) = &case.expect else { panic!("{name}: snapshots are for authors") };
            let differences = expected.differences(&report, &Outcome::of(&report));
            wrong.extend(differences.into_iter().map(|difference| format!("{name}: {}: {difference:?}", case.name)));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
