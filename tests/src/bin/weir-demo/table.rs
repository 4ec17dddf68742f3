//! What was expected and what was seen: the result of the demo.

use crate::screen::Screen;

struct Row {
    what: String,
    expected: String,
    seen: String,
    ok: bool,
}

/// The rows so far.
#[derive(Default)]
pub struct Table(Vec<Row>);

impl Table {
    /// A row where the two texts have to be the same.
    pub fn same(&mut self, what: &str, expected: &str, seen: &str) {
        self.holds(what, expected, seen, expected == seen);
    }

    /// A row where `ok` says whether what was seen is what was expected.
    pub fn holds(&mut self, what: &str, expected: &str, seen: &str, ok: bool) {
        self.0.push(Row {
            what: what.to_string(),
            expected: expected.to_string(),
            seen: seen.to_string(),
            ok,
        });
    }

    /// Writes it; true if every row is as expected.
    pub fn show(&self, screen: &Screen) -> bool {
        let width = |column: fn(&Row) -> &String, title: &str| {
            let cells = self.0.iter().map(|row| column(row).chars().count());
            cells.chain([title.len()]).max().unwrap_or(0)
        };
        let what = width(|row| &row.what, "");
        let expected = width(|row| &row.expected, "expected");
        let seen = width(|row| &row.seen, "seen");
        screen.line(&format!(
            "\n{:what$} | {:expected$} | {:seen$} | ok",
            "", "expected", "seen"
        ));
        let line = |width: usize| "-".repeat(width);
        screen.line(&format!("{}-+-{}-+-{}-+----", line(what), line(expected), line(seen)));
        for row in &self.0 {
            let text = format!(
                "{:what$} | {:expected$} | {:seen$} | ",
                row.what, row.expected, row.seen
            );
            let mark = if row.ok {
                screen.paint("32", "yes")
            } else {
                screen.paint("31", "NO")
            };
            screen.line(&(text + &mark));
        }
        self.all_ok()
    }

    /// `All 20 as expected`, or how many are not.
    pub fn verdict(&self) -> String {
        let bad = self.0.iter().filter(|row| !row.ok).count();
        match bad {
            0 => format!("All {} as expected", self.0.len()),
            _ => format!("{bad} of {} not as expected", self.0.len()),
        }
    }

    fn all_ok(&self) -> bool {
        self.0.iter().all(|row| row.ok)
    }
}
