//! Where a request comes from: the other end of its connection, and how it came.
//!
//! `listen` makes one for each connection; `gateway` hands it to whoever judges, counts or writes down a request. I1. It is
//! what the kernel says of the connection; no header of the request has a part in it. I2. An IPv4 address is written as one
//! in whatever way the socket shows it, so that a policy's range holds.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its address.
    pub ip: IpAddr,
    /// Its port.
    pub port: u16,
    /// Whether what passes on the connection is encrypted.
    pub secure: bool,
}

/// What is taken for one sender when senders are counted: an IPv4 address, or the 64 bits of an IPv6 address that a
/// provider hands out as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourcePrefix(IpAddr);

impl Source {
    /// The other end of a connection that nothing encrypts.
    pub fn plain(address: SocketAddr) -> Source {
        Source { ip: address.ip().to_canonical(), port: address.port(), secure: false }
    }

    /// Returns what it is counted under.
    pub fn prefix(&self) -> SourcePrefix {
        SourcePrefix(match self.ip {
            IpAddr::V4(address) => IpAddr::V4(address),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
            }
        })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", SocketAddr::new(self.ip, self.port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_what_they_are_counted_under() {
        let check = |address: &str, text: &str, prefix: &str| {
            let source = Source::plain(address.parse().expect("an address"));
            assert_eq!(source.to_string(), text);
            assert_eq!(source.prefix(), SourcePrefix(prefix.parse().expect("an address")), "{address}");
        };
        check("127.0.0.1:9", "127.0.0.1:9", "127.0.0.1");
        check("[::ffff:10.1.2.3]:9", "10.1.2.3:9", "10.1.2.3");
        check("[2001:db8:1:2:3:4:5:6]:9", "[2001:db8:1:2:3:4:5:6]:9", "2001:db8:1:2::");
        check("[::1]:9", "[::1]:9", "::");
    }
}
