//! What each role did with each partner, for people and for programs.

use super::stage::Stage;
use anyhow::{Context, Result};
use secmx_lab::client::Client;
use serde::Serialize;
use serde_json::Value;
use std::fmt::Write;
use std::time::Duration;

/// What happened.
#[derive(Serialize)]
pub(super) struct Account {
    schema: &'static str,
    up_ms: u64,
    sending: Vec<Partner>,
    receiving: Vec<Door>,
    inside_messages: usize,
    bounces: usize,
}

#[derive(Serialize)]
struct Partner {
    domain: &'static str,
    about: &'static str,
    best_effort: Sent,
    secure_only: Sent,
}

/// What one sender role did with one partner.
#[derive(Serialize, PartialEq, Eq)]
struct Sent {
    result: &'static str,
    detail: String,
    /// Whether the message was seen in the clear by any of the partner's hosts.
    seen_in_clear: bool,
}

/// What one listener answered.
#[derive(Serialize)]
struct Door {
    role: &'static str,
    in_the_clear: String,
    over_tls: String,
}

impl Account {
    /// Sends to every partner under both sender roles, knocks at both receivers, and writes down what came of it.
    pub(super) async fn of(stage: &Stage, up: Duration) -> Result<Self> {
        let mut sending = Vec::new();
        for partner in &stage.world.partners {
            let best_effort = sent(stage, partner, "bes").await?;
            let secure_only = sent(stage, partner, "sos").await?;
            sending.push(Partner { domain: partner.domain, about: partner.about, best_effort, secure_only });
        }
        let receiving = vec![door(stage, "public", "BER").await?, door(stage, "secure", "SOR").await?];
        let returned = sending.iter().filter(|partner| partner.secure_only.result == "returned").count();
        let taken = receiving.iter().flat_map(|door| [&door.in_the_clear, &door.over_tls]).filter(|reply| reply.starts_with("250")).count();
        let inside = stage.inside.wait_for_messages(returned + taken, Duration::from_secs(10)).await;
        let bounces = inside.iter().filter(|message| message.reverse_path.is_empty()).count();
        let up_ms = u64::try_from(up.as_millis()).unwrap_or(u64::MAX);
        Ok(Self { schema: "secmx/dev/v1", up_ms, sending, receiving, inside_messages: inside.len(), bounces })
    }

    /// Whether every role kept its promise: nothing under SOS was seen in the clear, and all else is as this world must have it.
    pub(super) fn is_as_promised(&self) -> bool {
        let results: Vec<_> = self.sending.iter().map(|partner| (partner.best_effort.result, partner.secure_only.result)).collect();
        let expected = [("delivered", "delivered"), ("delivered", "delivered"), ("delivered", "returned"), ("delivered", "waits")];
        let in_the_clear = self.receiving.iter().map(|door| door.in_the_clear.get(..3).unwrap_or_default()).collect::<Vec<_>>();
        results == expected
            && self.sending.iter().all(|partner| !partner.secure_only.seen_in_clear)
            && in_the_clear == ["250", "530"]
            && self.receiving.iter().all(|door| door.over_tls.starts_with("250"))
            && self.bounces == 1
    }

    pub(super) fn to_json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    pub(super) fn to_text(&self) -> String {
        let mut text =
            format!("A small SecMX world on loopback, up in {} ms: one gateway with all four roles, four partners.\n\n", self.up_ms);
        text.push_str("Sending: best effort (BES) and secure only (SOS)\n");
        for partner in &self.sending {
            let _ = write!(text, "\n  {:<13} {}\n", partner.domain, partner.about);
            for (role, sent) in [("BES", &partner.best_effort), ("SOS", &partner.secure_only)] {
                let _ = writeln!(text, "    {role}  {:<10} {}", sent.result, sent.detail);
            }
        }
        text.push_str("\nReceiving: best effort (BER) and secure only (SOR)\n\n");
        for door in &self.receiving {
            let _ = writeln!(text, "    {}  in the clear  {}", door.role, door.in_the_clear);
            let _ = writeln!(text, "         over TLS      {}", door.over_tls);
        }
        let _ = writeln!(
            text,
            "\nThe agency's own mail server got {} messages: what came in, and {} bounce for the mail that may not travel in the clear.",
            self.inside_messages, self.bounces
        );
        text
    }
}

async fn sent(stage: &Stage, partner: &secmx_lab::world::Partner, role: &str) -> Result<Sent> {
    let to = format!("{role}@{}", partner.domain);
    let queue = stage.submit(&to).await?;
    let event = stage.outcome(&queue).await?;
    let to_mark = to.as_bytes();
    let in_clear = |host: &secmx_lab::world::Host| {
        host.peer.connections().iter().any(|seen| seen.clear.windows(to_mark.len()).any(|window| window == to_mark))
    };
    let seen_in_clear = partner.hosts.iter().any(in_clear);
    let (result, detail) = match event["event"].as_str() {
        Some("message.delivered") => ("delivered", delivered(&event)),
        Some("message.returned") => ("returned", failed(&event, true)),
        _ => ("waits", failed(&event, false)),
    };
    Ok(Sent { result, detail, seen_in_clear })
}

fn delivered(event: &Value) -> String {
    let exchanger = event["exchanger"].as_str().unwrap_or_default();
    let channel = &event["channel"];
    let how = match channel["level"].as_str() {
        Some("plain") => "in the clear, after TLS was tried".to_owned(),
        level => {
            let proof = match level {
                Some("encrypted") => format!("not authenticated: {}", channel["tls"]["doubt"]["text"].as_str().unwrap_or("unknown")),
                Some("host") => "the host proved its name".to_owned(),
                _ => "the domain proved itself".to_owned(),
            };
            format!(
                "TLS {}, {}, {proof}",
                channel["tls"]["version"].as_str().unwrap_or_default(),
                channel["tls"]["group"].as_str().unwrap_or_default()
            )
        }
    };
    format!("{exchanger}  {how}")
}

fn failed(event: &Value, returned: bool) -> String {
    let failure = serde_json::from_value::<secmx_core::report::Failure>(event["failure"].clone());
    failure.map_or_else(|_| event["failure"].to_string(), |failure| format!("{}  {failure}", failure.cause.status(returned)))
}

/// Knocks at a listener, once in the clear and once over TLS, with a whole message each time.
async fn door(stage: &Stage, name: &str, role: &'static str) -> Result<Door> {
    let address = stage.listener(name)?;
    let mut plain = Client::connect(address).await?;
    plain.command("EHLO partner.test").await?;
    let in_the_clear = knock(&mut plain).await?;
    let mut before = Client::connect(address).await?;
    before.command("EHLO partner.test").await?;
    let (mut secure, _) = before.start_tls().await.context("STARTTLS")?;
    secure.command("EHLO partner.test").await?;
    let over_tls = knock(&mut secure).await?;
    Ok(Door { role, in_the_clear, over_tls })
}

async fn knock(client: &mut Client) -> Result<String> {
    let reply = client.command("MAIL FROM:<bo@partner.test>").await?;
    if !reply.starts_with("250") {
        return Ok(reply.trim().to_owned());
    }
    client.command("RSET").await?;
    let reply = client.transact("bo@partner.test", &["ana@agency.test"], "Subject: hello\r\n\r\nHello, agency.").await?;
    Ok(reply.trim().to_owned())
}
