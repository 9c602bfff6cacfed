//! What a reader of a document shows is what comes out; what is hostile ends at a bound and says so.

use super::*;
use crate::lens::Lens;
use std::io::{Cursor, Write};
use std::time::Instant;
use zip::write::{SimpleFileOptions, ZipWriter};

/// A ZIP of these files, deflated.
pub(crate) fn package(files: &[(&str, &[u8])]) -> Bytes {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, octets) in files {
        zip.start_file(*name, SimpleFileOptions::default()).expect("a file");
        zip.write_all(octets).expect("written");
    }
    zip.finish().expect("a ZIP").into_inner().into()
}

fn docx(body: &str) -> Bytes {
    let body = format!("<w:document xmlns:w=\"w\"><w:body>{body}</w:body></w:document>");
    package(&[("[Content_Types].xml", b"<Types/>"), ("word/document.xml", body.as_bytes())])
}

fn read_with(octets: &Bytes, bounds: Bounds) -> Extract {
    let lens = Lens::new(bounds, None, crate::escrow::Escrow::default());
    let document = document(octets).expect("a document");
    read(document, octets, &lens, &mut Budget::new(&lens.bounds))
}

fn text(octets: &Bytes) -> String {
    let extract = read_with(octets, Bounds::default());
    assert_eq!(extract.gap, None, "{}", extract.text);
    extract.text
}

fn shown(source: &str) -> String {
    let bounds = Bounds::default();
    html(source, Sink::new(&bounds, source.len(), &mut Budget::new(&bounds))).text
}

#[test]
fn html_is_read_as_browsers_read_it() {
    for (source, expected) in [
        ("<div>RESTRICTED</div><div>Hello</div>", "RESTRICTED\nHello\n"),
        ("4111<b>1111</b><!-- x -->11<span>11</span>1111", "4111111111111111"),
        ("<td>a</td><td>b</td>", "a\tb\t"),
        ("a<script>if (1<2) hidden()</script>b<style>p{}</style>c", "a\nb\nc"),
        ("&lt;&#82;&#x45;&amp;&nbsp;x", "<RE&\u{a0}x"),
        ("<p style='display:none'>there", "there"),
        ("<img alt='RESTRICTED'>x", "RESTRICTED x"),
        ("<title>t</title><textarea><b></textarea>", "t\n<b>\n"),
        ("<p>unclosed <b>tags", "unclosed tags"),
        ("", ""),
    ] {
        assert_eq!(shown(source), expected, "{source}");
    }
    // Depth costs nothing.
    assert_eq!(shown(&("<div>".repeat(200_000) + "x")), "x");
}

#[test]
fn words_of_office_documents_come_out_whole() {
    let runs = "<w:p><w:r><w:t>RESTR</w:t></w:r><w:r><w:t xml:space=\"preserve\">ICTED &amp; </w:t></w:r><w:r><w:t>&#233;</w:t></w:r></w:p>\
                <w:p><w:r><w:t>two</w:t><w:tab/><w:t>three</w:t></w:r></w:p>";
    assert_eq!(text(&docx(runs)).trim(), "RESTRICTED & é\ntwo\tthree");
    let shared = b"<sst><si><t>4111 1111</t></si><si><r><t>a</t></r><r><t>b</t></r></si></sst>";
    let sheet =
        b"<worksheet><row><c t=\"s\"><v>0</v></c><c><v>4111111111111111</v></c><c t=\"inlineStr\"><is><t>in</t></is></c></row></worksheet>";
    let xlsx = package(&[("[Content_Types].xml", b"<Types/>"), ("xl/sharedStrings.xml", shared), ("xl/worksheets/sheet1.xml", sheet)]);
    let cells: Vec<String> = text(&xlsx).split_whitespace().map(str::to_owned).collect();
    assert_eq!(cells, ["4111", "1111", "ab", "4111111111111111", "in"]);
    let slide = b"<p:sld xmlns:p=\"p\" xmlns:a=\"a\"><a:p><a:r><a:t>slide</a:t></a:r></a:p></p:sld>";
    assert_eq!(text(&package(&[("[Content_Types].xml", b"<Types/>"), ("ppt/slides/slide1.xml", slide)])).trim(), "slide");
    let inner = docx("<w:p><w:r><w:t>within</w:t></w:r></w:p>");
    let outer = package(&[("[Content_Types].xml", b"<Types/>"), ("word/embeddings/a.docx", &inner)]);
    assert_eq!(text(&outer).trim(), "within");
}

#[test]
fn words_of_opendocument_come_out_whole() {
    let content = "<office:document xmlns:office=\"o\" xmlns:text=\"t\" xmlns:table=\"b\"><text:p>RESTR<text:span>ICTED</text:span></text:p>\
                   <text:p>a<text:s/>b<text:tab/>c</text:p><table:table-cell><text:p>cell</text:p></table:table-cell></office:document>";
    let odt = package(&[("mimetype", b"application/vnd.oasis.opendocument.text"), ("content.xml", content.as_bytes())]);
    assert_eq!(document(&odt), Some(Document::Odf));
    assert_eq!(text(&odt).trim(), "RESTRICTED\na b\tc\ncell");
}

/// A PDF of one page with this content. Its table of references is left to the reader to rebuild.
pub(crate) fn pdf(content: &str) -> Bytes {
    format!(
        "%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n\
         3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents 4 0 R/Resources<</Font<</F 5 0 R>>/XObject<</X 6 0 R>>>>>>endobj\n\
         4 0 obj<</Length {}>>stream\n{content}\nendstream endobj\n5 0 obj<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>endobj\n\
         6 0 obj<</Type/XObject/Subtype/Form/BBox[0 0 9 9]/Resources<</XObject<</X 6 0 R>>>>/Length 4>>stream\n/X Do\nendstream endobj\n\
         trailer<</Root 1 0 R/Size 7>>\n%%EOF\n",
        content.len()
    )
    .into()
}

#[test]
fn words_of_pdf_come_out_whole() {
    for (content, expected) in [
        ("BT /F 12 Tf 72 700 Td (Hello world) Tj 0 -14 Td (second line) Tj ET", "Hello world\nsecond line"),
        // Placed glyph by glyph, kerned, with a gap for a space.
        ("BT /F 12 Tf 72 700 Td [(4111) -20 (1111) 30 (1111)] TJ 96 0 Td (1111) Tj ET", "411111111111 1111"),
        ("BT /F 12 Tf 1 0 0 1 72 700 Tm (RESTR) Tj ET BT /F 12 Tf 1 0 0 1 72 600 Tm (ICTED) Tj ET", "RESTR\nICTED"),
    ] {
        assert_eq!(text(&pdf(content)).trim(), expected, "{content}");
    }
}

#[test]
fn what_is_hostile_ends_at_a_bound_and_says_so() {
    let spaces = vec![b' '; 40 << 20];
    let bomb = package(&[("[Content_Types].xml", b"<Types/>"), ("word/document.xml", &spaces)]);
    let long = docx(&format!("<w:t>{}</w:t>", "RESTRICTED ".repeat(400_000)));
    let entities = docx("<w:t>&lol9;</w:t>");
    let declared = package(&[
        ("[Content_Types].xml", b"<Types/>"),
        ("word/document.xml", b"<!DOCTYPE x [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;&a;&a;\">]><w:p><w:t>&b;</w:t></w:p>"),
    ]);
    let deep = docx(&("<w:p>".repeat(100_000) + "<w:t>x</w:t>"));
    let matryoshka =
        (0..10).fold(docx("<w:t>x</w:t>"), |inner, _| package(&[("[Content_Types].xml", b"<Types/>"), ("word/embeddings/a.docx", &inner)]));
    let cut = docx("<w:t>x</w:t>").slice(..60);
    for (what, octets, gap) in [
        ("bomb", &bomb, Some(Gap::TooLarge)),
        ("more text than is taken", &long, Some(Gap::TooLarge)),
        ("entity", &entities, Some(Gap::Damaged)),
        ("entities that multiply", &declared, Some(Gap::Damaged)),
        ("depth", &deep, None),
        ("documents in documents", &matryoshka, Some(Gap::TooLarge)),
        ("a form that draws itself", &pdf("/X Do BT /F 12 Tf (x) Tj ET"), None),
        ("no PDF", &Bytes::from_static(b"%PDF-1.7 nothing"), Some(Gap::Damaged)),
    ] {
        let started = Instant::now();
        let extract = read_with(octets, Bounds::default());
        println!("{what}: {} octets, {} of text, {:?}, {:?}", octets.len(), extract.text.len(), extract.gap, started.elapsed());
        assert_eq!(extract.gap, gap, "{what}");
        assert!(extract.text.len() <= 4 << 20, "{what}");
    }
    assert_eq!(document(&cut), None, "what is no ZIP is no document");
    let slow = Bounds { time: Duration::ZERO, ..Bounds::default() };
    assert_eq!(read_with(&long, slow).gap, Some(Gap::TooLong));
}

#[test]
fn the_documents_of_a_message_share_its_bounds() {
    let bounds = Bounds { document_bytes: 3 << 20, ratio: 100_000, ..Bounds::default() };
    let lens = Lens::new(bounds, None, crate::escrow::Escrow::default());
    let large = docx(&format!("<w:p>{}</w:p>", "<w:r/>".repeat(400_000)));
    let mut budget = Budget::new(&lens.bounds);
    let gaps: Vec<Option<Gap>> = (0..2).map(|_| read(Document::Ooxml, &large, &lens, &mut budget).gap).collect();
    assert_eq!(gaps, [None, Some(Gap::TooLarge)]);
}
