//! What the pages say of tests: each one that they name is there.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The checkout.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// All Rust sources below a folder, with their paths.
fn sources(dir: &Path, all: &mut Vec<(PathBuf, String)>) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("{}", dir.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            sources(&path, all)?;
        } else if path.extension().is_some_and(|end| end == "rs") {
            let text = fs::read_to_string(&path)?;
            all.push((path, text));
        }
    }
    Ok(())
}

/// Suites and agent's tests.
fn tests() -> Result<Vec<(PathBuf, String)>> {
    let mut all = Vec::new();
    for dir in ["tests/tests", "agent/tests"] {
        sources(&root().join(dir), &mut all)?;
    }
    Ok(all)
}

/// True where `text` has a word that is `name`, or begins with it where it was shortened.
fn has(text: &str, name: &str, shortened: bool) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices(name).any(|(at, _)| {
        let before = text[..at].chars().next_back().is_some_and(is_word);
        let after = text[at + name.len()..].chars().next().is_some_and(is_word);
        !before && (shortened || !after)
    })
}

/// The `FILE::TEST` of a page: file, test, and whether `…` stands behind it.
fn named(page: &str) -> Vec<(String, String, bool)> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut names = Vec::new();
    for (at, _) in page.match_indices("::") {
        let start = page[..at].rfind(|c| !is_word(c)).map_or(0, |at| at + 1);
        let rest = &page[at + 2..];
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let (file, test) = (&page[start..at], &rest[..end]);
        // `core::Index` and the like are no tests, and neither are addresses.
        if test.contains('_') && test.chars().all(|c| !c.is_ascii_uppercase()) && !file.is_empty() {
            names.push((file.to_string(), test.to_string(), rest[end..].starts_with('…')));
        }
    }
    names
}

#[test]
fn every_test_that_a_page_names_exists() -> Result<()> {
    let all = tests()?;
    let mut checked = 0;
    for page in fs::read_dir(root().join("docs"))? {
        let path = page?.path();
        if path.extension().is_none_or(|end| end != "md") {
            continue;
        }
        let text = fs::read_to_string(&path)?;
        for (file, test, shortened) in named(&text) {
            // FILE.rs, or a file of the folder FILE.
            let fits = |path: &Path| {
                path.file_stem().is_some_and(|stem| *stem == *file)
                    || path.parent().is_some_and(|dir| dir.ends_with(&file))
            };
            let found = all.iter().any(|(path, text)| fits(path) && has(text, &test, shortened));
            assert!(found, "{} names {file}::{test}, which is not there", path.display());
            checked += 1;
        }
    }
    assert!(checked > 40, "only {checked} names were found");
    Ok(())
}

#[test]
fn every_suite_that_the_fail_matrix_names_exists_and_every_row_has_one() -> Result<()> {
    let all = tests()?;
    let core = {
        let mut core = Vec::new();
        sources(&root().join("agent/core"), &mut core)?;
        core
    };
    let golden = root().join("agent/core/tests/golden");
    let page = fs::read_to_string(root().join("docs/failing.md"))?;
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    assert!(rows.len() > 20, "{} rows", rows.len());
    for row in rows {
        let mut found = 0;
        for inside in row.split('(').skip(1).filter_map(|part| part.split(')').next()) {
            let mut place = "";
            for token in inside.split([',', ';']).map(str::trim) {
                let (scope, name) = token.split_once(": ").unwrap_or((place, token));
                place = scope;
                let name = name.trim_start_matches("engine tests ");
                let (bare, short) = (name.trim_end_matches('…'), name.ends_with('…'));
                let is_word = !bare.is_empty() && bare.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
                let there = match scope {
                    _ if name.contains("::") => true,
                    "weir-core" => {
                        let bare = bare.trim_start_matches("golden folders ");
                        let folder = |name: &str| name.starts_with(bare) || name.contains(bare);
                        let is_golden = fs::read_dir(&golden)?
                            .filter_map(Result::ok)
                            .any(|entry| folder(&entry.file_name().to_string_lossy()));
                        is_golden
                            || core
                                .iter()
                                .any(|(_, text)| has(text, bare, short) || text.contains(bare))
                    }
                    _ if !is_word => continue,
                    _ => all.iter().any(|(path, _)| {
                        path.file_stem().is_some_and(|stem| *stem == *bare)
                            || path.parent().is_some_and(|dir| dir.ends_with(bare))
                    }),
                };
                // A single word may be prose; one with a scope in front of it is not.
                if !there && (scope.starts_with("weir-") || bare.contains('_')) {
                    panic!("{token} is not there: {row}");
                }
                found += u32::from(there);
            }
        }
        let why_not = row.contains("(no test: ") || row.contains("(docs/limits.md)");
        assert!(found > 0 || why_not, "no test is named: {row}");
    }
    Ok(())
}
