//! `tamis serve`: collections over HTTP.

use crate::compute::ComputeArgs;
use crate::exit::Exit;
use crate::output;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tamis_encoder::CheckpointOptions;
use tamis_engine::Engine;
use tamis_server::{Server, ServerOptions};

/// Arguments of `tamis serve`.
#[derive(clap::Args)]
pub struct Args {
    /// Folder with the collections; made when it is not there
    #[arg(long, default_value_os_t = ServerOptions::default().data_dir)]
    data: PathBuf,
    /// The model of new collections, and of /v1/encode and /embed_sparse requests, that name none: a model's name or folder
    #[arg(long, default_value_t = ServerOptions::default().default_model)]
    model: String,
    #[command(flatten)]
    compute: ComputeArgs,
    #[command(flatten)]
    address: Address,
}

/// Where to listen.
#[derive(clap::Args)]
pub struct Address {
    /// Address to listen on
    #[arg(long, default_value_t = ServerOptions::default().host)]
    host: IpAddr,
    /// Port to listen on; 0 takes a free one
    #[arg(long, default_value_t = ServerOptions::default().port)]
    port: u16,
    /// Allow addresses that other machines can reach, though there is no access control
    #[arg(long)]
    insecure: bool,
    /// Also answer to this host name, for a proxy that keeps the outer name; may be repeated
    #[arg(long = "allow-host", value_name = "NAME")]
    allowed_hosts: Vec<String>,
}

impl Address {
    /// The options of a service that listens there.
    pub fn options(&self) -> ServerOptions {
        let mut options = ServerOptions::default();
        options.host = self.host;
        options.port = self.port;
        options.insecure = self.insecure;
        options.allowed_hosts.clone_from(&self.allowed_hosts);
        options
    }
}

/// Runs `tamis serve`.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let compute = args.compute.checked()?;
    let engine = Arc::new(Engine::open_with(&args.data, compute)?);
    // A model that cannot be opened is said at once, not to the first client.
    tamis_encoder::open_with(&args.model, &CheckpointOptions::default(), compute)?;
    let mut options = args.address.options();
    options.default_model.clone_from(&args.model);
    listen(options, engine)
}

/// Serves `engine` until a signal ends it.
pub fn listen(options: ServerOptions, engine: Arc<Engine>) -> anyhow::Result<Exit> {
    let server = Server::bind(options, engine)?;
    output::line(&format!("Tamis listens on http://{}  (Ctrl-C ends it)", server.addr()));
    server.run()?;
    Ok(Exit::Done)
}
