//! Manifests and settings of these tests.

use std::time::Duration;

use weir_agent::engine::{Config, Times};

/// Half of the store's requests go to the second pod.
pub const EVEN: &str = "
apiVersion: split.smi-spec.io/v1alpha2
kind: TrafficSplit
metadata: {name: canary, namespace: shop}
spec: {service: store, backends: [{service: store-v1, weight: 1}, {service: store-v2, weight: 1}]}
";

/// None of them goes anywhere.
pub const NOBODY: &str = "
apiVersion: split.smi-spec.io/v1alpha2
kind: TrafficSplit
metadata: {name: canary, namespace: shop}
spec: {service: store, backends: [{service: store-v1, weight: 0}]}
";

/// The store's Service, its port named as `name`.
pub fn declared(name: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: store, namespace: shop}}\nspec: {{clusterIP: 10.0.0.100, \
         selector: {{app: store}}, ports: [{{name: {name}, port: 80, targetPort: 8080}}]}}\n"
    )
}

/// What gRPC tests grant: the buyer may call `/shop.Store/Read` and `/shop.Store/Watch`.
pub const GRPC: &str = "
apiVersion: specs.smi-spec.io/v1alpha4
kind: HTTPRouteGroup
metadata: {name: calls, namespace: shop}
spec:
  matches: [{name: read, pathRegex: /shop.Store/(Read|Watch), methods: [POST]}]
---
apiVersion: access.smi-spec.io/v1alpha3
kind: TrafficTarget
metadata: {name: calling, namespace: shop}
spec:
  destination: {kind: ServiceAccount, name: store, namespace: shop}
  rules: [{kind: HTTPRouteGroup, name: calls}]
  sources: [{kind: ServiceAccount, name: buyer, namespace: shop}]
";

/// One core, and times that tests can wait for.
pub fn config() -> Config {
    let times = Times {
        detect: Duration::from_millis(300),
        server_first: Duration::from_millis(50),
        drain: Duration::from_millis(300),
        ..Times::default()
    };
    Config {
        cores: 1,
        times,
        ..Config::default()
    }
}

/// Both stores stand behind the store's Service.
pub const BOTH: &str = "
apiVersion: v1
kind: Service
metadata: {name: store, namespace: shop}
spec: {clusterIP: 10.0.0.100, selector: {}, ports: [{name: web, port: 80, targetPort: 8080}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: store-both, namespace: shop, labels: {kubernetes.io/service-name: store}}
addressType: IPv4
ports: [{name: web, port: 8080, protocol: TCP}]
endpoints: [{addresses: [10.0.0.2], conditions: {ready: true}}, {addresses: [10.0.0.3], conditions: {ready: true}}]
";
