//! What one search notes down, kept per thread so that a request allocates nothing.

use std::cell::RefCell;

use regex_automata::{PatternID, PatternSet};

thread_local! {
    /// Grows to the largest set that the thread has searched.
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch::new());
}

/// Runs `search` with the thread's scratch; with one of its own if that is in use (a search within a search).
pub(super) fn with<T>(search: impl FnOnce(&mut Scratch) -> T) -> T {
    SCRATCH.with(|scratch| match scratch.try_borrow_mut() {
        Ok(mut scratch) => search(&mut scratch),
        Err(_) => search(&mut Scratch::new()),
    })
}

pub(super) struct Scratch {
    /// The path patterns that match.
    pub(super) paths: PatternSet,
    pub(super) headers: Vec<HeaderScratch>,
    pub(super) text: TextScratch,
}

/// What the search of one text needs besides its result.
pub(super) struct TextScratch {
    /// Lines of one header, joined.
    pub(super) joined: Vec<u8>,
    /// The patterns of one block that match.
    pub(super) block: PatternSet,
}

pub(super) struct HeaderScratch {
    /// `set` is of this request.
    pub(super) searched: bool,
    pub(super) set: PatternSet,
}

impl Scratch {
    fn new() -> Self {
        Scratch {
            paths: PatternSet::new(0),
            headers: Vec::new(),
            text: TextScratch {
                joined: Vec::new(),
                block: PatternSet::new(0),
            },
        }
    }

    /// Forgets the last request.
    pub(super) fn begin(&mut self, paths: usize, headers: usize) {
        clear(&mut self.paths, paths);
        while self.headers.len() < headers {
            self.headers.push(HeaderScratch {
                searched: false,
                set: PatternSet::new(0),
            });
        }
        self.headers
            .iter_mut()
            .take(headers)
            .for_each(|header| header.searched = false);
    }
}

impl HeaderScratch {
    pub(super) fn begin(&mut self, patterns: usize) {
        clear(&mut self.set, patterns);
        self.searched = true;
    }

    pub(super) fn matched(&self, pattern: usize) -> bool {
        PatternID::new(pattern).is_ok_and(|pattern| self.set.contains(pattern))
    }
}

/// Empties `set`, with room for `patterns`.
pub(super) fn clear(set: &mut PatternSet, patterns: usize) {
    if set.capacity() < patterns {
        *set = PatternSet::new(patterns);
    } else {
        set.clear();
    }
}
