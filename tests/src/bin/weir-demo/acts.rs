//! The acts, in the order in which they are played. Each leaves the manifests as it found them.

use anyhow::Result;

use crate::stage::Stage;
use weir_tests::stop;

mod addresses;
mod allowed;
mod killed;
mod refused;
mod revoked;
mod split;

type Act = fn(&mut Stage) -> Result<()>;

const ALL: &[Act] = &[
    allowed::play,
    refused::play,
    addresses::play,
    split::play,
    revoked::play,
    killed::play,
];

/// Plays all. An error is one of the playground; what the agent does wrong is in the table.
pub fn play(stage: &mut Stage) -> Result<()> {
    for act in ALL {
        stop::check()?;
        act(stage)?;
    }
    Ok(())
}
