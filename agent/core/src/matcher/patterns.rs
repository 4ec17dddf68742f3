//! Many patterns over one text: which of them match.

use regex_automata::meta::{BuildError, Regex};
use regex_automata::nfa::thompson::{NFA, WhichCaptures};
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input, MatchKind, PatternID, PatternSet};

use super::scratch::clear;
use super::{MAX_NFA_BYTES, MAX_PATTERN_BYTES};

/// Fewer patterns than this run one by one: a search of its own stops at its first match and may use literal search,
/// an overlapping search does neither.
const FEW: usize = 4;

/// Largest automaton of one block of patterns, in bytes; what is larger is cut in two.
const MAX_BLOCK_BYTES: usize = 2 * 1024 * 1024;

/// A list of patterns, numbered from 0.
#[derive(Debug, Default)]
pub(super) struct Patterns {
    len: usize,
    singles: Vec<(PatternID, Regex)>,
    /// Consecutive patterns as one automaton, with the number of the first.
    blocks: Vec<(usize, Regex)>,
}

impl Patterns {
    /// All of `sources` have passed [`check`].
    pub(super) fn new(sources: &[String]) -> Self {
        let mut patterns = Patterns::default();
        patterns.add(sources);
        patterns
    }

    fn add(&mut self, sources: &[String]) {
        let first = self.len;
        if sources.len() < FEW {
            for (at, source) in sources.iter().enumerate() {
                // Neither fails behind `check`; if one did, its pattern would match nothing.
                if let (Ok(id), Ok(regex)) = (PatternID::new(first + at), build(&[source], MatchKind::LeftmostFirst)) {
                    self.singles.push((id, regex));
                }
            }
            self.len += sources.len();
            return;
        }
        match build(sources, MatchKind::All) {
            Ok(block) => {
                self.blocks.push((first, block));
                self.len += sources.len();
            }
            Err(_) => {
                let (left, right) = sources.split_at(sources.len() / 2);
                self.add(left);
                self.add(right);
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// How many searches a text takes.
    #[cfg(test)]
    pub(super) fn searches(&self) -> usize {
        self.singles.len() + self.blocks.len()
    }

    /// Adds the numbers of all patterns that match `text` to `matched`, which has room for them. `block` is scratch.
    pub(super) fn search(&self, text: &[u8], anchored: bool, matched: &mut PatternSet, block: &mut PatternSet) {
        let input = Input::new(text).anchored(if anchored { Anchored::Yes } else { Anchored::No });
        for (id, regex) in &self.singles {
            if regex.is_match(input.clone()) {
                matched.insert(*id);
            }
        }
        for (first, regex) in &self.blocks {
            // A block numbers its patterns from 0. Nearly always there is one block, and its numbers are the right ones.
            if *first == 0 {
                regex.which_overlapping_matches(&input, matched);
                continue;
            }
            clear(block, regex.pattern_len());
            regex.which_overlapping_matches(&input, block);
            for id in block.iter().take(block.len()) {
                if let Ok(id) = PatternID::new(first + id.as_usize()) {
                    matched.insert(id);
                }
            }
        }
    }
}

/// Compiles one pattern by itself, within the limits. Only what passes here may stand beside others: a pattern such
/// as `a)|(?:b` must not be completed by its surroundings.
pub(super) fn check(pattern: &str) -> Result<(), String> {
    if pattern.len() > MAX_PATTERN_BYTES {
        return Err(format!(
            "pattern has {} bytes, more than {MAX_PATTERN_BYTES}",
            pattern.len()
        ));
    }
    let config = NFA::config()
        .utf8(false)
        .nfa_size_limit(Some(MAX_NFA_BYTES))
        .which_captures(WhichCaptures::Implicit);
    match NFA::compiler().syntax(syntax()).configure(config).build(pattern) {
        Ok(_) => Ok(()),
        Err(error) if error.size_limit().is_some() => Err(format!(
            "pattern needs more than {MAX_NFA_BYTES} bytes compiled, maybe a counted repetition"
        )),
        Err(error) => Err(std::error::Error::source(&error).map_or_else(|| error.to_string(), last_line)),
    }
}

fn syntax() -> syntax::Config {
    syntax::Config::new().unicode(false).utf8(false).nest_limit(100)
}

fn build(patterns: &[impl AsRef<str>], kind: MatchKind) -> Result<Regex, Box<BuildError>> {
    let config = Regex::config()
        .match_kind(kind)
        .utf8_empty(false)
        .which_captures(WhichCaptures::Implicit);
    Regex::builder()
        .syntax(syntax())
        // The lazy automaton of each thread grows as it is used. With less than the least it can work in, it would
        // be left out, and the slow one would take its place.
        .configure(
            config
                .nfa_size_limit(Some(MAX_BLOCK_BYTES))
                .hybrid_cache_capacity(2 * MAX_BLOCK_BYTES),
        )
        .build_many(patterns)
        .map_err(Box::new)
}

/// A syntax error's last line says what is wrong; those before it draw where.
fn last_line(error: &(dyn std::error::Error + 'static)) -> String {
    let message = error.to_string();
    let last = message.lines().rfind(|line| !line.trim().is_empty()).map(str::trim);
    last.map_or("malformed pattern", |last| last.strip_prefix("error: ").unwrap_or(last))
        .to_owned()
}
