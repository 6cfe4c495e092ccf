//! What breaks of a run: the breaks of a scenario, made ready, and what each does at each layer.
//!
//! Rules are those of [`crate::net`]: a fault of a place leaves a CDN in front of it up, which answers 504; a fault of a
//! CDN breaks the CDN's own name; one of a DNS operator every name that it serves. A resolver turns the silence of an
//! operator into a failure of its own. An element that a target depends on unseen is broken when a break from everywhere
//! touches all its targets: then the target answers 500.

use std::time::Duration;

use faultline_attribution::{Cause, Layer, Maker, ProbeKind};

use super::{
    draw::{Draw, For},
    fleet,
};
use crate::{
    net::{ConnectEffect, DnsEffect, Effect, GATEWAY_TIMEOUT, HttpEffect, Lot, TlsEffect},
    scenario::{Break, Scenario},
    world::{Target, World},
};

/// How a run meets a failure at a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Blow {
    pub(super) cause: Cause,
    /// Layer at which it shows: QUIC does at the handshake what TCP does later.
    pub(super) layer: Layer,
    pub(super) status: Option<u16>,
    pub(super) maker: Option<Maker>,
    /// Time until it is known.
    pub(super) after: Duration,
}

impl Blow {
    pub(super) fn new(layer: Layer, cause: Cause, after: Duration) -> Self {
        Self { cause, layer, status: None, maker: None, after }
    }

    /// An answer that is none of those expected.
    pub(super) fn status(status: u16, maker: Option<Maker>) -> Self {
        Self { status: Some(status), maker, ..Self::new(Layer::Http, Cause::HttpStatus, QUICK) }
    }
}

/// What meets a run at one layer: it fails, or it takes longer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Meeting {
    pub(super) blow: Option<Blow>,
    pub(super) delay: Duration,
}

/// Limits of an agent. Source: DESIGN's probes: a name lookup has 5 s, a connect 3 s, a run 5 s.
pub(super) const DNS_TIMEOUT: Duration = Duration::from_secs(5);
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
pub(super) const RUN_TIMEOUT: Duration = Duration::from_secs(5);

/// When a resolver gives up on an operator that stays silent. Source: the lab's resolvers.
const RESOLVER_PATIENCE: Duration = Duration::from_secs(3);

/// An answer that comes at once.
const QUICK: Duration = Duration::from_millis(1);

/// Share of (agent, target) pairs whose resolver still has the answer when a name breaks, and for how long at most.
/// Source: chosen; clouds' names live 5 to 60 s, and most are asked for again before.
const CACHED: (f64, f64) = (0.15, 60.0);

/// Share of agents whose resolver answers SERVFAIL before the agent gives up. Source: chosen.
const PROMPT_RESOLVERS: f64 = 0.8;

/// What a break does to one target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Touch {
    Nothing,
    /// What answers the client, or its name.
    Edge,
    /// What is behind a CDN.
    Origin,
}

#[derive(Clone, Debug)]
struct Ready {
    broken: Break,
    lot: Lot,
    agents: Vec<bool>,
    targets: Vec<Touch>,
}

/// Which run it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub(super) agent: usize,
    pub(super) target: usize,
    /// Tells the pair's runs apart.
    pub(super) number: u64,
    /// Time of the scenario; `None` is in the warm-up.
    pub(super) at: Option<Duration>,
}

/// All breaks of a scenario.
#[derive(Clone, Debug)]
pub(super) struct Broken {
    breaks: Vec<Ready>,
    /// By target: for each element that it needs unseen, the targets that stand for it.
    hidden: Vec<Vec<Vec<usize>>>,
    kinds: Vec<(ProbeKind, bool)>,
    seed: u64,
}

impl Broken {
    pub(super) fn new(world: &World, scenario: &Scenario, seed: u64) -> Self {
        let breaks = scenario.breaks.iter().filter(|broken| !broken.fault.path);
        let ready = |(place, broken): (u64, &Break)| {
            let agents = world.agents.iter().map(|agent| broken.fault.agents.matches(agent)).collect();
            let targets = world.targets.iter().map(|target| touch(broken, target)).collect();
            Ready { broken: broken.clone(), lot: Lot::new(&broken.fault, world, seed, place), agents, targets }
        };
        let hidden = |target: &Target| target.hidden.iter().map(|element| stand_for(world, element)).collect();
        let kind = |target: &Target| (fleet::kind(target), fleet::is_direct(target));
        Self {
            breaks: (0..).zip(breaks).map(ready).collect(),
            hidden: world.targets.iter().map(hidden).collect(),
            kinds: world.targets.iter().map(kind).collect(),
            seed,
        }
    }

    /// Whether anything is broken at that time.
    pub(super) fn is_on(&self, at: Duration) -> bool {
        self.breaks.iter().any(|ready| ready.broken.is_on(at))
    }

    /// What that run meets at that layer.
    pub(super) fn meet(&self, run: Run, layer: Layer) -> Meeting {
        let mut meeting = Meeting::default();
        let Some(at) = run.at else { return meeting };
        for (place, ready) in self.breaks.iter().enumerate() {
            let touch = ready.targets[run.target];
            let target = u16::try_from(run.target).ok();
            let agent = u16::try_from(run.agent).unwrap_or(u16::MAX);
            let is_hit = touch != Touch::Nothing && ready.agents[run.agent] && ready.broken.is_on(at);
            if !is_hit {
                continue;
            }
            let is_drawn = ready.lot.is_drawn(agent, target, run.number);
            let effect = ready.broken.fault.effect;
            if touch == Touch::Origin {
                if layer == Layer::Http && is_drawn {
                    meeting.take(behind_edge(effect, ready));
                }
                continue;
            }
            match effect {
                Effect::Dns(effect) if is_drawn => self.at_dns(effect, layer, run, (place, ready), &mut meeting),
                Effect::Connect(effect) if layer == Layer::Connect => {
                    self.at_connect(effect, run, is_drawn, &mut meeting);
                }
                Effect::Tls(effect) if is_drawn => self.at_tls(effect, layer, run, &mut meeting),
                Effect::Http(effect) if layer == Layer::Http && is_drawn => {
                    meeting.take(http(effect, Maker::Edge));
                }
                _ => {}
            }
            if meeting.blow.is_some() {
                return meeting;
            }
        }
        if layer == Layer::Http && self.needs_broken(run, at) {
            meeting.take(http(HttpEffect::Status(500), Maker::Origin));
        }
        meeting
    }

    fn at_dns(
        &self,
        effect: DnsEffect,
        layer: Layer,
        run: Run,
        (place, ready): (usize, &Ready),
        meeting: &mut Meeting,
    ) {
        let (kind, is_direct) = self.kinds[run.target];
        // The answer is wrong, and where it leads nobody listens.
        if effect == DnsEffect::WrongAnswer && kind != ProbeKind::Dns {
            if layer == Layer::Connect && !self.is_cached(run, place, ready) {
                self.at_connect(ConnectEffect::Refused, run, true, meeting);
            }
            return;
        }
        if layer != Layer::Dns || (!is_direct && self.is_cached(run, place, ready)) {
            return;
        }
        let prompt = || Draw::of(self.seed, For::Cache, run.agent as u64, u64::MAX).happens(PROMPT_RESOLVERS);
        let (cause, after) = match effect {
            DnsEffect::Nxdomain => (Cause::DnsNxdomain, QUICK),
            DnsEffect::EmptyAnswer => (Cause::DnsEmptyAnswer, QUICK),
            DnsEffect::WrongAnswer => (Cause::DnsWrongAnswer, QUICK),
            DnsEffect::Refused if is_direct => (Cause::DnsRefused, QUICK),
            DnsEffect::Servfail | DnsEffect::Refused => (Cause::DnsServfail, QUICK),
            DnsEffect::Timeout if !is_direct && prompt() => (Cause::DnsServfail, RESOLVER_PATIENCE),
            DnsEffect::Timeout => (Cause::DnsTimeout, DNS_TIMEOUT),
            DnsEffect::Slow(delay) => return meeting.delay += delay,
        };
        meeting.take(Meeting { blow: Some(Blow::new(Layer::Dns, cause, after)), delay: Duration::ZERO });
    }

    fn at_connect(&self, effect: ConnectEffect, run: Run, is_drawn: bool, meeting: &mut Meeting) {
        let is_quic = self.kinds[run.target].0 == ProbeKind::Http3;
        if let ConnectEffect::Loss(delay) = effect
            && !is_drawn
        {
            return meeting.delay += delay;
        }
        if !is_drawn {
            return;
        }
        let (cause, after) = match effect {
            ConnectEffect::Refused => (if is_quic { Cause::QuicRefused } else { Cause::ConnectRefused }, QUICK),
            ConnectEffect::Reset => (if is_quic { Cause::QuicProtocolError } else { Cause::ConnectReset }, QUICK),
            ConnectEffect::Unreachable => (Cause::ConnectUnreachable, QUICK),
            ConnectEffect::Timeout | ConnectEffect::Loss(_) => (timeout(Layer::Connect, is_quic), CONNECT_TIMEOUT),
            ConnectEffect::Slow(delay) => return meeting.delay += delay,
        };
        meeting.take(Meeting { blow: Some(Blow::new(Layer::Connect, cause, after)), delay: Duration::ZERO });
    }

    fn at_tls(&self, effect: TlsEffect, layer: Layer, run: Run, meeting: &mut Meeting) {
        let is_quic = self.kinds[run.target].0 == ProbeKind::Http3;
        let (at, cause, after) = match effect {
            TlsEffect::Timeout if is_quic => (Layer::Connect, Cause::QuicHandshakeTimeout, CONNECT_TIMEOUT),
            TlsEffect::Reset if is_quic => (Layer::Connect, Cause::QuicProtocolError, QUICK),
            TlsEffect::Timeout => (Layer::Tls, Cause::TlsTimeout, RUN_TIMEOUT),
            TlsEffect::Reset => (Layer::Tls, Cause::TlsReset, QUICK),
            TlsEffect::CertExpired => (Layer::Tls, Cause::TlsCertExpired, QUICK),
            TlsEffect::NameMismatch => (Layer::Tls, Cause::TlsNameMismatch, QUICK),
            // To an agent, whoever signs for himself is an issuer that it does not know.
            TlsEffect::UnknownIssuer | TlsEffect::SelfSigned => (Layer::Tls, Cause::TlsUnknownIssuer, QUICK),
            TlsEffect::Slow(delay) => {
                let at = if is_quic { Layer::Connect } else { Layer::Tls };
                if layer == at {
                    meeting.delay += delay;
                }
                return;
            }
        };
        if layer == at {
            meeting.take(Meeting { blow: Some(Blow::new(at, cause, after)), delay: Duration::ZERO });
        }
    }

    /// Whether that resolver still has the answer from before.
    fn is_cached(&self, run: Run, place: usize, ready: &Ready) -> bool {
        let pair = (run.agent * self.hidden.len() + run.target) as u64;
        let mut draw = Draw::of(self.seed, For::Cache, pair, place as u64);
        let since = run.at.unwrap_or_default().saturating_sub(ready.broken.at).as_secs_f64();
        draw.happens(CACHED.0) && since < draw.unit() * CACHED.1
    }

    /// Whether something that the target needs unseen is broken.
    fn needs_broken(&self, run: Run, at: Duration) -> bool {
        self.hidden[run.target].iter().any(|stands| {
            let mut breaks = self.breaks.iter().filter(|ready| {
                let slow = matches!(
                    ready.broken.fault.effect,
                    Effect::Dns(DnsEffect::Slow(_))
                        | Effect::Connect(ConnectEffect::Slow(_))
                        | Effect::Tls(TlsEffect::Slow(_))
                        | Effect::Http(HttpEffect::Slow(_))
                );
                !slow && ready.broken.is_on(at) && ready.broken.fault.agents.is_empty()
            });
            breaks.any(|ready| {
                let touches_all = stands.iter().all(|place| ready.targets[*place] != Touch::Nothing);
                let one = stands.get(run.target % stands.len().max(1)).and_then(|place| u16::try_from(*place).ok());
                let agent = u16::try_from(run.agent).unwrap_or(u16::MAX);
                one.is_some() && touches_all && ready.lot.is_drawn(agent, one, run.number)
            })
        })
    }
}

impl Meeting {
    /// Adds what else meets the run there; the first failure stands.
    fn take(&mut self, other: Self) {
        self.delay += other.delay;
        self.blow = self.blow.or(other.blow);
    }
}

/// What the client of a CDN sees of a fault behind it.
fn behind_edge(effect: Effect, ready: &Ready) -> Meeting {
    // The CDN, not the agent, walks to the origin: only a fault from everywhere is on its way.
    let is_on_its_way = ready.broken.fault.agents.is_empty();
    match effect {
        Effect::Connect(ConnectEffect::Slow(delay)) | Effect::Tls(TlsEffect::Slow(delay)) if is_on_its_way => {
            Meeting { blow: None, delay }
        }
        Effect::Connect(_) | Effect::Tls(_) if is_on_its_way => http(HttpEffect::Status(GATEWAY_TIMEOUT), Maker::Edge),
        Effect::Http(effect) => http(effect, Maker::Origin),
        _ => Meeting::default(),
    }
}

fn http(effect: HttpEffect, maker: Maker) -> Meeting {
    let blow = |cause, after| Some(Blow::new(Layer::Http, cause, after));
    match effect {
        HttpEffect::Status(200) => Meeting::default(),
        HttpEffect::Status(status) => Meeting { blow: Some(Blow::status(status, Some(maker))), ..Meeting::default() },
        HttpEffect::Timeout => Meeting { blow: blow(Cause::HttpTimeout, RUN_TIMEOUT), ..Meeting::default() },
        HttpEffect::Reset => Meeting { blow: blow(Cause::HttpReset, QUICK), ..Meeting::default() },
        HttpEffect::Slow(delay) => Meeting { blow: None, delay },
    }
}

/// The cause when a layer takes too long.
pub(super) fn timeout(layer: Layer, is_quic: bool) -> Cause {
    match layer {
        Layer::Dns => Cause::DnsTimeout,
        Layer::Connect if is_quic => Cause::QuicHandshakeTimeout,
        Layer::Connect => Cause::ConnectTimeout,
        Layer::Tls => Cause::TlsTimeout,
        Layer::Http => Cause::HttpTimeout,
    }
}

fn touch(broken: &Break, target: &Target) -> Touch {
    let fault = &broken.fault;
    if matches!(fault.effect, Effect::Dns(_)) {
        let is_direct = fleet::is_direct(target);
        // A resolver's own trouble spares those who do not ask it.
        let is_spared = is_direct && fault.is_of_resolvers();
        let asked = if is_direct { 1 } else { target.names.len() };
        let mut names = target.names.iter().take(asked);
        let is_hit = names.any(|alias| fault.targets.breaks_name(&alias.operator, Some((target, alias))));
        return if is_hit && !is_spared { Touch::Edge } else { Touch::Nothing };
    }
    if fault.targets.breaks_origin_alone(target) {
        Touch::Origin
    } else if fault.targets.matches(target) {
        Touch::Edge
    } else {
        Touch::Nothing
    }
}

/// The targets that stand for an element, by its canonical name.
fn stand_for(world: &World, element: &str) -> Vec<usize> {
    let stands = |target: &Target| {
        let cloud = target.hosted_on.as_str();
        let words = [Some(cloud), target.region.as_deref(), target.service.as_deref()];
        let service = target.service.is_some();
        let name =
            |words: &[Option<&str>]| words.iter().copied().collect::<Option<Vec<_>>>().map(|words| words.join("/"));
        (service && name(&words).as_deref() == Some(element))
            || name(&words[..2]).as_deref() == Some(element)
            || (service && target.region.is_none() && name(&[words[0], words[2]]).as_deref() == Some(element))
            || (service && target.identity.as_deref() == Some(element))
            || target.cdn.as_deref() == Some(element)
            || element.strip_prefix("cloud/") == Some(cloud)
    };
    (0..world.targets.len()).filter(|place| stands(&world.targets[*place])).collect()
}
