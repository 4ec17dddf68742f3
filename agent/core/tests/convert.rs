//! Golden folders of the converters: `tests/convert/CASE/in.yaml` becomes `out.json`.
//!
//! A new rule is a new folder. `BLESS=1 cargo test -p weir-core --test convert` writes `out.json` anew; read the
//! difference before it is committed.

use std::fs;
use std::path::Path;

use serde_json::Value;
use weir_core::convert::convert_all;

fn converted(case: &Path) -> Value {
    let text = fs::read_to_string(case.join("in.yaml")).expect("in.yaml is there");
    // As the agent reads files: `on` and `off` are text.
    let options = serde_saphyr::options! { strict_booleans: true };
    let documents: Vec<Value> = serde_saphyr::from_multiple_with_options(&text, options).expect("in.yaml is YAML");
    let outcome = |result| match result {
        Ok(converted) => serde_json::to_value(converted).expect("plain data"),
        Err(error) => serde_json::json!({ "rejected": error }),
    };
    documents.iter().flat_map(convert_all).map(outcome).collect()
}

#[test]
fn every_case_converts_as_its_folder_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/convert");
    let mut cases: Vec<_> = fs::read_dir(&root)
        .expect("the folder is there")
        .map(|case| case.expect("readable").path())
        .collect();
    cases.sort();
    assert!(cases.len() > 30, "only {} cases were found", cases.len());
    let mut wrong = Vec::new();
    for case in cases {
        let got = format!("{:#}\n", converted(&case));
        let golden = case.join("out.json");
        if std::env::var_os("BLESS").is_some() {
            fs::write(&golden, &got).expect("out.json can be written");
        } else if fs::read_to_string(&golden).unwrap_or_default() != got {
            wrong.push(format!("{}:\n{got}", case.display()));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} cases differ from their out.json\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
