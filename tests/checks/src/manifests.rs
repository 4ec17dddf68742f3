//! A folder's text: reader, converters, index and compiler.

use std::sync::OnceLock;

use weir_core::compile::compile;
use weir_core::convert::{Converted, convert_all};
use weir_core::index::{Change, Index};
use weir_core::model::{Key, Kind, Object};
use weir_core::plan::{Plan, Settings};

// The reader itself, without the agent around it: it is one file and needs nothing of the rest.
#[allow(dead_code, missing_docs, clippy::all)]
#[path = "../../../agent/src/cluster/manifests/document.rs"]
mod document;

/// Pods and a Service without any grant.
const SHOP: &str = include_str!("shop.yaml");

/// Nothing panics, no object that was rejected leaves a trace, and without a TrafficTarget nothing is granted.
///
/// # Panics
/// It is not so.
pub fn manifests(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut index = shop();
    let (mut targets, mut applied) = (0, Vec::new());
    for document in document::read(text).into_iter().flatten() {
        for converted in convert_all(&document.value) {
            match converted {
                Ok(Converted::Object { object, .. }) => {
                    targets += usize::from(object.object_ref().kind == Kind::TrafficTarget);
                    applied.push(object.object_ref());
                    index.apply(Change::Upsert(*object));
                }
                Ok(Converted::Ignored { .. }) => {}
                // Its error can be told, whatever it is.
                Err(error) => assert!(!error.to_string().is_empty()),
            }
        }
    }
    let plan = plan(&index);
    if targets == 0 {
        assert!(
            plan.snapshot.access.is_empty(),
            "granted without a TrafficTarget: {text}"
        );
    }
    for object in applied {
        index.apply(Change::Remove(object));
    }
    for object in objects(SHOP) {
        index.apply(Change::Upsert(object));
    }
    assert!(
        plan_of_shop() == self::plan(&index),
        "objects that went leave something behind: {text}"
    );
}

fn plan(index: &Index) -> Plan {
    let settings = Settings {
        node: "here".to_owned(),
        outbound_port: 15001,
        inbound_port: 15006,
        errno: 111,
        node_addresses: Default::default(),
    };
    compile(index, &settings, 1)
}

fn plan_of_shop() -> Plan {
    plan(&shop())
}

fn shop() -> Index {
    static SHOP_INDEX: OnceLock<Index> = OnceLock::new();
    let fill = || {
        let mut index = Index::new();
        for object in objects(SHOP) {
            index.apply(Change::Upsert(object));
        }
        for (name, cookie) in [("buyer", 1), ("store-1", 2)] {
            let pod = Key::new("shop", name);
            index.apply(Change::Attach { pod, cookie });
        }
        index
    };
    SHOP_INDEX.get_or_init(fill).clone()
}

fn objects(text: &str) -> Vec<Object> {
    let mut objects = Vec::new();
    for document in document::read(text) {
        for converted in convert_all(&document.expect("our own manifests are YAML").value) {
            if let Ok(Converted::Object { object, .. }) = converted {
                objects.push(*object);
            }
        }
    }
    assert!(objects.len() > 3, "our own manifests convert");
    objects
}
