//! The access log: a line for each request and connection, whatever is in it, and never at the cost of traffic.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex};

use serde_json::Value;
use weir_agent::access_log::{Format, Writer};
use weir_agent::engine::{AccessLog, Config, Logged};

use crate::mesh::{HTTP, Mesh, TCP, eventually};
use crate::peer::{Client, Server};

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// What was written, and whether writing may go on.
#[derive(Clone, Default)]
struct Out(Arc<(Mutex<Written>, Condvar)>);

type Written = (Vec<u8>, bool);

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (state, changed) = &*self.0;
        let mut state = changed
            .wait_while(state.lock().unwrap(), |(_, blocked)| *blocked)
            .unwrap();
        state.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Out {
    fn block(&self, blocked: bool) {
        self.0.0.lock().unwrap().1 = blocked;
        self.0.1.notify_all();
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.0.lock().unwrap().0.clone()).unwrap()
    }

    /// Waits for so many lines.
    fn lines(&self, count: usize) -> Vec<String> {
        eventually("enough lines", || self.text().lines().count() >= count);
        self.text().lines().map(str::to_owned).collect()
    }

    fn json(&self, count: usize) -> Vec<Value> {
        let lines = self.lines(count);
        assert_eq!(lines.len(), count, "{lines:#?}");
        lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn mesh(logged: Logged, format: Format, room: usize, manifests: &str) -> (Mesh, Out, Writer) {
    let (log, entries) = AccessLog::new(logged, room);
    let out = Out::default();
    let writer = Writer::start(entries, format, out.clone()).unwrap();
    let config = Config {
        cores: 1,
        access_log: Some(log),
        ..Config::default()
    };
    (Mesh::with(config, manifests), out, writer)
}

#[test]
fn a_line_says_who_what_and_by_which_rule() {
    let (mesh, out, writer) = mesh(Logged::All, Format::Json, 100, HTTP);
    let store = Server::web(mesh.address(2, 8080), "one");
    let request =
        format!("GET /list?secret=query HTTP/1.1\r\nHost: store\r\nTraceParent: {TRACE}\r\ntracestate: a=b\r\n\r\n");
    let mut buyer = mesh.buyer();
    assert_eq!(buyer.send(&request).response().status(), 200);
    assert_eq!(buyer.get("/secret").status(), 403);
    let lines = out.json(2);
    let line = &lines[0];
    for (name, value) in [
        ("result", "passed"),
        ("protocol", "http1"),
        ("source_pod", "shop/buyer"),
        ("source_workload", "shop/Pod/buyer"),
        ("source_identity", "shop/buyer"),
        ("service", "shop/store"),
        ("destination_pod", "shop/store-1"),
        ("method", "GET"),
        ("host", "store"),
        ("path", "/list"),
        ("allowed_by", "shop/shopping"),
        ("route", "web/read"),
        ("trace_id", "0af7651916cd43dd8448eb211c80319c"),
        ("parent_id", "b7ad6b7169203331"),
        ("trace_flags", "01"),
    ] {
        assert_eq!(line[name], value, "{name} of {line}");
    }
    assert_eq!(
        (&line["status"], &line["bytes_up"]),
        (&200.into(), &request.len().into())
    );
    assert_eq!(line["destination"], mesh.address(2, 8080).to_string());
    assert!(!out.text().contains("query"), "queries are not logged");
    let refused = &lines[1];
    assert_eq!(
        (&refused["result"], &refused["reason"]),
        (&"refused".into(), &"no_route".into())
    );
    assert!(
        refused["missing"].as_str().unwrap().contains("shop/shopping"),
        "{refused}"
    );
    assert!(refused.get("trace_id").is_none());
    // The trace is the application's: forwarded as it came.
    assert!(
        store.requests()[0]
            .head
            .contains(&format!("TraceParent: {TRACE}\r\ntracestate: a=b"))
    );
    writer.finish();
}

#[test]
fn a_trace_that_is_not_valid_is_forwarded_and_not_logged() {
    let (mesh, out, _writer) = mesh(Logged::All, Format::Json, 100, HTTP);
    let store = Server::web(mesh.address(2, 8080), "one");
    mesh.buyer()
        .send("GET / HTTP/1.1\r\nHost: store\r\ntraceparent: ff-what\r\n\r\n")
        .response();
    assert!(out.json(1)[0].get("trace_id").is_none());
    assert!(store.requests()[0].head.contains("traceparent: ff-what"));
}

#[test]
fn refusals_alone_are_all_of_them() {
    let (mesh, out, _writer) = mesh(Logged::Refusals, Format::Json, 1000, HTTP);
    Server::web(mesh.address(2, 8080), "one");
    let mut buyer = mesh.buyer();
    for _ in 0..50 {
        buyer.get("/list");
        buyer.get("/secret");
    }
    mesh.arrive(77, mesh.address(2, 8080)).ended();
    let lines = out.json(51);
    assert!(lines.iter().all(|line| line["result"] == "refused"));
    assert_eq!(lines.iter().filter(|line| line["path"] == "/secret").count(), 50);
    assert_eq!(lines[50]["reason"], "unknown_client");
}

#[test]
fn nothing_that_a_client_sends_breaks_a_line() {
    let (mesh, out, _writer) = mesh(Logged::All, Format::Text, 100, HTTP);
    Server::web(mesh.address(2, 8080), "one");
    let paths = [
        "/a%0a%0dresult=passed",
        "/b\"%22result=%22",
        "/c%1b[2J",
        "/d%e2%80%ae",
        "/e=f",
    ];
    for path in paths {
        mesh.buyer()
            .send(format!("GET {path} HTTP/1.1\r\nHost: store\r\n\r\n"))
            .response();
    }
    let lines = out.lines(paths.len());
    assert_eq!(lines.len(), paths.len(), "{lines:#?}");
    for line in &lines {
        assert!(
            line.starts_with("time=20") && line.bytes().all(|byte| (b' '..=b'~').contains(&byte)),
            "{line}"
        );
        assert_eq!(line.matches(" result=").count(), 1, "{line}");
    }
}

#[test]
fn connections_have_a_line_when_they_end() {
    let (mesh, out, _writer) = mesh(Logged::All, Format::Json, 100, TCP);
    Server::start(mesh.address(2, 8080), |_, mut client: Client| {
        client.exactly(10);
        client.send([1; 20]);
    });
    let mut buyer = mesh.buyer();
    buyer.send([1; 10]).exactly(20);
    drop(buyer);
    let line = out.json(1).remove(0);
    assert_eq!(
        (&line["protocol"], &line["allowed_by"]),
        (&"tcp".into(), &"shop/piping".into())
    );
    assert_eq!((&line["bytes_up"], &line["bytes_down"]), (&10.into(), &20.into()));
    assert!(line.get("status").is_none() && line.get("path").is_none());
}

#[test]
fn a_log_that_nobody_reads_costs_lines_and_no_request() {
    let (mesh, out, _writer) = mesh(Logged::All, Format::Json, 40, HTTP);
    out.block(true);
    Server::web(mesh.address(2, 8080), "one");
    let mut buyer = mesh.buyer();
    for _ in 0..200 {
        assert_eq!(buyer.get("/list").status(), 200);
    }
    mesh.until("ended", |stats| stats.finished == 200);
    let lost = mesh.stats().access_lines_lost;
    assert!(lost >= 100, "{lost}");
    // The buyer's flood has a quarter of the queue: the thief's refusal is not lost.
    mesh.connect("thief", mesh.store()).ended();
    mesh.until("refused", |stats| stats.finished == 201);
    assert_eq!(mesh.stats().access_lines_lost, lost);
    out.block(false);
    let lines = out.json(201 - lost as usize);
    assert_eq!(
        lines.iter().filter(|line| line["source_pod"] == "shop/thief").count(),
        1
    );
}
