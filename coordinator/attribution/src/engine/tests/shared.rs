//! What both clouds use: an authority, a protocol. It fails wherever it is used, or it is not at fault.

use super::{
    super::*,
    sim::{Sim, target},
};
use crate::{Cause, ProbeKind, Target, TargetId, Verdict, dice};

/// Sites on both clouds and on neither, a third of each with each of three authorities.
fn sites(count: usize) -> Vec<(TargetId, Target)> {
    let hosts =
        [("aws", "us-east-1"), ("aws", "eu-west-1"), ("azure", "eastus"), ("azure", "westeurope"), ("other", "")];
    let one = |number: usize| {
        let (cloud, region) = hosts[number % hosts.len()];
        let name = format!("site-{number}");
        let site = target(cloud, region, "shop", &name);
        let issuer = ["sectigo", "digicert", "globalsign"][number / hosts.len() % 3];
        (TargetId::from(name.as_str()), Target { issuer: Some(issuer.into()), ..site })
    };
    (0..count).map(one).collect()
}

/// What is said while the handshakes with one authority's sites take two seconds more, if runs tell where their time went.
fn said_of_slow_handshakes(is_told: bool) -> Vec<(Verdict, String)> {
    let mut sim = Sim::with(sites(60));
    let broke = u64::try_from(sim.now.micros() / 1_000_000).expect("positive") + 300;
    sim.pace = Some(Box::new(move |id, target, at| {
        let is_lucky = dice::hash(11, &[id.as_str()], at).is_multiple_of(5);
        let is_slow = target.issuer.as_deref() == Some("sectigo") && at >= broke && !is_lucky;
        if is_slow { (2_100, is_told.then_some(Layer::Tls)) } else { (90, None) }
    }));
    sim.healthy(540);
    sim.accusations().into_iter().map(|(verdict, _, element)| (verdict, element)).collect()
}

#[test]
fn slow_handshakes_with_one_authoritys_sites_are_that_authoritys() {
    let said = said_of_slow_handshakes(true);
    assert!(said.contains(&(Verdict::Neither, "ca/sectigo".into())), "{said:?}");
    assert!(said.iter().all(|(verdict, _)| *verdict == Verdict::Neither), "{said:?}");
    let untold = said_of_slow_handshakes(false);
    assert!(!untold.contains(&(Verdict::Neither, "ca/sectigo".into())), "the layer is what tells it: {untold:?}");
}

/// What is said while QUIC handshakes fail with those of the sites for which it says so.
fn said_of_quic(is_hit: &dyn Fn(&Target) -> bool) -> Vec<(Verdict, String)> {
    // Three of four answer over TCP alone.
    let quic = |number: usize| if number.is_multiple_of(4) { ProbeKind::Http3 } else { ProbeKind::Https };
    let sites = sites(160).into_iter().enumerate();
    let mut sim = Sim::with(sites.map(|(number, (id, site))| (id, Target { probe: quic(number), ..site })).collect());
    sim.healthy(90).run(180, &|_, _, id, target, at| {
        let is_lost = !dice::hash(7, &[id.as_str()], at).is_multiple_of(10);
        (target.probe == ProbeKind::Http3 && is_hit(target) && is_lost)
            .then_some((Layer::Connect, Cause::QuicHandshakeTimeout))
    });
    sim.accusations().into_iter().map(|(verdict, _, element)| (verdict, element)).collect()
}

fn site_number(target: &Target) -> usize {
    target.owner.as_deref().and_then(|owner| owner.rsplit_once('-')?.1.parse().ok()).unwrap_or_default()
}

#[test]
fn a_protocol_that_fails_on_one_cloud_alone_is_not_at_fault() {
    let everywhere = said_of_quic(&|_| true);
    assert!(everywhere.contains(&(Verdict::Neither, "stack/http3".into())), "{everywhere:?}");
    for share in [1, 2, 3, 4, 6] {
        let on_aws = said_of_quic(&|target| target.hosted_on == "aws" && site_number(target).is_multiple_of(share));
        assert!(on_aws.iter().all(|(_, element)| element != "stack/http3"), "{on_aws:?}");
        // Where that is all of them, it is nothing of those endpoints' own either.
        assert!(share > 1 || on_aws.is_empty(), "{on_aws:?}");
    }
}
