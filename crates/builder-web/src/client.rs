//! Who asks: the peer of the socket, or whom a proxy that is trusted speaks for; and the name of
//! each request, by which it is found in the log.

use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, Version, header};

/// Names a request in the log, in the answer, and between us and the proxy.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Characters of a request id that is taken over.
const REQUEST_ID_CHARS_MAX: usize = 64;
/// Proxies that a request may have come through.
const FORWARDED_MAX: usize = 16;
/// Bytes of a host's name with its port.
const HOST_BYTES_MAX: usize = 261;

/// The other end of a socket, as [`crate::serve`] notes it in each request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// Over TCP.
    Address(IpAddr),
    /// Over a Unix socket: whoever may open its file.
    Unix,
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Peer::Address(address) => address.fmt(f),
            Peer::Unix => f.write_str("unix"),
        }
    }
}

/// Noted in each request of a connection that this server encrypts itself.
#[derive(Debug, Clone, Copy)]
pub struct Encrypted;

/// Noted in each request that does not say which host it is for, or says it twice or in what is no name
/// of a host: two readers could take it for requests to two sites (RFC 9112, section 3.2).
#[derive(Debug, Clone, Copy)]
pub struct Misaddressed;

/// Reads which host a request is for, as it came. What the target itself says goes before the header,
/// which is then made to say the same.
pub fn addressed<B>(request: &mut Request<B>) -> Result<(), Misaddressed> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) if names_a_host(host.as_bytes()) => {}
        // Before 1.1 there was no such header.
        (None, None) if request.version() < Version::HTTP_11 => {}
        _ => return Err(Misaddressed),
    }
    if let Some(authority) = request.uri().authority() {
        let host = match authority.port() {
            Some(port) => HeaderValue::try_from(format!("{}:{port}", authority.host())),
            None => HeaderValue::try_from(authority.host()),
        };
        let host = host.map_err(|_| Misaddressed)?;
        request.headers_mut().insert(header::HOST, host);
    }
    Ok(())
}

/// Whether this is a host, perhaps with a port. An empty one is what a client says whose target has none.
fn names_a_host(host: &[u8]) -> bool {
    let is_one = |all: &Authority| {
        let port = all.as_str().strip_prefix(all.host());
        let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
        port.is_some_and(|port| port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
    };
    host.is_empty() || Authority::try_from(host).is_ok_and(|all| is_one(&all))
}

/// Peers that speak for others, in `X-Forwarded-For` and its kin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrustedProxy {
    /// All addresses whose first bits are those of this one.
    Network(IpAddr, u8),
    /// Whoever connects to the Unix socket.
    Unix,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Where from; none over a Unix socket without a word from the proxy, and within tests.
    pub address: Option<IpAddr>,
    /// The host and scheme that the client used, where a trusted proxy tells.
    pub host: Option<String>,
    /// `https` or `http`, where a trusted proxy tells.
    pub scheme: Option<&'static str>,
    /// The request's name.
    pub request_id: RequestId,
}

/// The name of a request: 1 to 64 letters, digits, `-`, `_`, `.`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

/// Why a text names no proxy.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is no address, no ADDRESS/BITS, and not \"unix\"")]
pub struct TrustedProxyError(String);

impl FromStr for TrustedProxy {
    type Err = TrustedProxyError;

    fn from_str(text: &str) -> Result<TrustedProxy, TrustedProxyError> {
        if text == "unix" {
            return Ok(TrustedProxy::Unix);
        }
        let parse = || {
            let (address, bits) = match text.split_once('/') {
                Some((address, bits)) => (address, Some(bits)),
                None => (text, None),
            };
            let address = plain(address.parse().ok()?);
            let all = if address.is_ipv4() { 32 } else { 128 };
            let bits = match bits {
                Some(bits) => bits.parse().ok().filter(|bits| *bits <= all)?,
                None => all,
            };
            Some(TrustedProxy::Network(address, bits))
        };
        parse().ok_or_else(|| TrustedProxyError(text.to_owned()))
    }
}

impl TrustedProxy {
    fn is(self, peer: Peer) -> bool {
        match (self, peer) {
            (TrustedProxy::Unix, Peer::Unix) => true,
            (TrustedProxy::Network(IpAddr::V4(network), bits), Peer::Address(IpAddr::V4(peer))) => {
                let shift = 32 - u32::from(bits);
                (u32::from(network) ^ u32::from(peer))
                    .checked_shr(shift)
                    .unwrap_or(0)
                    == 0
            }
            (TrustedProxy::Network(IpAddr::V6(network), bits), Peer::Address(IpAddr::V6(peer))) => {
                let shift = 128 - u32::from(bits);
                (u128::from(network) ^ u128::from(peer))
                    .checked_shr(shift)
                    .unwrap_or(0)
                    == 0
            }
            _ => false,
        }
    }
}

/// Whether a peer speaks for others.
pub fn is_trusted(peer: Peer, trusted: &[TrustedProxy]) -> bool {
    let peer = match peer {
        Peer::Address(address) => Peer::Address(plain(address)),
        Peer::Unix => Peer::Unix,
    };
    trusted.iter().any(|proxy| proxy.is(peer))
}

impl Client {
    /// Reads who asks from the socket, and from the headers where the peer is trusted.
    pub fn of(peer: Option<Peer>, headers: &HeaderMap, trusted: &[TrustedProxy]) -> Client {
        let trusted = |peer: Peer| is_trusted(peer, trusted);
        let peer_address = match peer {
            Some(Peer::Address(address)) => Some(plain(address)),
            Some(Peer::Unix) | None => None,
        };
        let peer = peer_address.map(Peer::Address).or(peer);
        if !peer.is_some_and(trusted) {
            return Client {
                address: peer_address,
                host: None,
                scheme: None,
                request_id: RequestId::new(),
            };
        }
        let last = |name: &HeaderName| {
            let value = headers.get_all(name).iter().next_back()?.to_str().ok()?;
            Some(value.rsplit(',').next().unwrap_or_default().trim())
        };
        let host = last(&FORWARDED_HOST).filter(|host| is_host(host));
        Client {
            // Without a word of whom it speaks for, the proxy speaks for itself.
            address: forwarded_for(headers, trusted).or(peer_address),
            host: host.map(ToOwned::to_owned),
            scheme: match last(&FORWARDED_PROTO) {
                Some(scheme) if scheme.eq_ignore_ascii_case("https") => Some("https"),
                Some(scheme) if scheme.eq_ignore_ascii_case("http") => Some("http"),
                _ => None,
            },
            request_id: headers
                .get(REQUEST_ID)
                .and_then(RequestId::parse)
                .unwrap_or_else(RequestId::new),
        }
    }

    /// What stands for the client where clients are told apart.
    pub fn network(&self) -> Option<IpAddr> {
        self.address.map(network)
    }

    /// The address as a text; `-` where there is none.
    pub fn address_text(&self) -> String {
        self.address
            .map_or_else(|| "-".to_owned(), |address| address.to_string())
    }
}

/// What stands for an address where clients are told apart: itself, or the network of an IPv6
/// address, since each client has one of its own.
pub fn network(address: IpAddr) -> IpAddr {
    match plain(address) {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let network = u128::from(address) >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from(network))
        }
    }
}

/// The site of an IPv6 address: 65,536 networks, which one customer may have, so that the bounds of a
/// network alone would not be any. An address of IPv4 is in none: there nobody has so many.
pub fn site(address: IpAddr) -> Option<IpAddr> {
    match plain(address) {
        IpAddr::V4(_) => None,
        IpAddr::V6(address) => {
            let site = u128::from(address) >> 80 << 80;
            Some(IpAddr::V6(Ipv6Addr::from(site)))
        }
    }
}

/// The last address that no trusted proxy added itself: what is before it may be invented.
fn forwarded_for(headers: &HeaderMap, is_trusted: impl Fn(Peer) -> bool) -> Option<IpAddr> {
    let mut found = None;
    let values = headers.get_all(FORWARDED_FOR);
    let entries = values.iter().filter_map(|value| value.to_str().ok());
    let entries: Vec<&str> = entries.flat_map(|value| value.split(',')).collect();
    for entry in entries.iter().rev().take(FORWARDED_MAX) {
        let entry = entry.trim();
        // Some write the port too.
        let address = entry.parse::<IpAddr>().ok().or_else(|| {
            let socket = entry.parse::<std::net::SocketAddr>().ok();
            socket.map(|socket| socket.ip())
        });
        let Some(address) = address.map(plain) else {
            break;
        };
        found = Some(address);
        if !is_trusted(Peer::Address(address)) {
            break;
        }
    }
    found
}

/// An IPv4 address that came over an IPv6 socket is an IPv4 address.
fn plain(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

fn is_host(host: &str) -> bool {
    !host.is_empty()
        && host.len() <= HOST_BYTES_MAX
        && host
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte))
}

impl Default for RequestId {
    fn default() -> RequestId {
        RequestId::new()
    }
}

impl RequestId {
    /// Another one than any before: told apart by when this process started.
    pub fn new() -> RequestId {
        static PROCESS: LazyLock<u32> = LazyLock::new(|| {
            let mut bytes = [0; 4];
            // Ids that repeat after a restart are a nuisance, no more.
            let _: Result<(), getrandom::Error> = getrandom::fill(&mut bytes);
            u32::from_le_bytes(bytes)
        });
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        RequestId(crate::respond::value(format!(
            "{:08x}-{number:x}",
            *PROCESS
        )))
    }

    fn parse(value: &HeaderValue) -> Option<RequestId> {
        let bytes = value.as_bytes();
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
        ((1..=REQUEST_ID_CHARS_MAX).contains(&bytes.len()) && bytes.iter().all(plain))
            .then(|| RequestId(value.clone()))
    }

    /// As a header of the answer.
    pub fn header(&self) -> HeaderValue {
        self.0.clone()
    }

    /// As a text.
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, headers: &[(&'static str, &'static str)], trusted: &[&str]) -> Client {
        let peer = match peer {
            "unix" => Peer::Unix,
            address => Peer::Address(address.parse().unwrap()),
        };
        let headers = headers.iter().map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        });
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, value);
        }
        let trusted: Vec<TrustedProxy> = trusted.iter().map(|text| text.parse().unwrap()).collect();
        Client::of(Some(peer), &map, &trusted)
    }

    #[test]
    fn nobody_is_believed_who_is_not_trusted() {
        let headers = [
            ("x-forwarded-for", "192.0.2.1"),
            ("x-forwarded-host", "evil.example"),
            ("x-forwarded-proto", "https"),
            ("x-request-id", "chosen"),
        ];
        let of = client("203.0.113.9", &headers, &["127.0.0.1", "unix"]);
        assert_eq!(of.address_text(), "203.0.113.9");
        assert_eq!((of.host, of.scheme), (None, None));
        assert_ne!(of.request_id.as_str(), "chosen");
        assert_eq!(client("unix", &headers, &[]).address, None);
    }

    #[test]
    fn a_trusted_proxy_speaks_for_the_last_address_that_is_none_of_ours() {
        let of = |peer, list: &'static str| {
            client(
                peer,
                &[("x-forwarded-for", list)],
                &["unix", "10.0.0.0/8", "::1"],
            )
            .address_text()
        };
        assert_eq!(of("10.1.2.3", "192.0.2.1"), "192.0.2.1");
        assert_eq!(of("::ffff:10.1.2.3", "192.0.2.1"), "192.0.2.1");
        assert_eq!(of("unix", "invented, 192.0.2.1, 10.9.9.9"), "192.0.2.1");
        assert_eq!(of("::1", "192.0.2.7,2001:db8::5"), "2001:db8::5");
        assert_eq!(of("::1", "192.0.2.1:4711"), "192.0.2.1");
        assert_eq!(of("::1", "[2001:db8::5]:4711"), "2001:db8::5");
        assert_eq!(of("10.1.2.3", "nonsense"), "10.1.2.3");
        assert_eq!(of("10.1.2.3", "192.0.2.1, nonsense, 10.0.0.1"), "10.0.0.1");
        assert_eq!(of("11.1.2.3", "192.0.2.1"), "11.1.2.3");
    }

    #[test]
    fn a_request_id_is_taken_over_only_if_it_is_sane() {
        let of = |id| {
            let client = client("unix", &[("x-request-id", id)], &["unix"]);
            client.request_id.as_str().to_owned()
        };
        assert_eq!(of("a-B_9.x"), "a-B_9.x");
        for odd in ["", "a b", "a\"b", "<x>", "x=1"] {
            assert_ne!(of(odd), odd);
        }
        let long = &*Box::leak("x".repeat(65).into_boxed_str());
        assert_ne!(of(long), long);
        assert_ne!(of(""), of(""), "each has another one");
    }

    #[test]
    fn a_client_has_a_network_and_a_site_with_ipv6() {
        let of = |text: &str| {
            let address = text.parse().unwrap();
            (
                network(address).to_string(),
                site(address).map(|site| site.to_string()),
            )
        };
        assert_eq!(of("192.0.2.1"), ("192.0.2.1".to_owned(), None));
        assert_eq!(of("::ffff:192.0.2.1"), ("192.0.2.1".to_owned(), None));
        let (network, site) = of("2001:db8:1:2:3:4:5:6");
        assert_eq!(network, "2001:db8:1:2::");
        assert_eq!(site.as_deref(), Some("2001:db8:1::"));
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for wrong in ["", "x", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/-1"] {
            assert!(wrong.parse::<TrustedProxy>().is_err(), "{wrong}");
        }
        let all: TrustedProxy = "0.0.0.0/0".parse().unwrap();
        assert!(all.is(Peer::Address("192.0.2.1".parse().unwrap())));
        assert!(!all.is(Peer::Address("2001:db8::1".parse().unwrap())));
    }
}
