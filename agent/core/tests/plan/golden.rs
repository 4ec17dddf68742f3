//! Golden folders of the compiler: `tests/golden/RULE/objects.yaml` answers the questions of `expect.yaml`.
//!
//! One folder per rule of `docs/semantics.md`; a new rule is a new folder. In `expect.yaml`:
//!
//! - `connections`: `SOURCE -> POD:PORT` → what the kernel does (`deny`, `l7`, `allow`, `unjudged`), from its own tables.
//!   SOURCE is a pod, or an address that no pod has.
//! - `datagrams`: the same over UDP (`deny`, `allow`, `unjudged`).
//! - `requests`: `SOURCE -> POD:PORT METHOD PATH [-H NAME: VALUE]…` → what allowed it or what was missing.
//! - `services`: `[udp ]ADDRESS:PORT [METHOD PATH [-H …]]` → where it goes: by which split, to which backends with which shares.
//! - `slots`: `[udp ]ADDRESS:PORT` → what the kernel's alias table gives to each endpoint, in percent.
//! - `workloads`: POD → what it is one of.
//! - `policy`: all entries of the kernel's table. `findings`: all that is wrong with the objects, in full.
//!
//! `BLESS=1 cargo test -p weir-core --test golden` writes the answers anew; read the difference before it is committed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::world::World;
use serde::{Deserialize, Serialize};

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    #[serde(default = "node", skip_serializing_if = "is_node")]
    node: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    connections: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    datagrams: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    requests: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    services: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    slots: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    workloads: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    policy: Option<Vec<String>>,
    #[serde(default)]
    findings: Vec<String>,
}

fn node() -> String {
    "n1".to_owned()
}

fn is_node(name: &str) -> bool {
    name == node()
}

fn answers(world: &World, expect: &Expect) -> Expect {
    let ask = |questions: &BTreeMap<String, String>, answer: &dyn Fn(&str) -> String| {
        questions
            .keys()
            .map(|question| (question.clone(), answer(question)))
            .collect()
    };
    Expect {
        node: expect.node.clone(),
        connections: ask(&expect.connections, &|question| world.connection(question)),
        datagrams: ask(&expect.datagrams, &|question| world.datagram(question)),
        requests: ask(&expect.requests, &|question| world.request(question)),
        services: ask(&expect.services, &|question| world.service(question)),
        slots: ask(&expect.slots, &|question| world.slots(question)),
        workloads: ask(&expect.workloads, &|pod| world.workload(pod)),
        policy: expect.policy.as_ref().map(|_| world.policy()),
        findings: world.findings(),
    }
}

#[test]
fn every_rule_is_kept() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut cases: Vec<_> = fs::read_dir(&root)
        .expect("the folder is there")
        .map(|case| case.expect("readable").path())
        .collect();
    cases.sort();
    assert!(cases.len() > 30, "only {} cases were found", cases.len());
    let mut wrong = Vec::new();
    for case in cases {
        let read = |name: &str| fs::read_to_string(case.join(name)).unwrap_or_else(|e| panic!("{case:?} {name}: {e}"));
        let expect: Expect = serde_saphyr::from_str(&read("expect.yaml")).unwrap_or_else(|e| panic!("{case:?}: {e}"));
        let world = World::new(&read("objects.yaml"), &expect.node);
        let got = answers(&world, &expect);
        if std::env::var_os("BLESS").is_some() {
            let text = serde_saphyr::to_string(&got).expect("plain data");
            fs::write(case.join("expect.yaml"), text).expect("expect.yaml can be written");
        } else if got != expect {
            wrong.push(format!("{}\nexpected {expect:#?}\ngot {got:#?}", case.display()));
        }
    }
    assert!(wrong.is_empty(), "{} cases differ\n{}", wrong.len(), wrong.join("\n"));
}
