//! A TCP connection that is opened and closed.

use tokio::net::TcpStream;

use super::addresses;
use crate::run::reason::CheckFailure;

/// Connects to the first of a host's addresses that answers.
pub(crate) async fn connect(host: &str, port: u16) -> Result<TcpStream, CheckFailure> {
    let mut last = CheckFailure::TimedOut;
    for address in addresses(host) {
        match TcpStream::connect((address.as_str(), port)).await {
            Ok(stream) => return Ok(stream),
            Err(error) => {
                last = CheckFailure::NoConnection {
                    error: error.to_string(),
                    address,
                    port,
                }
            }
        }
    }
    Err(last)
}

/// Passes when a connection can be made.
pub(crate) async fn check_tcp(host: &str, port: u16) -> Result<(), CheckFailure> {
    connect(host, port).await.map(drop)
}
