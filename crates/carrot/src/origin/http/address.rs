//! Addresses that an HTTP origin does not ask unless it was told to.
//!
//! Beside every machine of a cloud there is a server that hands out the machine's passwords to whoever asks from it.
//! A key, a name or a redirect that leads a node there would have it fetch and serve them. Origins beside the node are
//! the normal case, so loopback and private networks are asked; these few are not. Looked at is the address that is
//! about to be connected to, after all names are resolved.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Servers of clouds that are not link-local, by their makers' documentation: "instance metadata" at Alibaba, "IP
/// address 168.63.129.16" at Azure, "instance metadata" of Oracle's Classic and later clouds, "instance metadata
/// service" and "EKS Pod Identity" at AWS, "metadata server" at Google, "Metadata service" at Akamai (Linode), and
/// cloud-init's page on Scaleway.
const METADATA: [IpAddr; 9] = [
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xa9fe, 0xa9fe, 0, 0, 0, 0, 1)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42)),
];

/// What an address that is not asked is, in a word or two; `None` for one that may be asked.
pub fn refused(address: IpAddr, allow: &[IpAddr]) -> Option<&'static str> {
    let plain = plain(address);
    if allow.iter().any(|&allowed| allowed == address || self::plain(allowed) == plain) {
        return None;
    }
    match plain {
        known if METADATA.contains(&known) => Some("a metadata address"),
        // Also 169.254.169.254, where most clouds have their metadata.
        IpAddr::V4(v4) if v4.is_link_local() => Some("a link-local address"),
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Some("a link-local address"),
        other if other.is_unspecified() => Some("the unspecified address"),
        other if other.is_multicast() => Some("a multicast address"),
        IpAddr::V4(Ipv4Addr::BROADCAST) => Some("the broadcast address"),
        _ => None,
    }
}

/// The address of IPv4 that one of IPv6 stands for, where it does: mapped (`::ffff:a.b.c.d`), compatible
/// (`::a.b.c.d`), translated (`::ffff:0:a.b.c.d`, RFC 2765 §2.1), behind a translator's well-known prefix
/// (`64:ff9b::a.b.c.d`, RFC 6052 §2.1), or behind the prefix for local translators, where it is most often written
/// the same way (`64:ff9b:1::a.b.c.d`, RFC 8215).
fn plain(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    match v6.segments() {
        // The unspecified address and loopback have the form of compatible ones.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => address,
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x64, 0xff9b, 1, _, _, _, high, low] => {
            Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)).into()
        }
        _ => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(address: &str, allow: &[&str]) -> Option<&'static str> {
        let allow: Vec<IpAddr> = allow.iter().map(|text| text.parse().unwrap()).collect();
        refused(address.parse().unwrap(), &allow)
    }

    #[test]
    fn link_local_and_metadata_addresses_are_refused_in_every_disguise() {
        for (address, what) in [
            ("169.254.169.254", "a link-local address"),
            ("169.254.0.0", "a link-local address"),
            ("::ffff:169.254.169.254", "a link-local address"),
            ("::169.254.169.254", "a link-local address"),
            ("64:ff9b::a9fe:a9fe", "a link-local address"),
            ("64:ff9b:1::a9fe:a9fe", "a link-local address"),
            ("64:ff9b:1:2:3:4:a9fe:a9fe", "a link-local address"),
            ("::ffff:0:169.254.169.254", "a link-local address"),
            ("fe80::1", "a link-local address"),
            ("febf:ffff::", "a link-local address"),
            ("fd00:ec2::254", "a metadata address"),
            ("fd20:ce::254", "a metadata address"),
            ("100.100.100.200", "a metadata address"),
            ("::ffff:100.100.100.200", "a metadata address"),
            ("168.63.129.16", "a metadata address"),
            ("0.0.0.0", "the unspecified address"),
            ("::", "the unspecified address"),
            ("::ffff:0.0.0.0", "the unspecified address"),
            ("224.0.0.1", "a multicast address"),
            ("ff02::1", "a multicast address"),
            ("255.255.255.255", "the broadcast address"),
        ] {
            assert_eq!(refusal(address, &[]), Some(what), "{address}");
        }
    }

    #[test]
    fn the_machine_itself_and_private_networks_may_be_asked() {
        let private =
            ["127.0.0.1", "127.255.0.1", "::1", "10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1"];
        let others = ["::ffff:127.0.0.1", "fd00::1", "fec0::1", "1.1.1.1", "2606:4700::1111", "169.253.0.1"];
        for address in private.into_iter().chain(others) {
            assert_eq!(refusal(address, &[]), None, "{address}");
        }
    }

    #[test]
    fn an_address_that_is_named_may_be_asked_and_no_other() {
        assert_eq!(refusal("169.254.169.254", &["169.254.169.254"]), None);
        assert_eq!(refusal("::ffff:169.254.169.254", &["169.254.169.254"]), None);
        assert_eq!(refusal("169.254.169.254", &["::ffff:169.254.169.254"]), None);
        assert!(refusal("169.254.169.253", &["169.254.169.254"]).is_some());
        assert!(refusal("fe80::2", &["fe80::1"]).is_some());
    }
}
