//! The texts of the files in `tests/cases`: each character U+0000..U+00FF is one octet, `{{X*N}}` is X repeated.

/// A text with its repeats written out.
pub fn expand(text: &str) -> String {
    expand_within(text, usize::MAX)
}

/// A text with its repeats written out, each to at most `most` characters.
pub fn expand_within(text: &str, most: usize) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some((before, behind)) = rest.split_once("{{") {
        let (inner, after) = behind.split_once("}}").expect("closed");
        let (what, count) = inner.rsplit_once('*').expect("X*N");
        let count: usize = count.parse().expect("a number");
        out.push_str(before);
        out.push_str(&what.repeat(count.min(most / what.chars().count().max(1))));
        rest = after;
    }
    out.push_str(rest);
    out
}

/// The octets of a text whose repeats are written out.
pub fn octets(text: &str) -> Vec<u8> {
    text.chars().map(|character| u8::try_from(u32::from(character)).expect("an octet")).collect()
}

/// The commands that a case of `smtp.json` is preceded by.
pub fn prelude(setup: &str) -> &'static [&'static str] {
    let all = &["EHLO probe.test\r\n", "MAIL FROM:<a@probe.test>\r\n", "RCPT TO:<user@example.test>\r\n", "DATA\r\n"];
    match setup {
        "ehlo" | "tls+ehlo" => &all[..1],
        "mail+rcpt" => &all[..3],
        "data" | "data+headers" => all,
        _ => &[],
    }
}
