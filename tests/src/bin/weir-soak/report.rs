//! What the soak writes: a line every few seconds, and a table at the end.

use std::io::{self, Write};
use std::time::Duration;

use crate::court::Tally;
use crate::director::Director;
use crate::watch::Held;

/// One line.
pub fn progress(director: &Director, passed: Duration) {
    let mut sum = Tally::default();
    for tally in director.court.tallies().values() {
        sum.served += tally.served;
        sum.refused += tally.refused;
        sum.open += tally.open;
    }
    let (violations, _) = director.court.violations();
    let held = Held::now(director).map_or_else(|error| format!("{error:#}"), |held| held.short());
    let edits: u64 = director.done.values().sum();
    line(&format!(
        "{:4} s  {:7} served {:7} refused {:6} either  {violations} violations  {edits:4} edits ({})  agent: {held}",
        passed.as_secs(),
        sum.served,
        sum.refused,
        sum.open,
        director.last
    ));
}

/// The end: what was done, what the agent held, and the first violations in full.
pub fn summary(director: &Director, held: Option<&[(String, u64, u64, bool)]>, seed: u64) {
    line("\nkind          served   refused    either  violations  longest, ms");
    for (kind, tally) in director.court.tallies() {
        line(&format!(
            "{:<10} {:>9} {:>9} {:>9} {:>11} {:>12}",
            format!("{kind:?}").to_lowercase(),
            tally.served,
            tally.refused,
            tally.open,
            tally.violations,
            tally.longest / 1000
        ));
    }
    let done: Vec<String> = director
        .done
        .iter()
        .map(|(kind, count)| format!("{kind} {count}"))
        .collect();
    line(&format!("\nedits: {}", done.join(", ")));
    let (sum, longest, count) = director.took;
    line(&format!(
        "in force after {} ms in the mean, {} ms at the longest",
        sum.as_millis() / u128::from(count.max(1)),
        longest.as_millis()
    ));
    if let Some(rows) = held {
        line("\nthe agent holds       first look      last");
        for (name, before, now, fine) in rows {
            line(&format!(
                "{name:<20} {before:>11} {now:>9}{}",
                if *fine { "" } else { "  too many" }
            ));
        }
    } else {
        line(
            "\nNOT COMPARED: what the agent holds was not looked at twice, so leaks would go unseen; give it more --seconds",
        );
    }
    line("\nthe agents counted");
    for (name, value) in director.counters.all() {
        line(&format!("{name:<42} {value:>12}"));
    }
    let (count, first) = director.court.violations();
    if count > 0 {
        line(&format!("\n{count} violations; the first {}:", first.len()));
        first.iter().for_each(|text| line(text));
    }
    let compared = if held.is_some() { "" } else { ", resources NOT COMPARED" };
    line(&format!("\n{count} violations, seed {seed}{compared}"));
}

/// A reader that has gone is no error: everything still has to be cleaned up.
pub fn line(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}
