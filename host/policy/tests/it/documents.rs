//! Documents that LibreOffice and Debian's tools made (`tests/documents`): what is in them is found, what is locked is known to be.
//!
//! The text and the table were typed in, opened by LibreOffice 7.4 and stored in each format; the locked Office files are msoffcrypto-tool's.

use crate::opaque::message;
use crate::shipped::{code, inspect, only};
use secmx_core::role::SenderRole;
use secmx_core::ruling::Ruling;
use std::fs;
use std::path::Path;

fn document(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/documents").join(name)).expect("a document")
}

const READ: [&str; 8] = ["text.odt", "text.docx", "text.pdf", "table.ods", "table.xlsx", "slides.odp", "slides.pptx", "slides.pdf"];

/// Both generations of Office, OpenDocument, PDF: 0 missed, 0 clear ones flagged.
#[tokio::test]
async fn a_locked_document_is_opaque_and_an_open_one_is_not() {
    let set = only("opaque-content", "{}");
    let locked = ["odt", "ods", "odp", "pdf", "docx", "xlsx", "pptx"].map(|ending| format!("locked.{ending}"));
    let open = READ.iter().chain(&["text.rtf", "text.doc", "table.xls"]).map(|name| ((*name).to_owned(), "pass"));
    for (name, expected) in locked.into_iter().map(|name| (name, "opaque.document")).chain(open) {
        let answer = inspect(&set, message(&document(&name))).await;
        assert_eq!(code(&answer), expected, "{name}");
    }
}

#[tokio::test]
async fn secrets_and_markings_are_found_in_documents() {
    let (secrets, marked) = (only("no-secrets", r#"{"block": ["iban"]}"#), only("classification", "{}"));
    for name in READ {
        let octets = message(&document(name));
        assert_eq!(code(&inspect(&secrets, octets.clone()).await), "secrets.iban", "{name}");
        let answer = inspect(&marked, octets).await;
        assert_eq!((answer.ruling, answer.effects.demand.role), (Ruling::Pass, SenderRole::SecureOnly), "{name}");
    }
}

/// A word that a document holds in pieces of different type is one word; a fence around it says how to get the message out.
#[tokio::test]
async fn a_marking_in_an_attachment_is_fenced_with_advice() {
    let set = only("classification", r#"{"fence": ["agency.test"]}"#);
    let answer = inspect(&set, message(&document("text.docx"))).await;
    let Ruling::Reject { reply, .. } = &answer.ruling else { panic!("{answer:?}") };
    let text = reply.to_string();
    assert!(text.contains("marked RESTRICTED") && text.contains("bo@health.test") && text.contains("Remove that recipient"), "{text}");
}
