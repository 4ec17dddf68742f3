//! Pods that come and go, and change who they are.

use std::time::Duration;

use anyhow::{Context, Result};
use weir_tests::stop;
use weir_tests::world::Pod as Place;

use crate::director::Director;
use crate::model::palette::{ACCOUNTS, TEAMS};
use crate::model::{Pod, SHOP, YARD};

/// Pods that stay at an address, whoever they are just now.
pub struct Slot {
    /// The pod that is there.
    pub name: String,
    number: u32,
    /// Label `version` of a server; clients have none.
    version: Option<&'static str>,
    times: u64,
}

/// The pods at the beginning, and those of them that will be replaced.
pub struct Cast {
    pub slots: Vec<Slot>,
    direct: Vec<Place>,
}

impl Cast {
    /// Makes them; the agent is not running yet. Servers first, since clients have their addresses.
    pub fn make(director: &mut Director) -> Result<Cast> {
        let mut slots = Vec::new();
        let mut direct = Vec::new();
        for (name, version, account) in [
            ("v1", "one", "store"),
            ("v2", "two", "beta"),
            ("depot-0", "depot", "depot"),
        ] {
            stop::check()?;
            let place = director.fleet.pod(name, None)?;
            director.fleet.serve(&place)?;
            enlist(director, &place, server(&place, account, version))?;
            if name != "v1" {
                slots.push(Slot {
                    name: name.to_string(),
                    number: place.number,
                    version: Some(version),
                    times: 0,
                });
            }
            if name != "depot-0" {
                direct.push(place);
            }
        }
        for (number, account) in ["ann", "bob", "cid", "ann", "dan"].iter().enumerate() {
            stop::check()?;
            let name = format!("c{number}-0");
            let place = director.fleet.pod(&name, None)?;
            enlist(director, &place, client(&place, account, TEAMS[number % 2]))?;
            if number >= 3 {
                let (number, version) = (place.number, None);
                slots.push(Slot {
                    name,
                    number,
                    version,
                    times: 0,
                });
            }
        }
        let guest = director.fleet.pod("guest", None)?;
        let pod = Pod {
            namespace: YARD,
            ..client(&guest, "guest", "red")
        };
        enlist(director, &guest, pod)?;
        let far = director.fleet.far_pod("far")?;
        enlist(director, &far, client(&far, "bob", "blue"))?;
        Ok(Cast { slots, direct })
    }

    /// Starts all clients.
    pub fn call(&self, director: &mut Director) -> Result<()> {
        let pods: Vec<Place> = director.fleet.pods().cloned().collect();
        for place in pods {
            let name = place.name.as_str();
            if name.starts_with('c') || name == "guest" || name == "far" {
                self.start(director, &place)?;
            }
        }
        Ok(())
    }

    fn start(&self, director: &mut Director, place: &Place) -> Result<()> {
        let captured = place.name.starts_with('c');
        director.fleet.call(place, &self.direct, captured, &mut director.rng)
    }

    /// Replaces the pod of one slot by another, at the same address.
    pub fn replace(&mut self, director: &mut Director) -> Result<()> {
        let at = director.rng.below(self.slots.len() as u64) as usize;
        let slot = &self.slots[at];
        let (old, number, version) = (slot.name.clone(), slot.number, slot.version);
        let stem = old.split('-').next().unwrap_or_default().to_string();
        let name = format!("{stem}-{}", slot.times + 1);
        director.last = format!("{name} in place of {old}");
        director.count(if version.is_some() {
            "server replaced"
        } else {
            "client replaced"
        });

        director.note(&format!("{old} is to go"), |state| {
            if let Some(pod) = state.pods.get_mut(&old) {
                pod.churning = true;
            }
        });
        // Either may be seen first: the end of the pod, or of its manifest.
        if director.rng.once_in(2) {
            director.fleet.remove(&old)?;
            director.undeclare(&old)?;
        } else {
            director.undeclare(&old)?;
            director.fleet.remove(&old)?;
        }
        let place = director.fleet.pod(&name, Some(number))?;
        let pod = match version {
            Some(version) => {
                director.fleet.serve(&place)?;
                let account = if version == "two" { "beta" } else { "depot" };
                server(&place, account, version)
            }
            None => {
                let account = director.rng.of(ACCOUNTS);
                client(&place, account, director.rng.of(TEAMS))
            }
        };
        // A client that nobody has declared yet gets nothing from anybody.
        let early = version.is_none() && director.rng.once_in(2);
        if early {
            self.start(director, &place)?;
            stop::pause(Duration::from_millis(200))?;
        }
        let coming = Pod {
            churning: true,
            ..pod.clone()
        };
        director.declare(&place, |state| {
            state.pods.insert(place.name.clone(), coming.clone());
        })?;
        stop::pause(director.grace())?;
        director.note(&format!("{name} is there"), |state| {
            state.pods.insert(place.name.clone(), pod.clone());
        });
        if version.is_none() && !early {
            self.start(director, &place)?;
        }
        let slot = &mut self.slots[at];
        slot.times += 1;
        slot.name = name;
        Ok(())
    }

    /// Gives a client's pod another account.
    pub fn rename(&self, director: &mut Director) -> Result<()> {
        let clients: Vec<&Slot> = self.slots.iter().filter(|slot| slot.version.is_none()).collect();
        let name = clients[director.rng.below(clients.len() as u64) as usize].name.clone();
        let account = director.rng.of(ACCOUNTS).to_string();
        director.last = format!("{name} becomes {account}");
        director.count("account changed");
        let place = director.fleet.place(&name)?.clone();
        director.declare(&place, |state| {
            if let Some(pod) = state.pods.get_mut(&name) {
                pod.account = account.clone();
            }
        })
    }
}

/// Writes the first manifest of a pod, before there is an agent.
fn enlist(director: &mut Director, place: &Place, pod: Pod) -> Result<()> {
    let text = crate::model::render::pod(&pod, place);
    director.put(&format!("pod-{}", place.name), &text)?;
    director.note("enlisted", |state| drop(state.pods.insert(place.name.clone(), pod)));
    director.fleet.place(&place.name).map(drop).context("a pod of the cast")
}

fn server(place: &Place, account: &str, version: &str) -> Pod {
    Pod {
        app: if version == "depot" { "depot" } else { "store" }.to_string(),
        version: version.to_string(),
        ..client(place, account, "red")
    }
}

fn client(place: &Place, account: &str, team: &str) -> Pod {
    Pod {
        namespace: SHOP,
        account: account.to_string(),
        team: team.to_string(),
        version: String::new(),
        app: String::new(),
        ips: [place.v4(), place.v6()],
        churning: false,
    }
}
