//! Starting, running and ending the service.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix_web::middleware::from_fn;
use actix_web::web::{self, Data};
use actix_web::{App, HttpServer};
use tamis_engine::Engine;
use tokio::sync::watch;

use crate::error::Error;
use crate::front::front;
use crate::options::ServerOptions;
use crate::route;
use crate::state::State;

/// Connections the operating system holds for us while all workers are busy.
const BACKLOG: u32 = 1024;

/// A service that listens already and answers once [`Server::run`] is called.
pub struct Server {
    listener: TcpListener,
    addr: SocketAddr,
    state: Data<State>,
    stop: watch::Sender<bool>,
}

/// Ends a running [`Server`] from another thread; cheap to clone.
#[derive(Debug, Clone)]
pub struct ServerHandle {
    stop: watch::Sender<bool>,
}

impl ServerHandle {
    /// Asks the service to end as it does on SIGTERM: requests in flight finish, writes are committed.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }
}

impl Server {
    /// Takes the port. Connections queue from now on and are answered once [`Self::run`] is called.
    ///
    /// # Errors
    /// [`Error::NotLoopback`] for an address others can reach without `insecure`, [`Error::PortInUse`],
    /// [`Error::Listen`], [`Error::Option`] for a limit of zero.
    pub fn bind(options: ServerOptions, engine: Arc<Engine>) -> Result<Self, Error> {
        let wanted = SocketAddr::new(options.host, options.port);
        if !options.host.is_loopback() && !options.insecure {
            return Err(Error::NotLoopback { addr: wanted });
        }
        check(&options)?;
        let listener = TcpListener::bind(wanted).map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => Error::PortInUse { addr: wanted },
            _ => Error::Listen { addr: wanted, source },
        })?;
        let addr = listener
            .local_addr()
            .map_err(|source| Error::Listen { addr: wanted, source })?;
        let state = Data::new(State::new(options, engine)?);
        Ok(Self {
            listener,
            addr,
            state,
            stop: watch::Sender::new(false),
        })
    }

    /// Where the service listens; tells the port that was found for port 0.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// A handle that ends the service.
    pub fn handle(&self) -> ServerHandle {
        ServerHandle {
            stop: self.stop.clone(),
        }
    }

    /// Answers requests until SIGTERM, SIGINT or [`ServerHandle::stop`]. Then no connection is taken any more, requests in
    /// flight finish, and accepted writes are committed. A second signal ends at once, but still commits. Blocks the thread.
    ///
    /// # Errors
    /// [`Error::Run`] when the service cannot go on, [`Error::FinalCommit`] when the last writes could not be made durable.
    pub fn run(self) -> Result<(), Error> {
        let Self {
            listener,
            addr,
            state,
            stop,
        } = self;
        let failed = |source: io::Error| Error::Run { addr, source };
        let outcome = actix_web::rt::System::new().block_on(serve(listener, state.clone(), stop.subscribe()));
        let unwritten = state.commit_all().into_iter().next();
        outcome.map_err(failed)?;
        match unwritten {
            Some((collection, source)) => Err(Error::FinalCommit {
                collection,
                source: Box::new(source),
            }),
            None => Ok(()),
        }
    }

    /// The state, for tests that occupy places of searches.
    #[cfg(test)]
    pub(crate) fn state(&self) -> Data<State> {
        self.state.clone()
    }
}

fn check(options: &ServerOptions) -> Result<(), Error> {
    let counts = [
        ("workers", options.workers),
        ("max_concurrent_searches", options.max_concurrent_searches),
        ("max_body_bytes", options.max_body_bytes),
        ("max_line_bytes", options.max_line_bytes),
        ("bulk_batch_documents", options.bulk_batch_documents),
        ("bulk_batch_bytes", options.bulk_batch_bytes),
    ];
    match counts.into_iter().find(|(_, count)| *count == 0) {
        Some((option, _)) => Err(Error::Option {
            option,
            found: "0".to_owned(),
            reason: "it must be at least 1",
        }),
        None => Ok(()),
    }
}

async fn serve(listener: TcpListener, state: Data<State>, mut stop: watch::Receiver<bool>) -> io::Result<()> {
    let options = state.options.clone();
    let shared = state.clone();
    let server = HttpServer::new(move || {
        App::new()
            .app_data(shared.clone())
            .wrap(from_fn(front))
            .configure(route::configure)
            .default_service(web::to(route::not_found))
    })
    .workers(options.workers)
    .backlog(BACKLOG)
    .keep_alive(options.keep_alive)
    .client_request_timeout(options.head_timeout)
    .shutdown_timeout(options.shutdown_timeout.as_secs())
    .disable_signals()
    .listen(listener)?
    .run();
    let handle = server.handle();
    let committer = actix_web::rt::spawn(commit_regularly(state.clone(), options.commit_interval));
    let mut signals = Signals::new()?;
    let mut running = std::pin::pin!(server);
    let early = tokio::select! {
        ended = &mut running => Some(ended),
        () = signals.next() => None,
        _ = stop.wait_for(|stop| *stop) => None,
    };
    state.stop();
    committer.abort();
    if let Some(ended) = early {
        return ended;
    }
    tracing::info!("ending: requests in flight finish, then writes are committed");
    let graceful = handle.stop(true);
    tokio::select! {
        ended = &mut running => return ended,
        () = async { graceful.await; std::future::pending().await } => {}
        () = signals.next() => {}
    }
    tracing::warn!("second signal: ending at once");
    handle.stop(false).await;
    running.await
}

/// Makes writes that did not ask for `refresh=true` visible and durable before long.
async fn commit_regularly(state: Data<State>, interval: Duration) {
    loop {
        tokio::time::sleep(interval).await;
        let state = state.clone();
        let Ok(failed) = web::block(move || state.commit_all()).await else {
            continue;
        };
        for (collection, error) in failed {
            tracing::error!(collection, %error, "automatic commit failed");
        }
    }
}

/// SIGTERM and SIGINT.
struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    #[cfg(unix)]
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    #[cfg(not(unix))]
    fn new() -> io::Result<Self> {
        Ok(Self {})
    }

    #[cfg(unix)]
    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    #[cfg(not(unix))]
    async fn next(&mut self) {
        // Without a way to be told, only the handle ends the service.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
