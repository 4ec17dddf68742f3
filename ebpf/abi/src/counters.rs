//! Kernel counters: one slot of the per-CPU array `COUNTERS` for each, read at scrape.

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident = $index:literal, $hook:literal, $outcome:literal;)*) => {
        /// What the programs count.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u32)]
        pub enum Counter { $($(#[$doc])* $name = $index,)* }

        /// Hook and outcome of each counter, by its index: the labels of `weir_kernel_verdicts_total`.
        pub const COUNTER_NAMES: &[(&str, &str)] = &[$(($hook, $outcome),)*];
    };
}

counters! {
    /// connect4/6 of an enrolled pod, to an address that takes no part.
    ConnectPass = 0, "connect", "pass";
    /// Straight to the server.
    ConnectAllow = 1, "connect", "allow";
    /// Refused.
    ConnectDeny = 2, "connect", "deny";
    /// To the engine.
    ConnectL7 = 3, "connect", "l7";
    /// A Service with nobody to connect to.
    ConnectNoEndpoint = 4, "connect", "no_endpoint";
    /// Refused because socket storage could not be had.
    ConnectNoStorage = 5, "connect", "no_storage";
    /// sk_lookup: the pod to itself, or the engine's own upstream connection.
    LookupSelf = 6, "sk_lookup", "self";
    /// Straight to the app.
    LookupAllow = 7, "sk_lookup", "allow";
    /// Refused.
    LookupDeny = 8, "sk_lookup", "deny";
    /// To the engine.
    LookupL7 = 9, "sk_lookup", "l7";
    /// For the engine, which is not there: refused.
    LookupNoEngine = 10, "sk_lookup", "no_engine";
    /// The SYN check: a connection that sk_lookup passed or steered.
    SynPass = 11, "syn", "pass";
    /// The SYN check refused what reached a socket all the same.
    SynDeny = 12, "syn", "deny";
    /// A captured connection noted for the engine.
    SynOrigin = 13, "syn", "origin";
    /// A captured connection that could not be noted; the engine will reset it.
    SynNoOrigin = 14, "syn", "no_origin";
    /// Events that found the ring buffer full.
    EventLost = 15, "event", "lost";
    /// Events over a pod's budget.
    EventSuppressed = 16, "event", "suppressed";
    /// getpeername, accept: the address that was asked for, or the real client's, was shown.
    PeernameShown = 17, "getpeername", "shown";
    /// Straight to a lenient server that grants nothing.
    ConnectLenient = 18, "connect", "lenient";
    /// Straight to the app of a lenient pod, without a grant or because no engine listens.
    LookupLenient = 19, "sk_lookup", "lenient";
    /// The SYN check let pass because the pod is lenient.
    SynLenient = 20, "syn", "lenient";
    /// From an address of this node to a probe port.
    LookupProbe = 21, "sk_lookup", "probe";
    /// The same, at the SYN check.
    SynProbe = 22, "syn", "probe";
    /// sendmsg4/6, or connect4/6 of a UDP socket: to an address that takes no part.
    SendPass = 23, "send", "pass";
    /// Granted.
    SendAllow = 24, "send", "allow";
    /// Refused.
    SendDeny = 25, "send", "deny";
    /// A Service with nobody to send to.
    SendNoEndpoint = 26, "send", "no_endpoint";
    /// Refused because socket storage could not be had.
    SendNoStorage = 27, "send", "no_storage";
    /// recvmsg4/6: the ClusterIP that was asked was shown.
    RecvShown = 28, "recvmsg", "shown";
    /// A datagram in front of a socket, granted to who sent it.
    ArriveAllow = 29, "arrive", "allow";
    /// An answer to what the pod sent.
    ArriveAnswer = 30, "arrive", "answer";
    /// A datagram refused.
    ArriveDeny = 31, "arrive", "deny";
    /// Refused because its protocol is none that can be granted.
    ArriveProtocol = 32, "arrive", "protocol";
    /// A datagram that leaves a pod, granted.
    LeaveAllow = 33, "leave", "allow";
    /// An answer to somebody who may reach the pod.
    LeaveAnswer = 34, "leave", "answer";
    /// To an address that takes no part.
    LeavePass = 35, "leave", "pass";
    /// Refused.
    LeaveDeny = 36, "leave", "deny";
    /// Refused because its protocol is none that can be granted.
    LeaveProtocol = 37, "leave", "protocol";
    /// Refused because its source address is not the pod's own.
    LeaveSource = 38, "leave", "source";
    /// To somebody who may reach the port that the socket is bound to.
    SendAnswer = 39, "send", "answer";
    /// To a lenient server that grants nothing.
    SendLenient = 40, "send", "lenient";
    /// A datagram without a grant, let in because the pod is lenient.
    ArriveLenient = 41, "arrive", "lenient";
    /// A datagram without a grant, to a lenient server.
    LeaveLenient = 42, "leave", "lenient";
    /// Of a socket that is connected to an endpoint which its Service has no more: it has to connect again.
    LeaveGone = 43, "leave", "gone";
}

/// How many counters there are: the size of `COUNTERS`.
pub const COUNTERS: u32 = COUNTER_NAMES.len() as u32;
