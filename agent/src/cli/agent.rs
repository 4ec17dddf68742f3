//! `weir agent`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};

use super::LogFormat;
use super::limits::{self, Setting};
use crate::access_log::Format;
use crate::bpf::{Sizes, mount};
use crate::{app, engine, wiring};

/// Port of the admin address.
const ADMIN_PORT: u16 = 15000;
/// `errno` values of Linux.
const EPERM: u32 = 1;
const ECONNREFUSED: u32 = 111;

/// Enforce the policy of a folder of manifests on this node, in the foreground, until SIGTERM or SIGINT.
///
/// What the kernel decides alone goes on when the agent ends; `--uninstall` or `weir uninstall` remove it.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  weir agent --manifests deploy/examples/shop --node node-1\n  \
    weir agent --manifests /etc/weir --admin 127.0.0.1:15000 --refuse-with eperm --uninstall"
)]
pub struct AgentArgs {
    /// Folder of manifests: *.yaml, *.yml, *.json, also in subfolders. Changes are in force within 250 ms.
    #[arg(long, value_name = "DIR")]
    manifests: PathBuf,
    /// Name of this node: pods with this spec.nodeName are local [default: the host's name]
    #[arg(long)]
    node: Option<String>,
    /// Address of /livez, /readyz, /metrics, /plan and /debug/connections. Pods should not reach it.
    #[arg(long, value_name = "ADDR:PORT", default_value_t = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), ADMIN_PORT))]
    admin: SocketAddr,
    /// Port of the engine's listener in each pod for connections that the pod makes
    #[arg(long, value_name = "PORT", default_value_t = 15001)]
    listen_outbound: u16,
    /// Port of the engine's listener in each pod for connections that the pod gets
    #[arg(long, value_name = "PORT", default_value_t = 15006)]
    listen_inbound: u16,
    /// Threads of the engine [default: one per core]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// What connect() fails with when it is refused
    #[arg(long, value_enum, default_value_t = RefuseWith::Econnrefused)]
    refuse_with: RefuseWith,
    /// Cgroup (v2) whose processes the programs see; all pods have to be below it [default: kubepods if it is there, else the root]
    #[arg(long, value_name = "DIR")]
    cgroup: Option<PathBuf>,
    /// Folder in bpffs for pinned programs and maps; one for each agent of a machine
    #[arg(long, value_name = "DIR", default_value = super::BPFFS)]
    bpffs: PathBuf,
    /// When the agent stops, remove everything from the kernel: pods are then left alone
    #[arg(long)]
    uninstall: bool,
    /// How long requests and connections under way may go on when the agent stops, in seconds. Then they are reset.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(..=3600))]
    drain_seconds: u64,
    /// Most enrolled pods of this node
    #[arg(long, value_name = "N", default_value_t = Sizes::default().pods)]
    max_pods: u32,
    /// Most addresses of known pods
    #[arg(long, value_name = "N", default_value_t = Sizes::default().peers)]
    max_peers: u32,
    /// Most (client, server, port) entries of the policy table. What does not fit is refused.
    #[arg(long, value_name = "N", default_value_t = Sizes::default().policy)]
    max_policy_entries: u32,
    /// Most Service addresses and ports
    #[arg(long, value_name = "N", default_value_t = Sizes::default().services)]
    max_services: u32,
    /// Most endpoints of all Services
    #[arg(long, value_name = "N", default_value_t = Sizes::default().slots)]
    max_endpoints: u32,
    /// A bound of the engine, such as head-bytes=64KiB; `--help` has the list
    #[arg(long = "limit", value_name = "NAME=VALUE", value_delimiter = ',', value_parser = Setting::parse, long_help = limits::help())]
    limits: Vec<Setting>,
    /// Most UDP flows of one pod that answers are waited for; more push out the pod's own oldest
    #[arg(long, value_name = "N", default_value_t = Sizes::default().flows)]
    max_udp_flows: u32,
    /// Seconds without a datagram after which answers are not waited for any more, and a UDP flow to a Service picks again
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    udp_idle_seconds: u32,
    /// One line on standard output for each request, stream and connection that the engine has seen, or for those it
    /// has refused
    #[arg(long, value_enum, default_value_t = AccessLog::Off)]
    access_log: AccessLog,
    /// How log lines look, those of the access log included
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

/// What the access log has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum AccessLog {
    /// Nothing.
    Off,
    /// What was refused, or would have been in audit, each by itself.
    Refusals,
    /// Everything.
    All,
}

/// `errno` of a refused `connect()`.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum RefuseWith {
    /// As if nobody listened.
    Econnrefused,
    /// As a firewall would.
    Eperm,
}

/// Runs the agent.
///
/// # Errors
/// What is needed is missing, or nothing could be enforced.
pub fn run(args: AgentArgs) -> anyhow::Result<ExitCode> {
    super::init_log(args.log_format);
    // SAFETY: plain system call.
    if unsafe { libc::geteuid() } != 0 {
        bail!("the agent has to run as root: it loads eBPF programs and enters network namespaces");
    }
    wiring::raise_file_limit();
    let config = config(args)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(app::run(config))?;
    Ok(ExitCode::SUCCESS)
}

fn config(args: AgentArgs) -> anyhow::Result<app::Config> {
    if args.listen_outbound == args.listen_inbound || args.listen_outbound == 0 || args.listen_inbound == 0 {
        bail!("--listen-outbound and --listen-inbound have to be two different ports, neither of them 0");
    }
    let sizes = Sizes {
        pods: args.max_pods,
        peers: args.max_peers,
        policy: args.max_policy_entries,
        services: args.max_services,
        slots: args.max_endpoints,
        flows: args.max_udp_flows,
    };
    let Sizes {
        pods,
        peers,
        policy,
        services,
        slots,
        flows,
    } = sizes;
    if [pods, peers, policy, services, slots, flows].contains(&0) {
        bail!("a table needs room for at least one entry: none of the --max-… settings may be 0");
    }
    let mut engine = engine::Config {
        outbound_port: args.listen_outbound,
        inbound_port: args.listen_inbound,
        ..engine::Config::default()
    };
    if let Some(threads) = args.threads {
        engine.cores = threads.max(1);
    }
    limits::apply(&mut engine, &args.limits)?;
    Ok(app::Config {
        manifests: args.manifests,
        node: match args.node {
            Some(node) => node,
            None => host_name()?,
        },
        admin: args.admin,
        cgroup: match args.cgroup {
            Some(cgroup) => cgroup,
            None => default_cgroup()?,
        },
        bpffs: args.bpffs,
        sizes,
        udp_idle_seconds: args.udp_idle_seconds,
        errno: match args.refuse_with {
            RefuseWith::Econnrefused => ECONNREFUSED,
            RefuseWith::Eperm => EPERM,
        },
        engine,
        access_log: access_log(args.access_log, args.log_format),
        uninstall: args.uninstall,
        drain: Duration::from_secs(args.drain_seconds),
    })
}

fn access_log(what: AccessLog, format: LogFormat) -> Option<(engine::Logged, Format)> {
    let logged = match what {
        AccessLog::Off => return None,
        AccessLog::Refusals => engine::Logged::Refusals,
        AccessLog::All => engine::Logged::All,
    };
    let format = match format {
        LogFormat::Text => Format::Text,
        LogFormat::Json => Format::Json,
    };
    Some((logged, format))
}

fn host_name() -> anyhow::Result<String> {
    let name =
        std::fs::read_to_string("/proc/sys/kernel/hostname").context("can't read the host's name, use --node")?;
    Ok(name.trim().to_owned())
}

/// The kubelet's cgroup for pods where there is one, so that nothing else pays for the hooks.
fn default_cgroup() -> anyhow::Result<PathBuf> {
    let root = mount::cgroup2()?.context(
        "cgroup v2 is not mounted: mount it (`mount -t cgroup2 none /sys/fs/cgroup/unified`) or name one with --cgroup",
    )?;
    let pods = ["kubepods.slice", "kubepods"].map(|name| root.join(name));
    Ok(pods.into_iter().find(|path| path.is_dir()).unwrap_or(root))
}
