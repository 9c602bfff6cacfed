//! Cases about STARTTLS, the handshake and SMTP.

use super::hosts::two_addresses;
use super::{At, Builder, SLOW};
use crate::ca::Flaw;
use crate::dns::Denial;
use crate::peer::{Behaviour, Manner, StartTls};
use anyhow::Result;

fn starttls(starttls: StartTls) -> Behaviour {
    Behaviour { starttls, ..Behaviour::default() }
}

fn offering(extensions: &[&'static str]) -> Behaviour {
    Behaviour { extensions: Some(extensions.to_vec()), ..Behaviour::default() }
}

pub(super) async fn build(world: &mut Builder<'_>) -> Result<()> {
    world.mx(&[(10, "mx")]);
    let behaviour = match world.id.as_str() {
        "tls-absent" => starttls(StartTls::Absent),
        "tls-crossed-out" => Behaviour { extensions: Some(vec!["XXXXXXXX", "8BITMIME"]), ..starttls(StartTls::Absent) },
        "tls-454" => starttls(StartTls::Refused("454 4.7.0 TLS is not to be had now\r\n".into())),
        "tls-501" => starttls(StartTls::Refused("501 5.5.4 no\r\n".into())),
        "tls-dropped" => starttls(StartTls::Closes),
        "tls-garbage" => starttls(StartTls::Answers(b"250 mx.lab.test\r\n".to_vec())),
        "tls-alert" => starttls(StartTls::Answers(vec![21, 3, 3, 0, 2, 2, 40])),
        "tls-warnings" => starttls(StartTls::Answers([21, 3, 3, 0, 2, 1, 90].repeat(10_000))),
        "tls-hang" => starttls(StartTls::Stalls),
        "tls-injection" => starttls(StartTls::Injects(b"250-mx.lab.test\r\n250 AUTH PLAIN\r\n".to_vec())),
        "tls-10" => starttls(StartTls::Answers(old_server_hello())),
        "tls-12" => Behaviour { manner: Manner::Only12, ..Behaviour::default() },
        "tls-client-certificate" => Behaviour { manner: Manner::AsksForCertificate, ..Behaviour::default() },
        "tls-client-certificate-demanded" => Behaviour { manner: Manner::DemandsCertificate, ..Behaviour::default() },
        "tls-no-close-notify" => Behaviour { abrupt: true, messages_max: Some(1), ..Behaviour::default() },
        "tls-slow" => Behaviour { pace: Some(SLOW), ..Behaviour::default() },
        "tls-second-mx" => {
            world.good("second").await?;
            world.mx(&[(10, "mx"), (20, "second")]);
            starttls(StartTls::Answers(vec![21, 3, 3, 0, 2, 2, 40]))
        }
        "smtp-8bitmime-missing" => offering(&["PIPELINING", "SMTPUTF8"]),
        "smtp-utf8-missing" => offering(&["PIPELINING", "8BITMIME"]),
        "smtp-requiretls-missing" => Behaviour::default(),
        "smtp-requiretls" => {
            world.dns.sign(&world.domain, Denial::Nsec)?;
            offering(&["PIPELINING", "8BITMIME", "REQUIRETLS"])
        }
        "tls-two-addresses" => {
            let name = world.name("mx");
            let (bad, good) = (world.authority.issue_with(&[&name], Flaw::Expired)?, world.authority.issue(&[&name])?);
            let first = world.listen("mx", At::Mx, Behaviour::default(), &bad).await?;
            let second = world.listen("mx", At::Mx, Behaviour::default(), &good).await?;
            two_addresses(world, "mx", [first, second]);
            return Ok(());
        }
        _ => return world.nobody_plays(),
    };
    world.host("mx", At::Mx, behaviour, Flaw::None).await.map(drop)
}

/// A ServerHello that chooses TLS 1.0 and TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA (RFC 5246, 7.4.1.3; RFC 4492).
fn old_server_hello() -> Vec<u8> {
    let hello = [&[3, 1][..], &[7; 32], &[0, 0xc0, 0x14, 0]].concat();
    let length = u8::try_from(hello.len()).unwrap_or_default();
    [&[22, 3, 1, 0, length + 4, 2, 0, 0, length], hello.as_slice()].concat()
}
