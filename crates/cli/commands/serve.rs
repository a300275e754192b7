//! `tamis serve`: collections over HTTP.

use crate::compute::ComputeArgs;
use crate::exit::Exit;
use crate::output;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tamis_engine::Engine;
use tamis_server::{Server, ServerOptions};

/// Arguments of `tamis serve`.
#[derive(clap::Args)]
pub struct Args {
    /// Folder with the collections; made when it is not there
    #[arg(long, default_value_os_t = ServerOptions::default().data_dir)]
    data: PathBuf,
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

/// Runs `tamis serve`.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let engine = Arc::new(Engine::open_with(&args.data, args.compute.checked()?)?);
    listen(&args.address, engine)
}

/// Serves `engine` until a signal ends it.
pub fn listen(address: &Address, engine: Arc<Engine>) -> anyhow::Result<Exit> {
    let mut options = ServerOptions::default();
    options.host = address.host;
    options.port = address.port;
    options.insecure = address.insecure;
    options.allowed_hosts.clone_from(&address.allowed_hosts);
    let server = Server::bind(options, engine)?;
    output::line(&format!("Tamis listens on http://{}  (Ctrl-C ends it)", server.addr()));
    server.run()?;
    Ok(Exit::Done)
}
