//! `weir explain`: what a running agent would say to a connection or request, and why.
//!
//! Bias: the engine's own evaluator answers, on a plan compiled from the files as the agent compiles it. What the files
//! leave open (addresses, network namespaces, pods of an account) is filled in, never what they say.

mod place;
mod report;
mod world;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use weir_core::matcher::Probe;
use weir_core::path::canonicalise;

use super::Output;
use place::{Destination, Place};
pub use report::Report;
use world::World;

/// Is it allowed? By which TrafficTarget, rule and match, or which come closest; and where a split would send it.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Exit status: 0 allowed, 1 refused, 2 where it can't be said.

Examples:
  weir explain -f deploy/ shop/buyer-1 shop/store-1:8080            a connection with any bytes, pod to pod
  weir explain -f deploy/ shop/buyer shop/store:80 GET /books       a request to a Service, from pods of an account
  weir explain -f deploy/ sa:shop/buyer svc:shop/store:80 GET /books -H 'x-canary: 1' -o json
  weir explain -f deploy/ shop/buyer kube-system/kube-dns:53/udp    datagrams")]
pub struct ExplainArgs {
    /// File, or folder that is searched for *.yaml, *.yml and *.json; may be repeated
    #[arg(short = 'f', long = "file", value_name = "FILE|DIR", required = true)]
    files: Vec<PathBuf>,
    /// Who connects: NAMESPACE/NAME of a pod or a ServiceAccount (pod:… or sa:… to say which)
    #[arg(value_name = "SOURCE")]
    source: Place,
    /// Whom: NAMESPACE/NAME of a pod, a Service or a ServiceAccount (pod:…, svc:… or sa:…), with :PORT unless there is one only, and /udp behind it for datagrams
    #[arg(value_name = "DESTINATION[:PORT][/udp]")]
    destination: Destination,
    /// Method of a request; without it a connection with any bytes is judged
    #[arg(requires = "path")]
    method: Option<String>,
    /// Its path; a query is not looked at
    path: Option<String>,
    /// A header of the request; may be repeated
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", requires = "method")]
    headers: Vec<String>,
    /// Answer as the agent of this node; without it, as if all pods were on one
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// Runs `weir explain` and prints the report on standard output.
///
/// # Errors
/// A path does not exist or can't be looked at, SOURCE or DESTINATION is not among the objects, no agent would take the
/// request for HTTP, or standard output is closed.
pub fn run(args: ExplainArgs) -> anyhow::Result<ExitCode> {
    let report = explain(&args)?;
    let text = match args.output {
        Output::Text => report.to_string(),
        Output::Json => serde_json::to_string_pretty(&report)? + "\n",
    };
    std::io::stdout()
        .write_all(text.as_bytes())
        .context("can't print the report")?;
    Ok(ExitCode::from(u8::from(!report.allowed)))
}

/// The answer to `args`.
///
/// # Errors
/// As of [`run`], but for the printing.
pub fn explain(args: &ExplainArgs) -> anyhow::Result<Report> {
    let request = request(args)?;
    let world = World::load(&args.files, args.node.as_deref(), &args.source, &args.destination.place)?;
    world.report(&args.source, &args.destination, request.as_ref())
}

/// The request that is asked about, in the form in which policy sees requests.
fn request(args: &ExplainArgs) -> anyhow::Result<Option<Probe>> {
    let (Some(method), Some(path)) = (&args.method, &args.path) else {
        return Ok(None);
    };
    let path = path.split_once('?').map_or(path.as_str(), |(path, _)| path);
    let canonical = match canonicalise(path.as_bytes()) {
        Ok(canonical) => canonical.into_owned(),
        Err(error) => bail!(
            "path {path:?} is answered with 400 before any policy is asked: {}",
            error.reason()
        ),
    };
    let mut probe = Probe {
        method: method.clone(),
        path: canonical,
        ..Probe::default()
    };
    for header in &args.headers {
        let Some((name, value)) = header.split_once(':') else {
            bail!("header {header:?} has no colon; write 'NAME: VALUE'");
        };
        match name.eq_ignore_ascii_case("host") {
            true => probe.authority = Some(value.trim().to_owned()),
            false => probe.headers.push((name.to_owned(), value.trim().to_owned())),
        }
    }
    Ok(Some(probe))
}
