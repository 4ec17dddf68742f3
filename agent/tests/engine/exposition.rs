//! A strict reader of OpenMetrics text (OpenMetrics 1.0, "Text format"): what it does not know is a fault.

use std::collections::{BTreeMap, BTreeSet};

/// One line: name, labels in order, value.
#[derive(Clone, Debug)]
pub struct Sample {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

/// A scrape that was read.
#[derive(Debug, Default)]
pub struct Scrape {
    pub samples: Vec<Sample>,
}

impl Scrape {
    /// The sum of all lines of a name that have these labels.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |sample: &&Sample| {
            let mut wanted = labels.iter();
            sample.name == name
                && wanted.all(|(name, value)| sample.labels.get(*name).map(String::as_str) == Some(*value))
        };
        self.samples.iter().filter(has).map(|sample| sample.value).sum()
    }

    /// How many lines there are of a name.
    pub fn lines(&self, name: &str) -> usize {
        self.samples.iter().filter(|sample| sample.name == name).count()
    }
}

fn is_name(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
}

/// Reads a scrape; panics with the line that is wrong.
pub fn parse(text: &str) -> Scrape {
    let body = text.strip_suffix("# EOF\n").expect("ends with # EOF and a newline");
    let (mut kinds, mut helped) = (BTreeMap::new(), BTreeSet::new());
    let (mut scrape, mut seen, mut family) = (Scrape::default(), BTreeSet::new(), String::new());
    for line in body.split_terminator('\n') {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.splitn(3, ' ');
            let (what, name) = (words.next().unwrap(), words.next().unwrap().to_owned());
            let rest = words.next().unwrap_or_default();
            assert!(is_name(&name), "{line}");
            match what {
                "HELP" => {
                    assert!(helped.insert(name.clone()), "a family comes once: {line}");
                    assert!(!rest.is_empty(), "{line}");
                    family = name;
                }
                "TYPE" => {
                    assert_eq!(name, family, "HELP, TYPE, UNIT, samples: {line}");
                    assert!(["counter", "gauge", "histogram"].contains(&rest), "{line}");
                    assert!(kinds.insert(name, rest.to_owned()).is_none(), "{line}");
                }
                "UNIT" => {
                    assert_eq!(name, family, "{line}");
                    assert!(name.ends_with(&format!("_{rest}")), "{line}");
                }
                _ => panic!("what is this? {line}"),
            }
            continue;
        }
        let sample = sample(line);
        let kind = kinds.get(&family).unwrap_or_else(|| panic!("no TYPE before {line}"));
        let suffix = sample
            .name
            .strip_prefix(&family)
            .unwrap_or_else(|| panic!("another family's: {line}"));
        let good = match kind.as_str() {
            "counter" => suffix == "_total",
            "gauge" => suffix.is_empty(),
            _ => ["_sum", "_count", "_bucket"].contains(&suffix),
        };
        assert!(good, "a {kind} has no {suffix}: {line}");
        assert!(
            sample.value.is_finite() && (kind == "gauge" || sample.value >= 0.0),
            "{line}"
        );
        assert_eq!(sample.labels.contains_key("le"), suffix == "_bucket", "{line}");
        assert!(
            seen.insert((sample.name.clone(), sample.labels.clone())),
            "twice: {line}"
        );
        scrape.samples.push(sample);
    }
    assert_eq!(helped.len(), kinds.len(), "each family has HELP and TYPE");
    histograms(&scrape);
    scrape
}

fn sample(line: &str) -> Sample {
    let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
    let (name, rest) = series.split_at(series.find('{').unwrap_or(series.len()));
    assert!(is_name(name), "{line}");
    let mut labels = BTreeMap::new();
    if let Some(inner) = rest.strip_prefix('{') {
        let mut inner = inner.strip_suffix('}').unwrap_or_else(|| panic!("not closed: {line}"));
        while !inner.is_empty() {
            let (key, rest) = inner.split_once("=\"").unwrap_or_else(|| panic!("no value: {line}"));
            let end = rest.find('"').unwrap_or_else(|| panic!("no quote: {line}"));
            assert!(is_name(key) && !rest[..end].contains('\\'), "{line}");
            assert!(
                labels.insert(key.to_owned(), rest[..end].to_owned()).is_none(),
                "{line}"
            );
            inner = &rest[end + 1..];
            inner = inner.strip_prefix(',').unwrap_or(inner);
        }
    }
    let value = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
    Sample {
        name: name.to_owned(),
        labels,
        value,
    }
}

/// Buckets grow, end with `+Inf`, and that is the count.
fn histograms(scrape: &Scrape) {
    let mut last: BTreeMap<(String, BTreeMap<String, String>), (f64, f64)> = BTreeMap::new();
    for sample in scrape.samples.iter().filter(|sample| sample.name.ends_with("_bucket")) {
        let mut labels = sample.labels.clone();
        let le = labels.remove("le").unwrap();
        let le = if le == "+Inf" {
            f64::INFINITY
        } else {
            le.parse().unwrap()
        };
        let base = sample.name.trim_end_matches("_bucket").to_owned();
        let before = last.insert((base, labels), (le, sample.value));
        assert!(
            before.is_none_or(|(bound, count)| bound < le && count <= sample.value),
            "{sample:?}"
        );
    }
    for ((base, labels), (le, count)) in last {
        assert_eq!(le, f64::INFINITY);
        let whole: Vec<_> = scrape
            .samples
            .iter()
            .filter(|sample| sample.name == format!("{base}_count") && sample.labels == labels)
            .collect();
        assert!(whole.len() == 1 && whole[0].value == count, "{base} {labels:?}");
    }
}
