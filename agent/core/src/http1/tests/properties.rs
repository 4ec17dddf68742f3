use proptest::prelude::*;

use super::body::run;
use super::*;

/// Heads that are likely to be nearly right.
fn head_bytes() -> impl Strategy<Value = Vec<u8>> {
    let line = prop::sample::select(vec![
        "GET / HTTP/1.1\r\n",
        "POST /a/../%7e//b?x=1 HTTP/1.1\r\n",
        "GET http://a:8080/x HTTP/1.1\r\n",
        "OPTIONS * HTTP/1.1\r\n",
        "HEAD /a%2fb HTTP/1.1\r\n",
        "PUT / HTTP/1.0\r\n",
        "GET / HTTP/2.0\r\n",
        "GET  / HTTP/1.1\r\n",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 304\r\n",
        "HTTP/1.0 500 No\r\n",
        "HTTP/1.1 103 Hints\r\n",
    ]);
    let field = prop::sample::select(vec![
        "Host: a:8080\r\n",
        "host: b\r\n",
        "Content-Length: 5\r\n",
        "Content-Length: 05\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Connection: close, x-a\r\n",
        "Connection: keep-alive\r\n",
        "Upgrade: h2c\r\n",
        "TE: trailers\r\n",
        "Trailer: x-b\r\n",
        "Expect: 100-continue\r\n",
        "X-A:   1\t\r\n",
        "x-b:\r\n",
        "x-b: \u{e9}\r\n",
        "X-Weir-User: me\r\n",
        "X: 1\n",
        "X: 1\r",
        " folded\r\n",
        "X : 1\r\n",
        ": 1\r\n",
        "X: \0\r\n",
    ]);
    (
        line,
        prop::collection::vec(field, 0..5),
        any::<bool>(),
        prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
    )
        .prop_map(|(line, fields, host, flip)| {
            let mut bytes = line.as_bytes().to_vec();
            if host {
                bytes.extend_from_slice(b"Host: a:8080\r\n");
            }
            fields
                .iter()
                .for_each(|field| bytes.extend_from_slice(field.as_bytes()));
            bytes.extend_from_slice(b"\r\n");
            if let Some((at, byte)) = flip {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes
        })
}

/// Every part of a head that says what the message is.
fn meaning(bytes: &[u8], limits: &Limits) -> Result<Option<String>, HeadError> {
    Ok(parse_request(bytes, limits)?.map(|head| format!("{head:?} {:?}", head.fields.iter().collect::<Vec<_>>())))
}

/// Chunks with their sizes spelt in some way, extensions and trailers; and the data in them.
fn chunked() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let chunk = (
        prop::collection::vec(any::<u8>(), 1..40),
        0_usize..4,
        "(;[a-z]{0,5}(=\"[ a-z]{0,5}\")?)?",
    );
    (prop::collection::vec(chunk, 0..8), "(X-[A-Z]: [a-z]{0,8}\r\n){0,3}").prop_map(|(chunks, trailers)| {
        let (mut wire, mut data) = (Vec::new(), Vec::new());
        for (bytes, zeros, extension) in chunks {
            wire.extend_from_slice(format!("{}{:X}{extension}\r\n", "0".repeat(zeros), bytes.len()).as_bytes());
            wire.extend_from_slice(&bytes);
            wire.extend_from_slice(b"\r\n");
            data.extend_from_slice(&bytes);
        }
        wire.extend_from_slice(format!("0\r\n{trailers}\r\n").as_bytes());
        (wire, data)
    })
}

fn cuts() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(0_usize..400, 0..12).prop_map(|mut cuts| {
        cuts.sort_unstable();
        cuts
    })
}

proptest! {
    #[test]
    fn a_prefix_asks_for_more_or_says_what_the_whole_says(bytes in head_bytes(), limit in 16_usize..200) {
        let limits = Limits { head_bytes: limit, ..Limits::default() };
        let whole = meaning(&bytes, &limits);
        for end in 0..bytes.len() {
            let part = meaning(&bytes[..end], &limits);
            prop_assert!(part == Ok(None) || part == whole, "{end}: {part:?} is not {whole:?}");
        }
    }

    #[test]
    fn bytes_behind_a_head_do_not_change_it(bytes in head_bytes(), behind in prop::collection::vec(any::<u8>(), 0..9)) {
        let limits = Limits::default();
        let whole = meaning(&bytes, &limits);
        if whole != Ok(None) {
            prop_assert_eq!(meaning(&[bytes, behind].concat(), &limits), whole);
        }
    }

    #[test]
    fn a_request_that_was_written_is_written_the_same_again(bytes in head_bytes()) {
        if let Ok(Some(_)) = parse_request(&bytes, &Limits::default()) {
            let once = forwarded_bytes(&bytes);
            prop_assert_eq!(forwarded_bytes(&once), once);
        }
    }

    #[test]
    fn what_is_forwarded_means_what_was_judged(bytes in head_bytes()) {
        if let Ok(Some(before)) = parse_request(&bytes, &Limits::default()) {
            let written = forwarded_bytes(&bytes);
            let after = request(&written).unwrap();
            prop_assert_eq!((before.method, &before.path, before.query), (after.method, &after.path, after.query));
            prop_assert_eq!(before.framing, after.framing);
            prop_assert!(before.authority.is_none() || before.authority == after.authority);
            let kept = |head: &RequestHead<'_>| {
                let fields = head.fields.iter().filter(|(name, _)| !name.eq_ignore_ascii_case(b"trailer"));
                fields.map(|(name, value)| (name.to_vec(), value.to_vec())).collect::<Vec<_>>()
            };
            prop_assert_eq!(kept(&before), kept(&after));
            prop_assert_eq!(after.head_len, written.len());
        }
    }

    #[test]
    fn a_response_that_was_written_is_written_the_same_again(bytes in head_bytes(), old: bool, head_request: bool) {
        let version = if old { Version::Http10 } else { Version::Http11 };
        let write = |bytes: &[u8]| {
            let head = parse_response(bytes, head_request, &Limits::default()).ok()??;
            let mut out = Vec::new();
            let sent = write_response(&head, Downstream { version, keep_alive: head.keep_alive || head.is_interim() }, &mut out);
            Some((out, sent.keep_alive))
        };
        if let Some((once, keeps)) = write(&bytes) {
            let (twice, still) = write(&once).expect("what we write can be read");
            prop_assert_eq!(twice, once);
            prop_assert_eq!(still, keeps);
        }
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), head_request: bool) {
        let _ = parse_request(&bytes, &Limits::default());
        let _ = parse_response(&bytes, head_request, &Limits::default());
        let _ = run(Framing::Chunked, BodyMode::Wire, &bytes, &[7, 9]);
        let _ = crate::detect::detect(&bytes);
    }

    #[test]
    fn any_chunking_and_any_cut_gives_the_same_data((wire, data) in chunked(), cuts in cuts()) {
        let (out, end) = run(Framing::Chunked, BodyMode::Data, &wire, &cuts).unwrap();
        prop_assert_eq!(&out, &data);
        prop_assert_eq!(end, Some(wire.len()));

        let (canonical, end) = run(Framing::Chunked, BodyMode::Wire, &wire, &cuts).unwrap();
        prop_assert_eq!(end, Some(wire.len()));
        prop_assert_eq!(run(Framing::Chunked, BodyMode::Wire, &canonical, &[]), Ok((canonical.clone(), Some(canonical.len()))));
        prop_assert_eq!(run(Framing::Chunked, BodyMode::Data, &canonical, &[]).map(|(out, _)| out), Ok(data));
    }

    #[test]
    fn a_broken_chunking_is_refused_in_any_cut(
        (mut wire, _) in chunked(),
        at in any::<prop::sample::Index>(),
        byte: u8,
        cuts in cuts(),
    ) {
        let at = at.index(wire.len());
        wire[at] = byte;
        let whole = run(Framing::Chunked, BodyMode::Wire, &wire, &[]);
        prop_assert_eq!(run(Framing::Chunked, BodyMode::Wire, &wire, &cuts), whole);
    }

    #[test]
    fn a_length_takes_its_bytes_and_no_more(length in 0_usize..300, bytes in prop::collection::vec(any::<u8>(), 300), cuts in cuts()) {
        let (out, end) = run(Framing::Length(length as u64), BodyMode::Wire, &bytes, &cuts).unwrap();
        prop_assert_eq!((&out[..], end), (&bytes[..length], Some(length)));
    }
}

fn forwarded_bytes(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write_request(
        &request(bytes).unwrap(),
        Upstream {
            authority: b"10.0.0.1:80",
            close: false,
        },
        &mut out,
    );
    out
}
