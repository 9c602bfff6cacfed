//! Cases about SRV and MX records.

use super::{At, Builder, address};
use crate::ca::Flaw;
use crate::dns::{Answer, Denial};
use crate::peer::{Behaviour, Peer, StartTls};
use anyhow::Result;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{RData, RecordType};
use std::net::SocketAddr;

fn without_tls() -> Behaviour {
    Behaviour { starttls: StartTls::Absent, ..Behaviour::default() }
}

pub(super) async fn build(world: &mut Builder<'_>) -> Result<()> {
    let id = world.id.clone();
    match id.split_once('-') {
        Some(("srv", what @ ("good" | "plain" | "expired-mx-plain" | "dead-mx-plain" | "dead-mx-good" | "attacker"))) => {
            beside_an_mx(world, what).await
        }
        Some(("srv", what)) => srv(world, what).await,
        Some(("mx", what)) => mx(world, what).await,
        _ => world.nobody_plays(),
    }
}

/// SRV, and an MX that is not always a way.
async fn beside_an_mx(world: &mut Builder<'_>, what: &str) -> Result<()> {
    world.srv(&[(10, 10, "secmail")]);
    match what {
        "good" => drop(world.secure("secmail").await?),
        "plain" => drop(world.host("secmail", At::Srv, without_tls(), Flaw::None).await?),
        "expired-mx-plain" => drop(world.host("secmail", At::Srv, Behaviour::default(), Flaw::Expired).await?),
        "attacker" => {
            // A stranger's host, with a good certificate for the stranger's name.
            let name = format!("mx.stranger-{}", world.domain);
            let (at, identity) = (address(world.next), world.authority.issue(&[&name])?);
            world.dns.delegate(&format!("stranger-{}", world.domain));
            world.dns.host(&name, at);
            let peer = Peer::start_at(SocketAddr::new(at, world.ports.srv), Behaviour::default(), &identity).await?;
            world.hosts.push(("stranger".into(), peer));
            world.dns.secmx(&world.domain, &[(10, 10, world.ports.srv, &name)]);
        }
        _ => world.nobody("secmail"),
    }
    match what {
        "good" | "expired-mx-plain" | "dead-mx-plain" => {
            world.mx(&[(10, "mx")]);
            world.host("mx", At::Mx, without_tls(), Flaw::None).await.map(drop)
        }
        "dead-mx-good" => {
            world.mx(&[(10, "mx")]);
            world.good("mx").await.map(drop)
        }
        _ => Ok(()),
    }
}

/// SRV in all its forms; the MX is good.
async fn srv(world: &mut Builder<'_>, what: &str) -> Result<()> {
    world.good("mx").await?;
    world.mx(&[(10, "mx")]);
    let (owner, secmail) = (world.srv_owner(), world.name("secmail"));
    match what {
        "denied" => world.dns.secmx(&world.domain, &[(0, 0, 0, ".")]),
        "alias" => {
            let identity = world.authority.issue(&[&secmail])?;
            world.host_with("secmail", At::Srv, Behaviour { requires_tls: true, ..Behaviour::default() }, &identity).await?;
            world.dns.rename(&secmail, &world.name("real"));
            world.srv(&[(10, 10, "secmail")]);
        }
        "no-address" => world.srv(&[(10, 10, "secmail")]),
        "port-22" => {
            world.secure("secmail").await?;
            world.dns.secmx(&world.domain, &[(10, 10, 22, &secmail)]);
        }
        "priority" => {
            world.secure("first").await?;
            world.secure("secmail").await?;
            world.srv(&[(20, 10, "secmail"), (10, 10, "first")]);
        }
        "weights-zero" => {
            world.secure("secmail").await?;
            world.srv(&[(10, 0, "secmail"), (10, 0, "secmail"), (20, 7, "secmail")]);
        }
        "twenty" => twenty(world).await?,
        "tcp" => {
            world.secure("secmail").await?;
            world.srv(&[(10, 10, "secmail")]);
            world.dns.truncate(&owner, RecordType::SRV);
        }
        "servfail" => world.dns.set(&owner, RecordType::SRV, Answer::Failure(ResponseCode::ServFail)),
        "silent" => world.dns.set(&owner, RecordType::SRV, Answer::Silence),
        "garbage" => world.dns.set(&owner, RecordType::SRV, Answer::Garbage(vec![0, 1, 0, 1, 0xff, 0xff, 0xff])),
        "us" => world.dns.secmx(&world.domain, &[(10, 10, world.ports.srv, world.own)]),
        "insecure-mx-secure" => {
            world.dns.sign(&world.domain, Denial::Nsec)?;
            world.dns.delegate(&format!("_tcp.{}", world.domain));
            world.secure("secmail").await?;
            world.srv(&[(10, 10, "secmail")]);
        }
        _ => return world.nobody_plays(),
    }
    Ok(())
}

async fn twenty(world: &mut Builder<'_>) -> Result<()> {
    let names: Vec<String> = (1..=20).map(|n| format!("s{n}")).collect();
    for name in &names {
        if name == "s3" { drop(world.secure(name).await?) } else { world.nobody(name) }
    }
    let records: Vec<(u16, u16, &str)> = (1..).zip(&names).map(|(priority, name)| (priority, 10, name.as_str())).collect();
    world.srv(&records);
    Ok(())
}

async fn mx(world: &mut Builder<'_>, what: &str) -> Result<()> {
    match what {
        "null" => world.dns.mx(&world.domain, &[(0, ".")]),
        "none" => {}
        "none-address" => {
            let identity = world.authority.issue(&[&world.domain])?;
            world.host_with("", At::Mx, Behaviour::default(), &identity).await?;
        }
        "servfail" => world.dns.set(&world.domain, RecordType::MX, Answer::Failure(ResponseCode::ServFail)),
        "alias" => {
            world.good("mx").await?;
            world.dns.rename(&world.name("mx"), &world.name("real"));
            world.mx(&[(10, "mx")]);
        }
        "plain-first" => {
            world.host("mx", At::Mx, without_tls(), Flaw::None).await?;
            world.good("second").await?;
            world.mx(&[(10, "mx"), (20, "second")]);
        }
        "dead" => {
            world.nobody("mx");
            world.mx(&[(10, "mx")]);
        }
        "dead-first" => {
            world.nobody("mx");
            world.good("second").await?;
            world.mx(&[(10, "mx"), (20, "second")]);
        }
        "busy" => {
            let behaviour = Behaviour { turns_away: Some("421 4.3.2 come back later\r\n".into()), ..Behaviour::default() };
            world.host("mx", At::Mx, behaviour, Flaw::None).await?;
            world.mx(&[(10, "mx")]);
        }
        "us" => {
            world.good("mx").await?;
            world.good("last").await?;
            let (first, last) = (world.name("mx"), world.name("last"));
            world.dns.mx(&world.domain, &[(10, &first), (20, world.own), (30, &last)]);
        }
        _ => return world.nobody_plays(),
    }
    Ok(())
}

/// Records of a host with two addresses.
pub(super) fn two_addresses(world: &Builder<'_>, host: &str, addresses: [std::net::IpAddr; 2]) {
    let data = addresses.into_iter().filter_map(|address| match address {
        std::net::IpAddr::V4(address) => Some(RData::A(address.into())),
        std::net::IpAddr::V6(_) => None,
    });
    world.dns.set(&world.name(host), RecordType::A, Answer::Records(data.collect()));
}
