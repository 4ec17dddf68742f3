//! Golden folders of `weir lint`: `tests/lint/CASE/*.yaml` print as `out.txt`.
//!
//! `BLESS=1 cargo test -p weir-agent --test lint` writes `out.txt` anew; read the difference before it is committed.

use std::fs;
use std::path::{Path, PathBuf};

use weir_agent::cli::lint::{Report, check};

fn lint(case: &str) -> Report {
    // Relative, so that the paths in the output are the same everywhere: tests run in the package's folder.
    check(&[Path::new("tests/lint").join(case)]).expect("the folder can be read")
}

fn cases() -> Vec<String> {
    let entries = fs::read_dir("tests/lint").expect("the folder is there");
    let mut cases: Vec<_> = entries
        .map(|it| it.expect("readable").file_name().into_string().expect("text"))
        .collect();
    cases.sort();
    cases
}

#[test]
fn every_case_prints_as_its_folder_says() {
    assert!(cases().len() >= 5, "{:?}", cases());
    for case in cases() {
        let golden = Path::new("tests/lint").join(&case).join("out.txt");
        let got = lint(&case).to_string();
        if std::env::var_os("BLESS").is_some() {
            fs::write(&golden, &got).expect("out.txt can be written");
        }
        assert_eq!(fs::read_to_string(&golden).unwrap_or_default(), got, "{case}");
    }
}

#[test]
fn json_holds_what_the_text_says() {
    let report = lint("wrong-parts");
    let json = serde_json::to_value(&report).expect("plain data");
    let entries = json["entries"].as_array().expect("a list");
    assert_eq!(
        (entries.len(), json["errors"].as_u64()),
        (report.entries.len(), Some(report.errors as u64))
    );
    let first = &entries[0];
    for field in ["file", "document", "line", "severity", "field", "message"] {
        assert!(!first[field].is_null(), "{field} is in {first}");
    }
    assert_eq!(first["object"]["kind"], "HTTPRouteGroup");
}

#[test]
fn a_path_that_is_not_there_is_an_error() {
    let error = check(&[PathBuf::from("tests/lint/nothing.yaml")]).expect_err("it is not there");
    assert!(error.to_string().contains("nothing.yaml"), "{error}");
}
