//! What came of every case, for people and for programs: text, JSON, JUnit.

use super::page;
use super::verdict::Verdict;
use anyhow::Result;
use secmx_lab::cases::Case;
use serde::Serialize;
use std::fmt::Write;
use std::time::Duration;

/// One case under one role.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// The case.
    pub id: String,
    /// What it is about.
    pub area: &'static str,
    /// A few words.
    pub title: String,
    /// What the world did.
    pub does: String,
    /// `BES`, `SOS`, `BER`, `SOR`.
    pub role: &'static str,
    /// What had to come of it.
    pub expected: String,
    /// What came of it.
    pub got: String,
    /// How that is judged.
    pub verdict: Verdict,
    /// For people.
    pub detail: String,
}

impl Row {
    pub(super) fn of(case: &Case, role: &'static str, expected: String, got: String, verdict: Verdict, detail: String) -> Self {
        let (id, title, does) = (case.id.clone(), case.title.clone(), case.does.clone());
        Self { id, area: case.area.word(), title, does, role, expected, got, verdict, detail }
    }

    fn is_good(&self) -> bool {
        self.verdict != Verdict::Failed
    }
}

/// What came of a run.
pub struct Report {
    /// Who sent.
    pub sender: String,
    /// Every case under every role.
    pub rows: Vec<Row>,
    /// How long it took.
    pub took: Duration,
}

#[derive(Serialize)]
struct Json<'a> {
    schema: &'static str,
    sender: &'a str,
    took_ms: u64,
    passed: usize,
    near: usize,
    failed: usize,
    skipped: usize,
    rows: &'a [Row],
}

impl Report {
    /// Rows with this verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.rows.iter().filter(|row| row.verdict == verdict).count()
    }

    /// Whether something was played and nothing failed.
    pub fn is_good(&self) -> bool {
        self.rows.iter().all(Row::is_good) && self.rows.iter().any(|row| row.verdict != Verdict::Skipped)
    }

    /// Rows of one case together, in order.
    pub(super) fn cases(&self) -> Vec<&[Row]> {
        self.rows.chunk_by(|one, other| one.id == other.id).collect()
    }

    /// `150 cases: 148 pass, …`, counted by role.
    pub(super) fn summary(&self) -> String {
        let count = |verdict| self.count(verdict);
        let mut text = format!(
            "{} cases, {} outcomes: {} pass, {} fail",
            self.cases().len(),
            self.rows.len(),
            count(Verdict::Passed),
            count(Verdict::Failed)
        );
        for (number, what) in [(count(Verdict::Near), "kept back in another way"), (count(Verdict::Skipped), "not played")] {
            if number > 0 {
                let _ = write!(text, ", {number} {what}");
            }
        }
        text
    }

    /// One line for each case; under it what was expected, where that is not what came.
    pub fn to_text(&self) -> String {
        let mut text = format!("{}\n", self.sender);
        let mut area = None;
        for rows in self.cases() {
            let Some(first) = rows.first() else { continue };
            if area != Some(first.area) {
                area = Some(first.area);
                let _ = writeln!(text, "\n{}", first.area);
            }
            let outcomes: Vec<String> = rows.iter().map(|row| format!("{} {:<18}", row.role, row.got)).collect();
            let _ = writeln!(text, "  {}  {:<32} {}", mark(rows), first.id, outcomes.join(" ").trim_end());
            for row in rows.iter().filter(|row| matches!(row.verdict, Verdict::Failed | Verdict::Near)) {
                let detail = if row.detail.is_empty() { String::new() } else { format!(" ({})", row.detail) };
                let _ = writeln!(text, "        {} expected: {}{detail}", row.role, row.expected);
            }
        }
        let _ = writeln!(text, "\n{}, {:.1} s", self.summary(), self.took.as_secs_f32());
        text
    }

    /// `secmx/lab/v1`. Fields are only ever added.
    pub fn to_json(&self) -> Result<String> {
        let json = Json {
            schema: "secmx/lab/v1",
            sender: &self.sender,
            took_ms: u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX),
            passed: self.count(Verdict::Passed),
            near: self.count(Verdict::Near),
            failed: self.count(Verdict::Failed),
            skipped: self.count(Verdict::Skipped),
            rows: &self.rows,
        };
        Ok(serde_json::to_string_pretty(&json)? + "\n")
    }

    /// JUnit's XML, as build servers read it: a test case for each outcome.
    pub fn to_junit(&self) -> String {
        let mut xml = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"secmx lab\" tests=\"{}\" failures=\"{}\" skipped=\"{}\" time=\"{:.3}\">\n\
             <testsuite name=\"{}\" tests=\"{0}\" failures=\"{1}\" skipped=\"{2}\">\n",
            self.rows.len(),
            self.count(Verdict::Failed),
            self.count(Verdict::Skipped),
            self.took.as_secs_f32(),
            escaped(&self.sender),
        );
        for row in &self.rows {
            let area = row.area;
            let _ = write!(xml, "<testcase classname=\"{area}.{}\" name=\"{}: {}\"", row.role, row.id, escaped(&row.title));
            let _ = match row.verdict {
                Verdict::Passed => writeln!(xml, "/>"),
                Verdict::Near => writeln!(xml, "><system-out>{}</system-out></testcase>", escaped(&told(row))),
                Verdict::Skipped => writeln!(xml, "><skipped message=\"{}\"/></testcase>", escaped(&row.detail)),
                Verdict::Failed => {
                    writeln!(xml, "><failure message=\"{}\">{}</failure></testcase>", escaped(&told(row)), escaped(&row.does))
                }
            };
        }
        xml + "</testsuite>\n</testsuites>\n"
    }

    /// One page that needs nothing else.
    pub fn to_html(&self) -> String {
        page::page(self)
    }
}

fn told(row: &Row) -> String {
    format!("expected {}, got {}; {}", row.expected, row.got, row.detail)
}

/// The mark of a case: the worst of its rows.
pub(super) fn mark(rows: &[Row]) -> &'static str {
    let has = |verdict| rows.iter().any(|row| row.verdict == verdict);
    match (has(Verdict::Failed), has(Verdict::Near), has(Verdict::Passed)) {
        (true, ..) => "FAIL",
        (_, true, _) => "near",
        (.., true) => "PASS",
        _ => "skip",
    }
}

/// Text within XML and HTML. What neither may hold is left out.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            character if character.is_control() && character != '\n' => {}
            character => out.push(character),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(verdict: Verdict) -> Report {
        let cases = secmx_lab::cases::table().expect("the table");
        let row = |role| Row::of(&cases[0], role, "host".into(), "plain".into(), verdict, "<\"why\u{7}\">".into());
        Report { sender: "a & b".into(), rows: vec![row("BES"), row("SOS")], took: Duration::from_millis(1500) }
    }

    #[test]
    fn every_form_tells_of_a_failure() {
        let failed = report(Verdict::Failed);
        assert!(!failed.is_good() && report(Verdict::Passed).is_good() && report(Verdict::Near).is_good());
        assert!(!report(Verdict::Skipped).is_good(), "nothing was played");
        let text = failed.to_text();
        assert!(
            text.contains("FAIL  cert-good") && text.contains("SOS expected: host") && text.contains("1 cases, 2 outcomes: 0 pass, 2 fail"),
            "{text}"
        );
        let json: serde_json::Value = serde_json::from_str(&failed.to_json().expect("JSON")).expect("JSON");
        assert_eq!((json["failed"].as_u64(), json["rows"][1]["verdict"].as_str()), (Some(2), Some("failed")));
        let junit = failed.to_junit();
        assert!(junit.contains("failures=\"2\"") && junit.contains("&lt;&quot;why&quot;&gt;") && !junit.contains('\u{7}'), "{junit}");
        assert!(failed.to_html().contains("a &amp; b"));
    }
}
