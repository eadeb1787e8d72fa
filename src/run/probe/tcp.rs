//! A TCP connection that is opened and closed.

use tokio::net::TcpStream;

use super::addresses;

/// Connects to the first of a host's addresses that answers.
pub(crate) async fn connect(host: &str, port: u16) -> Result<TcpStream, String> {
    let mut last = String::new();
    for address in addresses(host) {
        match TcpStream::connect((address.as_str(), port)).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = format!("no connection to {address} port {port}: {error}"),
        }
    }
    Err(last)
}

/// Passes when a connection can be made.
pub(crate) async fn check_tcp(host: &str, port: u16) -> Result<(), String> {
    connect(host, port).await.map(drop)
}
