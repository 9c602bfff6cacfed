//! Hostile PDFs against the process that reads them: it ends within its limits, whatever they do, and says how. Figures are printed
//! (`--nocapture`): octets in, time, the most memory that was resident, how it ended.

use flate2::Compression;
use flate2::write::ZlibEncoder;
use std::fs;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const MEMORY: u64 = 64 << 20;
const TEXT: u64 = 1 << 20;
const TIME: Duration = Duration::from_secs(1);

/// How the reader ends: all of the text, and the code for what cannot be read. It is ended by the system where memory or stack are at an end.
const COMPLETE: Option<i32> = Some(0);
const DAMAGED: Option<i32> = Some(12);

/// What one run came to.
struct Ran {
    code: Option<i32>,
    text: String,
    resident_kib: u64,
}

fn read(what: &str, pdf: &[u8]) -> Ran {
    let started = Instant::now();
    let numbers = [MEMORY, TEXT, u64::try_from(TIME.as_millis()).expect("small")].map(|number| number.to_string());
    let mut command = Command::new(env!("CARGO_BIN_EXE_secmx"));
    command.arg("read-document").args(numbers).env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("the program");
    let (mut stdin, mut stdout) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
    let octets = pdf.to_vec();
    // A reader that gives up early takes no more.
    std::thread::spawn(move || stdin.write_all(&octets));
    let text = std::thread::spawn(move || {
        let mut text = Vec::new();
        stdout.read_to_end(&mut text).map(|_| String::from_utf8_lossy(&text).into_owned())
    });
    let mut resident_kib = 0;
    let status = loop {
        let known = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let peak =
            known.lines().find_map(|line| line.strip_prefix("VmHWM:")).and_then(|peak| peak.trim().trim_end_matches(" kB").parse().ok());
        resident_kib = resident_kib.max(peak.unwrap_or(0));
        if let Some(status) = child.try_wait().expect("a child") {
            break status;
        }
        assert!(started.elapsed() < Duration::from_secs(60), "{what}: the limit of the system did not end it");
        std::thread::sleep(Duration::from_millis(2));
    };
    let text = text.join().expect("no panic").expect("readable");
    println!(
        "{what:34} {:>9} octets {:>8.1?} {:>6} KiB resident {:>8} of text, {status}",
        pdf.len(),
        started.elapsed(),
        resident_kib,
        text.len()
    );
    assert!(resident_kib < (MEMORY >> 10) + (96 << 10), "{what}: {resident_kib} KiB");
    Ran { code: status.code(), text, resident_kib }
}

/// A PDF of these objects, the first of them its catalogue. Its table of references is left to the reader to rebuild.
fn pdf(objects: &[String]) -> Vec<u8> {
    let mut octets = b"%PDF-1.4\n".to_vec();
    for (number, object) in (1..).zip(objects) {
        octets.extend_from_slice(format!("{number} 0 obj{object}endobj\n").as_bytes());
    }
    octets.extend_from_slice(format!("trailer<</Root 1 0 R/Size {}>>\n%%EOF\n", objects.len() + 1).as_bytes());
    octets
}

fn stream(dictionary: &str, content: &str) -> String {
    format!("<<{dictionary}/Length {}>>stream\n{content}\nendstream ", content.len())
}

/// One page with this content; `forms` can be drawn as `X0`, `X1` and so on.
fn page(content: &str, forms: &[String]) -> Vec<u8> {
    let names: String = (0..forms.len()).map(|at| format!("/X{at} {} 0 R", at + 6)).collect();
    let resources = format!("/Resources<</Font<</F 5 0 R>>/XObject<<{names}>>>>");
    let mut objects = vec![
        "<</Type/Catalog/Pages 2 0 R>>".to_owned(),
        "<</Type/Pages/Kids[3 0 R]/Count 1>>".to_owned(),
        format!("<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents 4 0 R{resources}>>"),
        stream("", content),
        "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>".to_owned(),
    ];
    objects.extend(forms.iter().map(|form| stream(&format!("/Type/XObject/Subtype/Form/BBox[0 0 9 9]{resources}"), form)));
    pdf(&objects)
}

#[test]
fn whatever_a_document_does_its_reader_ends_within_its_limits() {
    let hello = "BT /F 12 Tf 72 700 Td (Hello) Tj ET";
    let sane = read("a page", &page(hello, &[]));
    assert_eq!((sane.code, sane.text.trim()), (COMPLETE, "Hello"));
    assert!(sane.resident_kib > 0, "memory is measured");
    let drawn = read("a form that draws itself", &page(&format!("/X0 Do {hello}"), &["/X0 Do".into()]));
    assert_eq!((drawn.code, drawn.text.trim()), (COMPLETE, "Hello"));
    let doubling: Vec<String> = (0..40).map(|at| format!("/X{} Do /X{} Do", at + 1, at + 1)).chain([hello.to_owned()]).collect();
    let doubled = read("forms that double 40 times", &page("/X0 Do", &doubling));
    assert_ne!(doubled.code, DAMAGED);
    let kids = ["<</Type/Catalog/Pages 2 0 R>>", "<</Type/Pages/Kids[3 0 R 2 0 R]/Count 2>>", "<</Type/Pages/Kids[2 0 R 3 0 R]/Count 2>>"];
    read("a tree of pages that is a circle", &pdf(&kids.map(str::to_owned)));
    read("a million arrays in arrays", &page(&"[".repeat(1_000_000), &[]));
    let nested = format!("<</Type/Catalog/Pages 2 0 R/X {}>>", "[".repeat(1_000_000));
    read("the same in the catalogue", &pdf(&[nested, "<</Type/Pages/Kids[]/Count 0>>".into()]));
    assert_eq!(read("no end", &page(&format!("{} ", "q ".repeat(4_000_000)), &[])).text.trim(), "");
    let endless = read("a page of 8 MiB of text", &page(&format!("BT /F 12 Tf {} ET", "(RESTRICTED) Tj ".repeat(500_000)), &[]));
    assert!(endless.text.len() as u64 <= TEXT && endless.code != COMPLETE, "{:?}", endless.code);
    let mut deflated = ZlibEncoder::new(Vec::new(), Compression::fast());
    for _ in 0..512 {
        deflated.write_all(&[b' '; 1 << 20]).expect("memory");
    }
    let deflated = deflated.finish().expect("memory");
    let mut bomb =
        pdf(&["<</Type/Catalog/Pages 2 0 R>>", "<</Type/Pages/Kids[3 0 R]/Count 1>>", "<</Type/Page/Parent 2 0 R/Contents 4 0 R>>"]
            .map(str::to_owned));
    bomb.extend_from_slice(format!("4 0 obj<</Filter/FlateDecode/Length {}>>stream\n", deflated.len()).as_bytes());
    bomb.extend_from_slice(&deflated);
    bomb.extend_from_slice(b"\nendstream endobj\ntrailer<</Root 1 0 R/Size 5>>\n%%EOF\n");
    assert_ne!(read("a stream of 512 MiB, deflated", &bomb).code, COMPLETE);
    assert_eq!(read("nothing", b"").code, DAMAGED);
}
