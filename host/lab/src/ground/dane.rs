//! Cases about TLSA records and DNSSEC. The domain is signed; unless a case has it otherwise nobody trusts the authority of its host.

use super::{At, Builder, sha256};
use crate::ca::{Authority, Flaw, Identity};
use crate::dns::{Answer, Denial, Fault, Forgery};
use crate::peer::{Behaviour, StartTls};
use anyhow::Result;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::TLSA;
use hickory_proto::rr::{RData, RecordType};

pub(super) async fn build(world: &mut Builder<'_>) -> Result<()> {
    world.mx(&[(10, "mx")]);
    let id = world.id.clone();
    match id.split_once('-') {
        Some(("dnssec", what)) => dnssec(world, what).await,
        Some(("dane", what @ ("none" | "insecure" | "servfail" | "bogus"))) => trusted(world, what).await,
        Some(("dane", what @ ("alias" | "srv" | "srv-mismatch" | "second-mx"))) => elsewhere(world, what).await,
        Some(("dane", what)) => records(world, what).await,
        _ => world.nobody_plays(),
    }
}

/// The host's certificate is good, and what matters is what DNS says.
async fn trusted(world: &mut Builder<'_>, what: &str) -> Result<()> {
    let identity = world.good("mx").await?;
    let right = (3, 1, 1, sha256(&identity.public_key()));
    let owner = world.tlsa_owner("mx", At::Mx);
    match what {
        "insecure" => world.tlsa("mx", At::Mx, &[wrong()]),
        "servfail" => world.dns.set(&owner, RecordType::TLSA, Answer::Failure(ResponseCode::ServFail)),
        "bogus" => {
            world.tlsa("mx", At::Mx, &[right]);
            without_signatures(world, &owner, RecordType::TLSA);
        }
        _ => {}
    }
    Ok(())
}

fn wrong() -> (u8, u8, u8, Vec<u8>) {
    (3, 1, 1, vec![7; 32])
}

fn without_signatures(world: &Builder<'_>, owner: &str, kind: RecordType) {
    world.dns.twist(owner, kind, |reply| reply.answers.retain(|record| record.record_type() != RecordType::RRSIG));
}

async fn records(world: &mut Builder<'_>, what: &str) -> Result<()> {
    let own = Authority::new("an authority that nobody trusts")?;
    let name = world.name("mx");
    let identity = match what {
        "root-wrong-name" => own.issue_with_root(&["other.test"])?,
        "expired" => own.issue_with(&["other.test"], Flaw::Expired)?,
        _ => own.issue_with_root(&[&name])?,
    };
    let starttls = if matches!(what, "plain" | "unusable-plain") { StartTls::Absent } else { StartTls::Works };
    world.host_with("mx", At::Mx, Behaviour { starttls, ..Behaviour::default() }, &identity).await?;
    let (key, root) = (identity.public_key(), own.root().to_vec());
    let right = (3, 1, 1, sha256(&key));
    let records = match what {
        "match" | "expired" | "plain" => vec![right],
        "mismatch" => vec![wrong()],
        "one-of-two" => vec![wrong(), right],
        "full-key" => vec![(3, 1, 0, key)],
        "certificate" => vec![(3, 0, 1, identity.chain().first().map(|leaf| sha256(leaf)).unwrap_or_default())],
        "root" | "root-wrong-name" => vec![(2, 0, 1, sha256(&root))],
        "root-key" => vec![(2, 1, 1, sha256(&own.public_key()))],
        "usage-0-1" => vec![(0, 0, 1, sha256(&root)), (1, 1, 1, sha256(&key))],
        "unusable-plain" => vec![(0, 0, 1, sha256(&root))],
        "usage-10" => vec![(10, 1, 1, sha256(&key))],
        "malformed" => vec![(3, 1, 1, sha256(&key).into_iter().take(16).collect())],
        _ => return world.nobody_plays(),
    };
    world.tlsa("mx", At::Mx, &records);
    Ok(())
}

/// TLSA of other hosts than a single MX.
async fn elsewhere(world: &mut Builder<'_>, what: &str) -> Result<()> {
    let own = Authority::new("an authority that nobody trusts")?;
    let untrusted = |name: &str| -> Result<Identity> { own.issue(&[name]) };
    let secure_only = Behaviour { requires_tls: true, ..Behaviour::default() };
    match what {
        "alias" => {
            let identity = untrusted(&world.name("real"))?;
            world.host_with("real", At::Mx, Behaviour::default(), &identity).await?;
            world.dns.alias(&world.name("mx"), &world.name("real"));
            world.tlsa("real", At::Mx, &[(3, 1, 1, sha256(&identity.public_key()))]);
        }
        "srv" => {
            world.good("mx").await?;
            let name = world.name("secmail");
            let identity = untrusted(&name)?;
            world.host_with("secmail", At::Srv, secure_only, &identity).await?;
            world.srv(&[(10, 10, "secmail")]);
            world.tlsa("secmail", At::Srv, &[(3, 1, 1, sha256(&identity.public_key()))]);
            world.dns.tlsa(&name, 25, &[wrong()]);
        }
        "srv-mismatch" => {
            world.good("mx").await?;
            world.secure("secmail").await?;
            world.srv(&[(10, 10, "secmail")]);
            world.tlsa("secmail", At::Srv, &[wrong()]);
        }
        _ => {
            world.good("mx").await?;
            world.good("second").await?;
            world.mx(&[(10, "mx"), (20, "second")]);
            world.tlsa("mx", At::Mx, &[wrong()]);
        }
    }
    Ok(())
}

/// A TLSA record that can be used for nothing.
fn no_use() -> RData {
    RData::TLSA(TLSA::new(0.into(), 0.into(), 1.into(), vec![7; 32]))
}

async fn dnssec(world: &mut Builder<'_>, what: &str) -> Result<()> {
    let identity = world.good("mx").await?;
    let fault = match what {
        "flipped" => Fault::Flipped,
        "expired" => Fault::Expired,
        "not-yet-valid" => Fault::NotYetValid,
        "stripped" => Fault::Stripped,
        "unknown-algorithm" => Fault::UnknownAlgorithm,
        "keytrap" => Fault::KeyTrap,
        "nsec3" => {
            world.tlsa("mx", At::Mx, &[(3, 1, 1, sha256(&identity.public_key()))]);
            return world.dns.sign(&world.domain, Denial::Nsec3(0));
        }
        "forged-nsec" => {
            world.tlsa("mx", At::Mx, &[wrong()]);
            return world.dns.forge(&world.tlsa_owner("mx", At::Mx), RecordType::TLSA, Forgery::NsecBeside);
        }
        "forged-wildcard" => {
            let owner = world.tlsa_owner("mx", At::Mx);
            world.dns.txt(&owner, &["there is no TLSA here"]);
            world.dns.set(&format!("*._tcp.{}", world.name("mx")), RecordType::TLSA, Answer::Records(vec![no_use()]));
            return world.dns.forge(&owner, RecordType::TLSA, Forgery::Wildcard);
        }
        "bogus-srv" => {
            world.secure("secmail").await?;
            world.srv(&[(10, 10, "secmail")]);
            without_signatures(world, &world.srv_owner(), RecordType::SRV);
            return Ok(());
        }
        _ => return world.nobody_plays(),
    };
    world.dns.spoil(&world.domain, fault);
    Ok(())
}
