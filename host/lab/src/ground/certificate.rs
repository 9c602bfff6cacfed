//! Cases about certificates: one MX with STARTTLS.

use super::{At, Builder};
use crate::ca::Flaw;
use crate::peer::Behaviour;
use anyhow::Result;

pub(super) async fn build(world: &mut Builder<'_>) -> Result<()> {
    world.mx(&[(10, "mx")]);
    let name = world.id.strip_prefix("cert-").unwrap_or_default().to_owned();
    match (name.as_str(), Flaw::named(&name)) {
        ("domain", _) => {
            let identity = world.authority.issue(&[&world.domain])?;
            world.host_with("mx", At::Mx, Behaviour::default(), &identity).await
        }
        ("revoked", _) => {
            let identity = world.good("mx").await?;
            world.revoked.push(identity);
            Ok(())
        }
        // Below the mail domain, which the wildcard would fit otherwise.
        ("wildcard-too-high", Some(flaw)) => {
            world.mx(&[(10, "mx.deep")]);
            world.host("mx.deep", At::Mx, Behaviour::default(), flaw).await.map(drop)
        }
        (_, Some(flaw)) => world.host("mx", At::Mx, Behaviour::default(), flaw).await.map(drop),
        _ => world.nobody_plays(),
    }
}
