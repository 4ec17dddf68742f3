//! One entry as one line.

use std::fmt::{Display, Write};

use weir_core::snapshot::PodInfo;

use super::Format;
use super::time::Rfc3339;
use crate::engine::{Direction, Entry};

/// Appends the line, its end included. Fields that are not known are left out.
pub(super) fn write(entry: &Entry, format: Format, out: &mut String) {
    let mut line = Line {
        format,
        out,
        first: true,
    };
    line.begin();
    fields(entry, &mut line);
    line.end();
}

fn fields(entry: &Entry, line: &mut Line<'_>) {
    line.text("time", Rfc3339(entry.time));
    line.text("result", result(entry));
    if let Some(protocol) = entry.protocol {
        line.text("protocol", protocol.as_str());
    }
    let side = match entry.direction {
        Direction::Outbound => "client",
        Direction::Inbound => "server",
    };
    line.text("seen_at", side);
    line.text("source", entry.client);
    pod(
        line,
        entry.source.as_deref(),
        ["source_pod", "source_workload", "source_identity"],
    );
    line.some("asked", entry.asked);
    line.some("service", entry.service.as_ref());
    line.some("destination", entry.server);
    pod(
        line,
        entry.destination.as_deref(),
        ["destination_pod", "destination_workload", "destination_identity"],
    );
    if let Some(note) = &entry.note {
        line.text("method", &note.method);
        line.some("host", note.host.as_ref());
        line.text("path", &note.path);
    }
    if entry.status != 0 {
        line.number("status", entry.status);
    }
    if let Some(grpc) = entry.grpc {
        line.number("grpc_status", grpc);
    }
    line.number("bytes_up", entry.up);
    line.number("bytes_down", entry.down);
    line.number("duration_ms", format_args!("{:.3}", entry.took.as_secs_f64() * 1e3));
    if entry.retries > 0 {
        line.number("retries", entry.retries);
    }
    if let Some(allowed) = entry.allowed.as_ref().and_then(|allowed| allowed.names()) {
        line.text("allowed_by", allowed.target);
        if let Some((group, name)) = allowed.route {
            line.text("route", format_args!("{group}/{name}"));
        }
    }
    if let Some(turn) = &entry.turn {
        line.some("split", turn.split.as_ref());
        line.text("backend", &turn.backend);
    }
    if let Some((reason, _)) = &entry.refused {
        line.text("reason", reason.word());
        line.text("missing", reason);
    }
    line.some("sni", entry.sni.as_ref());
    if let Some(trace) = entry.note.as_ref().and_then(|note| note.trace) {
        line.text("trace_id", trace.trace_id());
        line.text("parent_id", trace.parent_id());
        line.text("trace_flags", format_args!("{:02x}", trace.flags));
    }
}

fn result(entry: &Entry) -> &'static str {
    match &entry.refused {
        None => "passed",
        Some((_, false)) => "refused",
        Some((_, true)) => "audited",
    }
}

fn pod(line: &mut Line<'_>, pod: Option<&PodInfo>, [name, workload, identity]: [&'static str; 3]) {
    if let Some(pod) = pod {
        line.text(name, &pod.pod);
        line.text(workload, &pod.workload);
        line.text(identity, &pod.info);
    }
}

struct Line<'o> {
    format: Format,
    out: &'o mut String,
    first: bool,
}

impl Line<'_> {
    fn begin(&mut self) {
        if self.format == Format::Json {
            self.out.push('{');
        }
    }

    fn end(&mut self) {
        self.out.push_str(match self.format {
            Format::Json => "}\n",
            Format::Text => "\n",
        });
    }

    fn name(&mut self, name: &'static str) {
        let first = std::mem::replace(&mut self.first, false);
        match self.format {
            Format::Json => {
                self.out.push_str(if first { "\"" } else { ",\"" });
                self.out.push_str(name);
                self.out.push_str("\":");
            }
            Format::Text => {
                self.out.push_str(if first { "" } else { " " });
                self.out.push_str(name);
                self.out.push('=');
            }
        }
    }

    fn some(&mut self, name: &'static str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    /// A number, or what looks like one; nothing that anybody sends.
    fn number(&mut self, name: &'static str, value: impl Display) {
        self.name(name);
        // Writing to a string does not fail.
        let _ = write!(self.out, "{value}");
    }

    fn text(&mut self, name: &'static str, value: impl Display) {
        self.name(name);
        let text = value.to_string();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._:/@+-*%~".contains(&byte);
        if self.format == Format::Text && !text.is_empty() && text.bytes().all(plain) {
            self.out.push_str(&text);
        } else {
            quote(&text, self.out);
        }
    }
}

/// As a JSON string (RFC 8259 section 7) of printable ASCII alone: whatever a terminal or a reader of lines might take
/// for something else is escaped.
fn quote(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            ' '..='~' => out.push(c),
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quoted(text: &str) -> String {
        let mut out = String::new();
        quote(text, &mut out);
        out
    }

    #[test]
    fn nothing_leaves_its_quotes() {
        for text in [
            "",
            "plain",
            "a\"b\\",
            "line\r\nend",
            "\u{1b}[2J",
            "ü\u{202e}\u{2028}",
            "\u{1f600}",
            "\0\u{7f}",
        ] {
            let quoted = quoted(text);
            assert!(quoted.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{quoted}");
            assert_eq!(serde_json::from_str::<String>(&quoted).expect("JSON"), text);
        }
    }
}
