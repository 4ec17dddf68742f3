//! Ctrl-C, SIGTERM and SIGHUP: demo and soak end early and still removes what it made.
//!
//! Bias: one place removes, the drop of what was made. The signals are blocked in every thread and taken by one of our
//! own. It sets a flag, which [`check`] turns into an error between two steps, and it ends the playground's processes
//! over and over, so that a step that waits for one of them fails and does not wait.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;
use std::{fs, process, ptr, thread};

use anyhow::{Context, Result, bail};

const SIGNALS: [i32; 3] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP];

/// 0, or the first signal that came.
static SIGNAL: AtomicI32 = AtomicI32::new(0);
static GROUP: OnceLock<PathBuf> = OnceLock::new();

/// Takes the signals over. To be called before any other thread starts.
pub fn listen() -> Result<()> {
    // SAFETY: an all-zero sigset_t is a valid value, and sigemptyset makes it the empty set.
    let mut set = unsafe { std::mem::zeroed() };
    // SAFETY: `set` lives through all calls; the old mask is not asked for. Children would inherit it; `exec`
    // takes it off them.
    let error = unsafe {
        libc::sigemptyset(&mut set);
        for signal in SIGNALS {
            libc::sigaddset(&mut set, signal);
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, &set, ptr::null_mut())
    };
    if error != 0 {
        return Err(io::Error::from_raw_os_error(error)).context("blocking signals");
    }
    thread::spawn(move || watch(&set));
    Ok(())
}

/// From now on a signal ends the processes of this control group.
pub fn ends(group: PathBuf) {
    // A second playground would be a mistake of ours; the first one stays.
    let _ = GROUP.set(group);
}

/// The signal that asked us to stop.
pub fn signal() -> Option<i32> {
    Some(SIGNAL.load(Ordering::Relaxed)).filter(|signal| *signal != 0)
}

/// An error once a signal came.
pub fn check() -> Result<()> {
    match signal() {
        Some(_) => bail!("stopped"),
        None => Ok(()),
    }
}

/// Sleeps, at most until a signal comes.
pub fn pause(time: Duration) -> Result<()> {
    let end = std::time::Instant::now() + time;
    while let Some(left) = end.checked_duration_since(std::time::Instant::now()) {
        check()?;
        thread::sleep(left.min(Duration::from_millis(20)));
    }
    check()
}

fn watch(set: &libc::sigset_t) {
    let pause = libc::timespec {
        tv_sec: 0,
        tv_nsec: 50_000_000,
    };
    loop {
        // SAFETY: set and time live through the call; no details of the signal are asked for.
        let came = unsafe { libc::sigtimedwait(set, ptr::null_mut(), &pause) };
        if came > 0 {
            let again = SIGNAL
                .compare_exchange(0, came, Ordering::Relaxed, Ordering::Relaxed)
                .is_err();
            if again {
                say("leaving at once; the janitor removes the rest");
                process::exit(128 + came);
            }
            say("removing everything (once more: leave at once)");
        }
        if let (Some(_), Some(group)) = (signal(), GROUP.get()) {
            // Gone already where the playground is.
            let _ = fs::write(group.join("cgroup.kill"), "1");
        }
    }
}

fn say(text: &str) {
    // The terminal may be what has gone.
    let _ = writeln!(io::stderr(), "\n{text}");
}
