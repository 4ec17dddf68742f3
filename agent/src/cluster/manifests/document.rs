//! One file's text to its documents, each with the line where it begins.
//!
//! Bias: YAML 1.2 and strict. Duplicate keys, tags that are not known, numbers that are not finite and floods of
//! aliases are errors; `on`, `off`, `yes` and `no` are text. JSON is read as the YAML that it is, for the sake of
//! duplicate keys. Documents are split before they are parsed, so that one that is broken does not hide the others.

use serde_json::Value;
use serde_saphyr::{Budget, Options, UserMessageFormatter};

/// A document that could be read.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// Counts from 1; empty documents don't count.
    pub number: usize,
    /// Line of its first word, from 1.
    pub line: usize,
    /// What it holds, never null.
    pub value: Value,
}

/// A document that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Counts from 1; empty documents don't count.
    pub number: usize,
    /// Line of the error, from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

/// Reads all documents of a file.
pub fn read(text: &str) -> Vec<Result<Document, Broken>> {
    let mut documents = Vec::new();
    for chunk in split(text.strip_prefix('\u{feff}').unwrap_or(text)) {
        let Some(offset) = chunk.text.lines().position(has_content) else {
            continue;
        };
        let number = documents.len() + 1;
        match serde_saphyr::from_str_with_options::<Value>(chunk.text, options()) {
            Ok(Value::Null) => {}
            Ok(value) => documents.push(Ok(Document {
                number,
                line: chunk.line + offset,
                value,
            })),
            Err(_) => documents.push(Err(locate(&chunk, number))),
        }
    }
    documents
}

/// Reads the document once more at its place in the file, so that every line in the message is a line of the file.
fn locate(chunk: &Chunk<'_>, number: usize) -> Broken {
    let padded = "\n".repeat(chunk.line - 1) + chunk.text;
    match serde_saphyr::from_str_with_options::<Value>(&padded, options()) {
        Ok(_) => Broken {
            number,
            line: chunk.line,
            message: "can't be read".to_owned(),
        },
        Err(error) => Broken {
            number,
            line: error
                .location()
                .and_then(|at| usize::try_from(at.line()).ok())
                .unwrap_or(chunk.line),
            message: error.render_with_formatter(&UserMessageFormatter),
        },
    }
}

fn options() -> Options {
    let mut options = Options::default();
    options.strict_booleans = true;
    options.reject_unsupported_tags = true;
    options.with_snippet = false;
    options.alias_limits.max_total_replayed_events = 100_000;
    // A list of 10,000 pods is one document. Aliases aside, a file's own length bounds what it holds.
    let mut budget = Budget::default();
    budget.max_nodes = 4_000_000;
    budget.max_events = 16_000_000;
    options.budget = Some(budget);
    options
}

/// A part of the file between two document markers.
struct Chunk<'a> {
    text: &'a str,
    /// Line of its beginning, from 1.
    line: usize,
}

/// Splits at `---` and `...` at the beginning of a line (YAML 1.2.2, section 9.1.2): no scalar, not even a literal
/// block, may hold such a line.
fn split(text: &str) -> Vec<Chunk<'_>> {
    let mut chunks = Vec::new();
    let (mut begin, mut begin_line, mut at) = (0, 1, 0);
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let end = at + line.len();
        if is_marker(line, "---") {
            chunks.push(Chunk {
                text: &text[begin..at],
                line: begin_line,
            });
            (begin, begin_line) = (at, index + 1);
        } else if is_marker(line, "...") {
            chunks.push(Chunk {
                text: &text[begin..at],
                line: begin_line,
            });
            (begin, begin_line) = (end, index + 2);
        }
        at = end;
    }
    chunks.push(Chunk {
        text: &text[begin..],
        line: begin_line,
    });
    chunks
}

fn is_marker(line: &str, marker: &str) -> bool {
    line.strip_prefix(marker)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

/// Whether there is more on the line than a marker, a comment or a directive.
fn has_content(line: &str) -> bool {
    let rest = if is_marker(line, "---") { &line[3..] } else { line };
    let rest = rest.trim();
    !rest.is_empty() && !rest.starts_with('#') && !line.starts_with('%')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn good(text: &str) -> Vec<(usize, usize, Value)> {
        let good = |document: Result<Document, Broken>| document.map(|it| (it.number, it.line, it.value));
        read(text)
            .into_iter()
            .map(good)
            .collect::<Result<_, _>>()
            .expect("all of it can be read")
    }

    fn broken(text: &str) -> Vec<(usize, usize)> {
        read(text)
            .into_iter()
            .filter_map(Result::err)
            .map(|it| (it.number, it.line))
            .collect()
    }

    #[test]
    fn documents_know_their_lines() {
        let text = "# comment\n---\na: 1\n---\n# nothing\n---\n\n# comment\nb: 2\n...\nc: 3\n--- {d: 4}\n";
        let wanted = [
            (1, 3, json!({"a": 1})),
            (2, 9, json!({"b": 2})),
            (3, 11, json!({"c": 3})),
            (4, 12, json!({"d": 4})),
        ];
        assert_eq!(good(text), wanted);
    }

    #[test]
    fn files_without_documents_are_empty() {
        for text in [
            "",
            "\n",
            "# only a comment",
            "---\n---\n",
            "--- # x\n...\n",
            "null\n",
            "\u{feff}",
        ] {
            assert_eq!(good(text), [], "{text:?}");
        }
    }

    #[test]
    fn line_ends_and_byte_order_marks_make_no_difference() {
        assert_eq!(
            good("\u{feff}a: 1\r\n---\r\nb: x\r\n"),
            [(1, 1, json!({"a": 1})), (2, 3, json!({"b": "x"}))]
        );
    }

    #[test]
    fn json_is_read_with_tabs_and_escapes() {
        let text = "{\n\t\"a\": [1,\n\t\t2],\n\t\"b\": \"\\ud83d\\ude00\\/\"\n}\n";
        assert_eq!(good(text), [(1, 1, json!({"a": [1, 2], "b": "😀/"}))]);
    }

    #[test]
    fn a_broken_document_is_reported_at_its_line_and_hides_no_other() {
        let text = "a: 1\n---\nb: 1\nb: 2\n---\nc: [1\n---\nd: 4\n";
        assert_eq!(broken(text), [(2, 4), (3, 6)]);
        assert_eq!(read(text).iter().filter(|it| it.is_ok()).count(), 2);
        let message = read(text)[1].clone().expect_err("the key is there twice").message;
        assert!(message.contains("duplicate") && message.contains("line 4"), "{message}");
    }

    #[test]
    fn words_that_yaml_1_1_took_for_booleans_are_text() {
        let wanted = json!({"a": "on", "b": "off", "c": "yes", "d": "no", "e": "y", "f": true});
        assert_eq!(good("a: on\nb: off\nc: yes\nd: no\ne: y\nf: true\n"), [(1, 1, wanted)]);
    }

    #[test]
    fn what_has_no_place_in_json_is_an_error() {
        for text in [
            "a: .nan\n",
            "a: -.inf\n",
            "a: 1e999\n",
            "a: !include x\n",
            "? [a]\n: b\n",
            "a: *b\n",
        ] {
            assert_eq!(broken(text).len(), 1, "{text:?}");
        }
    }

    #[test]
    fn one_document_may_hold_a_large_list() {
        let item = "- {apiVersion: v1, kind: ServiceAccount, metadata: {name: a, namespace: b, labels: {}}}\n";
        let read = good(&format!("kind: List\nitems:\n{}", item.repeat(30_000)));
        assert_eq!(read[0].2["items"].as_array().map(Vec::len), Some(30_000));
    }

    #[test]
    fn a_flood_of_aliases_is_an_error() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..10 {
            let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
            text += &format!("a{level}: &a{level} [{aliases}]\n");
        }
        assert_eq!(broken(&text).len(), 1);
        assert_eq!(broken(&"[".repeat(100_000)).len(), 1, "nesting is bounded too");
    }
}
