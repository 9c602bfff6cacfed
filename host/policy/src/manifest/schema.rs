//! The settings of a policy: what there is, of which type, within which bounds. Checked before the policy is loaded; `inspect` shows it
//! and turns it into JSON Schema.
//!
//! What a policy reads has every default filled in, a duration as seconds and a size as octets.

use crate::units;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::ops::Deref;

/// Settings by name.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Schema(BTreeMap<String, Field>);

impl Deref for Schema {
    type Target = BTreeMap<String, Field>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// The type of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Text.
    String,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// True or false.
    Boolean,
    /// Written `"7d"`; the policy reads seconds.
    Duration,
    /// Written `"1MiB"`; the policy reads octets.
    Size,
    /// Values of the type in `of`.
    List,
    /// Names with values of the type in `of`.
    Table,
}

/// One setting.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// The type of what a list or a table holds; text when it is not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<Kind>,
    /// The only values; of a list, the only items. Empty: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub one_of: Vec<Value>,
    /// What it is when it is not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// Whether it must be set.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub required: bool,
    /// The least value; of text, a list or a table the least length.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<Value>,
    /// The greatest value; of text, a list or a table the greatest length.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<Value>,
    /// One sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
}

impl Schema {
    /// The settings as the policy reads them, or everything that is wrong with them, one sentence each.
    pub fn check(&self, settings: &Map<String, Value>) -> Result<Map<String, Value>, Vec<String>> {
        let mut wrong: Vec<String> = settings.keys().filter(|key| !self.contains_key(*key)).map(|key| self.unknown(key)).collect();
        let mut read = Map::new();
        for (name, field) in self.iter() {
            match settings.get(name).or(field.default.as_ref()).map(|value| field.read(value)) {
                Some(Ok(value)) => drop(read.insert(name.clone(), value)),
                Some(Err(why)) => wrong.push(format!("`{name}`: {why}")),
                None if field.required => wrong.push(format!("`{name}` is missing: expected {}", field.kind.in_words())),
                None => {}
            }
        }
        if wrong.is_empty() { Ok(read) } else { Err(wrong) }
    }

    fn unknown(&self, key: &str) -> String {
        let slips = |known: &String| strsim::damerau_levenshtein(key, known);
        let meant = self.keys().map(|known| (slips(known), known)).filter(|(slips, _)| *slips <= (key.len() / 3).max(1)).min();
        match meant {
            Some((_, known)) => format!("`{key}` is not in its schema; did you mean `{known}`?"),
            None if self.is_empty() => format!("`{key}` is not in its schema: this policy has no settings"),
            None => format!("`{key}` is not in its schema, which has {}", self.keys().cloned().collect::<Vec<_>>().join(", ")),
        }
    }

    /// The same as JSON Schema (draft 2020-12), for editors and SDKs.
    pub fn json_schema(&self) -> Value {
        let properties: Map<String, Value> = self.iter().map(|(name, field)| (name.clone(), field.json_schema())).collect();
        let required: Vec<&String> = self.iter().filter(|(_, field)| field.required).map(|(name, _)| name).collect();
        json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": false,
        })
    }
}

impl Kind {
    fn in_words(self) -> &'static str {
        match self {
            Self::String => "a string",
            Self::Integer => "a whole number",
            Self::Number => "a number",
            Self::Boolean => "true or false",
            Self::Duration => "a duration such as \"7d\"",
            Self::Size => "a size such as \"1MiB\"",
            Self::List => "a list",
            Self::Table => "a table",
        }
    }

    fn json_name(self) -> &'static str {
        match self {
            Self::String | Self::Duration | Self::Size => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::List => "array",
            Self::Table => "object",
        }
    }

    /// A single value as the policy reads it.
    fn read(self, value: &Value) -> Result<Value, String> {
        let read = match (self, value) {
            (Self::String, Value::String(_)) | (Self::Boolean, Value::Bool(_)) | (Self::Number, Value::Number(_)) => Some(value.clone()),
            (Self::Integer, Value::Number(number)) if number.is_i64() || number.is_u64() => Some(value.clone()),
            (Self::List, Value::Array(_)) | (Self::Table, Value::Object(_)) => Some(value.clone()),
            (Self::Duration, Value::String(text)) => units::duration(text).map(|duration| match duration.subsec_nanos() {
                0 => json!(duration.as_secs()),
                _ => json!(duration.as_secs_f64()),
            }),
            (Self::Size, Value::String(text)) => units::size(text).map(|octets| json!(octets)),
            _ => None,
        };
        read.ok_or_else(|| format!("expected {}, found {value}", self.in_words()))
    }
}

impl Field {
    /// A value of this setting as the policy reads it, or what is wrong with it.
    fn read(&self, value: &Value) -> Result<Value, String> {
        let of = self.of.unwrap_or(Kind::String);
        let read = match (self.kind, self.kind.read(value)?) {
            (Kind::List, Value::Array(items)) => {
                let items: Result<Vec<_>, _> = items.iter().map(|item| self.one_of(item).and_then(|()| of.read(item))).collect();
                Value::Array(items?)
            }
            (Kind::Table, Value::Object(entries)) => {
                let entry = |(name, value): (String, Value)| {
                    Ok::<_, String>((name.clone(), of.read(&value).map_err(|why| format!("{name}: {why}"))?))
                };
                Value::Object(entries.into_iter().map(entry).collect::<Result<_, _>>()?)
            }
            (_, single) => {
                self.one_of(value)?;
                single
            }
        };
        self.bounded(value, &read)?;
        Ok(read)
    }

    fn one_of(&self, value: &Value) -> Result<(), String> {
        if self.one_of.is_empty() || self.one_of.contains(value) {
            return Ok(());
        }
        let words: Vec<String> = self.one_of.iter().map(Value::to_string).collect();
        Err(format!("expected one of {}, found {value}", words.join(", ")))
    }

    /// `written` is what was set, `read` what the policy will see.
    fn bounded(&self, written: &Value, read: &Value) -> Result<(), String> {
        let measure = |value: &Value| match value {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => Some(text.chars().count() as f64),
            Value::Array(items) => Some(items.len() as f64),
            Value::Object(entries) => Some(entries.len() as f64),
            _ => None,
        };
        let limit = |bound: &Option<Value>| bound.as_ref().and_then(|bound| self.bound(bound).ok()).as_ref().and_then(measure);
        let Some(measured) = measure(read) else { return Ok(()) };
        if limit(&self.min).is_some_and(|least| measured < least) {
            return Err(format!("expected at least {}, found {written}", self.min.clone().unwrap_or_default()));
        }
        if limit(&self.max).is_some_and(|most| measured > most) {
            return Err(format!("expected at most {}, found {written}", self.max.clone().unwrap_or_default()));
        }
        Ok(())
    }

    /// A bound as a number: of the setting's own type, or a length.
    fn bound(&self, bound: &Value) -> Result<Value, String> {
        match self.kind {
            Kind::Integer | Kind::Number | Kind::Duration | Kind::Size => self.kind.read(bound),
            _ => Kind::Integer.read(bound),
        }
    }

    /// What is wrong with the setting itself.
    pub(super) fn trouble(&self) -> Option<String> {
        if self.of.is_some() && !matches!(self.kind, Kind::List | Kind::Table) {
            return Some("`of` is for a list or a table".to_owned());
        }
        if self.required && self.default.is_some() {
            return Some("what is required needs no default".to_owned());
        }
        for (name, bound) in [("min", &self.min), ("max", &self.max)] {
            if let Some(Err(why)) = bound.as_ref().map(|bound| self.bound(bound)) {
                return Some(format!("`{name}`: {why}"));
            }
        }
        self.default.as_ref().and_then(|default| self.read(default).err()).map(|why| format!("the default: {why}"))
    }

    fn json_schema(&self) -> Value {
        let mut schema = Map::from_iter([("type".to_owned(), json!(self.kind.json_name()))]);
        let of = || json!({ "type": self.of.unwrap_or(Kind::String).json_name() });
        match self.kind {
            Kind::List if self.one_of.is_empty() => drop(schema.insert("items".into(), of())),
            Kind::List => drop(schema.insert("items".into(), json!({ "enum": self.one_of }))),
            Kind::Table => drop(schema.insert("additionalProperties".into(), of())),
            _ if !self.one_of.is_empty() => drop(schema.insert("enum".into(), json!(self.one_of))),
            _ => {}
        }
        let bounds = match self.kind {
            Kind::Integer | Kind::Number => Some(("minimum", "maximum")),
            Kind::String => Some(("minLength", "maxLength")),
            Kind::List => Some(("minItems", "maxItems")),
            _ => None,
        };
        if let Some((least, most)) = bounds {
            schema.extend(self.min.clone().map(|min| (least.to_owned(), min)));
            schema.extend(self.max.clone().map(|max| (most.to_owned(), max)));
        }
        schema.extend(self.default.clone().map(|default| ("default".to_owned(), default)));
        schema.extend((!self.description.is_empty()).then(|| ("description".to_owned(), json!(self.description))));
        Value::Object(schema)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Manifest;
    use super::*;

    fn schema() -> Schema {
        Manifest::parse(super::super::tests::FULL).expect("valid").config
    }

    fn settings(value: Value) -> Map<String, Value> {
        value.as_object().cloned().expect("an object")
    }

    #[test]
    fn defaults_are_filled_in_and_units_are_numbers() {
        let read = schema().check(&settings(json!({ "block": ["tfn"] }))).expect("valid");
        assert_eq!(Value::Object(read), json!({ "block": ["tfn"], "quarantine_for": 604_800 }));
    }

    #[test]
    fn what_is_wrong_is_said_all_at_once() {
        let wrong = schema().check(&settings(json!({ "blok": ["iban"], "quarantine_for": "60d" }))).expect_err("wrong");
        assert_eq!(
            wrong,
            ["`blok` is not in its schema; did you mean `block`?", "`quarantine_for`: expected at most \"30d\", found \"60d\""]
        );
        let wrong = schema().check(&settings(json!({ "block": ["visa"], "quarantine_for": 7 }))).expect_err("wrong");
        assert_eq!(
            wrong,
            [
                "`block`: expected one of \"iban\", \"tfn\", \"passport\", found \"visa\"",
                "`quarantine_for`: expected a duration such as \"7d\", found 7"
            ]
        );
        let wrong = Schema::default().check(&settings(json!({ "x": 1 }))).expect_err("wrong");
        assert_eq!(wrong, ["`x` is not in its schema: this policy has no settings"]);
    }

    #[test]
    fn it_is_json_schema_too() {
        let schema = schema().json_schema();
        assert_eq!(schema["properties"]["block"]["items"]["enum"], json!(["iban", "tfn", "passport"]));
        assert_eq!(schema["additionalProperties"], json!(false));
    }
}
