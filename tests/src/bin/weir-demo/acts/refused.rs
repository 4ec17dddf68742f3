//! What is not granted: 403 where the engine has a request to judge, `ECONNREFUSED` where the kernel decides alone. Both
//! say which rule was missing, the first in its body, the second in the agent's log.

use anyhow::Result;
use weir_tests::protocol::{Dial, Opened, Request};
use weir_tests::server::HTTP;

use crate::stage::{Stage, at_once, errno, to_store, to_warehouse};

pub fn play(stage: &mut Stage) -> Result<()> {
    stage
        .screen
        .act("What is not granted is refused, and says which rule was missing");
    let no_match = "TrafficTarget shop/buyer-reads-books allows no";
    request(stage, "buyer", "PUT", "/books", no_match)?;
    request(stage, "buyer", "GET", "/admin", no_match)?;
    // At a pod itself nothing needs the engine. This comes first: the log holds repeats back, whoever refuses them.
    let around = Dial::to(stage.shop.store_v1.v4(), HTTP);
    let opened = stage.thief.open(&around)?;
    connection(stage, "thief", &around, &opened)?;
    request(stage, "thief", "GET", "/books", "no TrafficTarget allows shop/thief")?;
    let opened = stage.buyer.open(&to_warehouse())?;
    connection(stage, "buyer", &to_warehouse(), &opened)
}

fn request(stage: &mut Stage, who: &str, method: &str, path: &str, missing: &str) -> Result<()> {
    let client = if who == "thief" {
        &mut stage.thief
    } else {
        &mut stage.buyer
    };
    let response = client.get(&to_store(), &Request::new(method, path))?;
    let outcome = format!("{} in {:.1} ms", response.status, response.ms);
    stage
        .screen
        .seen(who, &format!("{method} http://10.96.0.10{path}"), &outcome);
    stage.screen.detail(&format!("body: {}", response.body.trim()));
    let rule = if response.body.contains(missing) {
        ", names the rule"
    } else {
        ""
    };
    let what = format!("{who}: {method} {path}");
    stage
        .table
        .same(&what, "403, names the rule", &format!("{}{rule}", response.status));
    Ok(())
}

fn connection(stage: &mut Stage, who: &str, dial: &Dial, opened: &Opened) -> Result<()> {
    let (what, seen) = (format!("TCP {}", dial.to), errno(opened));
    stage.screen.seen(who, &what, &format!("{seen} in {:.1} ms", opened.ms));
    let missing = if opened.errno == 0 {
        "nothing: it is open".to_string()
    } else {
        stage.logged("kernel", &format!("shop/{who}"), dial.to.port())?
    };
    stage.screen.detail(&format!("log: {missing}"));
    let names_it = missing.starts_with(&format!("no TrafficTarget allows shop/{who} to reach"));
    let seen = [
        seen.as_str(),
        if at_once(opened) { " at once" } else { " late" },
        if names_it { ", rule logged" } else { "" },
    ];
    stage.table.same(
        &format!("{who}: {what}"),
        "ECONNREFUSED at once, rule logged",
        &seen.concat(),
    );
    Ok(())
}
