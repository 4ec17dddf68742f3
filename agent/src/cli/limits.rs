//! `--limit NAME=VALUE`: every bound of the engine that can be set.
//!
//! Bias: one table. Names, ranges, defaults and what is said about them come from [`LIMITS`], which help, errors and a
//! test of docs/limits.md read; a bound that is not in it can't be set, and one that is can't be forgotten in the help.

use std::fmt::{self, Write};
use std::time::Duration;

use crate::engine::Config;

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Number,
    Percent,
    Bytes,
    Millis,
}

/// One bound.
struct Limit {
    name: &'static str,
    unit: Unit,
    /// Least and most that make sense.
    range: (u64, u64),
    about: &'static str,
    get: fn(&Config) -> u64,
    set: fn(&mut Config, u64),
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const SECOND: u64 = 1000;
const HOUR: u64 = 3600 * SECOND;
/// What the clock of the engine's cores can tell apart.
const TICK: u64 = 50;

macro_rules! limits {
    ($($name:literal $unit:ident $least:tt..$most:tt $($field:ident).+ => $about:literal;)*) => {
        [$(Limit {
            name: $name,
            unit: Unit::$unit,
            range: ($least, $most),
            about: $about,
            get: |config| limits!(get $unit config.$($field).+),
            set: |config, value| limits!(set $unit config.$($field).+, value),
        },)*]
    };
    (get Millis $field:expr) => { $field.as_millis() as u64 };
    (get $unit:ident $field:expr) => { $field as u64 };
    (set Millis $field:expr, $value:expr) => { $field = Duration::from_millis($value) };
    (set $unit:ident $field:expr, $value:expr) => { $field = $value as _ };
}

/// In the order of docs/limits.md. Ranges keep every value within its field's type.
static LIMITS: &[Limit] = &limits! {
    "connections" Number 1..10_000_000 limits.connections => "open connections in all; one more is reset";
    "connections-per-pod" Number 1..10_000_000 limits.connections_per_pod => "the same of one client";
    "backlog" Number 1..65_535 limits.backlog => "connections that wait for a listener; SYNs are dropped then";
    "requests" Number 1..10_000_000 limits.requests => "requests in flight in all; one more gets 503";
    "requests-per-pod" Number 1..10_000_000 limits.requests_per_pod => "the same of one client";
    "buffered-bytes" Bytes MIB..(1024 * GIB) limits.buffered_bytes => "bytes in buffers in all; smaller reads, then 503";
    "buffered-bytes-per-pod" Bytes MIB..(1024 * GIB) limits.buffered_bytes_per_pod => "the same of one client";
    "buffered-bytes-per-connection" Bytes (8 * KIB)..(512 * KIB) limits.buffered_bytes_per_connection
        => "the same of one connection: what is read at once";
    "idle-upstreams" Number 0..10_000_000 limits.idle_upstreams => "idle connections to servers in all; the oldest is closed";
    "idle-upstreams-per-pod" Number 0..10_000_000 limits.idle_upstreams_per_pod => "the same of one client";
    "idle-upstreams-per-pair" Number 0..100_000 limits.idle_upstreams_per_pair => "the same between a client and a server's port, per core";
    "reports" Number 2..1_000_000 limits.reports => "refusals that wait for the log; more are only counted";
    "workload-pairs" Number 1..1_000_000 limits.workload_pairs
        => "pairs of workloads with numbers of their own in the metrics; others together";
    "pod-share" Percent 1..100 limits.pod_share => "how much of each of these one client may have while nobody else wants it";
    "head-bytes" Bytes KIB..MIB limits.http.head_bytes => "head of a request or response; 431, or 502";
    "headers" Number 1..128 limits.http.headers => "header fields of a head, trailer fields of a body; 431, or 502";
    "chunk-line-bytes" Bytes 16..(64 * KIB) limits.http.chunk_line_bytes => "line of a chunk's size; 400, or 502";
    "trailer-bytes" Bytes 64..MIB limits.http.trailer_bytes => "trailers of a body; 400, or 502";
    "http2-streams" Number 1..10_000 limits.http2.streams => "streams at once of an HTTP/2 connection; refused, or another one to a server";
    "http2-stream-window" Bytes KIB..(16 * MIB) limits.http2.stream_window => "bytes of a stream ahead of their reader; the sender waits";
    "http2-frame-size" Bytes (16 * KIB)..(8 * MIB) limits.http2.frame_size => "longest frame that a peer may send";
    "http2-send-buffer" Bytes KIB..(16 * MIB) limits.http2.send_buffer => "bytes of a stream that wait for the socket";
    "http2-upstreams-per-pair" Number 1..10_000 limits.http2.upstreams_per_pair
        => "HTTP/2 connections between a client and a server's port, per core; streams wait, then 503";
    "http2-idle-frames" Number 10..1_000_000 limits.http2.idle_frames => "HTTP/2 frames that move nothing, at once; the connection ends";
    "http2-idle-frames-per-second" Number 1..1_000_000 limits.http2.idle_frames_per_second => "the same, besides, per second";
    "http2-resets" Number 10..1_000_000 limits.http2.resets => "streams that a peer may reset, at once; the connection ends";
    "http2-resets-per-second" Number 1..1_000_000 limits.http2.resets_per_second => "the same, besides, per second";
    "detect-time" Millis TICK..HOUR times.detect => "for the first bytes where only HTTP is granted; reset";
    "server-first-time" Millis TICK..HOUR times.server_first => "for the first bytes where any are granted; then the server may begin";
    "head-time" Millis TICK..HOUR times.head => "for a request's head, from its first byte; 408";
    "idle-time" Millis TICK..(24 * HOUR) times.idle => "between two requests; closed";
    "response-time" Millis TICK..(24 * HOUR) times.response => "for an answer to begin, and for either side of a body to move; 504, 408 or reset";
    "connect-time" Millis TICK..HOUR times.connect => "for a connection to a server; 504, or reset";
    "stream-time" Millis SECOND..(24 * HOUR) times.stream => "for something to move on an HTTP/2 stream; reset";
    "idle-upstream-time" Millis TICK..(24 * HOUR) times.idle_upstream => "of an idle connection to a server; closed";
    "forget-time" Millis SECOND..(24 * HOUR) times.forget => "until the numbers of workloads that are gone are forgotten";
    "drain-time" Millis TICK..HOUR times.drain => "for what a client still sends behind its last answer; closed";
};

/// One `NAME=VALUE`.
#[derive(Clone, Copy)]
pub struct Setting {
    limit: &'static Limit,
    value: u64,
}

impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.limit.name, self.limit.unit.show(self.value))
    }
}

impl Setting {
    /// Reads `NAME=VALUE`, as a value parser of clap.
    ///
    /// # Errors
    /// Which names there are, or what the value has to be.
    pub fn parse(text: &str) -> Result<Setting, String> {
        let (name, value) = text
            .split_once('=')
            .ok_or_else(|| "want NAME=VALUE, such as head-bytes=64KiB".to_owned())?;
        let limit = LIMITS.iter().find(|limit| limit.name == name).ok_or_else(|| {
            let names: Vec<_> = LIMITS.iter().map(|limit| limit.name).collect();
            format!("no limit is called {name}; there are {}", names.join(", "))
        })?;
        let (least, most) = limit.range;
        let unit = limit.unit;
        match unit.read(value) {
            Some(value) if (least..=most).contains(&value) => Ok(Setting { limit, value }),
            _ => Err(format!(
                "{name} wants {} to {} (default {}): {}",
                unit.show(least),
                unit.show(most),
                limit.default(),
                limit.about
            )),
        }
    }
}

/// Applies settings, the last of each name last.
///
/// # Errors
/// Two of them contradict each other.
pub fn apply(config: &mut Config, settings: &[Setting]) -> anyhow::Result<()> {
    for setting in settings {
        (setting.limit.set)(config, setting.value);
    }
    // A cap in all that was lowered takes the default of one client along.
    for whole in ["connections", "requests", "buffered-bytes", "idle-upstreams"] {
        let name = format!("{whole}-per-pod");
        let (Some(all), Some(pod)) = (find(whole), find(&name)) else {
            continue;
        };
        let (most, own) = ((all.get)(config), (pod.get)(config));
        if own <= most {
            continue;
        }
        if settings.iter().any(|setting| setting.limit.name == name) {
            let unit = all.unit;
            anyhow::bail!(
                "--limit {name}={} is more than there is in all: {whole} is {}",
                unit.show(own),
                unit.show(most)
            );
        }
        (pod.set)(config, most);
    }
    Ok(())
}

/// The table, for `--help`.
pub fn help() -> String {
    let mut text = String::from(
        "Sets a bound of the engine: NAME=VALUE, several with commas or by repeating it. A client is a pod of this \
         node, or an address that connects to one from elsewhere. Sizes as 64KiB, times as 500ms, 10s, 5m, 1h.\n\n",
    );
    for limit in LIMITS {
        let _ = writeln!(text, "{} [{}]\n    {}", limit.name, limit.default(), limit.about);
    }
    text
}

fn find(name: &str) -> Option<&'static Limit> {
    LIMITS.iter().find(|limit| limit.name == name)
}

impl Limit {
    fn default(&self) -> String {
        self.unit.show((self.get)(&Config::default()))
    }
}

impl Unit {
    fn scales(self) -> &'static [(&'static str, u64)] {
        match self {
            Unit::Number => &[("", 1)],
            Unit::Percent => &[("%", 1), ("", 1)],
            Unit::Bytes => &[("GiB", GIB), ("MiB", MIB), ("KiB", KIB), ("", 1)],
            Unit::Millis => &[("h", HOUR), ("m", 60 * SECOND), ("ms", 1), ("s", SECOND)],
        }
    }

    fn read(self, text: &str) -> Option<u64> {
        let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
        let suffix = text.get(digits.len()..)?;
        let (_, scale) = self.scales().iter().find(|(name, _)| *name == suffix)?;
        digits.parse::<u64>().ok()?.checked_mul(*scale)
    }

    /// In the largest unit that leaves a whole number.
    fn show(self, value: u64) -> String {
        let mut scales = self.scales().to_vec();
        scales.sort_by_key(|(_, scale)| std::cmp::Reverse(*scale));
        let fits = scales
            .iter()
            .find(|(_, scale)| value != 0 && value.is_multiple_of(*scale));
        match fits.or(scales.last()) {
            Some((name, scale)) => format!("{}{name}", value / scale),
            None => value.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(texts: &[&str]) -> Result<Config, String> {
        let settings = texts
            .iter()
            .map(|text| Setting::parse(text))
            .collect::<Result<Vec<_>, _>>()?;
        let mut config = Config::default();
        apply(&mut config, &settings).map_err(|error| error.to_string())?;
        Ok(config)
    }

    #[test]
    fn values_have_units() {
        let config = parsed(&[
            "head-bytes=64KiB",
            "idle-time=5m",
            "connect-time=500ms",
            "pod-share=25%",
        ])
        .unwrap();
        assert_eq!(config.limits.http.head_bytes, 64 << 10);
        assert_eq!(config.times.idle, Duration::from_secs(300));
        assert_eq!(config.times.connect, Duration::from_millis(500));
        assert_eq!(config.limits.pod_share, 25);
    }

    #[test]
    fn every_default_is_in_its_range_and_reads_as_it_is_shown() {
        for limit in LIMITS {
            let shown = format!("{}={}", limit.name, limit.default());
            let setting = Setting::parse(&shown)
                .map_err(|error| format!("{shown}: {error}"))
                .unwrap();
            assert_eq!(setting.value, (limit.get)(&Config::default()), "{shown}");
            let mut config = Config::default();
            (limit.set)(&mut config, limit.range.1);
            assert_eq!(
                (limit.get)(&config),
                limit.range.1,
                "{} does not hold its most",
                limit.name
            );
        }
    }

    #[test]
    fn an_error_names_the_range_and_the_default() {
        for text in [
            "head-bytes=12",
            "head-bytes=64kb",
            "head-bytes=",
            "head-bytes=-1",
            "head-bytes=99GiB",
        ] {
            let error = parsed(&[text]).unwrap_err();
            assert!(
                error.contains("head-bytes wants 1KiB to 1MiB (default 32KiB)"),
                "{text}: {error}"
            );
        }
        assert!(
            parsed(&["idle-time=5"])
                .unwrap_err()
                .contains("wants 50ms to 24h (default 10m)")
        );
        assert!(
            parsed(&["heads=5"])
                .unwrap_err()
                .contains("no limit is called heads; there are connections,")
        );
        assert!(parsed(&["connections"]).unwrap_err().contains("want NAME=VALUE"));
    }

    #[test]
    fn one_client_can_not_have_more_than_all() {
        let error = parsed(&["requests=10", "requests-per-pod=20"]).unwrap_err();
        assert_eq!(
            error,
            "--limit requests-per-pod=20 is more than there is in all: requests is 10"
        );
        assert_eq!(parsed(&["requests=10"]).unwrap().limits.requests_per_pod, 10);
    }

    #[test]
    fn the_documentation_has_a_row_for_each_with_its_default() {
        let page = include_str!("../../../docs/limits.md");
        for limit in LIMITS {
            let row = format!("| `{}` | {} |", limit.name, limit.default());
            assert!(page.contains(&row), "docs/limits.md lacks {row}");
        }
    }
}
