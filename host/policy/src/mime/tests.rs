//! The view as a whole: structure, hostile structure, and any octets.

use super::*;
use crate::bindings::secmx::policy::message::Opacity;
use crate::text::Bounds;
use proptest::prelude::*;
use serde_json::Value;
use std::time::{Duration, Instant};

/// Cases of hostile structure: what is sent, as the reply may be, and what must hold afterwards.
const CASES: &str = include_str!("../../tests/hostile_mime.json");

fn view(text: &str) -> View {
    View::of(&Bytes::copy_from_slice(text.replace('\n', "\r\n").as_bytes()), Arc::default())
}

const NESTED: &str = "From: a@b.test\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\n =?utf-8?q?_an_alle?=\nMIME-Version: 1.0\n\
    Content-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: text/plain; charset=iso-8859-1\n\
    Content-Transfer-Encoding: quoted-printable\n\nStra=DFe\n--x\nContent-Type: message/rfc822\n\n\
    From: c@d.test\nContent-Type: multipart/mixed; boundary=y\n\n--y\nContent-Type: application/octet-stream\n\
    Content-Disposition: attachment; filename*=utf-8''M%C3%BCll.bin\nContent-Transfer-Encoding: base64\n\nAAEC\n--y--\n--x--\n";

#[test]
fn parts_are_listed_with_their_place() {
    let parts = view(NESTED).parts();
    let shape: Vec<_> = parts.iter().map(|part| (part.index, part.parent, part.content_type.as_str())).collect();
    assert_eq!(
        shape,
        [
            (0, None, "multipart/mixed"),
            (1, Some(0), "text/plain"),
            (2, Some(0), "message/rfc822"),
            (3, Some(2), "multipart/mixed"),
            (4, Some(3), "application/octet-stream"),
        ]
    );
    assert_eq!(parts[4].file_name.as_deref(), Some("Müll.bin"));
    assert!(parts[4].attachment);
}

#[test]
fn octets_and_text_are_decoded_each_in_its_way() {
    let view = view(NESTED);
    assert_eq!(view.body(1), Some(&b"Stra\xdfe"[..]));
    assert_eq!(view.part_text(1).flatten().map(str::trim), Some("Straße"));
    assert_eq!(view.body(4), Some(&[0, 1, 2][..]));
    assert_eq!(view.text("subject"), ["Grüße an alle"]);
    assert_eq!(view.find(&["straße".into(), "GRÜSSE".into(), "alle".into()], true), [0, 2]);
    assert_eq!(view.body(5), None);
}

#[test]
fn what_lies_too_deep_is_unreadable_and_not_ignored() {
    let deep = "Content-Type: message/rfc822\n\n".repeat(5_000);
    let view = view(&deep);
    let parts = view.parts();
    assert_eq!(parts.len(), 50 + 1);
    let opacities: Vec<Opacity> = parts.iter().map(|part| part.opacity).collect();
    assert_eq!(opacities.iter().position(|opacity| *opacity == Opacity::Unreadable), Some(50));
    assert_eq!(odd(&view), ["too-deep"]);
}

/// Depth and number of parts are settings: what is at the bound is read, what is beyond is a fact.
#[test]
fn depth_and_parts_go_as_far_as_the_bounds_say() {
    let within = |text: &str, depth: usize, parts: usize| {
        let bounds = Bounds { depth, parts, ..Bounds::default() };
        let lens = Lens::new(bounds, None, crate::Escrow::default());
        View::of(&Bytes::copy_from_slice(text.replace('\n', "\r\n").as_bytes()), Arc::new(lens))
    };
    let nested = "Content-Type: message/rfc822\n\n".repeat(3) + "\ntext\n";
    for (depth, expected, note) in [(3, 4, None), (2, 3, Some("too-deep")), (0, 1, Some("too-deep")), (60, 4, None)] {
        let view = within(&nested, depth, 10_000);
        let unreadable = view.parts().iter().any(|part| part.opacity == Opacity::Unreadable);
        assert_eq!((view.parts().len(), odd(&view).first().map(String::as_str), unreadable), (expected, note, note.is_some()), "{depth}");
    }
    let flat = "Content-Type: multipart/mixed; boundary=x\n\n".to_owned() + &"--x\n\na\n".repeat(4) + "--x--\n";
    for (parts, expected, note) in
        [(5, 5, None), (4, 4, Some("too-many-parts")), (1, 1, Some("too-many-parts")), (0, 1, Some("too-many-parts"))]
    {
        let view = within(&flat, 50, parts);
        let unreadable = view.parts().iter().any(|part| part.opacity == Opacity::Unreadable);
        assert_eq!((view.parts().len(), odd(&view).first().map(String::as_str), unreadable), (expected, note, note.is_some()), "{parts}");
    }
}

#[test]
fn what_is_too_much_is_unreadable_and_not_ignored() {
    let many = "Content-Type: multipart/mixed; boundary=x\n\n".to_owned() + &"--x\n\na\n".repeat(20_000) + "--x--\n";
    let view = view(&many);
    assert_eq!(view.parts().len(), 10_000);
    assert!(view.parts().iter().any(|part| part.opacity == Opacity::Unreadable));
    assert!(odd(&view).contains(&"too-many-parts".to_owned()));
}

#[test]
fn nothing_makes_it_panic() {
    for text in ["", "\n", "\n\n", ":", "Content-Type: multipart/mixed; boundary=\n\n--\n", "Content-Type: message/rfc822\n\n"] {
        let view = view(text);
        assert!(!view.parts().is_empty(), "{text:?}");
    }
}

#[test]
fn tnef_is_taken_apart() {
    let body = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, tnef::tests::stream());
    let view = view(&format!("Content-Type: application/ms-tnef; name=winmail.dat\nContent-Transfer-Encoding: base64\n\n{body}\n"));
    let parts = view.parts();
    assert_eq!((parts[0].opacity, parts[1].parent), (Opacity::Clear, Some(0)));
    assert_eq!(view.file_names(1).expect("a part"), ["Mülleimer.exe", "MUELLE~1.EXE"]);
    assert_eq!(view.body(1), Some(&b"MZ"[..]));
}

#[test]
fn a_message_under_a_transfer_encoding_is_read_as_many_readers_do() {
    let view = view("Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nU3ViamVjdDogcw0KDQpoaWRkZW4=\n");
    assert_eq!(view.find(&["hidden".into()], false), [0]);
    assert_eq!(odd(&view), ["encoded-composite"]);
}

#[test]
fn a_multipart_without_parts_is_still_searched() {
    let view = view("Content-Type: multipart/mixed; boundary=x\n\nhidden\n");
    assert_eq!((view.find(&["hidden".into()], false), odd(&view)), (vec![0], vec!["boundary-unused".to_owned()]));
}

/// The words of what was noted, in any part.
fn odd(view: &View) -> Vec<String> {
    view.ambiguities().into_iter().map(|odd| odd.what).collect()
}

/// `{{text*n}}` in a case is the text n times; each character is one octet. The dot that ends the data is not part of the message.
fn message(send: &str) -> Bytes {
    let mut octets = String::new();
    let mut rest = send.strip_suffix(".\r\n").unwrap_or(send);
    while let Some((before, after)) = rest.split_once("{{") {
        let (repeated, after) = after.split_once("}}").expect("an end");
        let (text, times) = repeated.rsplit_once('*').expect("a number");
        octets.push_str(before);
        octets.push_str(&text.repeat(times.parse().expect("a number")));
        rest = after;
    }
    octets.push_str(rest);
    octets.chars().map(|character| u8::try_from(u32::from(character)).expect("an octet")).collect::<Vec<u8>>().into()
}

#[test]
fn hostile_structure_is_read_in_bounded_time_and_its_other_readings_are_noted() {
    let cases: Vec<Value> = serde_json::from_str(CASES).expect("cases");
    for case in &cases {
        let id = case["id"].as_str().expect("an id");
        let octets = message(case["send"].as_str().expect("octets"));
        let started = Instant::now();
        let view = View::of(&octets, Arc::default());
        let parts = view.parts();
        view.find(&["x".into()], true);
        let (from, to) = (view.text("From"), view.text("To"));
        // Without optimisation, on a machine with other work; the cases ask for one second.
        assert!(started.elapsed() < Duration::from_secs(10), "{id}: {:?}", started.elapsed());
        assert!(!parts.is_empty(), "{id}");
        let noted = |word: &str| assert!(odd(&view).iter().any(|odd| odd == word), "{id}: {:?}", odd(&view));
        match id {
            "hdr-space-before-colon" => {
                noted("space-before-colon");
                assert_eq!((view.text("Subject"), from), (vec!["x".to_owned()], vec!["y@z.test".to_owned()]));
            }
            "hdr-nul" => {
                noted("nul-in-header");
                assert_eq!(view.text("Subject"), ["a\0b"], "what follows the NUL is seen");
            }
            "hdr-addr-quadratic" => assert_eq!(to[0].len(), 500_000),
            "hdr-bomb-100k-fields" => assert_eq!(view.fields().count(), 100_000),
            "hdr-one-10MiB" => assert_eq!(view.text("Subject")[0].len(), 9_000_000),
            "hdr-received-101" => assert_eq!(view.text("Received").len(), 101),
            "hdr-none" => assert_eq!(view.part_text(0).flatten(), Some("body only\r\n")),
            "mime-rfc822-nest-10000" => noted("too-deep"),
            "mime-boundary-prefix" => {
                assert_eq!(parts.len(), 2);
                assert_eq!(view.body(1), Some(&b"B"[..]));
            }
            "mime-boundary-empty" => noted("boundary-malformed"),
            "mime-boundary-dup-param" => noted("parameter-twice"),
            "mime-ct-twice" => noted("field-twice"),
            "mime-2231-split-filename" => assert_eq!(view.file_names(0).expect("a part"), ["a.exe", "a.txt"]),
            "mime-line-1MiB" => assert_eq!(view.body(0).map(<[u8]>::len), Some(1_000_002)),
            "mime-zip-bomb" => assert_eq!(parts[0].content_type, "application/zip"),
            "hdr-own-delivered-to" | "hdr-date-paren-bomb" | "hdr-addr-paren-bomb" => {}
            unknown => panic!("a case without its check: {unknown}"),
        }
    }
    assert_eq!(cases.len(), 18);
}

proptest! {
    /// Whatever comes in: there is a part, every part lies within an earlier one, and no function panics.
    #[test]
    fn any_octets_are_some_message(octets in hostile()) {
        let view = View::of(&Bytes::from(octets), Arc::default());
        let parts = view.parts();
        prop_assert!(!parts.is_empty());
        for part in &parts {
            prop_assert!(part.parent.is_none_or(|parent| parent < part.index));
            prop_assert_eq!(part.decoded_octets, view.body(part.index).map_or(0, <[u8]>::len) as u64);
            prop_assert!(view.part_text(part.index).is_some());
        }
        for (name, _) in view.fields() {
            view.text(name);
        }
    }
}

/// Octets made of what matters to a reader of MIME, with noise.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let words = prop::sample::select(vec![
        "Content-Type: multipart/mixed; boundary=x\r\n",
        "Content-Type: message/rfc822\r\n",
        "Content-Type: text/html; charset=utf-7\r\n",
        "Content-Transfer-Encoding: base64\r\n",
        "Content-Transfer-Encoding: quoted-printable\r\n",
        "Content-Disposition: attachment; filename*1*=%; filename*0*=utf-8'\r\n",
        "Subject: =?utf-8?q?=C3?= =?utf-8?b?",
        "\r\n",
        "\n",
        "--x\r\n",
        "--x--\r\n",
        "=3D=",
        "\x78",
        "<a href=\"",
        "\"(;",
    ]);
    let piece = prop_oneof![4 => words.prop_map(|word| word.as_bytes().to_vec()), 1 => prop::collection::vec(any::<u8>(), 0..8)];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}
