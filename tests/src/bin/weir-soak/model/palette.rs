//! The patterns, ports and weights that edits choose from.

/// A `pathRegex` and what it means.
#[derive(Debug)]
pub struct Pattern {
    /// As written in the manifest.
    pub regex: &'static str,
    /// Whether a path meets it.
    pub meets: fn(&str) -> bool,
}

/// Paths. The first is the one that grants everything.
pub const PATHS: &[Pattern] = &[
    Pattern {
        regex: "/",
        meets: |path| path.starts_with('/'),
    },
    Pattern {
        regex: "/books",
        meets: |path| path.starts_with("/books"),
    },
    Pattern {
        regex: "/(bytes|chunked)/",
        meets: |path| path.starts_with("/bytes/") || path.starts_with("/chunked/"),
    },
    Pattern {
        regex: "/admin$",
        meets: |path| path == "/admin",
    },
    Pattern {
        regex: "/slow/|/upload",
        meets: |path| path.starts_with("/slow/") || path.starts_with("/upload"),
    },
    Pattern {
        regex: "/[a-c]",
        meets: |path| path.starts_with("/a") || path.starts_with("/b") || path.starts_with("/c"),
    },
];

/// Methods of a match.
pub const METHODS: &[&[&str]] = &[&["GET"], &["GET", "HEAD", "POST"], &["POST"], &["*"], &[]];

/// Ports of a TCPRoute.
pub const PORTS: &[&[u16]] = &[&[9000], &[9000, 9001, 9002], &[80], &[], &[9001, 9002], &[80, 9000]];

/// Ports of a UDPRoute; the server listens on 7000.
pub const UDP_PORTS: &[&[u16]] = &[&[7000], &[7001], &[], &[7000, 7001]];

/// Weights of a split between two versions.
pub const WEIGHTS: &[(u32, u32)] = &[(1, 1), (9, 1), (1, 0), (0, 1), (50, 50), (1, 99)];

/// Accounts of clients in the enforced namespace.
pub const ACCOUNTS: &[&str] = &["ann", "bob", "cid", "dan"];

/// Accounts of servers.
pub const SERVERS: &[&str] = &["store", "beta", "depot"];

/// Values of label `team`.
pub const TEAMS: &[&str] = &["red", "blue"];
