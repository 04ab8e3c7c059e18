//! What an access entry names: a host, a domain, a network, or everything; and which of two is the
//! narrower.
//!
//! Patterns are ordered by their precedence: the number of labels for names, the number of leading
//! bits that count for addresses, zero for `*`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use smtp_core::host::{Host, HostName, HostProblem, parse_address};
use smtp_core::text::{TextError, printable, quoted};

/// The host of an access entry. Its text is canonical: reading what `Display` writes gives the same
/// pattern.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostPattern(Kind);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Kind {
    /// `*`.
    Any,
    /// `mail.example.com`.
    Name(HostName),
    /// `*.example.com`: every name below it, at any depth, but not itself.
    Below(HostName),
    /// `192.0.2.1`, `192.0.2.0/24`, `2001:db8::/32`.
    Network(Network),
    /// `192.0.2.*`: the same network as `192.0.2.0/24` in an older spelling, which is kept.
    Octets(Network),
}

/// Why a text is not a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// A control character.
    #[error(transparent)]
    Text(#[from] TextError),
    /// Anything else.
    #[error("{shown} is not a host or a pattern of hosts: {problem}")]
    Pattern {
        /// The text, escaped and cut.
        shown: String,
        /// What is wrong with it.
        problem: PatternProblem,
    },
}

/// What is wrong with a text that is not a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternProblem {
    /// Neither a host.
    #[error(transparent)]
    Host(#[from] HostProblem),
    /// `mail/24`.
    #[error("no address before the \"/\"")]
    NoAddress,
    /// `192.0.2.0/x`.
    #[error("no number after the \"/\"")]
    NoPrefixLength,
    /// `192.0.2.0/33`.
    #[error("the prefix length must be {shortest} to {longest}")]
    PrefixLength {
        /// The least.
        shortest: u32,
        /// The most.
        longest: u32,
    },
    /// `192.0.2.1/24`.
    #[error("bits are set beyond the prefix; the network is {network}")]
    BitsBeyondPrefix {
        /// The network that the address lies in.
        network: String,
    },
    /// `256.*`.
    #[error("one to three decimal numbers stand before the \".*\"")]
    Octets,
}

impl HostPattern {
    /// Takes a host, `*`, `*.example.com`, `192.0.2.0/24`, `2001:db8::/32`, `192.0.2.*`, `192.0.*`
    /// or `192.*`.
    ///
    /// # Errors
    /// Where the text is none of them.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        printable(text)?;
        Self::read(text)
            .map(Self)
            .map_err(|problem| PatternError::Pattern {
                shown: quoted(text),
                problem,
            })
    }

    /// Whether an entry for this pattern speaks of `host`. No name is resolved for that: an entry
    /// for a name does not speak of its address, nor the reverse.
    pub fn matches(&self, host: &Host) -> bool {
        self.contains(&Self::from(host))
    }

    /// The higher, the narrower; only meaningful between patterns that match the same host.
    pub fn specificity(&self) -> u32 {
        match &self.0 {
            Kind::Any => 0,
            _ => self.level() + 1,
        }
    }

    fn read(text: &str) -> Result<Kind, PatternProblem> {
        if text == "*" {
            return Ok(Kind::Any);
        }
        if let Some(suffix) = text.strip_prefix("*.") {
            return Ok(Kind::Below(HostName::parse(suffix)?));
        }
        if let Some(octets) = text.strip_suffix(".*") {
            return Network::read_octets(octets).map(Kind::Octets);
        }
        if let Some((address, prefix)) = text.split_once('/') {
            return Network::read_cidr(address, prefix).map(Kind::Network);
        }
        Ok(Self::from(&Host::parse_any(text)?).0)
    }

    /// The precedence of the pattern for a host that it contains.
    fn level(&self) -> u32 {
        match &self.0 {
            Kind::Any => 0,
            Kind::Name(name) | Kind::Below(name) => count(name.labels()),
            Kind::Network(network) | Kind::Octets(network) => network.prefix,
        }
    }

    fn contains(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Kind::Any, _) => true,
            (Kind::Name(name), Kind::Name(other)) => name == other,
            (Kind::Below(suffix), Kind::Name(name)) => is_below(name, suffix),
            (Kind::Below(suffix), Kind::Below(name)) => suffix == name || is_below(name, suffix),
            (
                Kind::Network(network) | Kind::Octets(network),
                Kind::Network(other) | Kind::Octets(other),
            ) => network.contains(other),
            _ => false,
        }
    }
}

impl From<&Host> for HostPattern {
    fn from(host: &Host) -> Self {
        Self(match host {
            Host::Name(name) => Kind::Name(name.clone()),
            Host::Address(address) => Kind::Network(Network::of(*address)),
        })
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Any => f.write_str("*"),
            Kind::Name(name) => name.fmt(f),
            Kind::Below(name) => write!(f, "*.{name}"),
            Kind::Network(network) => network.fmt(f),
            Kind::Octets(network) => network.octets().unwrap_or_default().fmt(f),
        }
    }
}

/// Every canonical text of a pattern that matches `host`, the narrowest first. Of the two spellings
/// of an IPv4 network the one with the prefix length comes first. An IPv6 address has 130: none is
/// made before it is asked for.
pub fn candidates(host: &Host) -> impl Iterator<Item = String> + use<> {
    let narrowest = HostPattern::from(host);
    let first = std::iter::once(narrowest.to_string());
    let others = std::iter::once_with(move || wider(&narrowest)).flatten();
    first.chain(others.skip(1).map(|pattern| pattern.to_string()))
}

/// The host and the domains or subnets that contain it, the narrowest first. The subnets of an IPv4
/// address are whole octets; for IPv6 addresses and prefix lengths, every network that contains
/// them is listed.
pub fn domains(host: &HostPattern) -> Vec<String> {
    let octets = matches!(host.0, Kind::Octets(_)) || is_ipv4_address(host);
    wider(host)
        .into_iter()
        .filter(|pattern| match &pattern.0 {
            Kind::Network(_) => !octets || pattern == host,
            _ => true,
        })
        .map(|pattern| pattern.to_string())
        .collect()
}

/// The number of labels or octets that are given; `None` for IPv6 addresses and prefix lengths.
pub fn domain_level(host: &HostPattern) -> Option<u32> {
    match &host.0 {
        Kind::Octets(network) => Some(network.prefix / 8),
        Kind::Network(_) => is_ipv4_address(host).then_some(4),
        _ => Some(host.level()),
    }
}

/// Whether both are the same host, domain or subnet, in any spelling.
pub fn equals_host(one: &HostPattern, other: &HostPattern) -> bool {
    one.contains(other) && other.contains(one)
}

/// The precedence of `domain` for `host`; `None` if it doesn't contain it.
pub fn contains_host(host: &HostPattern, domain: &HostPattern) -> Option<u32> {
    domain.contains(host).then(|| domain.level())
}

/// The pattern and all that contain it, the narrowest first.
fn wider(pattern: &HostPattern) -> Vec<HostPattern> {
    let mut kinds = vec![pattern.0.clone()];
    match &pattern.0 {
        Kind::Any => return vec![pattern.clone()],
        Kind::Name(name) | Kind::Below(name) => kinds.extend(name.parents().map(Kind::Below)),
        Kind::Network(network) => {
            kinds.extend(network.octets().map(|_| Kind::Octets(*network)));
            kinds.extend(wider_networks(network));
        }
        Kind::Octets(network) => {
            kinds.insert(0, Kind::Network(*network));
            kinds.extend(wider_networks(network));
        }
    }
    kinds.push(Kind::Any);
    kinds.into_iter().map(HostPattern).collect()
}

fn wider_networks(network: &Network) -> impl Iterator<Item = Kind> {
    let address = network.address;
    (0..network.prefix).rev().flat_map(move |prefix| {
        let network = Network {
            address: masked(address, prefix),
            prefix,
        };
        let octets = network.octets().map(|_| Kind::Octets(network));
        [Some(Kind::Network(network)), octets].into_iter().flatten()
    })
}

fn is_below(name: &HostName, suffix: &HostName) -> bool {
    name.as_str()
        .strip_suffix(suffix.as_str())
        .is_some_and(|rest| rest.ends_with('.'))
}

fn is_ipv4_address(pattern: &HostPattern) -> bool {
    matches!(
        pattern.0,
        Kind::Network(Network {
            address: IpAddr::V4(_),
            prefix: 32
        })
    )
}

fn count(items: impl Iterator) -> u32 {
    u32::try_from(items.count()).unwrap_or(u32::MAX)
}

/// An address and how many of its leading bits count; the others are zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Network {
    address: IpAddr,
    prefix: u32,
}

impl Network {
    fn of(address: IpAddr) -> Self {
        Self {
            address,
            prefix: width(address),
        }
    }

    /// `192.0.2.0/24`. An IPv4-mapped network (`::ffff:192.0.2.0/120`) becomes its IPv4 network.
    fn read_cidr(address: &str, prefix: &str) -> Result<Self, PatternProblem> {
        let mapped = address
            .parse::<Ipv6Addr>()
            .is_ok_and(|v6| v6.to_ipv4_mapped().is_some());
        let address = parse_address(address)
            .filter(|_| !address.starts_with('['))
            .ok_or(PatternProblem::NoAddress)?;
        let written = decimal(prefix).ok_or(PatternProblem::NoPrefixLength)?;
        let shortest = if mapped { 96 } else { 0 };
        let prefix = written
            .checked_sub(shortest)
            .filter(|prefix| *prefix <= width(address))
            .ok_or_else(|| PatternProblem::PrefixLength {
                shortest,
                longest: width(address) + shortest,
            })?;
        let network = Self {
            address: masked(address, prefix),
            prefix,
        };
        if network.address != address {
            let network = network.to_string();
            return Err(PatternProblem::BitsBeyondPrefix { network });
        }
        Ok(network)
    }

    /// The numbers before the `.*` of `192.0.2.*`.
    fn read_octets(text: &str) -> Result<Self, PatternProblem> {
        let explained = || PatternProblem::Octets;
        let mut octets = [0_u8; 4];
        let mut given = 0;
        for part in text.split('.') {
            if given == 3 {
                return Err(explained());
            }
            octets[given] = decimal(part)
                .and_then(|n| u8::try_from(n).ok())
                .ok_or_else(explained)?;
            given += 1;
        }
        let prefix = count(octets[..given].iter()) * 8;
        Ok(Self {
            address: IpAddr::V4(Ipv4Addr::from(octets)),
            prefix,
        })
    }

    /// The spelling with `*`, when there is one.
    fn octets(&self) -> Option<String> {
        let IpAddr::V4(address) = self.address else {
            return None;
        };
        let [a, b, c, _] = address.octets();
        match self.prefix {
            8 => Some(format!("{a}.*")),
            16 => Some(format!("{a}.{b}.*")),
            24 => Some(format!("{a}.{b}.{c}.*")),
            _ => None,
        }
    }

    fn contains(&self, other: &Self) -> bool {
        self.address.is_ipv4() == other.address.is_ipv4()
            && self.prefix <= other.prefix
            && masked(other.address, self.prefix) == self.address
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.prefix == width(self.address) {
            return self.address.fmt(f);
        }
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn masked(address: IpAddr, prefix: u32) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
            Ipv4Addr::from_bits(address.to_bits() & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    }
}

/// A number as a person writes it: digits only, no leading zero, which some would read as octal.
fn decimal(text: &str) -> Option<u32> {
    let plain =
        text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests;
