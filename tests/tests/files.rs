//! The folder of manifests: changes in force in time, files that go, files that are broken; and what the agent says.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use weir_tests::protocol::{Dial, Request};
use weir_tests::server::{HTTP, SINK, WHOAMI};
use weir_tests::shop::STORE4;
use weir_tests::{Agent, Shop, eventually, shop, wait};

/// What the agent promises for a change to be in force.
const PROMISE: Duration = Duration::from_millis(250);
/// What fails the test: machines that run tests are busy.
const LIMIT: Duration = Duration::from_millis(1000);

#[test]
fn changes_are_in_force_in_time() -> Result<()> {
    let shop = Shop::open()?;
    let _agent = shop.mesh.agent()?;
    let mut thief = shop.mesh.session(&shop.thief)?;
    let dial = Dial::to(STORE4, WHOAMI);
    let mut times = Vec::new();
    for _ in 0..10 {
        shop.mesh.grant_tcp("thief", "store", &[WHOAMI])?;
        times.push(eventually("granted", || Ok(thief.open(&dial)?.errno == 0))?);
        shop.mesh.manifests.remove("tcp-thief")?;
        times.push(eventually("taken away", || Ok(thief.open(&dial)?.errno != 0))?);
    }
    times.sort();
    let (middle, slowest) = (times[times.len() / 2], times[times.len() - 1]);
    println!(
        "in force after {} ms (median of {}), {} at most",
        middle.as_millis(),
        times.len(),
        slowest.as_millis()
    );
    assert!(middle <= PROMISE && slowest <= LIMIT, "{times:?}");
    Ok(())
}

#[test]
fn a_broken_file_keeps_its_last_good_objects_and_is_named() -> Result<()> {
    let shop = Shop::open()?;
    let agent = shop.mesh.agent()?;
    let (mut buyer, mut thief) = (shop.mesh.session(&shop.buyer)?, shop.mesh.session(&shop.thief)?);
    let path = shop.mesh.manifests.path("http-buyer");
    let good = fs::read_to_string(&path)?;
    // In place, without a rename, as a careless editor would: cut in the middle of a value, and not YAML at all.
    for broken in [
        format!("{}\n    \"", &good[..good.len() / 2]),
        "spec: [\n  a: }\n".to_string(),
    ] {
        fs::write(&path, &broken)?;
        let problem = problem_about(&agent, "http-buyer.yaml")?;
        assert!(problem.contains("line"), "file, document and line: {problem}");
        agent.wait_log(&["http-buyer.yaml"])?;
        assert_eq!(
            buyer.get(&Dial::to(STORE4, HTTP), &Request::get("/books"))?.status,
            200,
            "last good objects"
        );
        thief.open(&Dial::to(STORE4, HTTP))?.refused()?;
        // Another file's change is not held up.
        shop.mesh.grant_tcp("thief", "store", &[SINK])?;
        eventually("the other file is read", || {
            Ok(thief.open(&Dial::to(STORE4, SINK))?.errno == 0)
        })?;
        shop.mesh.manifests.remove("tcp-thief")?;
        eventually(
            "and its removal",
            || Ok(thief.open(&Dial::to(STORE4, SINK))?.errno != 0),
        )?;
    }
    fs::write(&path, &good)?;
    eventually("the problem is gone", || {
        Ok(!agent.plan()?["files"].to_string().contains("http-buyer.yaml"))
    })?;
    Ok(())
}

#[test]
fn a_removed_file_takes_its_objects_with_it() -> Result<()> {
    let shop = Shop::open()?;
    let agent = shop.mesh.agent()?;
    let mut buyer = shop.mesh.session(&shop.buyer)?;
    shop.mesh.manifests.remove("http-buyer")?;
    eventually(
        "HTTP is refused",
        || Ok(buyer.open(&Dial::to(STORE4, HTTP))?.errno != 0),
    )?;
    buyer
        .must_open(&Dial::to(STORE4, WHOAMI))
        .context("the other file's grant stays")?;
    shop.mesh.manifests.remove("service-store")?;
    eventually("/plan has no service", || {
        Ok(agent.plan()?["services"].as_array().is_some_and(Vec::is_empty))
    })?;
    buyer
        .must_open(&Dial::to(shop.store.v4(), WHOAMI))
        .context("the pod stays")?;
    Ok(())
}

#[test]
fn an_object_that_occurs_twice_is_an_error_that_names_both_files() -> Result<()> {
    let shop = Shop::open()?;
    let agent = shop.mesh.agent()?;
    let text = fs::read_to_string(shop.mesh.manifests.path("tcp-buyer"))?;
    shop.mesh.manifests.write("zz-copy", &text)?;
    let problem = problem_about(&agent, "zz-copy.yaml")?;
    assert!(problem.contains("tcp-buyer.yaml"), "{problem}");
    Ok(())
}

#[test]
fn folders_json_and_several_documents_are_read_and_other_kinds_are_ignored() -> Result<()> {
    let shop = Shop::open()?;
    shop.mesh.grant_tcp("thief", "store", &[WHOAMI])?;
    let path = shop.mesh.manifests.path("tcp-thief");
    let yaml = fs::read_to_string(&path)?;
    fs::remove_file(&path)?;
    let agent = shop.mesh.agent()?;
    let mut thief = shop.mesh.session(&shop.thief)?;
    let dial = Dial::to(STORE4, WHOAMI);
    thief.open(&dial)?.refused()?;

    let deep = shop.mesh.dir().join("more/deeper");
    fs::create_dir_all(&deep)?;
    let config = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: c\n---\n";
    fs::write(deep.join("thief.yml"), format!("{config}{yaml}"))?;
    eventually("granted from a folder", || Ok(thief.open(&dial)?.errno == 0))?;
    assert!(
        !agent.plan()?.to_string().contains("ConfigMap"),
        "other kinds are no finding"
    );
    fs::remove_dir_all(shop.mesh.dir().join("more"))?;
    eventually("and gone with it", || Ok(thief.open(&dial)?.errno != 0))?;

    let json = r#"{"apiVersion": "v1", "kind": "List", "items": []}"#;
    fs::write(shop.mesh.dir().join("list.json"), json)?;
    let target = r#"{"apiVersion": "access.smi-spec.io/v1alpha3", "kind": "TrafficTarget",
        "metadata": {"name": "j", "namespace": "shop"}, "spec": {
        "destination": {"kind": "ServiceAccount", "name": "store"},
        "sources": [{"kind": "ServiceAccount", "name": "thief"}], "rules": [{"kind": "TCPRoute", "name": "ports-for-buyer"}]}}"#;
    fs::write(shop.mesh.dir().join("target.json"), target)?;
    eventually("granted by JSON", || Ok(thief.open(&dial)?.errno == 0))?;
    Ok(())
}

#[test]
fn a_bad_object_costs_itself_only_and_is_shown() -> Result<()> {
    let shop = Shop::open()?;
    let bad = "apiVersion: access.smi-spec.io/v1alpha3\nkind: TrafficTarget\nmetadata:\n  name: bad\n  namespace: shop\n\
               spec:\n  destination: 7\n";
    let missing = weir_tests::smi::target("dangling", "store", &["thief"], &[("TCPRoute", "no-such-route", &[])]);
    shop.mesh.manifests.write("bad", bad)?;
    shop.mesh.manifests.write("dangling", &missing)?;
    let agent = shop.mesh.agent()?;
    let plan = agent.plan()?.to_string();
    assert!(plan.contains("bad") && plan.contains("no-such-route"), "{plan}");
    let (mut buyer, mut thief) = (shop.mesh.session(&shop.buyer)?, shop.mesh.session(&shop.thief)?);
    assert_eq!(buyer.get(&Dial::to(STORE4, HTTP), &Request::get("/books"))?.status, 200);
    thief
        .open(&Dial::to(STORE4, WHOAMI))?
        .refused()
        .context("a rule that is missing matches nothing")
}

#[test]
fn a_refusal_is_logged_with_everything_that_is_known() -> Result<()> {
    let shop = Shop::open()?;
    let agent = shop.mesh.agent_with(&["--log-format", "json"])?;
    let (mut buyer, mut thief) = (shop.mesh.session(&shop.buyer)?, shop.mesh.session(&shop.thief)?);
    thief.open(&Dial::to(shop.store.v4(), WHOAMI))?.refused()?;
    let line = refusal(&agent, "kernel")?;
    for (field, value) in [
        ("source_pod", "shop/thief"),
        ("source_identity", "shop/thief"),
        ("destination_pod", "shop/store"),
        ("destination_identity", "shop/store"),
        ("source", &shop.thief.ip4.to_string()),
        ("destination", &shop.store.ip4.to_string()),
    ] {
        assert_eq!(line[field], value, "{line}");
    }
    assert_eq!(
        (&line["port"], &line["count"]),
        (&Value::from(WHOAMI), &Value::from(1)),
        "{line}"
    );
    assert!(
        line["missing"]
            .as_str()
            .is_some_and(|text| text.contains("TrafficTarget")),
        "{line}"
    );

    assert_eq!(
        buyer
            .get(&Dial::to(STORE4, HTTP), &Request::new("DELETE", "/books/1?x=y"))?
            .status,
        403
    );
    let line = refusal(&agent, "engine")?;
    for (field, value) in [
        ("source_pod", "shop/buyer"),
        ("destination_pod", "shop/store"),
        ("method", "DELETE"),
    ] {
        assert_eq!(line[field], value, "{line}");
    }
    assert!(
        line["path"].as_str().is_some_and(|path| path.starts_with("/books/1")),
        "{line}"
    );
    assert_eq!(line["port"], HTTP, "{line}");
    assert!(!line["missing"].as_str().unwrap_or_default().is_empty(), "{line}");
    Ok(())
}

#[test]
fn the_admin_address_answers_what_it_promises() -> Result<()> {
    let shop = Shop::open()?;
    let agent = shop.mesh.agent()?;
    assert_eq!(agent.admin("/livez")?.0, 200);
    assert_eq!(agent.admin("/readyz")?.0, 200);
    assert_eq!(agent.admin("/nothing")?.0, 404);
    let plan = agent.plan()?;
    assert!(plan["generation"].as_u64() >= Some(1));
    for field in ["identities", "services", "tables", "rejected"] {
        assert!(!plan[field].is_null(), "{field} in {plan}");
    }
    let (_, text) = agent.admin("/metrics")?;
    assert!(text.trim_end().ends_with("# EOF"), "OpenMetrics ends with # EOF");
    shop::grant_buyer(&shop.mesh)?;
    Ok(())
}

/// Waits until `/plan` has something to say about a file, and gives it.
fn problem_about(agent: &Agent, file: &str) -> Result<String> {
    wait::until(Duration::from_secs(5), || {
        let files = agent.plan()?["files"].to_string();
        if !files.contains(file) {
            anyhow::bail!("nothing about {file} in {files}");
        }
        Ok(files)
    })
}

/// The first refusal in the log by kernel or engine.
fn refusal(agent: &Agent, by: &str) -> Result<Value> {
    wait::until(Duration::from_secs(5), || {
        let log = agent.log();
        let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let found = lines.find(|line| line["message"] == "refused" && line["by"] == by);
        found.with_context(|| format!("no refusal by the {by} in the log:\n{log}"))
    })
}
