//! `--keep`: the shop stays open until Ctrl-C.

use anyhow::Result;

use crate::stage::Stage;
use crate::stop;

/// Waits for a signal.
pub fn until_told(stage: &mut Stage) -> Result<()> {
    stage.screen.line("The shop is open. Ctrl-C closes it.");
    while stop::signal().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    Ok(())
}
