//! Waiting for something to hold, with the last reason why it did not.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Tries until it succeeds; the answer and how long it took. After `limit` the last error is returned.
pub fn timed<T>(limit: Duration, mut attempt: impl FnMut() -> Result<T>) -> Result<(T, Duration)> {
    let start = Instant::now();
    loop {
        match attempt() {
            Ok(value) => return Ok((value, start.elapsed())),
            Err(error) if start.elapsed() > limit => {
                return Err(error).with_context(|| format!("still so after {} ms", start.elapsed().as_millis()));
            }
            Err(_) => thread::sleep(Duration::from_millis(2)),
        }
    }
}

/// [`timed`] without the time.
pub fn until<T>(limit: Duration, attempt: impl FnMut() -> Result<T>) -> Result<T> {
    Ok(timed(limit, attempt)?.0)
}

/// Waits up to ten seconds for `holds`; `what` names it in the error. Answers how long it took.
pub fn eventually(what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<Duration> {
    let ((), took) = timed(Duration::from_secs(10), || {
        if !holds()? {
            bail!("does not hold");
        }
        Ok(())
    })
    .with_context(|| what.to_string())?;
    Ok(took)
}
