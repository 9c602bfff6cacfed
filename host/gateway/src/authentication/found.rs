//! What was found out about one message: results by method, in the words of RFC 8601, 2.7.

use super::chain::Chain;
use std::collections::BTreeMap;

/// What the domain of the author asks for, as policies ask for it.
const POLICY: &str = "dmarc-policy";

/// Who sealed a chain that holds, and what the first of them found, as policies ask for it.
const SEALERS: &str = "arc-sealers";
const SEALED_DMARC: &str = "arc-dmarc";

/// One result of one method, with what it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Method {
    pub(super) name: &'static str,
    pub(super) result: &'static str,
    pub(super) reason: Option<String>,
    /// `ptype.property` and its value, as it came from outside.
    pub(super) properties: Vec<(&'static str, String)>,
}

impl Method {
    pub(super) fn new(name: &'static str, result: &'static str) -> Self {
        Self { name, result, reason: None, properties: Vec::new() }
    }

    pub(super) fn because(self, reason: Option<String>) -> Self {
        Self { reason, ..self }
    }

    pub(super) fn with(mut self, property: &'static str, value: &str) -> Self {
        self.properties.push((property, value.to_owned()));
        self
    }
}

/// All results for one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(super) methods: Vec<Method>,
    /// What the domain of the author asks for.
    policy: Option<&'static str>,
    /// Of the chain.
    sealers: Option<String>,
    sealed_dmarc: Option<String>,
}

impl Found {
    pub(super) fn new(spf: Method, dkim: Vec<Method>, arc: Chain, dmarc: Method, policy: Option<&'static str>) -> Self {
        let methods = std::iter::once(spf).chain(dkim).chain([arc.method, dmarc]).collect();
        Self { methods, policy, sealers: arc.sealers, sealed_dmarc: arc.first_dmarc }
    }

    /// Nothing could be told.
    pub(super) fn unknown() -> Self {
        let unknown = |name| Method::new(name, "temperror");
        Self::new(unknown("spf"), vec![unknown("dkim")], Chain::unknown(), unknown("dmarc"), None)
    }

    /// Results by method.
    pub(crate) fn results(&self) -> BTreeMap<String, String> {
        let methods = ["spf", "dkim", "arc", SEALERS, SEALED_DMARC, "dmarc", POLICY].into_iter();
        methods.filter_map(|method| Some((method.to_owned(), self.result(method)?.to_owned()))).collect()
    }

    /// The result of a method; of several signatures the best.
    pub(crate) fn result(&self, method: &str) -> Option<&str> {
        match method {
            POLICY => return self.policy,
            SEALERS => return self.sealers.as_deref(),
            SEALED_DMARC => return self.sealed_dmarc.as_deref(),
            _ => {}
        }
        const BEST_FIRST: [&str; 5] = ["pass", "temperror", "fail", "neutral", "permerror"];
        let results = || self.methods.iter().filter(|found| found.name == method).map(|found| found.result);
        BEST_FIRST.into_iter().find(|best| results().any(|result| result == *best)).or_else(|| results().next())
    }
}
