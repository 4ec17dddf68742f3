//! Heads and bodies in every cut, and the first bytes of a connection.

use weir_core::detect::{Detected, MAX_PREFIX, detect};
use weir_core::http1::{
    Body, BodyMode, Downstream, Framing, Limits, Version, parse_request, parse_response, write_response,
};
use weir_core::tls::{Hello, MAX_HELLO, server_name};

/// A prefix asks for more or says what the whole says; what is written is read again and written the same.
///
/// # Panics
/// It is not so.
pub fn heads(bytes: &[u8]) {
    // Small limits, so that they are met.
    let limits = Limits {
        head_bytes: 512,
        headers: 12,
        ..Limits::default()
    };
    let request = |bytes: &[u8]| parse_request(bytes, &limits).map(|head| head.map(|head| format!("{head:?}")));
    let whole = request(bytes);
    for end in 0..bytes.len().min(600) {
        let part = request(&bytes[..end]);
        assert!(part == Ok(None) || part == whole, "{end}: {part:?} is not {whole:?}");
    }
    for (head_request, version) in [(false, Version::Http11), (true, Version::Http10)] {
        let response = |bytes: &[u8]| {
            parse_response(bytes, head_request, &limits).map(|head| head.map(|head| format!("{head:?}")))
        };
        let whole = response(bytes);
        for end in 0..bytes.len().min(600) {
            let part = response(&bytes[..end]);
            assert!(part == Ok(None) || part == whole, "{end}: {part:?} is not {whole:?}");
        }
        let write = |bytes: &[u8]| {
            let head = parse_response(bytes, head_request, &Limits::default()).ok()??;
            let keep_alive = head.keep_alive || head.is_interim();
            let mut out = Vec::new();
            let sent = write_response(&head, Downstream { version, keep_alive }, &mut out);
            Some((out, sent.keep_alive, head.framing))
        };
        if let Some((once, keeps, framing)) = write(bytes) {
            let (twice, still, read) = write(&once).expect("what we write, we can read");
            assert_eq!((&twice, still), (&once, keeps), "{}", once.escape_ascii());
            // An HTTP/1.0 client gets chunks as data.
            assert!(read == framing || version == Version::Http10 && framing == Framing::Chunked);
        }
    }
}

/// The first two bytes choose a cut and a framing; the rest is a body. Any cut gives the same bytes, the same end and the
/// same fault, and what is forwarded of chunks is a body of its own, without extensions.
///
/// # Panics
/// It is not so.
pub fn bodies(bytes: &[u8]) {
    let [cut, kind, wire @ ..] = bytes else { return };
    let framing = match kind % 4 {
        0 => Framing::Length(u64::from(*kind)),
        1 => Framing::UntilClose,
        _ => Framing::Chunked,
    };
    for mode in [BodyMode::Wire, BodyMode::Data] {
        let whole = run(framing, mode, wire, wire.len().max(1));
        let cut = run(framing, mode, wire, usize::from(*cut).max(1));
        let single = run(framing, mode, wire, 1);
        assert_eq!(cut.1, whole.1, "the end");
        assert_eq!(single.1, whole.1, "the end, byte by byte");
        if whole.1.is_ok() {
            assert_eq!(cut.0, whole.0);
            assert_eq!(single.0, whole.0);
        } else {
            assert!(single.0.starts_with(&whole.0) || whole.0.starts_with(&single.0));
        }
    }
    let (canonical, end) = run(framing, BodyMode::Wire, wire, wire.len().max(1));
    if let (Ok(Some(_)), Framing::Chunked) = (end, framing) {
        let again = run(framing, BodyMode::Wire, &canonical, canonical.len());
        assert_eq!(again, (canonical.clone(), Ok(Some(canonical.len()))), "twice");
        let data = run(framing, BodyMode::Data, wire, wire.len()).0;
        assert_eq!(run(framing, BodyMode::Data, &canonical, 7).0, data, "the data in it");
    }
}

/// What is forwarded, and where the body ends (`None`: it goes on) or that it is broken.
fn run(framing: Framing, mode: BodyMode, wire: &[u8], piece: usize) -> (Vec<u8>, Result<Option<usize>, String>) {
    let limits = Limits {
        chunk_line_bytes: 24,
        trailer_bytes: 96,
        headers: 4,
        ..Limits::default()
    };
    let mut body = Body::new(framing, mode, &limits);
    let (mut at, mut seen, mut out) = (0, 0, Vec::new());
    loop {
        let step = match body.advance(&wire[at..seen]) {
            Ok(step) => step,
            Err(error) => return (out, Err(error.to_string())),
        };
        assert!(at + step.consumed() <= seen, "no more than there is");
        out.extend_from_slice(&wire[at + step.skip..at + step.consumed()]);
        at += step.consumed();
        if body.is_done() {
            return (out, Ok(Some(at)));
        }
        if step.consumed() == 0 {
            if seen == wire.len() {
                return (out, Ok(None));
            }
            seen = wire.len().min(seen + piece);
        }
    }
}

/// More bytes never change an answer, no more than a bound are asked for, and what our codec takes for a request is HTTP.
///
/// # Panics
/// It is not so.
pub fn detection(bytes: &[u8]) {
    let mut settled = Detected::NeedMore;
    for end in 0..=bytes.len().min(MAX_PREFIX + 8) {
        let answer = detect(&bytes[..end]);
        if settled != Detected::NeedMore {
            assert_eq!(answer, settled, "{end} bytes of {}", bytes.escape_ascii());
        }
        assert!(
            answer != Detected::NeedMore || end < MAX_PREFIX,
            "asks for more than it may"
        );
        settled = answer;
    }
    if let Ok(Some(_)) = parse_request(bytes, &Limits::default()) {
        assert_eq!(detect(bytes), Detected::Http1, "{}", bytes.escape_ascii());
    }
}

/// A server name is told once, from no more bytes than may be asked for, and is a name.
///
/// # Panics
/// It is not so.
pub fn server_names(bytes: &[u8]) {
    let mut settled = Hello::NeedMore;
    for end in 0..=bytes.len() {
        let answer = server_name(&bytes[..end]);
        assert!(
            settled == Hello::NeedMore || answer == settled,
            "{end}: {answer:?}, not {settled:?}"
        );
        assert!(
            answer != Hello::NeedMore || end < MAX_HELLO,
            "asks for more than it may"
        );
        if let Hello::Name(name) = &answer {
            let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
            assert!((1..=253).contains(&name.len()) && name.bytes().all(good), "{name}");
        }
        settled = answer;
    }
}
