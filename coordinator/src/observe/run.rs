//! Run: from what is known of one run to the observation that the core is told, the same for a stored batch and for a
//! result line.
//!
//! Rules: nothing starts after it has arrived, so a clock that runs ahead is cut back; a result is late when it arrives
//! long after its end, or in the lane of an agent's backlog. Whom the name was asked of follows from the question and the
//! catalog alone, never from the answer: runs that fail and runs that pass are of one way.

use std::{net::IpAddr, time::Duration};

use faultline_attribution::{
    AgentId, Element, Layer, Maker, Observation, Outcome, ProbeKind, Target, TargetId, Timestamp, Way,
};

use super::operators;

/// A result that arrives later than this after its end is late. Source: section 4 of the project's design.
pub const LATE: Duration = Duration::from_mins(2);

/// What is known of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Start, agent clock corrected.
    pub at: Timestamp,
    /// When the coordinator got it.
    pub received_at: Timestamp,
    /// How it ended.
    pub outcome: Outcome,
    /// HTTP status, where there was one.
    pub status: Option<u16>,
    /// Whom the name was asked of.
    pub way: Way,
    /// Who wrote the answer, where that shows.
    pub maker: Option<Maker>,
    /// Time that it took.
    pub took: Option<Duration>,
    /// The layer at which it spent most of that.
    pub slowest: Option<Layer>,
    /// It came with the backlog.
    pub is_backlog: bool,
    /// The agent's clock was wrong.
    pub is_clock_suspect: bool,
    /// Asked for outside the schedule.
    pub is_on_demand: bool,
}

impl Run {
    /// What the core is told.
    pub fn observation(self, agent: AgentId, target: TargetId) -> Observation {
        Observation {
            agent,
            target,
            at: self.at.min(self.received_at),
            received_at: self.received_at,
            outcome: self.outcome,
            status: self.status,
            way: self.way,
            maker: self.maker,
            took: self.took,
            slowest: self.slowest,
            is_late: self.is_backlog || self.received_at.since(self.at.after(self.took.unwrap_or_default())) > LATE,
            is_clock_suspect: self.is_clock_suspect,
            is_on_demand: self.is_on_demand,
        }
    }
}

/// The layer that took longest, of times in any unit, zero for layers that were not reached or are not known; the first of equals.
pub fn slowest(times: [(Layer, u64); 4]) -> Option<Layer> {
    let mut slowest = (None, 0);
    for (layer, time) in times {
        if time > slowest.1 {
            slowest = (Some(layer), time);
        }
    }
    slowest.0
}

/// Whom the name was asked of: `system` or nothing for the agent's own resolver, `authority:SERVER`, or a server, which is
/// an authority where it is the zone's operator's own and else a resolver.
pub fn way(resolver: &str, target: Option<&Target>) -> Way {
    match resolver.strip_prefix("authority:") {
        Some(server) => Way::Authority(server.to_owned()),
        None if matches!(resolver, "" | "system") => Way::System,
        None if target.is_some_and(|target| is_own_server(resolver, target)) => Way::Authority(resolver.to_owned()),
        None => Way::Resolver(resolver.to_owned()),
    }
}

/// Whether a target is asked of a server of the operator that serves its zone. A name tells whose server it is. An address
/// does not, but a target that is itself the service of that operator is asked where that service runs.
fn is_own_server(server: &str, target: &Target) -> bool {
    let (host, address) = split(server);
    let is_public = match address {
        Some(address) => PUBLIC_ADDRESSES.iter().any(|public| public.parse() == Ok(address)),
        None => PUBLIC_NAMES.iter().any(|public| host.eq_ignore_ascii_case(public)),
    };
    if target.probe != ProbeKind::Dns || is_public {
        return false;
    }
    let told = target.dns_operator.as_deref().map(Element::dns_operator);
    match (address, told) {
        (None, told) => operators::operator([host])
            .is_some_and(|known| told.is_none_or(|told| told == Element::dns_operator(known))),
        (Some(_), Some(told)) => {
            let service = target.service.as_deref().filter(|_| target.is_provider_owned());
            service.is_some_and(|service| told.name == format!("{}/{service}", target.hosted_on))
        }
        (Some(_), None) => false,
    }
}

/// The host of `host`, `host:port` or `[host]:port`, without a final dot; and the address that it is, if it is one.
fn split(server: &str) -> (&str, Option<IpAddr>) {
    let is_bare = server.parse::<IpAddr>().is_ok();
    let host = server.rsplit_once(':').filter(|_| !is_bare).map_or(server, |(host, _)| host);
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host).trim_end_matches('.');
    (host, host.parse().ok())
}

/// Resolvers for everybody whose names end like those of their operator's name servers.
///
/// Source: the operators' pages on them, <https://www.alidns.com/>, <https://dns.he.net/> and
/// <https://vercara.com/ultradns-public>.
const PUBLIC_NAMES: [&str; 5] =
    ["dns.alidns.com", "public1.alidns.com", "public2.alidns.com", "ordns.he.net", "rec1pubns1.ultradns.net"];

/// The best-known resolvers for everybody.
///
/// Source: <https://developers.google.com/speed/public-dns>, <https://one.one.one.one/>, <https://quad9.net/>,
/// <https://www.opendns.com/>.
const PUBLIC_ADDRESSES: [&str; 14] = [
    "8.8.8.8",
    "8.8.4.4",
    "2001:4860:4860::8888",
    "2001:4860:4860::8844",
    "1.1.1.1",
    "1.0.0.1",
    "2606:4700:4700::1111",
    "2606:4700:4700::1001",
    "9.9.9.9",
    "149.112.112.112",
    "2620:fe::fe",
    "2620:fe::9",
    "208.67.222.222",
    "208.67.220.220",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn run(at_s: i64, received_s: i64) -> Run {
        Run {
            at: Timestamp::from_micros(at_s * 1_000_000),
            received_at: Timestamp::from_micros(received_s * 1_000_000),
            outcome: Outcome::Passed,
            status: None,
            way: Way::System,
            maker: None,
            took: Some(Duration::from_secs(5)),
            slowest: None,
            is_backlog: false,
            is_clock_suspect: false,
            is_on_demand: false,
        }
    }

    fn is_late(run: Run) -> bool {
        run.observation("a".into(), "t".into()).is_late
    }

    #[test]
    fn the_layer_that_took_longest_is_the_slowest() {
        let times = |dns, connect, tls, http| {
            [(Layer::Dns, dns), (Layer::Connect, connect), (Layer::Tls, tls), (Layer::Http, http)]
        };
        assert_eq!(slowest(times(3, 20, 2_000, 40)), Some(Layer::Tls));
        assert_eq!(slowest(times(0, 20, 0, 0)), Some(Layer::Connect));
        assert_eq!(slowest(times(7, 7, 0, 7)), Some(Layer::Dns), "the first of equals");
        assert_eq!(slowest(times(0, 0, 0, 0)), None, "nothing is known");
    }

    #[test]
    fn lateness_counts_from_the_end_of_the_run() {
        assert!(!is_late(run(0, 125)));
        assert!(is_late(run(0, 126)));
        assert!(is_late(Run { is_backlog: true, ..run(0, 6) }));
    }

    #[test]
    fn nothing_starts_after_it_has_arrived() {
        let observation = run(100, 60).observation("a".into(), "t".into());
        assert_eq!((observation.at.micros(), observation.is_late), (60_000_000, false));
    }

    #[test]
    fn a_resolver_says_whom_the_name_was_asked_of() {
        assert_eq!(way("", None), Way::System);
        assert_eq!(way("system", None), Way::System);
        assert_eq!(way("1.1.1.1", None), Way::Resolver("1.1.1.1".into()));
        assert_eq!(way("authority:ns1.example.net", None), Way::Authority("ns1.example.net".into()));
    }

    /// A dns target of that catalog, with those words beside its name.
    fn target(words: &str) -> Target {
        let text = format!("[[target]]\nid = \"t\"\nprobe = \"dns\"\nurl = \"dns://system/a.example\"\n{words}\n");
        crate::catalog::Catalog::parse("c", &text).expect("catalog").world().remove("t").expect("the target")
    }

    #[test]
    fn a_server_of_the_zones_own_operator_is_its_authority() {
        let aws = "hosted_on = \"aws\"\nservice = \"route53\"\ndns_operator = \"route53\"\nowner = \"amazon\"";
        let azure = "hosted_on = \"azure\"\nservice = \"dns\"\ndns_operator = \"azure-dns\"\nowner = \"microsoft\"";
        let customer = "hosted_on = \"aws\"\ndns_operator = \"route53\"\nowner = \"shop\"";
        let google = "hosted_on = \"gcp\"\nservice = \"dns\"\ndns_operator = \"google-public-dns\"\nowner = \"google\"";
        let untold = "hosted_on = \"other\"";
        let alibaba = "hosted_on = \"other\"\ndns_operator = \"alibaba\"";
        for (words, server, is_authority) in [
            (aws, "ns-300.awsdns-37.com", true),
            (aws, "NS-1539.awsdns-00.co.uk.:5353", true),
            (azure, "ns1-39.azure-dns.com:53", true),
            (customer, "ns-300.awsdns-37.com", true),
            (untold, "ns-300.awsdns-37.com", true),
            // The service itself, by address.
            (aws, "127.53.1.1:20443", true),
            (azure, "[2603:1061::1]:53", true),
            (azure, "2603:1061::1", true),
            // Somebody else's server, or nobody's that is known.
            (customer, "ns1-39.azure-dns.com", false),
            (aws, "ns1.example.net", false),
            (customer, "192.0.2.53", false),
            (untold, "192.0.2.53", false),
            (aws, "8.8.8.8", false),
            (aws, "[2001:4860:4860::8888]:53", false),
            (google, "8.8.8.8", false),
            (alibaba, "ns1.alidns.com", true),
            (alibaba, "dns.alidns.com", false),
        ] {
            let expected = if is_authority { Way::Authority(server.into()) } else { Way::Resolver(server.into()) };
            assert_eq!(way(server, Some(&target(words))), expected, "{words}");
        }
        let web = Target { probe: ProbeKind::Https, ..target(aws) };
        assert_eq!(way("127.53.1.1", Some(&web)), Way::Resolver("127.53.1.1".into()), "its agent's resolver");
        assert_eq!(way("system", Some(&target(aws))), Way::System);
    }
}
