//! The fuzz targets' checks without a fuzzer: over their seeds, over mutated seeds, and over what fuzzing has found.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use proptest::sample::Index;
use weir_checks::{ALL, Check, seeds};

/// Keeps each input that ever failed: `found/TARGET/NAME`, any bytes.
#[test]
fn what_fuzzing_has_found_stays_good() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("found");
    let mut ran = 0;
    for (name, check) in ALL {
        let Ok(files) = fs::read_dir(root.join(name)) else {
            continue;
        };
        for file in files {
            check(&fs::read(file.expect("readable").path()).expect("readable"));
            ran += 1;
        }
    }
    for folder in fs::read_dir(root)
        .expect("found/ is there")
        .flatten()
        .filter(|entry| entry.path().is_dir())
    {
        let known = ALL.iter().any(|(name, _)| folder.file_name() == *name);
        assert!(known, "{}: no check has that name", folder.path().display());
    }
    println!("{ran} inputs");
}

#[test]
fn every_seed_is_good() {
    for (name, check) in ALL {
        let seeds = seeds::of(name);
        assert!(seeds.len() > 20, "{name}: only {} seeds", seeds.len());
        seeds.iter().for_each(|seed| check(seed));
    }
}

/// Tokens that change what a message is, where they land.
const PIECES: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b":",
    b",",
    b";",
    b"0",
    b"5",
    b"\r\n\r\n",
    b"0\r\n\r\n",
    b"chunked",
    b"Transfer-Encoding: chunked\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: 0\r\n",
    b"Host: a\r\n",
    b"Connection: close\r\n",
    b"Connection: keep-alive\r\n",
    b"Expect: 100-continue\r\n",
    b"HTTP/1.0",
    b"HTTP/1.1",
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"%2e",
    b"%2f",
    b"..",
    b"/",
    b"//",
    b"?",
    b"#",
    b"http://a",
    b"_",
    b"\xff",
];

/// A seed, or two one behind the other, with bytes changed, pieces put in and parts taken out.
fn mutated(name: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let seeds = seeds::of(name);
    let change = (any::<Index>(), 0_usize..4, any::<Index>(), any::<u8>());
    let seed = prop::sample::select(seeds);
    (
        seed.clone(),
        prop::option::of(seed),
        prop::collection::vec(change, 0..4),
    )
        .prop_map(|(mut bytes, more, changes)| {
            bytes.extend(more.unwrap_or_default());
            for (at, what, piece, byte) in changes {
                let at = at.index(bytes.len() + 1);
                match what {
                    0 if at < bytes.len() => bytes[at] = byte,
                    1 if at < bytes.len() => drop(bytes.remove(at)),
                    2 => drop(bytes.drain(at..bytes.len().min(at + usize::from(byte % 16)))),
                    _ => drop(bytes.splice(at..at, piece.get(PIECES).iter().copied())),
                }
            }
            bytes
        })
}

fn run(name: &'static str, cases: u32) {
    let check: Check = ALL.iter().find(|(known, _)| *known == name).expect("a check").1;
    let config = ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let outcome = runner.run(&mutated(name), |bytes| {
        check(&bytes);
        Ok(())
    });
    if let Err(error) = outcome {
        let proptest::test_runner::TestError::Fail(reason, bytes) = error else {
            panic!("{error}");
        };
        panic!("{reason}: \"{}\"", bytes.escape_ascii());
    }
}

#[test]
fn mutated_heads_are_read_the_same_in_every_cut() {
    run("head", 1000);
}

#[test]
fn mutated_bodies_are_read_the_same_in_every_cut() {
    run("body", 5000);
}

#[test]
fn mutated_paths_have_one_reading() {
    run("path", 10_000);
}

#[test]
fn mutated_first_bytes_are_told_once() {
    run("detect", 5000);
}

#[test]
fn mutated_hellos_have_one_name() {
    run("sni", 2000);
}

#[test]
fn mutated_manifests_leave_nothing_behind() {
    run("manifests", 300);
}

#[test]
fn hyper_reads_mutated_requests_as_we_do() {
    run("differential", 10_000);
}
