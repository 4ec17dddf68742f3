//! The pods of the shop, the servers in them and the folder of manifests that describes them.

use anyhow::{Context, Result};
use weir_tests::netns;
use weir_tests::server::Server;
use weir_tests::world::{Pod, World};

use crate::files::Files;
use crate::screen::Screen;
use weir_tests::stop;

/// ClusterIP of Service `store`.
pub const STORE: [u8; 4] = [10, 96, 0, 10];
/// ClusterIP of Service `warehouse`.
pub const WAREHOUSE: [u8; 4] = [10, 96, 0, 20];

/// Everything but the agent. Dropping it removes all of it.
pub struct Playground {
    // In front of the world: they end before it goes.
    _servers: Vec<Server>,
    /// The folder that the agent watches.
    pub files: Files,
    /// May read the books.
    pub buyer: Pod,
    /// May nothing.
    pub thief: Pod,
    /// The store as it was.
    pub store_v1: Pod,
    /// The store as it will be.
    pub store_v2: Pod,
    /// Where only the store may ask.
    pub warehouse: Pod,
    /// The node.
    pub world: World,
}

impl Playground {
    /// Makes the node, its pods, and starts the servers.
    pub fn make(screen: &Screen) -> Result<Playground> {
        let world = screen.step("a node: a network namespace that routes, a control group", World::new)?;
        let group = world
            .pods_cgroup()
            .parent()
            .context("the control group's parent")?
            .to_path_buf();
        stop::ends(group);
        // The order gives the addresses, 10.77.1.1 and on, and with them the files.
        let names = ["buyer", "thief", "store-v1", "store-v2", "warehouse"];
        let pods = screen.step("five pods, each with a link and addresses of its own", || {
            let pod = |name: &&str| stop::check().and_then(|()| world.pod(name));
            names.iter().map(pod).collect::<Result<Vec<_>>>()
        })?;
        let prefix = netns::path(&format!("{}-", world.id()));
        let files = Files::copy(world.dir().join("manifests"), &prefix.to_string_lossy())?;
        for pod in &pods {
            files.must_place(pod)?;
        }
        let [buyer, thief, store_v1, store_v2, warehouse] =
            <[Pod; 5]>::try_from(pods).ok().context("as many pods as names")?;
        let servers = screen.step("servers in the pods of store and warehouse", || {
            let server = |pod: &Pod| stop::check().and_then(|()| Server::start(pod, &pod.name));
            [&store_v1, &store_v2, &warehouse].into_iter().map(server).collect()
        })?;
        Ok(Playground {
            _servers: servers,
            files,
            buyer,
            thief,
            store_v1,
            store_v2,
            warehouse,
            world,
        })
    }

    /// All pods.
    pub fn pods(&self) -> [&Pod; 5] {
        [
            &self.buyer,
            &self.thief,
            &self.store_v1,
            &self.store_v2,
            &self.warehouse,
        ]
    }
}
