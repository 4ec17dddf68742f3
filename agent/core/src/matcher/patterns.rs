//! Many patterns over one text: which of them match.

use regex_automata::meta::{BuildError, Regex};
use regex_automata::nfa::thompson::WhichCaptures;
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input, MatchKind, PatternID, PatternSet};

use super::{MAX_NFA_BYTES, MAX_PATTERN_BYTES};

/// Fewer patterns than this run one by one: a search of its own stops at its first match and may use literal search,
/// an overlapping search does neither.
const FEW: usize = 4;

/// Largest automaton of one block of patterns, in bytes; what is larger is cut in two.
const MAX_BLOCK_BYTES: usize = 4 * 1024 * 1024;

/// A list of patterns, numbered from 0.
#[derive(Debug, Default)]
pub(super) struct Patterns {
    len: usize,
    singles: Vec<(PatternID, Regex)>,
    /// Consecutive patterns as one automaton, with the number of the first.
    blocks: Vec<(usize, Regex)>,
}

impl Patterns {
    /// All of `sources` have passed [`single`].
    pub(super) fn new(sources: &[(&str, Regex)]) -> Self {
        let mut patterns = Patterns {
            len: sources.len(),
            ..Patterns::default()
        };
        patterns.add(0, sources);
        patterns
    }

    fn add(&mut self, first: usize, sources: &[(&str, Regex)]) {
        if sources.len() < FEW {
            let numbered = sources.iter().enumerate();
            self.singles.extend(
                numbered.filter_map(|(at, (_, regex))| PatternID::new(first + at).ok().map(|id| (id, regex.clone()))),
            );
            return;
        }
        let texts: Vec<&str> = sources.iter().map(|(text, _)| *text).collect();
        match build(&texts, MatchKind::All, MAX_BLOCK_BYTES) {
            Ok(block) => self.blocks.push((first, block)),
            Err(_) => {
                let (left, right) = sources.split_at(sources.len() / 2);
                self.add(first, left);
                self.add(first + left.len(), right);
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Adds the numbers of all patterns that match `text` to `matched`, which has room for them.
    pub(super) fn search(&self, text: &[u8], anchored: bool, matched: &mut PatternSet) {
        let input = Input::new(text).anchored(if anchored { Anchored::Yes } else { Anchored::No });
        for (id, regex) in &self.singles {
            if regex.is_match(input.clone()) {
                matched.insert(*id);
            }
        }
        for (first, block) in &self.blocks {
            search_block(*first, block, &input, matched);
        }
    }
}

/// A block numbers its patterns from 0. Nearly always there is one block, and its numbers are the right ones.
fn search_block(first: usize, block: &Regex, input: &Input<'_>, matched: &mut PatternSet) {
    if first == 0 {
        return block.which_overlapping_matches(input, matched);
    }
    let mut own = PatternSet::new(block.pattern_len());
    block.which_overlapping_matches(input, &mut own);
    for id in own.iter() {
        if let Ok(id) = PatternID::new(first + id.as_usize()) {
            matched.insert(id);
        }
    }
}

/// Compiles one pattern by itself, within the limits. Only what passes here may stand beside others: a pattern such
/// as `a)|(?:b` must not be completed by its surroundings.
pub(super) fn single(pattern: &str) -> Result<Regex, String> {
    if pattern.len() > MAX_PATTERN_BYTES {
        return Err(format!(
            "pattern has {} bytes, more than {MAX_PATTERN_BYTES}",
            pattern.len()
        ));
    }
    build(&[pattern], MatchKind::LeftmostFirst, MAX_NFA_BYTES).map_err(|error| match error.size_limit() {
        Some(limit) => format!("pattern needs an automaton of more than {limit} bytes, maybe a counted repetition"),
        None => error
            .syntax_error()
            .map_or_else(|| error.to_string(), |error| one_line(&error.to_string())),
    })
}

fn build(patterns: &[&str], kind: MatchKind, limit: usize) -> Result<Regex, Box<BuildError>> {
    let config = Regex::config()
        .match_kind(kind)
        .utf8_empty(false)
        .which_captures(WhichCaptures::Implicit);
    Regex::builder()
        .syntax(syntax::Config::new().unicode(false).utf8(false).nest_limit(100))
        // The lazy automaton of each thread grows as it is used. With less than the least it can work in, it would
        // be left out, and the slow one would take its place.
        .configure(config.nfa_size_limit(Some(limit)).hybrid_cache_capacity(2 * limit))
        .build_many(patterns)
        .map_err(Box::new)
}

/// The syntax error's last line says what is wrong; those before it draw where.
fn one_line(message: &str) -> String {
    message
        .lines()
        .rfind(|line| !line.trim().is_empty())
        .unwrap_or("malformed pattern")
        .trim()
        .to_owned()
}
