//! A plain reading of canonical messages, for runners: how many requests are whole, and which statuses came back.
//!
//! It knows what Weir writes and nothing else: a length, chunks, or no body.

/// The length of each whole request at the start of `bytes`, in order.
pub fn complete_requests(mut bytes: &[u8]) -> Vec<usize> {
    let mut lengths = Vec::new();
    while let Some(length) = message(bytes, false) {
        lengths.push(length);
        bytes = &bytes[length..];
    }
    lengths
}

/// The statuses of the whole responses in `bytes`, interim ones included. A response without a length or chunks takes
/// the rest. `head`: the first final one answers a HEAD.
pub fn answers(mut bytes: &[u8], mut head: bool) -> Vec<u16> {
    let mut statuses = Vec::new();
    while let Some(length) = message(bytes, head) {
        let status = bytes.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok());
        let status = status.and_then(|digits| digits.parse().ok()).unwrap_or(0);
        head &= status < 200;
        statuses.push(status);
        bytes = &bytes[length..];
    }
    statuses
}

/// The length of the message at the start of `bytes`, if it is whole.
fn message(bytes: &[u8], head: bool) -> Option<usize> {
    let end = find(bytes, b"\r\n\r\n")? + 4;
    let response = bytes.starts_with(b"HTTP/");
    let fields = bytes[..end].to_ascii_lowercase();
    let bodiless = response && (bytes[9] == b'1' || &bytes[9..12] == b"204" || &bytes[9..12] == b"304");
    if head && response || bodiless {
        return Some(end);
    }
    if let Some(at) = find(&fields, b"\r\ncontent-length: ") {
        let digits = fields[at + 18..].iter().take_while(|byte| byte.is_ascii_digit());
        let length = digits.fold(0, |length, digit| length * 10 + usize::from(digit - b'0'));
        return (bytes.len() - end >= length).then_some(end + length);
    }
    if find(&fields, b"\r\ntransfer-encoding: chunked\r\n").is_some() {
        return chunks(&bytes[end..]).map(|length| end + length);
    }
    Some(if response { bytes.len() } else { end })
}

fn chunks(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let line = find(&bytes[at..], b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[at..at + line]).ok()?, 16).ok()?;
        at += line + 2;
        if size == 0 {
            break;
        }
        at += size + 2;
        bytes.get(..at)?;
    }
    loop {
        let line = find(&bytes[at..], b"\r\n")?;
        at += line + 2;
        if line == 0 {
            return Some(at);
        }
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_messages_are_counted_and_parts_are_not() {
        let post = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: 1\r\n\r\n";
        assert_eq!(complete_requests(&[crate::GET, post, crate::PROBE].concat()).len(), 3);
        assert_eq!(complete_requests(&post[..post.len() - 1]), Vec::<usize>::new());
        let early = b"HTTP/1.1 103 Hints\r\n\r\n";
        assert_eq!(
            answers(&[early, crate::OK, crate::PROBED].concat(), false),
            [103, 200, 200]
        );
        assert_eq!(answers(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", true), [200]);
    }
}
