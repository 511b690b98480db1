//! The options of `dapper run` that bring a client to the program.

use clap::Args;

use crate::dap::Debug;

/// Where the client is, or the adapter.
#[derive(Debug, Default, Args)]
pub(super) struct ForClient {
    /// Wait for a client of the Debug Adapter Protocol here [default host: 127.0.0.1].
    #[arg(long, value_name = "[HOST:]PORT", conflicts_with = "connect")]
    listen: Option<String>,
    /// Connect to an adapter that waits here; `DAPPER_TOKEN` is what it asks for, if it does.
    #[arg(long, value_name = "[HOST:]PORT")]
    connect: Option<String>,
    /// What the adapter asks for; others can read it on the command line, but not in `DAPPER_TOKEN`.
    #[arg(
        long = "adapter-access-token",
        value_name = "TOKEN",
        env = "DAPPER_TOKEN",
        hide_env_values = true,
        hide = true
    )]
    token: Option<String>,
    /// Begin the program when the client is there and has set its breakpoints.
    #[arg(long = "wait-for-client")]
    wait: bool,
    /// Leave the processes that the program starts alone.
    #[arg(long = "no-sub-process")]
    alone: bool,
}

impl ForClient {
    /// What the process of the program is told.
    pub(super) fn debug(&self) -> Result<Option<Debug>, String> {
        let at = |option: &str, text: &Option<String>| {
            let address = text.as_deref().map(address).transpose();
            address.map_err(|problem| format!("{option}: {problem}"))
        };
        let (listen, connect) = (
            at("--listen", &self.listen)?,
            at("--connect", &self.connect)?,
        );
        if listen.is_none() && connect.is_none() {
            if self.wait {
                return Err("--wait-for-client needs --listen or --connect".to_owned());
            }
            return Ok(None);
        }
        Ok(Some(Debug {
            connect,
            listen,
            token: self.token.clone(),
            wait: self.wait,
            sub_process: !self.alone,
            child: false,
            log_dir: None,
        }))
    }
}

/// `PORT` or `HOST:PORT` with the host named.
fn address(text: &str) -> Result<String, String> {
    let (host, port) = text.rsplit_once(':').unwrap_or(("127.0.0.1", text));
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() || port.parse::<u16>().is_err() {
        return Err(format!("{text:?} is no [HOST:]PORT"));
    }
    Ok(format!("{host}:{port}"))
}
