//! An engine with policy and pods on loopback.
//!
//! Manifests speak of 10.0.0.x; each mesh has a block 127.a.b.x that stands for it. Pods have no namespace of their
//! own here, so that their sockets are made in the test's.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use weir_agent::engine::{
    Config, Engine, Kernel, Limits, ListenerKey, Namespace, PodSpec, Refusal, Reported, Stats, Times, reports,
};
use weir_core::compile::compile;
use weir_core::convert::{Converted, convert_all};
use weir_core::index::{Change, Index};
use weir_core::model::{Key, Kind, Object, ObjectRef};
use weir_core::plan::Settings;
use weir_core::snapshot::{PodInfo, Root, Snapshot};

use crate::peer::Client;

/// The shop: who is there, and where Services lead. Grants are each test's own.
const SHOP: &str = include_str!("shop.yaml");

/// What HTTP tests grant: the buyer may GET, HEAD, POST and PUT anything but `/secret` at the store.
pub const HTTP: &str = include_str!("http.yaml");

/// What TCP tests grant: the buyer may send any bytes to the store's port 8080.
pub const TCP: &str = include_str!("tcp.yaml");

pub const NODE: &str = "here";

/// The kernel's side, as a table.
#[derive(Default)]
pub struct Table {
    origins: Mutex<HashMap<(u64, u16), SocketAddr>>,
    inbound: Mutex<HashMap<SocketAddr, SocketAddr>>,
    pub shown: Mutex<Vec<Option<SocketAddr>>>,
    pub listeners: Mutex<Vec<ListenerKey>>,
    pub refuse_listeners_of: Mutex<Option<u64>>,
    pub panic_for: Mutex<Option<u64>>,
    /// How long the next look at what was noted takes; the core can't do anything else meanwhile.
    pub stall: Mutex<Duration>,
}

impl Kernel for Table {
    fn take_origin(&self, cookie: u64, v6: bool, client_port: u16) -> Option<SocketAddr> {
        assert!(!v6);
        let panics = *self.panic_for.lock().unwrap() == Some(cookie);
        assert!(!panics, "the test wants it so");
        std::thread::sleep(std::mem::take(&mut *self.stall.lock().unwrap()));
        self.origins.lock().unwrap().remove(&(cookie, client_port))
    }

    fn inbound_destination(&self, local: SocketAddr, peer: SocketAddr) -> SocketAddr {
        self.inbound.lock().unwrap().get(&peer).copied().unwrap_or(local)
    }

    fn mark_upstream(&self, _: BorrowedFd<'_>, shown: Option<SocketAddr>) -> io::Result<()> {
        self.shown.lock().unwrap().push(shown);
        Ok(())
    }

    fn mark_listener(&self, _: BorrowedFd<'_>) -> io::Result<()> {
        Ok(())
    }

    fn add_listener(&self, key: ListenerKey, _: BorrowedFd<'_>) -> io::Result<()> {
        if *self.refuse_listeners_of.lock().unwrap() == Some(key.cookie) {
            return Err(io::Error::from_raw_os_error(libc_e2big()));
        }
        self.listeners.lock().unwrap().push(key);
        Ok(())
    }
}

/// What a full BPF map says.
fn libc_e2big() -> i32 {
    7
}

/// The mesh.
pub struct Mesh {
    pub engine: Engine,
    pub table: Arc<Table>,
    pub config: Config,
    refusals: Mutex<Reported>,
    index: Mutex<Index>,
    generation: AtomicU16,
    block: [u8; 3],
    runtime: tokio::runtime::Runtime,
}

impl Mesh {
    /// With one core, times that tests can wait for, and these manifests on top of the shop.
    pub fn new(manifests: &str) -> Mesh {
        let times = Times {
            detect: Duration::from_millis(300),
            server_first: Duration::from_millis(50),
            drain: Duration::from_millis(300),
            ..Times::default()
        };
        Mesh::with(
            Config {
                cores: 1,
                times,
                ..Config::default()
            },
            manifests,
        )
    }

    /// With one core and these limits.
    #[allow(dead_code, reason = "the suite about descriptors has this file too")]
    pub fn limited(limits: Limits, manifests: &str) -> Mesh {
        Mesh::with(
            Config {
                cores: 1,
                limits,
                ..Config::default()
            },
            manifests,
        )
    }

    /// With one core and these times.
    #[allow(dead_code, reason = "the suite about descriptors has this file too")]
    pub fn timed(times: Times, manifests: &str) -> Mesh {
        Mesh::with(
            Config {
                cores: 1,
                times,
                ..Config::default()
            },
            manifests,
        )
    }

    pub fn with(config: Config, manifests: &str) -> Mesh {
        let table = Arc::new(Table::default());
        let (reports, refusals) = reports(64, config.limits.pod_share);
        let engine = Engine::start(config.clone(), table.clone(), reports).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let mesh = Mesh {
            engine,
            table,
            config,
            refusals: Mutex::new(refusals),
            index: Mutex::default(),
            generation: AtomicU16::new(0),
            block: block(),
            runtime,
        };
        mesh.apply(SHOP);
        mesh.apply(manifests);
        for pod in ["buyer", "thief", "store-1", "store-2"] {
            mesh.attach(pod, cookie_of(pod));
        }
        assert!(mesh.serve_pods().is_empty());
        mesh
    }

    /// The address of this mesh that stands for 10.0.0.`last`.
    pub fn ip(&self, last: u8) -> IpAddr {
        let [a, b, c] = self.block;
        IpAddr::V4(Ipv4Addr::new(a, b, c, last))
    }

    pub fn address(&self, last: u8, port: u16) -> SocketAddr {
        SocketAddr::new(self.ip(last), port)
    }

    /// The store's ClusterIP.
    pub fn store(&self) -> SocketAddr {
        self.address(100, 80)
    }

    /// Adds or replaces objects and puts the result in force.
    pub fn apply(&self, manifests: &str) {
        let mut index = self.index.lock().unwrap();
        for object in objects(manifests) {
            index.apply(Change::Upsert(object));
        }
        drop(index);
        self.publish();
    }

    /// Removes an object of the shop's namespace and puts the result in force.
    pub fn remove(&self, kind: Kind, name: &str) {
        assert!(
            self.index
                .lock()
                .unwrap()
                .apply(Change::Remove(ObjectRef::new(kind, "shop", name)))
        );
        self.publish();
    }

    pub fn attach(&self, pod: &str, cookie: u64) {
        self.index.lock().unwrap().apply(Change::Attach {
            pod: Key::new("shop", pod),
            cookie,
        });
        self.publish();
    }

    /// Hands the pods of the snapshot to the engine; names those that failed.
    pub fn serve_pods(&self) -> Vec<String> {
        let spec = |(cookie, pod): (&u64, &Arc<PodInfo>)| PodSpec {
            pod: pod.pod.clone(),
            cookie: *cookie,
            namespace: Namespace::own(),
            ips: pod.ips.clone(),
        };
        let pods = self.engine.snapshot().local.iter().map(spec).collect();
        self.runtime
            .block_on(self.engine.pods(pods))
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    fn publish(&self) {
        let settings = Settings {
            node: NODE.to_owned(),
            outbound_port: self.config.outbound_port,
            inbound_port: self.config.inbound_port,
            errno: 111,
            node_addresses: Default::default(),
        };
        let generation = u64::from(self.generation.fetch_add(1, Ordering::Relaxed)) + 1;
        let plan = compile(&self.index.lock().unwrap(), &settings, generation);
        self.engine.swap(Arc::new(self.on_loopback(&plan.snapshot)));
    }

    /// The same snapshot with this mesh's addresses.
    fn on_loopback(&self, snapshot: &Snapshot) -> Snapshot {
        let ip = |ip: &IpAddr| match ip {
            IpAddr::V4(v4) => self.ip(v4.octets()[3]),
            IpAddr::V6(_) => panic!("no IPv6 in these tests"),
        };
        let address = |address: &SocketAddr| SocketAddr::new(ip(&address.ip()), address.port());
        let pod = |pod: &Arc<PodInfo>| {
            let mut moved = PodInfo::clone(pod);
            moved.ips = moved.ips.iter().map(ip).collect();
            Arc::new(moved)
        };
        let root = |root: &Root| {
            let mut routes = Vec::new();
            for route in &root.routes {
                let mut backends = route.backends.clone();
                backends
                    .iter_mut()
                    .flat_map(|backend| &mut backend.endpoints)
                    .for_each(|e| *e = address(e));
                let (split, matches) = (route.split.clone(), route.matches.clone());
                routes.push(weir_core::snapshot::SplitRoute {
                    split,
                    matches,
                    backends,
                });
            }
            Arc::new(Root {
                service: root.service.clone(),
                port: root.port,
                protocol: root.protocol,
                routes,
            })
        };
        Snapshot {
            generation: snapshot.generation,
            node: snapshot.node.clone(),
            identities: snapshot.identities.clone(),
            peers: snapshot.peers.iter().map(|(at, p)| (ip(at), pod(p))).collect(),
            local: snapshot.local.iter().map(|(cookie, p)| (*cookie, pod(p))).collect(),
            udp_roots: Default::default(),
            roots: snapshot.roots.iter().map(|(at, r)| (address(at), root(r))).collect(),
            workloads: snapshot.workloads.clone(),
            access: snapshot.access.clone(),
        }
    }

    /// A socket of a pod that calls `connect(to)`, as the programs would redirect it.
    pub fn connect(&self, pod: &str, to: SocketAddr) -> Client {
        self.connect_from(self.ip(last_of(pod)), pod, to)
    }

    /// The same, but the connection comes from `from`.
    pub fn connect_from(&self, from: IpAddr, pod: &str, to: SocketAddr) -> Client {
        let (ip, cookie) = (self.ip(last_of(pod)), cookie_of(pod));
        let listener = SocketAddr::new(ip, self.config.outbound_port);
        self.dial(from, listener, |port| {
            self.table.origins.lock().unwrap().insert((cookie, port), to);
        })
    }

    /// The buyer, connected to the store.
    pub fn buyer(&self) -> Client {
        self.connect("buyer", self.store())
    }

    /// The same, with something done between `socket()` and `connect()`.
    #[allow(dead_code, reason = "for the suite about descriptors, which has this file too")]
    pub fn buyer_after(&self, work: impl FnOnce()) -> Client {
        let listener = SocketAddr::new(self.ip(last_of("buyer")), self.config.outbound_port);
        self.dial(listener.ip(), listener, |port| {
            let note = (cookie_of("buyer"), port);
            self.table.origins.lock().unwrap().insert(note, self.store());
            work();
        })
    }

    /// A connection to a pod of this node from an address that is none of it, as `sk_lookup` would steer it.
    pub fn arrive(&self, from: u8, to: SocketAddr) -> Client {
        let ip = self.ip(from);
        let listener = SocketAddr::new(to.ip(), self.config.inbound_port);
        self.dial(ip, listener, |port| {
            self.table.inbound.lock().unwrap().insert(SocketAddr::new(ip, port), to);
        })
    }

    /// A connection that no program has seen.
    pub fn stray(&self, from: IpAddr, to: SocketAddr) -> Client {
        self.dial(from, to, |_| ())
    }

    fn dial(&self, from: IpAddr, to: SocketAddr, known: impl FnOnce(u16)) -> Client {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::new(from, 0).into()).unwrap();
        known(socket.local_addr().unwrap().as_socket().unwrap().port());
        socket.connect(&to.into()).unwrap();
        Client::new(socket.into())
    }

    /// What was refused since this was last asked; waits for at least one.
    pub fn refusal(&self) -> Refusal {
        let mut refusals = self.refusals.lock().unwrap();
        let next = async { tokio::time::timeout(Duration::from_secs(5), refusals.recv()).await };
        self.runtime.block_on(next).expect("nothing was refused").unwrap()
    }

    /// Connections that the kernel has noted and nobody has asked for.
    pub fn notes(&self) -> usize {
        self.table.origins.lock().unwrap().len()
    }

    /// Waits for what the engine answers.
    pub fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    pub fn stats(&self) -> Stats {
        self.engine.stats()
    }

    /// Waits until the numbers are as wished.
    pub fn until(&self, what: &str, good: impl Fn(&Stats) -> bool) {
        eventually(what, || good(&self.stats()));
    }
}

/// Waits until it is so, for at most five seconds.
pub fn eventually(what: &str, good: impl Fn() -> bool) {
    let begun = Instant::now();
    while !good() {
        assert!(begun.elapsed() < Duration::from_secs(5), "never so: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub fn last_of(pod: &str) -> u8 {
    match pod {
        "buyer" => 1,
        "store-1" => 2,
        "store-2" => 3,
        "thief" => 4,
        _ => panic!("no pod {pod}"),
    }
}

pub fn cookie_of(pod: &str) -> u64 {
    1000 + u64::from(last_of(pod))
}

/// 127.a.b, by process and mesh, so that neither tests nor test runs meet.
fn block() -> [u8; 3] {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let process = (std::process::id() % 60) as u16 * 4 + 1;
    let [above, number] = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    let process = process + u16::from(above);
    [127, process.try_into().unwrap(), number]
}

fn objects(manifests: &str) -> Vec<Object> {
    let documents: Vec<serde_json::Value> = serde_saphyr::from_multiple(manifests).unwrap();
    let mut objects = Vec::new();
    for converted in documents.iter().flat_map(convert_all) {
        match converted.unwrap() {
            Converted::Object { object, findings } => {
                assert!(findings.is_empty(), "{findings:?}");
                objects.push(*object);
            }
            Converted::Ignored { kind, .. } => panic!("{kind} is ignored"),
        }
    }
    objects
}
