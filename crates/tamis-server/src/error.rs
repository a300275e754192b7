//! What can go wrong while the service starts and stops. What goes wrong in a request is a [`Failure`](crate::failure::Failure).

use std::io;
use std::net::SocketAddr;

/// Why the service did not start or did not end cleanly.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address is reachable from other machines and nothing would protect it.
    #[error(
        "refusing to listen on {addr}: there are no keys yet, so anyone who reaches that address could read and delete \
         every collection; listen on 127.0.0.1, or say --insecure if the network is trusted"
    )]
    NotLoopback {
        /// The refused address.
        addr: SocketAddr,
    },
    /// Another program has the port.
    #[error(
        "port {port} on {host} is already in use, perhaps by another Tamis; stop that program or choose another port \
         with --port (0 takes any free one)",
        host = addr.ip(), port = addr.port()
    )]
    PortInUse {
        /// The address that was asked for.
        addr: SocketAddr,
    },
    /// The operating system refused the address for another reason.
    #[error("cannot listen on {addr}: {source}")]
    Listen {
        /// The address that was asked for.
        addr: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
    /// An option has a value that cannot work.
    #[error("server option `{option}` is {found}: {reason}")]
    Option {
        /// Name of the option.
        option: &'static str,
        /// Its value.
        found: String,
        /// What it must be.
        reason: &'static str,
    },
    /// The running service failed.
    #[error("the service on {addr} ended unexpectedly: {source}")]
    Run {
        /// Where it listened.
        addr: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
    /// Writes that were accepted could not be committed when the service ended.
    #[error("the last writes to collection `{collection}` could not be committed: {source}")]
    FinalCommit {
        /// Name of the collection.
        collection: String,
        /// What the engine said.
        source: Box<tamis_engine::Error>,
    },
    /// The metrics could not be set up.
    #[error("cannot set up the metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}
