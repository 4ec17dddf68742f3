//! A case against a client and a server that are connected through the mesh.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use crate::tape::{Ended, Got, Heard, Script};
use crate::{Case, PROBE, PROBED, Server, Then, answers};

/// How long nothing must come from a connection that waits.
const QUIET: Duration = Duration::from_millis(40);

/// No answer takes longer.
const PATIENCE: Duration = Duration::from_secs(5);

/// More than one read of any proxy: what is longer comes in pieces whatever the client does.
const ONE_READ: usize = 4096;

/// The two ends of the mesh.
pub trait Ends {
    /// Tells the server what to do, and begins its tape anew.
    fn script(&mut self, script: Script);

    /// A new connection of the client: sends in so many pieces, listens ([`crate::tape::talk`]), closes.
    fn talk(&mut self, wire: &[u8], pieces: usize, limit: Duration) -> Heard;

    /// The server's tape.
    fn got(&mut self) -> Got;

    /// All connections of the client are served by one core, so that one finds what another has left.
    fn is_one_core(&self) -> bool;
}

/// Runs one case; `pieces`: its bytes go one by one, both ways.
///
/// # Errors
/// What is not as the case has it.
pub fn check(case: &Case, pieces: bool, ends: &mut impl Ends) -> Result<(), String> {
    // Bytes behind an answer's end are seen if they are there when it ends.
    let surplus = case.reuses() == Some(false) && case.statuses() != [502];
    ends.script(Script {
        answer: case.answers.to_vec(),
        closes: case.server == Server::Closes,
        slowly: pieces && !surplus,
    });
    let parts = if pieces { 400 } else { 1 };
    if case.then() == Then::Wait {
        let heard = ends.talk(&case.sends, parts, QUIET);
        let got = wait(ends, |got| all(got).len() >= case.gets().len());
        same("the server got", &all(&got), case.gets())?;
        same("the client got", &heard.bytes, b"")?;
        return equal("ended", heard.ended, None);
    }
    let wire = [&case.sends, PROBE].concat();
    let heard = ends.talk(&wire, parts, PATIENCE);
    let (received, kept) = match heard.bytes.strip_suffix(PROBED) {
        Some(received) => (received, true),
        None => (&heard.bytes[..], false),
    };
    let in_pieces = case.in_pieces.as_deref().filter(|_| pieces || wire.len() > ONE_READ);
    let tape = match in_pieces {
        // What has passed may still be on its way, and must not be taken for the next case's.
        Some(_) if !case.breaks_in_the_answer() => wait_for(ends, 2 * QUIET, |got| !got.ended.is_empty()),
        _ => ends.got(),
    };
    let got = all(&tape);
    let got = if kept {
        got.strip_suffix(PROBE).unwrap_or_default()
    } else {
        &got
    };
    if let Some(most) = in_pieces {
        return broken(case, received, got, heard.ended, most, &tape);
    }
    let ended = match case.then() {
        Then::Close => Some(Ended::Fin),
        Then::Reset => Some(Ended::Reset),
        Then::Keep | Then::Wait => None,
    };
    equal("ended", heard.ended, ended)?;
    equal("kept", kept, case.then() == Then::Keep)?;
    same("the server got", got, case.gets())?;
    match &case.receives {
        Some(bytes) => same("the client got", received, bytes)?,
        None => {
            let all = answers(received, case.sends.starts_with(b"HEAD "));
            let finals: Vec<u16> = all.into_iter().filter(|status| *status >= 200).collect();
            equal("statuses", finals, case.statuses())?;
        }
    }
    let Some(reuses) = case.reuses() else { return Ok(()) };
    if !kept && reuses && !ends.is_one_core() {
        return Ok(());
    }
    if !kept {
        same("the next client got", &ends.talk(PROBE, 1, PATIENCE).bytes, PROBED)?;
    }
    let tape = ends.got();
    let connection = |entry: Option<&(usize, Vec<u8>)>| entry.map(|(number, _)| *number);
    let same_one = connection(tape.bytes.first()) == connection(tape.bytes.last());
    equal("the server's connection is reused", same_one, reuses)
}

/// A fault inside a body that came in pieces: a part may have passed, and whoever has it sees that it is one.
fn broken(
    case: &Case,
    received: &[u8],
    got: &[u8],
    ended: Option<Ended>,
    most: &[u8],
    tape: &Got,
) -> Result<(), String> {
    if case.breaks_in_the_answer() {
        if answers(received, false) == [502] && ended.is_none() {
            return Ok(());
        }
        equal("ended", ended, Some(Ended::Reset))?;
        return if most.starts_with(received) {
            Ok(())
        } else {
            same("the client got more than", received, most)
        };
    }
    equal("statuses", answers(received, false), case.statuses())?;
    equal("ended", ended, Some(Ended::Fin))?;
    if !most.starts_with(got) {
        return same("the server got more than", got, most);
    }
    // A FIN could look like the end of a body.
    match tape.bytes.first() {
        Some((number, _)) => equal("the server's end", tape.ended.get(number), Some(&Ended::Reset)),
        None => Ok(()),
    }
}

fn wait(ends: &mut impl Ends, good: impl Fn(&Got) -> bool) -> Got {
    wait_for(ends, PATIENCE, good)
}

fn wait_for(ends: &mut impl Ends, limit: Duration, good: impl Fn(&Got) -> bool) -> Got {
    let begun = Instant::now();
    loop {
        let got = ends.got();
        if good(&got) || begun.elapsed() > limit {
            return got;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn all(got: &Got) -> Vec<u8> {
    got.bytes.iter().flat_map(|(_, bytes)| bytes.clone()).collect()
}

fn same(what: &str, came: &[u8], want: &[u8]) -> Result<(), String> {
    equal(what, came.escape_ascii().to_string(), want.escape_ascii().to_string())
}

fn equal<T: PartialEq + Debug>(what: &str, came: T, want: T) -> Result<(), String> {
    match came == want {
        true => Ok(()),
        false => Err(format!("{what}\n  {came:?}\n  want\n  {want:?}")),
    }
}
