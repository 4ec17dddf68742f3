//! `weir check`: what this machine has and lacks, each with what it is needed for and what to do.
//!
//! Bias: it tries rather than guesses. Programs are loaded for real, without pins, and dropped again; nothing is attached.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::Output;
use crate::app::node;
use crate::bpf::{self, mount};

/// Say what this machine has and lacks for Weir. Nothing is changed. Exit code 1 if something needed is missing.
#[derive(Args, Debug)]
pub struct CheckArgs {
    /// Cgroup (v2) that the agent would be attached to [default: the root]
    #[arg(long, value_name = "DIR")]
    cgroup: Option<PathBuf>,
    /// How the answer looks
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    /// There.
    Ok,
    /// Missing, and there is a second way.
    Fallback,
    /// Missing, and needed.
    Missing,
}

#[derive(Debug, serde::Serialize)]
struct Check {
    name: &'static str,
    outcome: Outcome,
    found: String,
    needed_for: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    what_to_do: &'static str,
}

/// Runs all checks.
///
/// # Errors
/// The answer can't be written.
pub fn run(args: CheckArgs) -> anyhow::Result<ExitCode> {
    let checks = [
        privileges(),
        kernel(),
        btf(),
        cgroup(args.cgroup),
        bpffs(),
        netns_cookie(),
        programs(),
        packet_cookie(),
        node_network(),
    ];
    match args.output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&checks)?),
        Output::Text => {
            for check in &checks {
                let sign = match check.outcome {
                    Outcome::Ok => "ok      ",
                    Outcome::Fallback => "fallback",
                    Outcome::Missing => "MISSING ",
                };
                println!("{sign}  {:<20} {}", check.name, check.found);
                if check.outcome != Outcome::Ok {
                    println!("          {:<20} needed for: {}", "", check.needed_for);
                    println!("          {:<20} to do: {}", "", check.what_to_do);
                }
            }
        }
    }
    let lacking = checks.iter().any(|check| check.outcome == Outcome::Missing);
    Ok(if lacking { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

impl Check {
    fn new(name: &'static str, result: Result<String, String>, needed_for: &'static str, todo: &'static str) -> Check {
        let (outcome, found, what_to_do) = match result {
            Ok(found) => (Outcome::Ok, found, ""),
            Err(found) => (Outcome::Missing, found, todo),
        };
        Check {
            name,
            outcome,
            found,
            needed_for,
            what_to_do,
        }
    }
}

/// Capabilities that the agent uses: number (capability.h), name, what for.
const CAPABILITIES: &[(u32, &str)] = &[(12, "NET_ADMIN"), (21, "SYS_ADMIN"), (39, "BPF")];

fn privileges() -> Check {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or_default();
    let lacking: Vec<_> = CAPABILITIES
        .iter()
        .filter(|(bit, _)| effective >> bit & 1 == 0)
        .map(|(_, name)| *name)
        .collect();
    let result = if lacking.is_empty() {
        Ok("NET_ADMIN, SYS_ADMIN, BPF".to_owned())
    } else {
        Err(format!("without {}", lacking.join(", ")))
    };
    Check::new(
        "capabilities",
        result,
        "loading programs (BPF), attaching them and ending sockets (NET_ADMIN), entering pods' namespaces (SYS_ADMIN)",
        "run as root, or give the container these capabilities",
    )
}

/// The oldest kernel that the programs are tested on.
const FLOOR: (u32, u32) = (6, 1);

fn kernel() -> Check {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release = release.trim().to_owned();
    let version = parse_release(&release);
    let result = if version >= Some(FLOOR) {
        Ok(release)
    } else {
        Err(release)
    };
    Check::new(
        "kernel",
        result,
        "socket hooks that refuse with an errno, cookies of namespaces, links: 6.1 and later",
        "use a kernel of at least 6.1",
    )
}

fn parse_release(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn btf() -> Check {
    let path = "/sys/kernel/btf/vmlinux";
    let result = match std::fs::metadata(path) {
        Ok(_) => Ok(path.to_owned()),
        Err(error) => Err(format!("{path}: {error}")),
    };
    Check::new(
        "BTF",
        result,
        "maps with typed values",
        "use a kernel built with CONFIG_DEBUG_INFO_BTF",
    )
}

fn cgroup(named: Option<PathBuf>) -> Check {
    let result = match named {
        Some(path) if path.join("cgroup.procs").exists() => Ok(path.display().to_string()),
        Some(path) => Err(format!("{} is no cgroup", path.display())),
        None => match mount::cgroup2() {
            Ok(Some(path)) => Ok(path.display().to_string()),
            Ok(None) => Err("not mounted".to_owned()),
            Err(error) => Err(error.to_string()),
        },
    };
    Check::new(
        "cgroup v2",
        result,
        "the hooks are attached to the pods' cgroup; beside cgroup v1 (hybrid) is fine",
        "mount it: mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 none /sys/fs/cgroup/unified",
    )
}

fn bpffs() -> Check {
    let path = std::path::Path::new("/sys/fs/bpf");
    let mut check = Check::new(
        "bpffs",
        match mount::is_bpffs(path) {
            Ok(true) => Ok(path.display().to_string()),
            Ok(false) => Err("not mounted".to_owned()),
            Err(error) => Err(error.to_string()),
        },
        "pins: what the kernel decides goes on without the agent",
        "nothing: the agent mounts it at /sys/fs/bpf; in a container mount the host's one",
    );
    if check.outcome == Outcome::Missing && path.is_dir() {
        check.outcome = Outcome::Fallback;
    }
    check
}

fn netns_cookie() -> Check {
    use std::os::fd::AsFd;
    let result = std::net::UdpSocket::bind("127.0.0.1:0")
        .and_then(|socket| bpf::netns::cookie(socket.as_fd()))
        .map(|cookie| format!("this namespace's is {cookie}"))
        .map_err(|error| error.to_string());
    Check::new(
        "namespace cookies",
        result,
        "knowing pods by their network namespace",
        "use a kernel of at least 6.1",
    )
}

fn programs() -> Check {
    Check::new(
        "eBPF programs",
        bpf::try_load()
            .map(|programs| programs.join(", "))
            .map_err(|error| first_line(&error.to_string())),
        "everything: the kernel has to take each of them",
        "see the line above it; for a verifier's refusal report kernel version and message",
    )
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

fn node_network() -> Check {
    let addresses = node::addresses().map(|addresses| {
        let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
        addresses.join(", ")
    });
    let result = match (node::is_host_network(), addresses) {
        (_, Err(error)) => Err(error.to_string()),
        (Some(false), Ok(own)) => Err(format!("not the host's; addresses here: {own}")),
        (_, Ok(own)) if own.is_empty() => Err("no address but loopback".to_owned()),
        (_, Ok(own)) => Ok(own),
    };
    let mut check = Check::new(
        "node's network",
        result,
        "the kubelet's probes pass from the node's own addresses, as the agent sees them",
        "run the agent in the host's network (hostNetwork); without it the probes are refused",
    );
    if check.outcome == Outcome::Missing {
        check.outcome = Outcome::Fallback;
    }
    check
}

fn packet_cookie() -> Check {
    let mut check = Check::new(
        "cookie of packets",
        if bpf::has_packet_cookie() {
            Ok("there (6.16 and later)".to_owned())
        } else {
            Err("not there".to_owned())
        },
        "the second check of arriving connections knows the pod by its namespace",
        "nothing: it knows the pod by its address instead",
    );
    if check.outcome == Outcome::Missing {
        check.outcome = Outcome::Fallback;
    }
    check
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_compared_as_numbers() {
        assert_eq!(parse_release("6.1.0-50-cloud-amd64"), Some((6, 1)));
        assert_eq!(parse_release("6.18.44-fc-v595"), Some((6, 18)));
        assert!(parse_release("6.10.3") > parse_release("6.2"));
        assert_eq!(parse_release("linux"), None);
    }
}
