//! Which addresses of our domains exist, out of a file of addresses.
//!
//! A recipient that is refused while the client is connected makes no bounce, and so no backscatter (RFC 5321, 6.2).

use anyhow::{Context, Result, bail};
use secmx_core::mail::{MailDomain, Mailbox};
use std::collections::HashSet;
use std::fs;
use std::path::Path;

/// Addresses and whole domains.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct RecipientList {
    /// Local part in lower case, and domain.
    addresses: HashSet<(String, MailDomain)>,
    domains: HashSet<MailDomain>,
}

impl RecipientList {
    /// Reads a file with an address or `@domain` a line; empty lines and those that begin with `#` do not count. Errors name the line.
    pub fn load(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| path.display().to_string())
    }

    fn parse(text: &str) -> Result<Self> {
        let mut list = Self::default();
        for (index, line) in text.lines().enumerate().map(|(index, line)| (index, line.trim())) {
            let number = index.saturating_add(1);
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(domain) = line.strip_prefix('@') {
                list.domains.insert(MailDomain::parse(domain).map_err(|error| anyhow::anyhow!("line {number}: {line}: {error}"))?);
                continue;
            }
            match Mailbox::parse(line.as_bytes(), true) {
                Ok(address) => list.addresses.insert(key(&address)),
                Err(error) => bail!("line {number}: {line}: {error}"),
            };
        }
        Ok(list)
    }

    /// Whether there is such a recipient. Case does not count, nor does what follows a `+` (RFC 5233); `postmaster` always exists (RFC
    /// 5321, 4.5.1).
    pub fn has(&self, address: &Mailbox) -> bool {
        let (local_part, domain) = key(address);
        let base = local_part.split_once('+').map(|(base, _)| base.to_owned());
        let known = |local_part: String| self.addresses.contains(&(local_part, domain.clone()));
        self.domains.contains(&domain) || local_part == "postmaster" || base.is_some_and(known) || known(local_part)
    }
}

fn key(address: &Mailbox) -> (String, MailDomain) {
    (address.local_part().to_lowercase(), address.domain().clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_on_the_list_is_there() {
        let list = RecipientList::parse("# people\nAna@agency.test\n@all.test\n").expect("valid");
        let has = |address: &str| list.has(&Mailbox::parse(address.as_bytes(), true).expect("valid"));
        assert!(has("ana@agency.test") && has("ANA@AGENCY.TEST") && has("ana+news@agency.test"));
        assert!(has("anyone@all.test") && has("Postmaster@agency.test"));
        assert!(!has("bo@agency.test") && !has("+ana@agency.test") && !has("ana@other.test"));
        let error = RecipientList::parse("ana@agency.test\nnobody\n").expect_err("no address");
        assert!(error.to_string().starts_with("line 2: nobody"), "{error}");
    }
}
