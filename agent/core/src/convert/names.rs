//! Names as Kubernetes checks them, so that a name in a message, a metric or a lookup is never anything else.

/// RFC 1123 label, as namespaces and Services are called: up to 63 of `a-z`, `0-9` and `-`, no `-` at either end.
pub(super) fn is_label(name: &str) -> bool {
    let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    (1..=63).contains(&name.len()) && name.bytes().all(inner) && !name.starts_with('-') && !name.ends_with('-')
}

/// RFC 1123 subdomain, as nearly everything else is called: labels with dots between, up to 253 in all.
pub(super) fn is_subdomain(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_label)
}

/// RFC 9110 token, as methods and header names are.
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|c| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_rfc_1123() {
        for good in ["a", "0", "shop", "shop-2", &"x".repeat(63)] {
            assert!(is_label(good), "{good}");
        }
        for bad in ["", "-a", "a-", "Shop", "a.b", "a_b", "ä", "a b", &"x".repeat(64)] {
            assert!(!is_label(bad), "{bad}");
        }
    }

    #[test]
    fn subdomains_are_labels_with_dots() {
        assert!(is_subdomain("web.shop.svc.cluster.local"));
        for bad in ["", ".", "a..b", "a.", ".a", "a/b", &"abcdefg.".repeat(40)] {
            assert!(!is_subdomain(bad), "{bad}");
        }
    }

    #[test]
    fn tokens_have_no_separators() {
        assert!(is_token("x-user-agent") && is_token("M-SEARCH") && is_token("*"));
        for bad in ["", "a b", "a:", "a\n", "(a)", "ä"] {
            assert!(!is_token(bad), "{bad}");
        }
    }
}
