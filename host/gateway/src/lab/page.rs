//! The report as one HTML page that needs nothing else.

use super::report::{Report, Row, escaped, mark};
use super::verdict::Verdict;
use std::fmt::Write;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:#1b1f24;background:#fff}\
h1{font-size:1.4rem;margin-bottom:.2rem}h2{font-size:1.1rem;margin:2rem 0 .4rem}table{border-collapse:collapse;width:100%}\
th,td{text-align:left;vertical-align:top;padding:.3rem .6rem;border-top:1px solid #d8dee4}th{font-weight:600}\
code{font:13px ui-monospace,monospace}small{color:#59636e;display:block}.PASS{color:#1a7f37}.FAIL{color:#b3261e;font-weight:700}\
.near{color:#9a6700}.skip{color:#59636e}tr.FAIL{background:#fff1f0}\
@media(prefers-color-scheme:dark){body{background:#0d1117;color:#e6edf3}th,td{border-color:#30363d}small,.skip{color:#9198a1}\
.PASS{color:#3fb950}.FAIL{color:#ff7b72}.near{color:#d29922}tr.FAIL{background:#2d1214}}";

/// The page.
pub(super) fn page(report: &Report) -> String {
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>secmx lab</title><style>{STYLE}</style>\n<h1>secmx lab</h1>\n<p>Sender: <code>{}</code><br>{}, {:.1} s</p>\n",
        escaped(&report.sender),
        escaped(&report.summary()),
        report.took.as_secs_f32()
    );
    html.push_str(
        "<p><b class=\"PASS\">PASS</b> as it must be; <b class=\"near\">near</b> kept back as it must be, in another way; \
         <b class=\"FAIL\">FAIL</b> not as it must be; <b class=\"skip\">skip</b> not played.</p>\n",
    );
    let mut area = None;
    for rows in report.cases() {
        let Some(first) = rows.first() else { continue };
        if area != Some(first.area) {
            html.push_str(if area.is_some() { "</table>\n" } else { "" });
            area = Some(first.area);
            let _ = write!(html, "<h2>{}</h2>\n<table><tr><th><th>Case<th>Role<th>Came to<th>Must come to</tr>\n", first.area);
        }
        rows.iter().enumerate().for_each(|(number, row)| html.push_str(&line(rows, row, number == 0)));
    }
    html + if area.is_some() { "</table>\n" } else { "" } + "</html>\n"
}

fn line(rows: &[Row], row: &Row, first: bool) -> String {
    let class = mark(std::slice::from_ref(row));
    let head = if first {
        format!(
            "<td rowspan=\"{}\"><b class=\"{mark}\">{mark}</b><td rowspan=\"{0}\"><code>{}</code> {}<small>{}</small>",
            rows.len(),
            escaped(&row.id),
            escaped(&row.title),
            escaped(&row.does),
            mark = mark(rows),
        )
    } else {
        String::new()
    };
    let detail = if row.detail.is_empty() { String::new() } else { format!("<small>{}</small>", escaped(&row.detail)) };
    let expected = if row.verdict == Verdict::Passed && row.got == row.expected { String::new() } else { escaped(&row.expected) };
    format!("<tr class=\"{class}\">{head}<td>{}<td class=\"{class}\">{}{detail}<td>{expected}</tr>\n", row.role, escaped(&row.got))
}
