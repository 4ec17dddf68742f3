//! Programs that are not ours, as clients and as servers: curl, wrk, nginx, HAProxy, Python, Node, iperf3. What one gets
//! from the other through the mesh is, byte for byte, what it gets without.

mod fixture;
mod iperf;
mod nginx;
mod pairs;
