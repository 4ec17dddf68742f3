//! `get`: requests by hand, from inside a pod.

use anyhow::{Context, Result, bail};
use weir_tests::protocol::{Dial, Request};

use crate::conns::Conn;
use crate::dial;

/// `get [-X METHOD] [-n COUNT] URL`; prints one line per response.
pub fn run(args: &[String]) -> Result<()> {
    let (mut method, mut count, mut url) = ("GET".to_string(), 1, None);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "-X" => method = args.next().context("-X wants a method")?.clone(),
            "-n" => {
                count = args
                    .next()
                    .context("-n wants a number")?
                    .parse()
                    .context("-n wants a number")?
            }
            other => url = Some(other.to_string()),
        }
    }
    let url = url.context("no URL")?;
    let rest = url.strip_prefix("http://").context("the URL must begin with http://")?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let to = match authority.parse() {
        Ok(to) => to,
        Err(_) => format!("{authority}:80")
            .parse()
            .context("ADDR or ADDR:PORT in the URL; names are not looked up")?,
    };
    let request = Request {
        method,
        path: format!("/{path}"),
        host: authority.to_string(),
        headers: Vec::new(),
        body: 0,
        chunked: false,
        expect: false,
    };
    let dial = Dial {
        to,
        mapped: false,
        nonblocking: false,
        bind: None,
        device: None,
        mptcp: false,
        fastopen: false,
        timeout_ms: 5000,
    };
    let mut open: Option<Conn> = None;
    for _ in 0..count {
        if open.is_none() {
            let socket = dial::socket(&dial)?;
            let opened = dial::connect(&socket, &dial);
            if opened.errno != 0 {
                bail!(
                    "connect to {to}: {} ({:.1} ms)",
                    std::io::Error::from_raw_os_error(opened.errno),
                    opened.ms
                );
            }
            open = Some(Conn::new(socket));
        }
        let Some(conn) = &mut open else { break };
        let response = conn.http(&request);
        match &response.error {
            Some(error) => {
                println!("no response: {error}");
                open = None;
            }
            None => println!("{} {}", response.status, response.body.trim_end()),
        }
        if weir_tests::http::find(&response.headers, "connection") == Some("close") {
            open = None;
        }
    }
    Ok(())
}
