//! The two ends of the corpus: `record` and `talk`, a JSON line in, a JSON line out.

use std::io::{BufRead, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use weir_corpus::tape::{Heard, Tape, talk as talk_on};
use weir_tests::protocol::{Recorder, Talk};

/// Serves connections on `address` until standard input ends. A script begins the tape anew; it is played back on demand.
pub fn record(address: &str) -> Result<()> {
    let listener = TcpListener::bind(address).with_context(|| format!("listening on {address}"))?;
    let tape = Arc::new(Tape::default());
    let shared = Arc::clone(&tape);
    thread::spawn(move || {
        for (number, stream) in listener.incoming().flatten().enumerate() {
            let tape = Arc::clone(&shared);
            thread::spawn(move || tape.serve(number, stream));
        }
    });
    println!("ready");
    answer(|command: Recorder| match command {
        Recorder::Script(script) => {
            tape.script(script);
            None
        }
        Recorder::Got => Some(tape.got()),
    })
}

/// One connection for each line: sends, listens, closes.
pub fn talk() -> Result<()> {
    answer(
        |Talk {
             to,
             wire,
             pieces,
             limit_ms,
         }: Talk| {
            let Ok(mut stream) = TcpStream::connect_timeout(&to, Duration::from_secs(5)) else {
                return None;
            };
            Some::<Heard>(talk_on(&mut stream, &wire, pieces, Duration::from_millis(limit_ms)))
        },
    )
}

fn answer<C: DeserializeOwned, A: Serialize>(mut run: impl FnMut(C) -> A) -> Result<()> {
    let mut output = std::io::stdout();
    for line in std::io::stdin().lock().lines() {
        let answer = run(serde_json::from_str(&line?)?);
        writeln!(output, "{}", serde_json::to_string(&answer)?)?;
        output.flush()?;
    }
    Ok(())
}
