use super::*;
use proptest::prelude::*;

fn canonical(path: &str) -> Result<String, PathError> {
    canonicalise(path.as_bytes()).map(|path| String::from_utf8_lossy(&path).into_owned())
}

#[test]
fn each_row_of_the_table_is_kept_or_rewritten() {
    for (path, expected) in [
        ("/", "/"),
        ("/a/b-c_d.e~f", "/a/b-c_d.e~f"),
        ("/a!$&'()*+,=:@", "/a!$&'()*+,=:@"),
        ("/%61%7e%7E", "/a~~"),
        ("/%3a%2c%20%25", "/%3A%2C%20%25"),
        ("/a/%2e%2E/b", "/b"),
        ("/a/%2e/b", "/a/b"),
        ("/%252e%252e/b", "/%252e%252e/b"),
        ("/%25%32%65", "/%252e"),
        ("/caf%c3%a9", "/caf%C3%A9"),
        ("//a///b//", "/a/b/"),
        ("/a/.", "/a/"),
        ("/a/..", "/"),
        ("/a/b/../../c/", "/c/"),
        ("/.", "/"),
        ("/a;x=1/b", "/a;x=1/b"),
        ("/.well-known/...", "/.well-known/..."),
        ("/a/..b/.c", "/a/..b/.c"),
        ("/%3Fq%23", "/%3Fq%23"),
    ] {
        assert_eq!(canonical(path).as_deref(), Ok(expected), "{path}");
    }
}

#[test]
fn each_row_of_the_table_that_is_in_doubt_is_refused() {
    for (path, expected) in [
        ("", PathError::NotAbsolute),
        ("a/b", PathError::NotAbsolute),
        ("*", PathError::NotAbsolute),
        ("/a%2Fb", PathError::EscapedSlash),
        ("/a%2fb", PathError::EscapedSlash),
        ("/a%5cb", PathError::EscapedSlash),
        ("/a\\b", PathError::Byte),
        ("/a#b", PathError::Byte),
        ("/a b", PathError::Byte),
        ("/a|b", PathError::Byte),
        ("/é", PathError::Byte),
        ("/a%00", PathError::EscapedControl),
        ("/a%0d%0aX", PathError::EscapedControl),
        ("/a%7f", PathError::EscapedControl),
        ("/%zz", PathError::Escape),
        ("/%4", PathError::Escape),
        ("/%", PathError::Escape),
        ("/%+1", PathError::Escape),
        ("/%e9", PathError::NotUtf8),
        ("/%c0%af", PathError::NotUtf8),
        ("/%e0%80%af", PathError::NotUtf8),
        ("/%ed%a0%80", PathError::NotUtf8),
        ("/%c3a", PathError::NotUtf8),
        ("/%80", PathError::NotUtf8),
        ("/..", PathError::AboveRoot),
        ("/a/../../b", PathError::AboveRoot),
        ("/%2e%2e/b", PathError::AboveRoot),
        ("/a/..;/b", PathError::Parameter),
        ("/a/.;x/b", PathError::Parameter),
        ("/a/;x/b", PathError::Parameter),
        ("/a/%2e%2e%3b/b", PathError::Parameter),
    ] {
        assert_eq!(canonical(path), Err(expected), "{path}");
    }
}

#[test]
fn a_canonical_path_is_borrowed() {
    for path in ["/", "/a/b/", "/a%20b/caf%C3%A9;v=1", "/%252e"] {
        assert!(matches!(canonicalise(path.as_bytes()), Ok(Cow::Borrowed(_))), "{path}");
    }
}

/// Pieces that make the interesting paths likely.
fn piece() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "/", "//", ".", "..", "%2e", "%2E", "%25", "2e", "a", "Bc", ";", "%3b", "%41", "%c3%a9", "%20", "~", "=", "%3a",
    ])
}

proptest! {
    #[test]
    fn canonicalising_twice_changes_nothing(pieces in prop::collection::vec(piece(), 0..14)) {
        let path = format!("/{}", pieces.concat());
        if let Ok(once) = canonicalise(path.as_bytes()) {
            let twice = canonicalise(&once).map(Cow::into_owned);
            prop_assert_eq!(twice.as_deref(), Ok(&*once));
            prop_assert!(matches!(canonicalise(&once), Ok(Cow::Borrowed(_))));
        }
    }

    #[test]
    fn a_canonical_path_has_no_dot_segment_and_no_empty_one(pieces in prop::collection::vec(piece(), 0..14)) {
        let path = format!("/{}", pieces.concat());
        if let Ok(path) = canonicalise(path.as_bytes()) {
            let segments: Vec<_> = path.split(|&byte| byte == b'/').skip(1).collect();
            let (last, inner) = segments.split_last().unwrap();
            prop_assert!(inner.iter().all(|segment| !segment.is_empty()));
            prop_assert!(segments.iter().all(|segment| ![&b"."[..], b".."].contains(segment)));
            prop_assert!(last.is_empty() || inner.iter().chain([last]).all(|segment| !segment.is_empty()));
        }
    }

    #[test]
    fn no_bytes_panic(path in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = canonicalise(&path);
    }
}
