//! A report as a message (RFC 8460, 5.3), written with mail-builder.

use anyhow::Result;
use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use jiff::civil::Date;
use mail_builder::MessageBuilder;
use mail_builder::headers::content_type::ContentType;
use mail_builder::headers::raw::Raw;
use mail_builder::mime::MimePart;
use secmx_core::mail::{Domain, Mailbox};
use secmx_core::secmx::tls_rpt::{Day, Heading, Report};
use sha2::{Digest, Sha256};
use std::io::Write;

/// Media type of a report (RFC 8460, 6.4).
pub(super) const KIND: &str = "application/tlsrpt+gzip";

/// Who reports what to whom.
pub(super) struct Letter<'a> {
    /// Our name.
    pub(super) hostname: &'a Domain,
    /// Who sends it.
    pub(super) contact: &'a Mailbox,
    /// Who reports.
    pub(super) organization: &'a str,
    /// The domain that it is about.
    pub(super) domain: &'a Domain,
    /// The day.
    pub(super) date: Date,
    /// What was counted.
    pub(super) day: &'a Day,
}

impl Letter<'_> {
    /// First and last moment of the day (RFC 8460, 4.1: a full day, by UTC).
    fn range(&self) -> (Timestamp, Timestamp) {
        let start = self.date.to_zoned(jiff::tz::TimeZone::UTC).map(|start| start.timestamp()).unwrap_or_default();
        (start, start.checked_add(jiff::SignedDuration::from_secs(24 * 3600 - 1)).unwrap_or(start))
    }

    /// Name of the report: the same whenever it is made, so that one that is sent twice is known.
    fn id(&self) -> String {
        let digest = Sha256::digest(format!("{} {} {}", self.date, self.domain, self.hostname));
        let name: String = digest.iter().take(12).map(|octet| format!("{octet:02x}")).collect();
        format!("{}.{name}@{}", self.date, self.hostname)
    }

    /// The report as JSON.
    pub(super) fn json(&self) -> Result<String> {
        let (start, end) = self.range();
        let heading = Heading {
            organization: self.organization.to_owned(),
            contact: self.contact.to_string(),
            id: self.id(),
            start: format!("{start:.0}"),
            end: format!("{end:.0}"),
        };
        Ok(serde_json::to_string(&Report::new(&heading, self.day))?)
    }

    /// The same, compressed.
    pub(super) fn gzip(&self) -> Result<Vec<u8>> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(self.json()?.as_bytes())?;
        Ok(encoder.finish()?)
    }

    /// The whole message, CRLF lines, ready for the spool.
    pub(super) fn message(&self, to: &Mailbox, now: Timestamp) -> Result<Vec<u8>> {
        let ((start, end), id) = (self.range(), self.id());
        let words = format!(
            "This is a report of {} about TLS between its mail gateway {} and hosts of {} on {} (UTC).\r\n\r\n\
             It was asked for by the TXT record _smtp._tls.{} (RFC 8460). Questions: {}\r\n",
            self.organization, self.hostname, self.domain, self.date, self.domain, self.contact
        );
        // RFC 8460, 5.1: sender, policy domain, begin and end, in that order.
        let file = format!("{}!{}!{}!{}.json.gz", self.hostname, self.domain, start.as_second(), end.as_second());
        let report = ContentType::new("multipart/report").attribute("report-type", "tlsrpt");
        let parts = vec![MimePart::new("text/plain", words), MimePart::new(KIND, self.gzip()?).attachment(file)];
        let message = MessageBuilder::new()
            .header("From", Raw::new(format!("<{}>", self.contact)))
            .header("To", Raw::new(format!("<{to}>")))
            // RFC 8460, 5.3: the form of the subject, and two fields that say the same to programs.
            .header("Subject", Raw::new(format!("Report Domain: {} Submitter: {} Report-ID: <{id}>", self.domain, self.hostname)))
            .header("TLS-Report-Domain", Raw::new(self.domain.to_string()))
            .header("TLS-Report-Submitter", Raw::new(self.hostname.to_string()))
            // RFC 8689, 5: a report about TLS that fails must get there when TLS fails.
            .header("TLS-Required", Raw::new("No"))
            .header("Auto-Submitted", Raw::new("auto-generated"))
            .date(now.as_second())
            .message_id(id)
            .body(MimePart::new(report, parts));
        let mut octets = Vec::new();
        message.serialize(&mut octets);
        Ok(octets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secmx_core::secmx::tls_rpt::{Detail, Policy, PolicyType, ResultType, Tally};
    use serde_json::{Value, json};

    /// The sessions of RFC 8460, appendix B, and one more.
    fn counted(domain: &Domain) -> Day {
        let policy = Policy {
            policy_type: PolicyType::Sts,
            policy_string: ["version: STSv1", "mode: testing", "mx: *.mail.company-y.example", "max_age: 86400"]
                .map(str::to_owned)
                .to_vec(),
            policy_domain: domain.clone(),
            mx_host: vec!["*.mail.company-y.example".into()],
        };
        let mut tally = Tally::default();
        (0..5326).for_each(|_| tally.add(Ok(())));
        let expired = Detail {
            sending_mta_ip: Some("2001:db8:abcd:12::1".parse().expect("an address")),
            receiving_mx_hostname: Some("mx1.mail.company-y.example".into()),
            receiving_ip: Some("203.0.113.56".parse().expect("an address")),
            ..Detail::new(ResultType::CertificateExpired, "")
        };
        (0..100).for_each(|_| tally.add(Err(expired.clone())));
        tally.add(Err(Detail::new(ResultType::StarttlsNotSupported, "")));
        Day::from([(policy, tally)])
    }

    /// RFC 8460, 4.4 and appendix B: every field, under the name and in the place that it has there.
    #[test]
    fn the_report_has_the_fields_of_rfc_8460() {
        let domain = Domain::parse("company-y.example").expect("valid");
        let day = counted(&domain);
        let letter = Letter {
            hostname: &Domain::parse("mail.company-x.example").expect("valid"),
            contact: &Mailbox::parse(b"sts-reporting@company-x.example", false).expect("valid"),
            organization: "Company-X",
            domain: &domain,
            date: Date::constant(2016, 4, 1),
            day: &day,
        };
        let report: Value = serde_json::from_str(&letter.json().expect("JSON")).expect("JSON");
        let id = report["report-id"].as_str().expect("an id").to_owned();
        assert!(id.starts_with("2016-04-01.") && id.ends_with("@mail.company-x.example"), "{id}");
        let expected = json!({
            "organization-name": "Company-X",
            "date-range": { "start-datetime": "2016-04-01T00:00:00Z", "end-datetime": "2016-04-01T23:59:59Z" },
            "contact-info": "sts-reporting@company-x.example",
            "report-id": id,
            "policies": [{
                "policy": {
                    "policy-type": "sts",
                    "policy-string": ["version: STSv1", "mode: testing", "mx: *.mail.company-y.example", "max_age: 86400"],
                    "policy-domain": "company-y.example",
                    "mx-host": ["*.mail.company-y.example"],
                },
                "summary": { "total-successful-session-count": 5326, "total-failure-session-count": 101 },
                "failure-details": [
                    {
                        "result-type": "certificate-expired",
                        "sending-mta-ip": "2001:db8:abcd:12::1",
                        "receiving-mx-hostname": "mx1.mail.company-y.example",
                        "receiving-ip": "203.0.113.56",
                        "failed-session-count": 100,
                    },
                    { "result-type": "starttls-not-supported", "failed-session-count": 1 },
                ],
            }],
        });
        assert_eq!(report, expected);
        let to = Mailbox::parse(b"tlsrpt@company-y.example", false).expect("valid");
        let message = String::from_utf8(letter.message(&to, Timestamp::UNIX_EPOCH).expect("a message")).expect("ASCII");
        for part in [
            "TLS-Report-Domain: company-y.example\r\n",
            "TLS-Report-Submitter: mail.company-x.example\r\n",
            "TLS-Required: No\r\n",
            "report-type=\"tlsrpt\"",
            "Content-Type: application/tlsrpt+gzip",
            "mail.company-x.example!company-y.example!1459468800!1459555199.json.gz",
        ] {
            assert!(message.contains(part), "{part} is missing in {message}");
        }
        let subject = message.replace("\r\n ", " ");
        assert!(
            subject.contains(&format!("Report Domain: company-y.example Submitter: mail.company-x.example Report-ID: <{id}>")),
            "{message}"
        );
    }
}
