//! The corpus of doubtful HTTP/1.1 against the codec alone, over every cut of its bytes.
//!
//! An answer must not depend on how the bytes come: all at once, one by one, and split in two at each place.

mod proxy;
mod table;

use proxy::{Proxy, Then};
use weir_corpus::{Case, OK, PROBE, PROBED};

/// What a case came to: compared as text, so that a failure shows bytes.
#[derive(Debug, PartialEq, Eq)]
struct Came {
    statuses: Vec<u16>,
    then: Then,
    gets: String,
    receives: Option<String>,
    reused: Option<bool>,
}

fn expected(case: &Case, whole: bool) -> Came {
    let then = match case.then() {
        weir_corpus::Then::Keep => Then::Keep,
        weir_corpus::Then::Close => Then::Close,
        weir_corpus::Then::Reset => Then::Reset,
        weir_corpus::Then::Wait => Then::Wait,
    };
    let mut came = Came {
        statuses: case.statuses(),
        then,
        gets: case.gets().escape_ascii().to_string(),
        receives: case.receives.as_ref().map(|bytes| bytes.escape_ascii().to_string()),
        reused: case.reuses(),
    };
    if let Some(pieces) = case.in_pieces.as_ref().filter(|_| !whole) {
        let pieces = pieces.escape_ascii().to_string();
        if case.breaks_in_the_answer() {
            (came.statuses, came.then, came.receives) = (Vec::new(), Then::Reset, Some(pieces));
        } else {
            came.gets = pieces;
        }
    }
    came
}

/// Runs a case with the client's bytes in pieces that end at `up`, and the server's answer in pieces that end at `down`.
fn run(case: &Case, up: &[usize], down: &[usize]) -> Came {
    let mut proxy = Proxy::new();
    let mut served = 0;
    let script = |served: usize| match served {
        0 => &case.answers[..],
        _ => OK,
    };
    let mut start = 0;
    for &end in up.iter().chain([&case.sends.len()]) {
        proxy.feed(&case.sends[start..end]);
        start = end;
        while proxy.wants_answer() {
            proxy.answer(
                script(served),
                down,
                served == 0 && case.server == weir_corpus::Server::Closes,
            );
            served += 1;
            proxy.feed(b"");
        }
    }
    let (gets, receives, reusable) = (proxy.gets.clone(), proxy.receives.clone(), proxy.reusable);
    let (statuses, mut then) = (proxy.statuses.clone(), proxy.then());
    // The probe shows whether the connection is really kept.
    if then != Then::Wait {
        proxy.feed(PROBE);
        let probed = proxy.wants_answer() && proxy.gets[gets.len()..] == *PROBE;
        if probed {
            proxy.answer(PROBED, &[], false);
        }
        let served = probed && proxy.receives[receives.len()..] == *PROBED;
        assert_eq!(then == Then::Keep, served, "{}: the probe", case.name);
        if !served {
            assert_eq!(proxy.gets, gets, "{}: behind the end", case.name);
        }
    } else if proxy.is_closed() {
        then = Then::Close;
    }
    Came {
        statuses,
        then,
        gets: gets.escape_ascii().to_string(),
        receives: (case.receives.is_some() || case.breaks_in_the_answer() && then == Then::Reset)
            .then(|| receives.escape_ascii().to_string()),
        reused: case.reuses().map(|_| reusable),
    }
}

#[test]
fn every_case_comes_to_what_its_file_says_in_every_cut() {
    let mut wrong = Vec::new();
    let cases = weir_corpus::all();
    for case in &cases {
        let (up, down) = (case.sends.len(), case.answers.len());
        // Long cases are about their length: not every place is another cut.
        let step = |length: usize| length.div_ceil(600).max(1);
        let single = |length: usize| (0..length).step_by(step(length)).collect::<Vec<_>>();
        let mut check = |what: String, whole: bool, up: &[usize], down: &[usize]| {
            let result = std::panic::catch_unwind(|| run(case, up, down));
            let want = expected(case, whole);
            match result {
                Ok(came) if came == want => true,
                Ok(came) => {
                    wrong.push(format!("{} ({what})\n  came {came:?}\n  want {want:?}", case.name));
                    false
                }
                Err(_) => {
                    wrong.push(format!("{} ({what}) panicked", case.name));
                    false
                }
            }
        };
        if !check("whole".to_owned(), true, &[], &[])
            || !check("byte by byte".to_owned(), false, &single(up), &single(down))
            || case.in_pieces.is_some()
        {
            continue;
        }
        for at in (1..up).step_by(step(up)) {
            if !check(format!("request cut at {at}"), true, &[at], &[]) {
                break;
            }
        }
        for at in (1..down).step_by(step(down)) {
            if !check(format!("answer cut at {at}"), true, &[], &[at]) {
                break;
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
    assert!(cases.len() >= 150, "only {} cases were found", cases.len());
}

/// A fault inside a body may let through what came before it, and no more, whatever the cut.
#[test]
fn what_passes_before_a_fault_in_a_body_is_a_part_of_what_the_file_says() {
    for case in weir_corpus::all() {
        let Some(most) = &case.in_pieces else { continue };
        let answer = case.breaks_in_the_answer();
        let length = if answer { case.answers.len() } else { case.sends.len() };
        for at in 1..length {
            let (up, down) = if answer { (vec![], vec![at]) } else { (vec![at], vec![]) };
            let came = run(&case, &up, &down);
            let passed = if answer {
                came.receives.unwrap_or_default()
            } else {
                came.gets
            };
            let all = most.escape_ascii().to_string();
            assert!(
                all.starts_with(&passed) || answer && came.statuses == [502],
                "{}: cut at {at}: {passed}",
                case.name
            );
        }
    }
}
