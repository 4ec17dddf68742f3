//! Refusals reported to the agent, within the budget of the pod they concern.
//!
//! Bias: the count is exact, the details are not. Each refusal is counted by its hook before it comes here.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use weir_abi::{BUDGET_EVENTS, BUDGET_WINDOW_NS, Counter, Event};

use crate::maps::{BUDGETS, EVENTS, count};

/// Sends `event` on account of the pod `cookie`. Never fails: what can't be sent is counted.
#[inline(always)]
pub fn refusal(cookie: u64, mut event: Event) {
    let Some(budget) = BUDGETS.get_ptr_mut(cookie) else {
        count(Counter::EventSuppressed);
        return;
    };
    // SAFETY: an entry of a map of this program. CPUs that race here can send a few events more or lose a few of the
    // suppressed ones; the counters of the hooks stay exact.
    let budget = unsafe { &mut *budget };
    // SAFETY: plain helper call.
    let now = unsafe { bpf_ktime_get_ns() };
    if now.wrapping_sub(budget.window) > BUDGET_WINDOW_NS {
        budget.window = now;
        budget.used = 0;
    }
    if budget.used >= BUDGET_EVENTS {
        budget.suppressed += 1;
        count(Counter::EventSuppressed);
        return;
    }
    budget.used += 1;
    event.suppressed = budget.suppressed;
    match EVENTS.output(event, 0) {
        Ok(()) => budget.suppressed = 0,
        Err(_) => {
            budget.suppressed += 1;
            count(Counter::EventLost);
        }
    }
}
