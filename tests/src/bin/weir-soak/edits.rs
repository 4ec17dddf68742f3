//! The changes of policy, chosen at random: what people do to manifests, the mistakes included.

use anyhow::Result;
use weir_tests::stop;

use crate::director::{Director, Edit};
use crate::model::palette::{ACCOUNTS, METHODS, PATHS, PORTS, SERVERS, TEAMS, UDP_PORTS, WEIGHTS};
use crate::model::{Match, Rule, SHOP, State, Target, Who, YARD};
use crate::rng::Rng;

/// How many objects of each kind there may be.
const TARGETS: u64 = 10;
const GROUPS: u64 = 3;
const ROUTES: u64 = 3;

/// One edit, or several at once.
pub fn policy(director: &mut Director) -> Result<()> {
    let count = if director.rng.once_in(5) { 3 } else { 1 };
    let mut edits: Vec<Edit> = Vec::new();
    while edits.len() < count {
        let edit = random(director);
        if edits.iter().all(|other| other.file != edit.file) {
            edits.push(edit);
        }
    }
    director.last = edits
        .iter()
        .map(|edit| edit.what.as_str())
        .collect::<Vec<_>>()
        .join(", ");
    director.count(if count == 1 { "one file" } else { "three files at once" });
    director.change(&edits)
}

/// A file is broken for a while: its last good objects stay in force, and `/plan` names it.
pub fn broken(director: &mut Director) -> Result<()> {
    let file = random(director).file;
    let text = director.court.history().latest().file(&file);
    director.last = format!("{file} broken for a while");
    director.count("broken file");
    // Its last good form is what is in force, so it has to have one.
    let good = director.put(&file, &text)?;
    director.wait("a file is not read", |_, plan| plan.contains(&good))?;
    director.manifests.write(&file, &format!("{{{{ broken: [\n{text}"))?;
    let name = format!("{file}.yaml");
    director.wait("a broken file is not reported", |plan, _| {
        plan["files"].to_string().contains(&name)
    })?;
    stop::pause(std::time::Duration::from_millis(300))?;
    let good = director.put(&file, &text)?;
    director.wait("a mended file is not read", |_, plan| plan.contains(&good))
}

/// The namespace is lenient for a while: everything passes. Then it is enforced again.
pub fn lenient(director: &mut Director) -> Result<()> {
    director.count("lenient for a while");
    let mode = director.rng.of(&["audit", "permissive"]);
    for mode in [Some(mode), None] {
        let what = mode.unwrap_or("enforce");
        director.last = format!("namespace in {what}");
        director.change(&[edit("namespace", SHOP.into(), what, move |state, _| {
            state.lenient = mode
        })])?;
        stop::pause(director.grace() + std::time::Duration::from_millis(500))?;
    }
    Ok(())
}

/// An edit of one file. Some are put back as they were at the beginning, or less and less would be allowed.
pub fn random(director: &mut Director) -> Edit {
    let rng = &mut director.rng;
    let edit = one(rng);
    if !rng.once_in(3) {
        return edit;
    }
    let files = director.home.files();
    let file = files[director.rng.below(files.len() as u64) as usize].clone();
    let (home, name) = (director.home.clone(), file.clone());
    Edit {
        what: format!("{file} as at the beginning"),
        file,
        apply: Box::new(move |state| state.restore(&name, &home)),
    }
}

fn one(rng: &mut Rng) -> Edit {
    match rng.below(20) {
        0..=8 => target(rng),
        9..=11 => group(rng),
        12 => route(rng),
        13 => udp_route(rng),
        14..=16 => split(rng),
        _ => binding(rng),
    }
}

fn target(rng: &mut Rng) -> Edit {
    let name = format!("t{}", rng.below(TARGETS));
    if rng.once_in(3) {
        return edit("target", name, "gone", |state, name| drop(state.targets.remove(name)));
    }
    let target = random_target(rng);
    edit("target", name, &describe(&target), move |state, name| {
        state.targets.insert(name.to_string(), target.clone());
    })
}

fn describe(target: &Target) -> String {
    let name = |who: &Who| match who {
        Who::Account { name, .. } => name.clone(),
        Who::Binding(name) => format!("binding {name}"),
    };
    let rule = |rule: &Rule| match rule {
        Rule::Tcp(name) | Rule::Udp(name) => name.clone(),
        Rule::Http(name, matches) if matches.is_empty() => name.clone(),
        Rule::Http(name, matches) => format!("{name} {matches:?}"),
    };
    let sources: Vec<String> = target.sources.iter().map(name).collect();
    let rules: Vec<String> = target.rules.iter().map(rule).collect();
    format!(
        "{} -> {}: {}",
        sources.join(" "),
        name(&target.destination),
        rules.join(" ")
    )
}

/// A target of the palette.
pub fn random_target(rng: &mut Rng) -> Target {
    let destination = match rng.below(10) {
        0 => Who::Binding("b0".into()),
        _ => account(SHOP, rng.of(SERVERS)),
    };
    let source = |rng: &mut Rng| match rng.below(8) {
        0 => Who::Binding("b0".into()),
        1 => account(YARD, "guest"),
        _ => account(SHOP, rng.of(ACCOUNTS)),
    };
    let mut sources: Vec<Who> = (0..1 + rng.below(3)).map(|_| source(rng)).collect();
    sources.sort();
    sources.dedup();
    let route = |rng: &mut Rng| Rule::Tcp(format!("r{}", rng.below(ROUTES)));
    let group = |rng: &mut Rng| Rule::Http(format!("g{}", rng.below(GROUPS)), vec![]);
    let rules = match rng.below(15) {
        12 => vec![Rule::Udp("u0".into())],
        13 => vec![Rule::Udp("u0".into()), group(rng)],
        14 => vec![route(rng), Rule::Udp("u0".into())],
        0..=2 => vec![route(rng)],
        3..=5 => vec![group(rng)],
        6 => vec![route(rng), group(rng)],
        7 => vec![route(rng), route(rng)],
        8 => vec![group(rng), group(rng)],
        // Some of these matches exist, some don't.
        9 => vec![Rule::Http(
            format!("g{}", rng.below(GROUPS)),
            vec![format!("m{}", rng.below(3))],
        )],
        10 => vec![Rule::Tcp("missing".into()), group(rng)],
        _ => vec![],
    };
    Target {
        destination,
        sources,
        rules,
    }
}

fn group(rng: &mut Rng) -> Edit {
    let name = format!("g{}", rng.below(GROUPS));
    if rng.once_in(6) {
        return edit("group", name, "gone", |state, name| drop(state.groups.remove(name)));
    }
    let matches = random_group(rng);
    let what = format!("{matches:?}");
    edit("group", name, &what, move |state, name| {
        drop(state.groups.insert(name.to_string(), matches.clone()))
    })
}

/// A group of the palette.
pub fn random_group(rng: &mut Rng) -> Vec<Match> {
    let one = |number: u64| Match {
        name: format!("m{number}"),
        path: &PATHS[rng.below(PATHS.len() as u64) as usize],
        methods: rng.of(METHODS).to_vec(),
        gold: rng.once_in(5),
    };
    let mut one = one;
    (0..2).map(&mut one).collect()
}

fn route(rng: &mut Rng) -> Edit {
    let name = format!("r{}", rng.below(ROUTES));
    if rng.once_in(6) {
        return edit("route", name, "gone", |state, name| drop(state.routes.remove(name)));
    }
    let ports = rng.of(PORTS).to_vec();
    let what = format!("{ports:?}");
    edit("route", name, &what, move |state, name| {
        drop(state.routes.insert(name.to_string(), ports.clone()))
    })
}

fn udp_route(rng: &mut Rng) -> Edit {
    if rng.once_in(4) {
        return edit("udp", "u0".into(), "gone", |state, name| {
            drop(state.udp_routes.remove(name))
        });
    }
    let ports = rng.of(UDP_PORTS).to_vec();
    let what = format!("{ports:?}");
    edit("udp", "u0".into(), &what, move |state, name| {
        drop(state.udp_routes.insert(name.to_string(), ports.clone()))
    })
}

fn split(rng: &mut Rng) -> Edit {
    // `any` stays split: that is what sends it through the engine.
    let name = if rng.once_in(2) { "any" } else { "store" };
    if name == "store" && rng.once_in(3) {
        return edit("split", name.into(), "gone", |state, name| {
            drop(state.splits.remove(name))
        });
    }
    let (one, two) = rng.of(WEIGHTS);
    edit("split", name.into(), &format!("{one}/{two}"), move |state, name| {
        state
            .splits
            .insert(name.to_string(), vec![("one".into(), one), ("two".into(), two)]);
    })
}

fn binding(rng: &mut Rng) -> Edit {
    if rng.once_in(3) {
        return edit("binding", "b0".into(), "gone", |state, name| {
            drop(state.bindings.remove(name))
        });
    }
    let team = rng.of(TEAMS).to_string();
    edit("binding", "b0".into(), &team.clone(), move |state, name| {
        state.bindings.insert(name.to_string(), team.clone());
    })
}

fn account(namespace: &'static str, name: &str) -> Who {
    Who::Account {
        namespace,
        name: name.to_string(),
    }
}

fn edit(kind: &str, name: String, what: &str, apply: impl Fn(&mut State, &str) + 'static) -> Edit {
    Edit {
        file: format!("{kind}-{name}"),
        what: format!("{kind} {name} {what}"),
        apply: Box::new(move |state| apply(state, &name)),
    }
}
