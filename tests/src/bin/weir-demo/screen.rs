//! What the demo writes: steps while it sets up, then one line for each thing that was seen.
//!
//! Colour only on a terminal that wants it (<https://no-color.org>). A reader that has gone (`| head`) is no error: the
//! demo is played to its end and cleans up.

use std::io::{self, IsTerminal, Write};
use std::time::Instant;

use anyhow::Result;

/// Standard output.
pub struct Screen {
    colour: bool,
}

impl Screen {
    pub fn new() -> Screen {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Screen {
            colour: wanted && io::stdout().is_terminal(),
        }
    }

    /// A step of the set-up with the time that it took.
    pub fn step<T>(&self, what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let start = Instant::now();
        self.write(&format!("  {what} … "));
        let result = work();
        let end = match &result {
            Ok(_) => format!("{:.1} s\n", start.elapsed().as_secs_f64()),
            Err(_) => "failed\n".to_string(),
        };
        self.write(&end);
        result
    }

    /// A heading.
    pub fn act(&self, title: &str) {
        self.write(&format!("\n{}\n", self.bold(title)));
    }

    /// Something that was seen: who did what, and what came of it.
    pub fn seen(&self, who: &str, what: &str, outcome: &str) {
        self.write(&format!("  {who:<6} {what:<36} {outcome}\n"));
    }

    /// What belongs to the line above.
    pub fn detail(&self, text: &str) {
        self.write(&format!("{:10}{}\n", "", self.paint("2", text)));
    }

    /// A plain line.
    pub fn line(&self, text: &str) {
        self.write(&format!("{text}\n"));
    }

    /// A line that is good news.
    pub fn good(&self, text: &str) {
        self.write(&format!("{}\n", self.paint("32", text)));
    }

    /// A line that is bad news.
    pub fn bad(&self, text: &str) {
        self.write(&format!("{}\n", self.paint("31", text)));
    }

    /// Bold, where there is colour.
    pub fn bold(&self, text: &str) -> String {
        self.paint("1", text)
    }

    /// In a colour, by its SGR number (ECMA-48, section 8.3.117).
    pub fn paint(&self, code: &str, text: &str) -> String {
        match self.colour {
            true => format!("\x1b[{code}m{text}\x1b[0m"),
            false => text.to_string(),
        }
    }

    fn write(&self, text: &str) {
        let mut output = io::stdout().lock();
        let _ = output.write_all(text.as_bytes()).and_then(|()| output.flush());
    }
}
