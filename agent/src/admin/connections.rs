//! `/debug/connections`: what is open, as JSON.

use serde_json::{Value, json};
use weir_core::model::Key;
use weir_core::snapshot::PodInfo;

use crate::engine::{Direction, Found, Look, OpenConnection};

/// Rows without `limit`.
const USUAL: usize = 1000;
/// Rows at most.
const MOST: usize = 10_000;

/// What the query asks for: `pod=NAMESPACE/NAME` and `limit=N`.
///
/// # Errors
/// What is wrong with it.
pub(super) fn look(query: &str) -> Result<Look, String> {
    let mut look = Look { pod: None, most: USUAL };
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=').unwrap_or((pair, "")) {
            ("pod", pod) => {
                // A slash may come percent-encoded; nothing else in a pod's name needs to.
                let pod = pod.replace("%2F", "/").replace("%2f", "/");
                let (namespace, name) = pod.split_once('/').ok_or("pod is NAMESPACE/NAME")?;
                look.pod = Some(Key::new(namespace, name));
            }
            ("limit", limit) => {
                let limit: usize = limit.parse().map_err(|_| "limit is a number")?;
                look.most = limit.min(MOST);
            }
            (name, _) => {
                return Err(format!(
                    "there are pod=NAMESPACE/NAME and limit=N, no {}",
                    name.escape_debug()
                ));
            }
        }
    }
    Ok(look)
}

/// The answer.
pub(super) fn render(found: &Found) -> Value {
    let mut answer = json!({
        "matching": found.matching,
        "shown": found.rows.len(),
        "note": "connections through the engine; those that the kernel lets pass straight to the server are not known \
                 here: `nsenter --net=PATH ss -tn` lists them in the pod's namespace",
    });
    if found.matching > found.rows.len() {
        answer["hint"] = json!(format!(
            "more are open: ask with ?pod=NAMESPACE/NAME, or with ?limit=N up to {MOST}"
        ));
    }
    answer["connections"] = found.rows.iter().map(row).collect();
    answer
}

fn row(row: &OpenConnection) -> Value {
    let allowed = row.allowed.as_ref().and_then(|allowed| allowed.names());
    let route = allowed
        .and_then(|allowed| allowed.route)
        .map(|(group, name)| format!("{group}/{name}"));
    json!({
        "state": row.state,
        "protocol": row.protocol.map(|protocol| protocol.as_str()),
        "seen_at": match row.direction {
            Direction::Outbound => "client",
            Direction::Inbound => "server",
        },
        "client": end(row.client, Some(&*row.source)),
        "asked": row.asked.to_string(),
        "service": row.service.as_ref().map(ToString::to_string),
        "server": row.server.map(|server| end(server, row.destination.as_deref())),
        "allowed_by": allowed.map(|allowed| allowed.target.to_string()),
        "route": route,
        "backend": row.turn.as_ref().map(|turn| turn.backend.to_string()),
        "age_seconds": row.age.as_secs_f64(),
        "requests": row.requests,
        "bytes_up": row.up,
        "bytes_down": row.down,
        "core": row.core,
    })
}

fn end(address: std::net::SocketAddr, pod: Option<&PodInfo>) -> Value {
    json!({
        "address": address.to_string(),
        "pod": pod.map(|pod| pod.pod.to_string()),
        "workload": pod.map(|pod| pod.workload.to_string()),
        "identity": pod.map(|pod| pod.info.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_or_refused() {
        let all = look("").expect("nothing is fine");
        assert_eq!((all.pod, all.most), (None, USUAL));
        let one = look("pod=shop%2Fbuyer&limit=5").expect("both");
        assert_eq!((one.pod, one.most), (Some(Key::new("shop", "buyer")), 5));
        assert_eq!(look("limit=99999999").expect("bounded").most, MOST);
        for bad in ["pod=buyer", "limit=many", "limit=", "what=ever"] {
            assert!(look(bad).is_err(), "{bad}");
        }
    }
}
