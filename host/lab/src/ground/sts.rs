//! Cases about MTA-STS. The MX is good unless a case has it otherwise; records that change are not kept by resolvers.

use super::{At, Builder, address};
use crate::ca::Flaw;
use crate::dns::{Answer, Denial};
use crate::peer::{Behaviour, StartTls};
use crate::web::Web;
use anyhow::Result;
use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::{RData, RecordType};
use std::net::SocketAddr;

const PLAIN_TEXT: &str = "text/plain";

fn not_found() -> &'static str {
    "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
}

fn policy(mode: &str, host: &str) -> String {
    format!("version: STSv1\r\nmode: {mode}\r\nmx: {host}\r\nmax_age: 86400\r\n")
}

/// TXT that says a policy's id, and how long it may be kept.
fn announcement(id: u8) -> Answer {
    Answer::Records(vec![RData::TXT(TXT::new(vec![format!("v=STSv1; id={id};")]))])
}

pub(super) async fn build(world: &mut Builder<'_>) -> Result<()> {
    let id = world.id.clone();
    let what = id.strip_prefix("sts-").unwrap_or_default();
    let (starttls, flaw) = match what {
        "plain" => (StartTls::Absent, Flaw::None),
        "bad-certificate" => (StartTls::Works, Flaw::SelfSigned),
        _ => (StartTls::Works, Flaw::None),
    };
    let mx = if what == "wildcard-two-labels" { "mx.deep" } else { "mx" };
    world.host(mx, At::Mx, Behaviour { starttls, ..Behaviour::default() }, flaw).await?;
    world.mx(&[(10, mx)]);
    let (at, name) = (SocketAddr::new(address(world.next), world.ports.web), world.name("mta-sts"));
    let flaw = if what == "https-expired" { Flaw::Expired } else { Flaw::None };
    let web = Web::start_at(at, Some(&world.authority.issue_with(&[&name], flaw)?)).await?;
    world.dns.host(&name, at.ip());
    world.dns.set_for(&world.name("_mta-sts"), RecordType::TXT, 0, announcement(1));
    serve(world, &web, what)?;
    world.web = Some(web);
    match what {
        "host-gone" => turns(world, not_found().as_bytes().to_vec()),
        "id-changed" => turns(world, answer(&policy("enforce", &world.name("other")))),
        "id-changed-none" => turns(world, answer(&policy("none", &world.name("mx")))),
        "srv" => {
            world.secure("secmail").await?;
            world.srv(&[(10, 10, "secmail")]);
        }
        "dane" => {
            world.dns.sign(&world.domain, Denial::Nsec)?;
            world.tlsa("mx", At::Mx, &[(3, 1, 1, vec![7; 32])]);
        }
        _ => {}
    }
    Ok(())
}

fn answer(policy: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Type: {PLAIN_TEXT}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{policy}", policy.len()).into()
}

/// After the first message the record has another id, and the policy host answers this.
fn turns(world: &mut Builder<'_>, octets: Vec<u8>) {
    let owner = world.name("_mta-sts");
    world.turn = Some(Box::new(move |dns, web| {
        if let Some(web) = web {
            web.answer(octets.clone());
        }
        dns.set_for(&owner, RecordType::TXT, 0, announcement(2));
    }));
}

fn serve(world: &Builder<'_>, web: &Web, what: &str) -> Result<()> {
    let (right, other) = (world.name("mx"), world.name("other"));
    let text = |policy: &str| web.serve(PLAIN_TEXT, policy.as_bytes());
    match what {
        "enforce" | "plain" | "bad-certificate" | "host-gone" | "id-changed" | "srv" | "dane" => text(&policy("enforce", &right)),
        "wildcard" | "wildcard-two-labels" => text(&policy("enforce", &world.name("*"))),
        "other-name" | "https-expired" | "id-changed-none" => text(&policy("enforce", &other)),
        "testing" | "none" => text(&policy(what, &other)),
        "404" => web.answer(not_found()),
        "redirect" => web.answer("HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
        "65-kilobytes" => text(&format!("{}{}", policy("enforce", &other), "x: y\r\n".repeat(12_000))),
        "html" => web.serve("text/html", policy("enforce", &other).as_bytes()),
        "mode-unknown" => text(&policy("enforced", &other)),
        "two-records" => {
            text(&policy("enforce", &other));
            world.dns.txt(&world.name("_mta-sts"), &["v=STSv1; id=1;", "v=STSv1; id=2;"]);
        }
        _ => return world.nobody_plays(),
    }
    Ok(())
}
