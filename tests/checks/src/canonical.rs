//! The canonical form, checked byte by byte by a grammar of its own: nothing here is shared with the codec.

/// `bytes` are `count` canonical requests and nothing else.
pub fn check(mut bytes: &[u8], count: usize) {
    for number in 0..count {
        let end = find(bytes, b"\r\n\r\n").unwrap_or_else(|| panic!("request {number} has no head"));
        let (head, rest) = bytes.split_at(end + 4);
        let framing = check_head(&head[..end]);
        let length = match framing {
            Framing::Length(length) => length,
            Framing::Chunked => chunks(rest),
        };
        bytes = rest
            .get(length..)
            .unwrap_or_else(|| panic!("request {number} is cut short"));
    }
    assert!(bytes.is_empty(), "behind the last request: {}", bytes.escape_ascii());
}

enum Framing {
    Length(usize),
    Chunked,
}

fn check_head(head: &[u8]) -> Framing {
    let text = head.escape_ascii();
    assert!(!head.contains(&0), "NUL: {text}");
    let lines: Vec<&[u8]> = split_lines(head);
    let words: Vec<&[u8]> = lines[0].split(|&byte| byte == b' ').collect();
    assert_eq!(words.len(), 3, "{text}");
    assert!(is_token(words[0]) && words[2] == b"HTTP/1.1", "{text}");
    assert!(words[1] == b"*" || words[1].starts_with(b"/"), "{text}");
    assert!(
        words[1].iter().all(u8::is_ascii_graphic) && !words[1].contains(&b'#'),
        "{text}"
    );
    let mut framing = None;
    for (number, line) in lines[1..].iter().enumerate() {
        let colon = find(line, b": ").unwrap_or_else(|| panic!("no field: {text}"));
        let (name, value) = (&line[..colon], &line[colon + 2..]);
        assert!(is_token(name), "{text}");
        assert_eq!(value, value.trim_ascii(), "{text}");
        assert!(
            value.iter().all(|&byte| byte == b'\t' || byte >= b' ' && byte != 0x7f),
            "{text}"
        );
        let name = name.to_ascii_lowercase();
        assert_eq!(name == b"host", number == 0, "Host comes first and once: {text}");
        match &name[..] {
            b"content-length" => {
                let digits = std::str::from_utf8(value).unwrap();
                let length: usize = digits.parse().unwrap();
                assert_eq!(length.to_string(), digits, "{text}");
                assert!(
                    framing.replace(Framing::Length(length)).is_none(),
                    "framed twice: {text}"
                );
            }
            b"transfer-encoding" => {
                assert_eq!(value, b"chunked", "{text}");
                assert!(framing.replace(Framing::Chunked).is_none(), "framed twice: {text}");
            }
            b"keep-alive" | b"proxy-connection" | b"te" | b"http2-settings" => panic!("of one hop: {text}"),
            b"connection" => assert_eq!(value, b"upgrade", "{text}"),
            b"content_length" | b"transfer_encoding" | b"x-forwarded-client-cert" => panic!("{text}"),
            name if name.starts_with(b"x-weir-") => panic!("{text}"),
            _ => {}
        }
    }
    framing.unwrap_or(Framing::Length(0))
}

/// The length of canonical chunks at the start of `bytes`.
fn chunks(bytes: &[u8]) -> usize {
    let mut at = 0;
    loop {
        let line = find(&bytes[at..], b"\r\n").expect("a chunk's size");
        let digits = &bytes[at..at + line];
        assert!(
            !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit),
            "{}",
            digits.escape_ascii()
        );
        let size = usize::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap();
        at += line + 2;
        if size == 0 {
            break;
        }
        at += size;
        assert_eq!(&bytes[at..at + 2], b"\r\n", "a chunk's end");
        at += 2;
    }
    loop {
        let line = find(&bytes[at..], b"\r\n").expect("trailers");
        let field = &bytes[at..at + line];
        at += line + 2;
        if field.is_empty() {
            return at;
        }
        let colon = find(field, b":").expect("a trailer field");
        assert!(is_token(&field[..colon]), "{}", field.escape_ascii());
        assert!(
            !field.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)),
            "{}",
            field.escape_ascii()
        );
    }
}

fn split_lines(mut head: &[u8]) -> Vec<&[u8]> {
    let mut lines = Vec::new();
    while let Some(end) = find(head, b"\r\n") {
        lines.push(&head[..end]);
        head = &head[end + 2..];
    }
    lines.push(head);
    for line in &lines {
        assert!(
            !line.iter().any(|byte| matches!(byte, b'\r' | b'\n')),
            "{}",
            line.escape_ascii()
        );
        assert!(
            !line.starts_with(b" ") && !line.starts_with(b"\t"),
            "{}",
            line.escape_ascii()
        );
    }
    lines
}

/// RFC 9110 section 5.6.2.
fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty()
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
