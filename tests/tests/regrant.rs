//! A grant that goes and comes back before everything that its going started has ended.

use std::time::Duration;
use std::{fs, thread};

use anyhow::{Context, Result, ensure};
use weir_tests::protocol::Command;
use weir_tests::server::WHOAMI;
use weir_tests::tier::Tier;
use weir_tests::{eventually, wait};

/// Longer than the agent looks for connections that a grant leaves behind.
const SWEPT: Duration = Duration::from_millis(150);

#[test]
fn a_connection_made_after_its_grant_came_back_is_not_ended() -> Result<()> {
    let tier = Tier::kernel()?;
    let _agent = tier.mesh.agent()?;
    let (mut buyer, dial) = (tier.mesh.session(&tier.buyer)?, tier.dial(WHOAMI));
    let manifests = &tier.mesh.manifests;
    let grant = fs::read_to_string(manifests.path("tcp-buyer"))?;
    // Each round is a race of some milliseconds: one would not always show the fault.
    for round in 1..=10 {
        manifests.remove("tcp-buyer")?;
        eventually("the buyer is refused", || Ok(buyer.open(&dial)?.errno != 0))?;
        manifests.write("tcp-buyer", &grant)?;
        let conn = wait::until(Duration::from_secs(5), || {
            buyer.open(&dial)?.conn.context("still refused")
        })?;
        buyer.text(&Command::ReadLine(conn)).context("the server's hello")?;
        thread::sleep(SWEPT);
        let text = "still here\n".to_string();
        let sent = buyer.stream(&Command::Send {
            conn,
            text: text.clone(),
        })?;
        ensure!(sent.errno == 0, "round {round}: errno {} when sending", sent.errno);
        let echo = buyer
            .text(&Command::ReadLine(conn))
            .with_context(|| format!("round {round}: the connection was ended"))?;
        ensure!(echo == text, "round {round}: {echo:?}");
    }
    Ok(())
}
