//! Reading OpenMetrics text.

use std::collections::BTreeMap;

/// Samples by their name with labels, `weir_kernel_verdicts_total{hook="connect",outcome="deny"}`.
#[derive(Clone, Debug, Default)]
pub struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    /// From the text of `/metrics`; comments are left out.
    pub fn parse(text: &str) -> Metrics {
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        // Label values may hold spaces: the value is what follows the last one.
        Metrics(
            samples
                .filter_map(|line| line.rsplit_once(' '))
                .filter_map(sample)
                .collect(),
        )
    }

    /// Sum of all samples of `name` whose labels hold every one of `labels` (`hook="connect"`).
    pub fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let matching = self.0.iter().filter(|(key, _)| {
            let (base, rest) = key.split_once('{').unwrap_or((key, ""));
            base == name && labels.iter().all(|label| rest.contains(label))
        });
        matching.map(|(_, value)| value).sum()
    }

    /// True where there is any sample of that name.
    pub fn has(&self, name: &str) -> bool {
        self.0.keys().any(|key| key.split('{').next() == Some(name))
    }

    /// All names.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.0.keys().filter_map(|key| key.split('{').next()).collect();
        names.dedup();
        names
    }
}

fn sample((key, value): (&str, &str)) -> Option<(String, f64)> {
    Some((key.trim().to_string(), value.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_select_and_values_add_up() {
        let text = "# TYPE a counter\na_total{hook=\"x\",b=\"1 2\"} 3\na_total{hook=\"y\"} 4.5\n# EOF\n";
        let metrics = Metrics::parse(text);
        assert_eq!(metrics.sum("a_total", &[]), 7.5);
        assert_eq!(metrics.sum("a_total", &["hook=\"x\""]), 3.0);
        assert!(!metrics.has("a"));
    }
}
