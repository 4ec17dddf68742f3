//! Kubernetes quantities (`1`, `500m`, `1e3`, `1.5Ki`), which v1alpha1 of TrafficSplit uses for weights.
//!
//! Grammar: apimachinery `pkg/api/resource/quantity.go`. The result is in thousandths, rounded up as `MilliValue` does.
//! Whole arithmetic only; what does not fit is an error, never a wrong share.

/// The largest weight, in thousandths: 10⁹. Sums of a few thousand of them stay far from the end of 64 bits.
pub(super) const MAX_MILLIS: u64 = 1_000_000_000_000;

/// Reads a quantity. `Err` says what is wrong, to follow the words "weight …".
pub(super) fn parse_millis(text: &str) -> Result<u64, &'static str> {
    let unsigned = match text.as_bytes().first() {
        Some(b'-') if text[1..].bytes().all(|c| c == b'0' || c == b'.') && text.len() > 1 => &text[1..],
        Some(b'-') => return Err("is negative"),
        Some(b'+') => &text[1..],
        _ => text,
    };
    let number_end = unsigned
        .bytes()
        .position(|c| !c.is_ascii_digit() && c != b'.')
        .unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(number_end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
        return Err("is not a number");
    }
    let (power, binary) = scale(suffix).ok_or("has a suffix that quantities don't have")?;

    // value = digits · 10^power · 2^binary thousandths.
    let fraction = fraction.trim_end_matches('0');
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return Ok(0);
    }
    let power = power + 3 - i64::try_from(fraction.len()).unwrap_or(i64::MAX / 2);
    let digits: u128 = if digits.len() > 30 { None } else { digits.parse().ok() }.ok_or("has too many digits")?;
    let millis = if power >= 0 {
        u32::try_from(power)
            .ok()
            .and_then(|power| 10u128.checked_pow(power))
            .and_then(|factor| digits.checked_mul(factor))
            .and_then(|value| value.checked_mul(1 << binary))
    } else {
        // Too small to hold counts as the smallest there is: rounded up, a share that is not zero stays so.
        let divisor = u32::try_from(-power)
            .ok()
            .and_then(|power| 10u128.checked_pow(power))
            .unwrap_or(u128::MAX);
        digits.checked_mul(1 << binary).map(|value| value.div_ceil(divisor))
    };
    match millis.and_then(|millis| u64::try_from(millis).ok()) {
        Some(millis) if millis <= MAX_MILLIS => Ok(millis),
        _ => Err("is larger than 1000000000"),
    }
}

/// The power of ten and of two that a suffix stands for.
fn scale(suffix: &str) -> Option<(i64, u32)> {
    Some(match suffix {
        "" => (0, 0),
        "n" => (-9, 0),
        "u" => (-6, 0),
        "m" => (-3, 0),
        "k" => (3, 0),
        "M" => (6, 0),
        "G" => (9, 0),
        "T" => (12, 0),
        "P" => (15, 0),
        "E" => (18, 0),
        "Ki" => (0, 10),
        "Mi" => (0, 20),
        "Gi" => (0, 30),
        "Ti" => (0, 40),
        "Pi" => (0, 50),
        "Ei" => (0, 60),
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E'])?;
            let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            if digits.is_empty() || digits.len() > 9 || !digits.bytes().all(|c| c.is_ascii_digit()) {
                return None;
            }
            (exponent.parse().ok()?, 0)
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_form_of_a_quantity_reads() {
        for (text, millis) in [
            ("1", 1000),
            ("+1", 1000),
            ("0", 0),
            ("-0", 0),
            ("500m", 500),
            ("0.5", 500),
            (".5", 500),
            ("5.", 5000),
            ("1e3", 1_000_000),
            ("1E3", 1_000_000),
            ("1e+3", 1_000_000),
            ("5e-1", 500),
            ("1k", 1_000_000),
            ("1Ki", 1_024_000),
            ("1.5Ki", 1_536_000),
            ("1M", 1_000_000_000),
            ("1G", 1_000_000_000_000),
            ("1000.0", 1_000_000),
            ("00090", 90_000),
            ("0e999999999", 0),
        ] {
            assert_eq!(parse_millis(text), Ok(millis), "{text}");
        }
    }

    #[test]
    fn what_is_below_a_thousandth_rounds_up() {
        assert_eq!(parse_millis("1n"), Ok(1));
        assert_eq!(parse_millis("1.0001"), Ok(1001));
        assert_eq!(parse_millis("1e-99"), Ok(1));
    }

    #[test]
    fn what_is_no_weight_is_an_error() {
        for text in [
            "", ".", "m", "-1", "-0.1", "-500m", "1x", "1e", "1e1.5", "1 ", " 1", "1_000", "1,5", "0x10", "1.2.3",
            "NaN", "inf",
        ] {
            assert!(parse_millis(text).is_err(), "{text:?}");
        }
        for text in [
            "2G",
            "1E",
            "1e99",
            "1e999999999",
            "1Ei",
            &"9".repeat(31),
            "1000000000001m",
        ] {
            assert!(parse_millis(text).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_reads_or_is_an_error(text in "\\PC*") {
            let _ = parse_millis(&text);
        }

        #[test]
        fn thousandths_read_the_same_in_both_forms(millis in 0..MAX_MILLIS) {
            prop_assert_eq!(parse_millis(&format!("{millis}m")), Ok(millis));
            prop_assert_eq!(parse_millis(&format!("{}.{:03}", millis / 1000, millis % 1000)), Ok(millis));
        }
    }
}
