//! The course of a soak: set-up, warm-up with the agent's restarts, a first look at what it holds, the long part, and the
//! same look again.

use std::fs;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use weir_tests::{Agent, Manifests, eventually, stop};

use crate::court::Court;
use crate::director::{Director, Edit};
use crate::fleet::{ANY, DEPOT, Fleet, STORE};
use crate::history::History;
use crate::life::Cast;
use crate::model::palette::{PATHS, PORTS};
use crate::model::{Match, Rule, SHOP, Service, State, Target, Who, YARD};
use crate::report;
use crate::rng::Rng;
use crate::watch::Held;
use crate::{Args, edits};

/// Ends of the agent, as parts of the whole time: with which signal, and whether manifests change meanwhile.
const RESTARTS: &[(f64, i32, bool)] = &[
    (0.08, libc::SIGKILL, false),
    (0.16, libc::SIGTERM, false),
    (0.24, libc::SIGKILL, true),
    (0.32, libc::SIGTERM, true),
];
/// When it is looked for the first time what the agent holds.
const FIRST_LOOK: f64 = 0.45;
/// Time between two progress lines.
const PROGRESS: Duration = Duration::from_secs(5);

/// Plays it to its end or to a signal; the number of violations. Everything is gone when it returns.
pub fn run(args: &Args) -> Result<u64> {
    let rng = Rng::new(args.seed);
    let home = home(&mut Rng::new(args.seed));
    let court = Arc::new(Court::new(History::new(home.clone())));
    // Workers of all clients are about a hundred.
    let pause_ms = (100_000 / u64::from(args.rate.max(1))).max(1);
    let fleet = Fleet::new(court.clone(), pause_ms)?;
    let manifests = Manifests::new(fleet.world.dir().join("manifests"))?;
    let agent = Agent::stopped(&fleet.world, manifests.dir(), &["--drain-seconds", "3"]);
    let mut director = Director::new(fleet, manifests, agent, rng, home, Duration::from_millis(args.grace_ms));
    let mut cast = set_up(&mut director)?;
    let outcome = course(args, &mut director, &mut cast);
    if stop::signal().is_none() {
        if let Err(error) = &outcome {
            let text: String = format!("{error:#}").chars().take(600).collect();
            court.accuse(&format!("the soak could not go on: {text}"));
        }
        if director
            .agent
            .metrics()
            .map(|metrics| director.counters.add(&metrics))
            .is_ok()
            && outcome.is_ok()
        {
            director.counters.faults().iter().for_each(|fault| court.accuse(fault));
        }
    }
    if let Some(file) = &args.log {
        fs::copy(director.agent.log_file(), file).with_context(|| format!("{}", file.display()))?;
    }
    let held = outcome.ok().flatten();
    report::summary(&director, held.as_deref(), args.seed);
    Ok(court.violations().0)
}

fn set_up(director: &mut Director) -> Result<Cast> {
    let home = director.home.clone();
    director.manifests.namespace(YARD, None)?;
    for file in home.files() {
        director.put(&file, &home.file(&file))?;
    }
    director.put("deletions", "")?;
    let cast = Cast::make(director)?;
    director.agent.run()?;
    cast.call(director)?;
    Ok(cast)
}

type Rows = Vec<(String, u64, u64, bool)>;

/// What the agent held at the first look and the last, or nothing where a signal came.
fn course(args: &Args, director: &mut Director, cast: &mut Cast) -> Result<Option<Rows>> {
    let total = Duration::from_secs(args.seconds);
    let start = Instant::now();
    let (mut next_line, mut restarts, mut first) = (PROGRESS, RESTARTS.iter(), None);
    let mut restart = restarts.next();
    while start.elapsed() < total {
        let passed = start.elapsed();
        if let Some((_, signal, edit)) = restart.filter(|(part, _, _)| passed > total.mul_f64(*part)) {
            again(director, *signal, *edit)?;
            restart = restarts.next();
        } else if first.is_none() && passed > total.mul_f64(FIRST_LOOK) {
            first = Some(look(director)?);
        } else {
            edit(director, cast)?;
        }
        if start.elapsed() > next_line {
            next_line += PROGRESS;
            report::progress(director, start.elapsed());
        }
        if let Some(name) = director.fleet.fallen() {
            anyhow::bail!("the client in pod {name} ended by itself");
        }
        // About one edit a second.
        let spent = start.elapsed().saturating_sub(passed);
        stop::pause(
            Duration::from_secs(1)
                .saturating_sub(spent)
                .min(total.saturating_sub(start.elapsed())),
        )?;
    }
    // On a machine that is too busy the warm-up may take all the time.
    let Some(first) = first else { return Ok(None) };
    let rows = look(director)?.compare(&first);
    for (name, before, now, fine) in &rows {
        if !fine {
            director
                .court
                .accuse(&format!("{name}: {before} at the first look, {now} at the last"));
        }
    }
    Ok(Some(rows))
}

fn edit(director: &mut Director, cast: &mut Cast) -> Result<()> {
    match director.rng.below(14) {
        0 => edits::broken(director),
        12 => edits::lenient(director),
        1 | 2 => cast.replace(director),
        3 => cast.rename(director),
        _ => edits::policy(director),
    }
}

fn again(director: &mut Director, signal: i32, edit: bool) -> Result<()> {
    director.last = format!("agent ended with signal {signal}");
    director.count(if signal == libc::SIGKILL {
        "agent killed"
    } else {
        "agent stopped"
    });
    let edits: Vec<Edit> = edit.then(|| edits::random(director)).into_iter().collect();
    director.restart(signal, &edits)
}

/// Lets everything rest at the policy of the beginning, and looks at what the agent holds then.
fn look(director: &mut Director) -> Result<Held> {
    director.last = "a look at what the agent holds".to_string();
    director.fleet.pause(true)?;
    let home = director.home.clone();
    let wanted = home.files();
    eventually("no connection is open while all clients rest", || {
        stop::check()?;
        Ok(director.agent.metrics()?.sum("weir_engine_open", &[]) == 0.0)
    })?;
    director.note("everything rests", |state| {
        let pods = std::mem::take(&mut state.pods);
        *state = State { pods, ..home.clone() };
    });
    for file in director.files() {
        if !wanted.contains(&file) && !file.starts_with("pod-") && file != "deletions" {
            director.remove(&file)?;
        }
    }
    // Without any grant, idle connections to servers go, too; then the policy of the beginning again.
    for empty in [true, false] {
        let mut shown = vec![director.put("deletions", "")?];
        for file in &wanted {
            let text = if empty && file.starts_with("target-") {
                String::new()
            } else {
                home.file(file)
            };
            shown.push(director.put(file, &text)?);
        }
        director.settle(&shown)?;
        stop::pause(Duration::from_millis(500))?;
    }
    // Threads that wait for blocking work end after ten seconds without any; memory is given back with them.
    thread::sleep(Duration::from_millis(500));
    let held = Held::now(director)?;
    director.fleet.pause(false)?;
    Ok(held)
}

/// The policy of the beginning: some of everything, so that every way is in use from the first second on.
fn home(rng: &mut Rng) -> State {
    let mut state = State::default();
    let service = |ips: &[&str], app: Option<&str>, version: Option<&str>, declared| Service {
        ips: ips.iter().filter_map(|ip| ip.parse().ok()).collect(),
        app: app.map(str::to_string),
        version: version.map(str::to_string),
        declared,
    };
    let services = [
        ("store", service(&STORE, Some("store"), None, true)),
        ("any", service(&ANY, Some("store"), None, false)),
        ("depot", service(&DEPOT, Some("depot"), None, true)),
        ("one", service(&[], None, Some("one"), false)),
        ("two", service(&[], None, Some("two"), false)),
    ];
    state
        .services
        .extend(services.map(|(name, service)| (name.to_string(), service)));
    let all = Match {
        name: "m0".into(),
        path: &PATHS[0],
        methods: vec![],
        gold: false,
    };
    let books = Match {
        path: &PATHS[1],
        ..all.clone()
    };
    state.groups.insert("g0".into(), vec![all]);
    state.groups.insert("g1".into(), vec![books]);
    state.groups.insert("g2".into(), edits::random_group(rng));
    state.routes.insert("r0".into(), vec![]);
    state.routes.insert("r1".into(), PORTS[1].to_vec());
    state
        .splits
        .insert("any".into(), vec![("one".into(), 1), ("two".into(), 1)]);
    state.udp_routes.insert("u0".into(), vec![7000]);
    state.bindings.insert("b0".into(), "blue".into());
    let account = |namespace, name: &str| Who::Account {
        namespace,
        name: name.to_string(),
    };
    let mut grant = |name: &str, destination: &str, source: Who, rule: Rule| {
        let target = Target {
            destination: account(SHOP, destination),
            sources: vec![source],
            rules: vec![rule],
        };
        state.targets.insert(name.to_string(), target);
    };
    let http = |group: &str| Rule::Http(group.into(), vec![]);
    let tcp = |route: &str| Rule::Tcp(route.into());
    grant("t0", "store", account(SHOP, "ann"), http("g0"));
    grant("t1", "beta", account(SHOP, "ann"), http("g1"));
    grant("t2", "store", account(SHOP, "bob"), tcp("r0"));
    grant("t3", "beta", account(SHOP, "bob"), tcp("r0"));
    grant("t4", "store", account(SHOP, "cid"), tcp("r1"));
    grant("t5", "depot", account(SHOP, "cid"), http("g1"));
    grant("t6", "store", account(YARD, "guest"), tcp("r0"));
    grant("t7", "depot", account(SHOP, "bob"), Rule::Udp("u0".into()));
    grant("t8", "store", account(SHOP, "ann"), Rule::Udp("u0".into()));
    state
}
