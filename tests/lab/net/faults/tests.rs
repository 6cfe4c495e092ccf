//! Who suffers from a fault, without a socket.

use super::*;

fn board(fault: Fault) -> FaultBoard {
    let board = FaultBoard::new(Arc::new(World::standard()), 7);
    board.set(fault);
    board
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().copied().map(str::to_owned).collect()
}

fn fault(effect: Effect, targets: TargetSelect) -> Fault {
    Fault { targets, agents: AgentSelect::default(), effect, share: 1.0, share_of: ShareOf::Runs, path: false }
}

#[test]
fn a_regions_outage_leaves_the_edge_up_and_shows_as_504_behind_it() {
    let select = TargetSelect { hosted_on: words(&["aws"]), region: words(&["eu-west-1"]), ..TargetSelect::default() };
    let board = board(fault(Effect::Connect(ConnectEffect::Timeout), select));
    let world = World::standard();
    let (agent, edge) = (&world.agents[0], world.target("cloudfront/news-harbor").expect("target"));
    let origin = world.target("origin/news-harbor").expect("target");
    assert_eq!(board.standing(agent, origin), Standing::Silent);
    assert_eq!(board.standing(agent, edge), Standing::Open);
    assert_eq!(board.connection(agent, edge).http, Some(HttpEffect::Status(504)));
}

#[test]
fn a_cdns_dns_fault_spares_its_customers_zones() {
    let select = TargetSelect { cdn: words(&["azure/front-door"]), ..TargetSelect::default() };
    let board = board(fault(Effect::Dns(DnsEffect::Timeout), select));
    let world = World::standard();
    let target = world.target("front-door/contoso-air").expect("target");
    let asked = |link: &Alias| board.dns((&world.agents[0], Asker::Resolver), &link.operator, Some((target, link)));
    assert_eq!(asked(&target.names[0]), None);
    assert_eq!(asked(&target.names[1]), Some(DnsEffect::Timeout));
}

#[test]
fn an_operators_fault_breaks_whatever_it_is_asked() {
    let select = TargetSelect { dns_operator: words(&["dyn"]), ..TargetSelect::default() };
    let board = board(fault(Effect::Dns(DnsEffect::Timeout), select));
    let world = World::standard();
    assert_eq!(board.dns((&world.agents[0], Asker::Agent), "dyn", None), Some(DnsEffect::Timeout));
    assert_eq!(board.dns((&world.agents[0], Asker::Agent), "ns1", None), None);
}

#[test]
fn a_share_is_met_and_the_same_seed_draws_the_same() {
    let select = TargetSelect { cdn: words(&["cdn/fastly"]), ..TargetSelect::default() };
    let fault = Fault { share: 0.85, ..fault(Effect::Http(HttpEffect::Status(503)), select) };
    let world = World::standard();
    let target = world.target("fastly/retail").expect("target");
    let draws = |board: &FaultBoard| -> Vec<bool> {
        (0..1000).map(|_| board.connection(&world.agents[3], target).http.is_some()).collect()
    };
    let first = draws(&board(fault.clone()));
    let hits = first.iter().filter(|hit| **hit).count();
    assert!((810..890).contains(&hits), "{hits} of 1000");
    assert_eq!(first, draws(&board(fault)));
}

#[test]
fn a_share_of_targets_breaks_those_wholly_and_the_others_not_at_all() {
    let select = TargetSelect { hosted_on: words(&["aws"]), ..TargetSelect::default() };
    let fault =
        Fault { share: 0.25, share_of: ShareOf::Targets, ..fault(Effect::Http(HttpEffect::Status(503)), select) };
    let world = World::standard();
    let aws: Vec<&Target> = world.targets.iter().filter(|target| target.hosted_on == "aws").collect();
    let board = board(fault);
    let hits = |agent: usize| -> Vec<u16> {
        let agent = &world.agents[agent];
        aws.iter().filter(|target| board.connection(agent, target).http.is_some()).map(|target| target.number).collect()
    };
    let from_one = hits(0);
    assert_eq!(from_one.len(), (aws.len() + 2) / 4);
    assert_eq!(from_one, hits(7));
    assert_eq!(from_one, hits(0), "another draw, the same targets");
}
