//! `docs/http1.md` and the corpus say the same.

use std::collections::BTreeSet;
use std::path::Path;

use weir_corpus::{Case, Then};

/// Cells of the rows of every table whose last column is `Cases`.
fn rows(text: &str) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        // A vertical bar inside a cell does not occur: the tables write it out.
        let cells: Vec<String> = line
            .trim_matches('|')
            .split('|')
            .map(|cell| cell.trim().to_owned())
            .collect();
        match line.starts_with('|') {
            false => inside = false,
            true if cells.last().is_some_and(|last| last == "Cases") => inside = true,
            true if inside && !line.starts_with("|---") => rows.push(cells),
            true => {}
        }
    }
    rows
}

/// `*` stands for any characters.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, "")) => name.starts_with(start),
        Some((start, rest)) => name
            .strip_prefix(start)
            .is_some_and(|name| (0..=name.len()).any(|at| matches(rest, &name[at..]))),
    }
}

/// The case comes to what the row says it does.
fn agrees(says: &str, case: &Case) -> bool {
    let statuses = case.statuses();
    let refused = |status: &u16| matches!(status, 400 | 414 | 417 | 431 | 501 | 505);
    let number: Option<u16> = says.get(..3).and_then(|digits| digits.parse().ok());
    match number {
        // The last of a table's two numbers is for another row's cases.
        Some(431) => statuses != [200] || case.name.contains("as-many-as"),
        Some(502) => statuses == [502],
        Some(status) => statuses.last() == Some(&status) && (!says.contains("closed") || case.then() == Then::Close),
        None if says == "refused" => case.in_pieces.is_some() && matches!(statuses[..], [400] | [502]),
        None if says == "waited for" => case.then() == Then::Wait,
        None => statuses.first().is_none_or(|status| !refused(status) && *status != 502),
    }
}

#[test]
fn every_row_of_the_table_names_cases_that_come_to_what_it_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/http1.md");
    let text = std::fs::read_to_string(path).expect("the table is there");
    let cases = weir_corpus::all();
    let (mut named, mut wrong) = (BTreeSet::new(), Vec::new());
    let rows = rows(&text);
    assert!(rows.len() > 70, "only {} rows were found", rows.len());
    for cells in &rows {
        let [.., says, patterns] = &cells[..] else {
            panic!("{cells:?}")
        };
        for pattern in patterns.split(", ").filter(|pattern| *pattern != "–") {
            let pattern = pattern.trim_matches('`');
            let found: Vec<&Case> = cases.iter().filter(|case| matches(pattern, &case.name)).collect();
            if found.is_empty() {
                wrong.push(format!("{}: no case is called {pattern}", cells[0]));
            }
            for case in found {
                named.insert(case.name.clone());
                if !agrees(says, case) {
                    wrong.push(format!(
                        "{}: {says}; but {}: {:?}",
                        cells[0],
                        case.name,
                        case.statuses()
                    ));
                }
            }
        }
    }
    let missing = cases.iter().filter(|case| !named.contains(&case.name));
    wrong.extend(missing.map(|case| format!("no row names {}", case.name)));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
