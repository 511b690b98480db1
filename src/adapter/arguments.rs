//! What can be typed after `dapper-adapter`, with its help.

use std::path::{Path, PathBuf};

use clap::{Error, Parser};

const EXAMPLES: &str = "\
Without an option one client is served over standard input and output. At a port or a socket
clients are waited for; the adapter ends when the last of them has left.

Examples:
  dapper-adapter
  dapper-adapter --port 5678
  dapper-adapter --host 0.0.0.0 --port 5678
  dapper-adapter --socket /run/user/1000/dapper.sock
  dapper-adapter --log-dir logs
  python path/to/dapper/adapter

Exit status:
  0    the session is over
  1    the port, the socket or the folder cannot be used
  2    wrong use
  128+ ended by the signal of that number";

/// The debug adapter: an editor starts it, and speaks the Debug Adapter Protocol with it.
#[derive(Debug, Parser)]
#[command(name = "dapper-adapter", version, after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Wait for clients at this port (0: any that is free; it is told on standard error).
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// Wait at this address of the machine: whoever can connect to it can run programs here.
    #[arg(
        long,
        value_name = "HOST",
        default_value = "127.0.0.1",
        requires = "port"
    )]
    host: String,
    /// Wait for clients at this Unix socket, which only this user can open.
    #[arg(long, value_name = "PATH", conflicts_with = "port")]
    socket: Option<PathBuf>,
    /// Write the messages of the session to this folder, one file for each process.
    #[arg(long, value_name = "DIR")]
    log_dir: Option<PathBuf>,
    #[arg(long, hide = true, value_name = "ADDRESS", conflicts_with_all = ["port", "socket"])]
    start_for: Option<String>,
    /// What a shell made of the program's arguments.
    #[arg(last = true, hide = true, requires = "start_for")]
    more: Vec<String>,
}

/// Where clients come from.
#[derive(Debug)]
pub(super) enum From {
    /// One is at the standard streams.
    Stdio,
    /// They connect to a port.
    Port { host: String, port: u16 },
    /// They connect to a socket in the file system.
    Socket(PathBuf),
    /// None does: this process starts a program in a terminal, for the adapter at the address.
    Starter {
        address: String,
        token: String,
        more: Vec<String>,
    },
}

/// The variable that says by what the adapter knows a starter.
pub(super) const TOKEN: &str = "DAPPER_ADAPTER_TOKEN";

impl Arguments {
    /// Reads the command line without the program's name.
    pub(super) fn read(argv: Vec<String>) -> Result<Self, Error> {
        Self::try_parse_from(std::iter::once("dapper-adapter".to_owned()).chain(argv))
    }

    /// The folder for messages, if they are to be written.
    pub(super) fn log_dir(&self) -> Option<&Path> {
        self.log_dir.as_deref()
    }

    /// Where clients come from.
    pub(super) fn from(self) -> From {
        let token = || std::env::var(TOKEN).unwrap_or_default();
        match (self.start_for, self.port, self.socket) {
            (Some(address), ..) => From::Starter {
                address,
                token: token(),
                more: self.more,
            },
            (_, Some(port), _) => From::Port {
                host: self.host,
                port,
            },
            (.., Some(path)) => From::Socket(path),
            _ => From::Stdio,
        }
    }
}
