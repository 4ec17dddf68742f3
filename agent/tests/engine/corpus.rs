//! The corpus of doubtful HTTP/1.1 over sockets: a server that records bytes, a client that sends them.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use weir_corpus::{Case, OK, PROBE, PROBED, Then, answers, complete_requests};

use crate::mesh::{Mesh, eventually};
use crate::peer::{Client, Ended, Server};

/// Anything but `/s…`, for the buyer; and a port whose name says that it is HTTP.
const OPEN: &str = include_str!("corpus.yaml");

/// How long nothing must come from a connection that waits.
const QUIET: Duration = Duration::from_millis(40);

/// What the server is to do, and what it has got.
#[derive(Default)]
struct Tape {
    /// The answer to the next request; what comes after that gets [`OK`].
    script: Option<Vec<u8>>,
    closes: bool,
    /// Send the answer byte by byte.
    slowly: bool,
    /// What came, in order, with the number of its connection.
    got: Vec<(usize, Vec<u8>)>,
    ended: HashMap<usize, Ended>,
}

impl Tape {
    fn bytes(&self) -> Vec<u8> {
        self.got.iter().flat_map(|(_, bytes)| bytes.clone()).collect()
    }
}

/// Reads what comes and answers each request that is whole.
fn record(tape: &Mutex<Tape>, number: usize, client: Client) {
    let mut stream = client.stream;
    stream.set_read_timeout(None).unwrap();
    let (mut pending, mut space) = (Vec::new(), [0; 65536]);
    let ended = loop {
        let read = match stream.read(&mut space) {
            Ok(0) => break Ended::Fin,
            Ok(read) => &space[..read],
            Err(_) => break Ended::Reset,
        };
        pending.extend_from_slice(read);
        tape.lock().unwrap().got.push((number, read.to_vec()));
        for length in complete_requests(&pending) {
            let request: Vec<u8> = pending.drain(..length).collect();
            let (answer, slowly, closes) = {
                let mut tape = tape.lock().unwrap();
                match tape.script.take() {
                    _ if request == PROBE => (PROBED.to_vec(), false, false),
                    Some(script) => (script, tape.slowly, tape.closes),
                    None => (OK.to_vec(), false, false),
                }
            };
            let piece = if slowly {
                answer.len().div_ceil(400).max(1)
            } else {
                answer.len().max(1)
            };
            // The mesh may hang up in the middle of a bad answer.
            let _ = answer.chunks(piece).try_for_each(|piece| {
                let written = stream.write_all(piece);
                if slowly && piece.ends_with(b"\n") {
                    std::thread::sleep(Duration::from_millis(1));
                }
                written
            });
            if closes {
                return;
            }
        }
    };
    tape.lock().unwrap().ended.insert(number, ended);
}

/// What the client got, and how its connection ended; `None`: it is open.
struct Heard {
    bytes: Vec<u8>,
    ended: Option<Ended>,
}

/// Reads until the end, the probe's answer, or for so long.
fn hear(client: &mut Client, limit: Duration) -> Heard {
    let (mut bytes, mut space) = (Vec::new(), [0; 65536]);
    let begun = Instant::now();
    while !bytes.ends_with(PROBED) {
        let left = limit.saturating_sub(begun.elapsed()).max(Duration::from_millis(1));
        client.stream.set_read_timeout(Some(left)).unwrap();
        let ended = match client.stream.read(&mut space) {
            Ok(0) => Some(Ended::Fin),
            Ok(read) => {
                bytes.extend_from_slice(&space[..read]);
                continue;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(_) => Some(Ended::Reset),
        };
        return Heard { bytes, ended };
    }
    Heard { bytes, ended: None }
}

/// Sends in pieces of that size; an end in the middle is looked at by whoever reads.
fn send(client: &mut Client, bytes: &[u8], piece: usize) {
    for piece in bytes.chunks(piece.max(1)) {
        if client.stream.write_all(piece).is_err() {
            return;
        }
    }
}

/// Runs one case. `Err` says what is not as the case has it.
fn run(mesh: &Mesh, tape: &Mutex<Tape>, case: &Case, pieces: bool) -> Result<(), String> {
    // Bytes behind a response's end are seen if they are there when it ends.
    let surplus = case.reuses() == Some(false) && case.statuses() != [502];
    *tape.lock().unwrap() = Tape {
        script: Some(case.answers.to_vec()),
        closes: case.server == weir_corpus::Server::Closes,
        slowly: pieces && !surplus,
        ..Tape::default()
    };
    let mut buyer = mesh.buyer();
    let wire = match case.then() {
        Then::Wait => case.sends.to_vec(),
        _ => [&case.sends, PROBE].concat(),
    };
    send(
        &mut buyer,
        &wire,
        if pieces { wire.len().div_ceil(400) } else { wire.len() },
    );
    if case.then() == Then::Wait {
        let heard = hear(&mut buyer, QUIET);
        eventually(&case.name, || tape.lock().unwrap().bytes().len() >= case.gets().len());
        let got = tape.lock().unwrap().bytes();
        return same("the server got", &got, case.gets())
            .and_then(|()| same("the client got", &heard.bytes, b""))
            .and_then(|()| equal("ended", heard.ended, None));
    }
    let heard = hear(&mut buyer, Duration::from_secs(5));
    if pieces && case.in_pieces.is_some() && !case.breaks_in_the_answer() {
        // What has passed may still be on its way, and must not be taken for the next case's.
        let begun = Instant::now();
        while tape.lock().unwrap().ended.is_empty() && begun.elapsed() < 2 * QUIET {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    let (received, kept) = match heard.bytes.strip_suffix(PROBED) {
        Some(received) => (received, true),
        None => (&heard.bytes[..], false),
    };
    let got = tape.lock().unwrap().bytes();
    let got = if kept {
        got.strip_suffix(PROBE).unwrap_or_default()
    } else {
        &got
    };
    // What is longer than one read comes in pieces anyway.
    if let Some(most) = case.in_pieces.as_deref().filter(|_| pieces || wire.len() > 4096) {
        return in_pieces(tape, case, received, got, heard.ended, most);
    }
    let head = case.sends.starts_with(b"HEAD ");
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
            let finals: Vec<u16> = answers(received, head)
                .into_iter()
                .filter(|status| *status >= 200)
                .collect();
            equal("statuses", finals, case.statuses())?;
        }
    }
    if case.then() != Then::Keep && case.reuses().is_some() {
        let mut next = mesh.buyer();
        send(&mut next, PROBE, PROBE.len());
        same(
            "the next client got",
            &hear(&mut next, Duration::from_secs(5)).bytes,
            PROBED,
        )?;
    }
    if let Some(reuses) = case.reuses() {
        let tape = tape.lock().unwrap();
        let first = tape.got.first().map(|(number, _)| *number);
        let last = tape.got.last().map(|(number, _)| *number);
        equal("the server's connection is reused", first == last, reuses)?;
    }
    Ok(())
}

/// A fault inside a body that came in pieces: a part may have passed, and whoever has it sees that it is one.
fn in_pieces(
    tape: &Mutex<Tape>,
    case: &Case,
    received: &[u8],
    got: &[u8],
    ended: Option<Ended>,
    most: &[u8],
) -> Result<(), String> {
    if case.breaks_in_the_answer() {
        if answers(received, false) == [502] && ended.is_none() {
            return Ok(());
        }
        equal("ended", ended, Some(Ended::Reset))?;
        return match most.starts_with(received) {
            true => Ok(()),
            false => same("the client got more than", received, most),
        };
    }
    equal("statuses", answers(received, false), case.statuses())?;
    equal("ended", ended, Some(Ended::Fin))?;
    if !most.starts_with(got) {
        return same("the server got more than", got, most);
    }
    // A server that has a part sees a reset: a FIN could look like the end of a body.
    let first = tape.lock().unwrap().got.first().map(|(number, _)| *number);
    if let Some(number) = first {
        eventually(&case.name, || tape.lock().unwrap().ended.contains_key(&number));
        equal(
            "the server's end",
            tape.lock().unwrap().ended.get(&number),
            Some(&Ended::Reset),
        )?;
    }
    Ok(())
}

fn same(what: &str, came: &[u8], want: &[u8]) -> Result<(), String> {
    equal(what, came.escape_ascii().to_string(), want.escape_ascii().to_string())
}

fn equal<T: PartialEq + std::fmt::Debug>(what: &str, came: T, want: T) -> Result<(), String> {
    match came == want {
        true => Ok(()),
        false => Err(format!("{what}\n  {came:?}\n  want\n  {want:?}")),
    }
}

fn every_case(pieces: bool) {
    let mesh = Mesh::new(OPEN);
    let tape = Arc::new(Mutex::new(Tape::default()));
    let shared = tape.clone();
    Server::start(mesh.address(2, 8080), move |number, client| {
        record(&shared, number, client)
    });
    let cases = weir_corpus::all();
    let mut wrong = Vec::new();
    for case in &cases {
        if let Err(error) = run(&mesh, &tape, case, pieces) {
            wrong.push(format!("{}: {error}", case.name));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
}

#[test]
fn every_case_of_the_corpus_comes_out_right_over_sockets() {
    every_case(false);
}

#[test]
fn every_case_of_the_corpus_comes_out_right_in_pieces() {
    every_case(true);
}
