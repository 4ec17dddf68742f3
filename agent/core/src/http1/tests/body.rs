use super::*;

/// Runs a body over `wire` in pieces that end at `cuts`, as an engine does: what was not consumed comes again.
/// Gives what was forwarded and how many bytes the message had, or `None` for the bytes if it did not end.
pub(super) fn run(
    framing: Framing,
    mode: BodyMode,
    wire: &[u8],
    cuts: &[usize],
) -> Result<(Vec<u8>, Option<usize>), BodyError> {
    let mut body = Body::new(framing, mode, &Limits::default());
    let (mut at, mut out) = (0, Vec::new());
    for &end in cuts.iter().chain([&wire.len()]) {
        let end = end.clamp(at, wire.len());
        loop {
            let input = &wire[at..end];
            let step = body.advance(input)?;
            assert!(step.consumed() <= input.len());
            out.extend_from_slice(&input[step.skip..step.consumed()]);
            at += step.consumed();
            if step.done {
                return Ok((out, Some(at)));
            }
            if step.consumed() == 0 {
                break;
            }
        }
    }
    Ok((out, None))
}

fn wire(wire: &[u8]) -> Result<(Vec<u8>, Option<usize>), BodyError> {
    run(Framing::Chunked, BodyMode::Wire, wire, &[])
}

#[test]
fn each_doubtful_chunk_is_refused() {
    for (error, bytes) in [
        (BodyError::ChunkSize, &b"\r\n"[..]),
        (BodyError::ChunkSize, b";ext\r\n"),
        (BodyError::ChunkSize, b"+5\r\nhello\r\n"),
        (BodyError::ChunkSize, b"-5\r\nhello\r\n"),
        (BodyError::ChunkSize, b"0x5\r\nhello\r\n"),
        (BodyError::ChunkSize, b" 5\r\nhello\r\n"),
        (BodyError::ChunkSize, b"5 \r\nhello\r\n"),
        (BodyError::ChunkSize, b"5 ;x\r\nhello\r\n"),
        (BodyError::ChunkSize, b"5\nhello\r\n"),
        (BodyError::ChunkSize, b"5\rhello\r\n"),
        (BodyError::ChunkSize, b"5\r\rhello\r\n"),
        (BodyError::ChunkSize, b"5;a\nhello\r\n"),
        (BodyError::ChunkSize, b"5;a\0\r\nhello\r\n"),
        (BodyError::ChunkSize, b"g\r\n"),
        (BodyError::ChunkSize, b"8000000000000000\r\n"),
        (BodyError::ChunkSize, b"10000000000000005\r\nhello\r\n"),
        (BodyError::ChunkEnd, b"5\r\nhelloo\r\n"),
        (BodyError::ChunkEnd, b"5\r\nhello\n0\r\n\r\n"),
        (BodyError::ChunkEnd, b"5\r\nhello0\r\n\r\n"),
        (BodyError::ChunkEnd, b"5\r\nhello\rX"),
        (BodyError::Trailer, b"0\r\n\n"),
        (BodyError::Trailer, b"0\r\nX: 1\n\r\n"),
        (BodyError::Trailer, b"0\r\nX : 1\r\n\r\n"),
        (BodyError::Trailer, b"0\r\n: 1\r\n\r\n"),
        (BodyError::Trailer, b"0\r\n X: 1\r\n\r\n"),
        (BodyError::Trailer, b"0\r\nX: 1\r\n 2\r\n\r\n"),
        (BodyError::Trailer, b"0\r\nGET / HTTP/1.1\r\n\r\n"),
        (BodyError::TrailerField, b"0\r\nContent-Length: 5\r\n\r\n"),
        (
            BodyError::TrailerField,
            b"0\r\nX: 1\r\ntransfer_encoding: chunked\r\n\r\n",
        ),
        (BodyError::TrailerField, b"0\r\nHost: b\r\n\r\n"),
        (BodyError::TrailerField, b"0\r\nX-Weir-Identity: me\r\n\r\n"),
        (BodyError::TrailerField, b"0\r\nAuthorization: me\r\n\r\n"),
        (BodyError::TrailerField, b"0\r\ncontent-type: text/html\r\n\r\n"),
    ] {
        assert_eq!(wire(bytes), Err(error), "{}", bytes.escape_ascii());
        let cut = run(
            Framing::Chunked,
            BodyMode::Data,
            bytes,
            &(0..bytes.len()).collect::<Vec<_>>(),
        );
        assert_eq!(cut, Err(error), "byte by byte: {}", bytes.escape_ascii());
    }
}

#[test]
fn a_line_or_a_trailer_section_over_its_limit_is_refused() {
    assert_eq!(wire(&b"0".repeat(300)), Err(BodyError::ChunkLine));
    assert_eq!(
        wire(format!("5;{}", "x".repeat(300)).as_bytes()),
        Err(BodyError::ChunkLine)
    );
    assert_eq!(
        wire(format!("0\r\nX: {}", "x".repeat(9000)).as_bytes()),
        Err(BodyError::TrailerSize)
    );
    assert_eq!(
        wire(format!("0\r\n{}\r\n", "X: 1\r\n".repeat(101)).as_bytes()),
        Err(BodyError::TrailerSize)
    );
}

#[test]
fn chunks_are_forwarded_as_they_are_and_extensions_are_cut_out() {
    let plain = b"5\r\nhello\r\n00A\r\n, my world\r\n0\r\nX-Sum: 1\r\n\r\n";
    assert_eq!(wire(plain), Ok((plain.to_vec(), Some(plain.len()))));
    let mut body = Body::new(Framing::Chunked, BodyMode::Wire, &Limits::default());
    let whole = Step {
        skip: 0,
        forward: plain.len(),
        done: true,
    };
    assert_eq!(body.advance(plain), Ok(whole), "one run, one write");

    let (out, end) = wire(b"5;a=b; c=\"d\"\r\nhello\r\n0;x\r\n\r\n").unwrap();
    assert_eq!((&out[..], end), (&b"5\r\nhello\r\n0\r\n\r\n"[..], Some(28)));
}

#[test]
fn an_old_client_gets_the_data_alone() {
    let (out, _) = run(
        Framing::Chunked,
        BodyMode::Data,
        b"5;x\r\nhello\r\n6\r\n world\r\n0\r\nX: 1\r\n\r\n",
        &[],
    )
    .unwrap();
    assert_eq!(out, b"hello world");
}

#[test]
fn what_follows_a_message_is_not_of_it() {
    for (framing, bytes, end) in [
        (Framing::Empty, &b"GET /"[..], 0),
        (Framing::Length(0), b"GET /", 0),
        (Framing::Length(5), b"helloGET /", 5),
        (Framing::Chunked, b"0\r\n\r\nGET /", 5),
        (Framing::Chunked, b"1\r\na\r\n0\r\nX: 1\r\n\r\n0\r\n\r\n", 17),
    ] {
        let (out, ended) = run(framing, BodyMode::Wire, bytes, &[]).unwrap();
        assert_eq!((&out[..], ended), (&bytes[..end], Some(end)));
    }
}

#[test]
fn a_close_ends_only_the_body_that_it_frames() {
    let limits = Limits::default();
    let mut until_close = Body::new(Framing::UntilClose, BodyMode::Wire, &limits);
    assert_eq!(
        until_close.advance(b"abc"),
        Ok(Step {
            skip: 0,
            forward: 3,
            done: false
        })
    );
    assert_eq!(until_close.close(), Ok(()));
    assert!(until_close.is_done());

    let mut short = Body::new(Framing::Length(5), BodyMode::Wire, &limits);
    assert_eq!(short.advance(b"abc").map(|step| step.forward), Ok(3));
    assert_eq!(short.remaining(), Some(2));
    assert_eq!(short.close(), Err(BodyError::Truncated));

    let mut chunked = Body::new(Framing::Chunked, BodyMode::Wire, &limits);
    assert_eq!(chunked.advance(b"1\r\na\r\n0\r\n").map(|step| step.forward), Ok(9));
    assert_eq!(chunked.close(), Err(BodyError::Truncated));
}
