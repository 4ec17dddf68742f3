use proptest::prelude::*;

use super::*;

fn with_length16(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat()
}

fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &with_length16(data)].concat()
}

fn sni(name: &[u8]) -> Vec<u8> {
    extension(0, &with_length16(&[&[0][..], &with_length16(name)].concat()))
}

/// The handshake message, with its head.
fn hello(extensions: &[Vec<u8>]) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([4, 1, 2, 3, 4]);
    body.extend(with_length16(&[0x13, 0x01, 0x13, 0x02]));
    body.extend([1, 0]);
    body.extend(with_length16(&extensions.concat()));
    let length = (body.len() as u32).to_be_bytes();
    [&[1, length[1], length[2], length[3]][..], &body].concat()
}

/// Records of at most `most` bytes each.
fn records(message: &[u8], most: usize) -> Vec<u8> {
    let record = |part: &[u8]| [&[22, 3, 1][..], &with_length16(part)].concat();
    message.chunks(most).flat_map(record).collect()
}

fn named(name: &str) -> Hello {
    Hello::Name(name.to_owned())
}

#[test]
fn a_name_is_found_among_other_extensions() {
    let message = hello(&[
        extension(10, &[0, 2, 0, 29]),
        sni(b"Store.Shop.svc"),
        extension(43, &[2, 3, 4]),
    ]);
    assert_eq!(server_name(&records(&message, 9999)), named("store.shop.svc"));
}

#[test]
fn what_has_no_name_is_nameless() {
    assert_eq!(server_name(&records(&hello(&[]), 9999)), Hello::Nameless);
    assert_eq!(
        server_name(&records(&hello(&[extension(10, &[])]), 9999)),
        Hello::Nameless
    );
    let other_kind = extension(0, &with_length16(&[&[1][..], &with_length16(b"x")].concat()));
    assert_eq!(server_name(&records(&hello(&[other_kind]), 9999)), Hello::Nameless);
    // Before TLS 1.2 there may be no extensions at all.
    let mut old = hello(&[]);
    old.truncate(old.len() - 2);
    old[3] -= 2;
    assert_eq!(server_name(&records(&old, 9999)), Hello::Nameless);
}

#[test]
fn what_cannot_be_read_is_other() {
    for name in [
        &b""[..],
        b"a b",
        b"a\nb",
        b"a\0",
        "ü.example".as_bytes(),
        b"<script>",
        &[b'a'; 254],
    ] {
        assert_eq!(
            server_name(&records(&hello(&[sni(name)]), 9999)),
            Hello::Other,
            "{name:?}"
        );
    }
    let mut good = records(&hello(&[sni(b"store")]), 9999);
    assert_eq!(server_name(&good), named("store"));
    good[5] = 2;
    assert_eq!(server_name(&good), Hello::Other, "a ServerHello");
    assert_eq!(server_name(b"GET / HTTP/1.1\r\n"), Hello::Other);
    assert_eq!(server_name(&[22, 2]), Hello::Other);
    assert_eq!(server_name(&[22, 3, 1, 0, 0]), Hello::Other, "an empty record");
    assert_eq!(
        server_name(&[22, 3, 1, 0, 4, 1, 1, 0, 0]),
        Hello::Other,
        "64 KiB are announced"
    );
    // An extension that ends behind its list.
    let mut cut = hello(&[sni(b"store")]);
    let at = cut.len() - 5 - 5;
    cut[at + 3] = 200;
    assert_eq!(server_name(&records(&cut, 9999)), Hello::Other);
}

#[test]
fn something_else_between_the_records_is_other() {
    let message = hello(&[sni(b"store")]);
    let mut bytes = records(&message[..10], 9999);
    bytes.extend([23, 3, 3, 0, 1, 0]);
    bytes.extend(records(&message[10..], 9999));
    assert_eq!(server_name(&bytes), Hello::Other);
}

#[test]
fn no_more_than_the_bound_is_asked_for() {
    // One byte in each record: the message is short, and does not come to its end within the bound.
    let message = hello(&[extension(21, &[0; 4000]), sni(b"late")]);
    let bytes = records(&message, 1);
    assert_eq!(server_name(&bytes[..MAX_HELLO - 1]), Hello::NeedMore);
    assert_eq!(server_name(&bytes[..MAX_HELLO]), Hello::Other);
}

proptest! {
    #[test]
    fn any_cut_into_records_and_segments_gives_the_same_name(
        name in "[a-z][a-z0-9.-]{0,60}",
        record in 1_usize..300,
        padding in 0_usize..200,
    ) {
        let message = hello(&[extension(21, &vec![0; padding]), sni(name.as_bytes())]);
        let bytes = records(&message, record);
        for end in 0..bytes.len() {
            prop_assert_eq!(server_name(&bytes[..end]), Hello::NeedMore, "{} of {}", end, bytes.len());
        }
        prop_assert_eq!(server_name(&bytes), Hello::Name(name.clone()));
        let behind = [&bytes[..], b"anything"].concat();
        prop_assert_eq!(server_name(&behind), Hello::Name(name));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8)) {
        server_name(&bytes);
        let mut bytes = records(&hello(&[sni(b"store")]), 40);
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        server_name(&bytes);
    }
}
