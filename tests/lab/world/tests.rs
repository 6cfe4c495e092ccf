//! What must hold of the standard world, and of worlds grown from it.

mod expected;

use super::*;

#[test]
fn the_standard_world_is_sound() {
    let world = World::standard();
    assert_eq!(world.flaws(), Vec::<String>::new());
    assert_eq!((world.targets.len(), world.operators.len()), (120, 12));
}

#[test]
fn most_vantages_are_on_neither_cloud() {
    let world = World::standard();
    let outside = world.agents.iter().filter(|agent| !matches!(agent.hosted_on.as_deref(), Some("aws" | "azure")));
    assert_eq!(world.agents.len(), 28);
    assert_eq!(outside.count(), 24);
}

#[test]
fn two_front_door_customers_must_be_learned() {
    let world = World::standard();
    let untold = world.targets.iter().filter(|target| target.cdn.is_some() && !target.cdn_is_told).count();
    let catalog = catalog_toml(&world, 20443);
    let fronted = world.targets.iter().filter(|t| t.cdn.as_deref() == Some("azure/front-door")).count();
    assert_eq!(untold, 2);
    assert_eq!(catalog.matches("cdn = \"azure/front-door\"").count(), fronted - untold);
}

#[test]
fn the_catalog_reads_back_with_one_entry_a_target() {
    let world = World::standard();
    let catalog: toml::Table = catalog_toml(&world, 20443).parse().expect("TOML");
    let targets = catalog["target"].as_array().expect("an array of tables");
    assert_eq!(targets.len(), world.targets.len());
    let dynamodb = targets.iter().find(|t| t["id"].as_str() == Some("aws/us-east-1/dynamodb")).expect("dynamodb");
    assert_eq!(dynamodb["url"].as_str(), Some("https://dynamodb.us-east-1.amazonaws.com:20443/ping"));
    assert_eq!(dynamodb["expect"]["body_contains"].as_str(), Some("healthy"));
}

#[test]
fn what_is_told_is_what_the_catalog_says() {
    let (world, told) = (World::standard(), World::standard().told());
    let untold = world.targets.iter().filter(|target| target.cdn.is_some() && !target.cdn_is_told);
    assert!(untold.clone().all(|target| told.targets[target.id.as_str()].cdn.is_none()));
    assert_eq!((told.targets.len(), told.vantages.len()), (world.targets.len(), world.agents.len()));
    assert_eq!(told.targets["app/pay-eleven"].zone.as_deref(), Some("apne1-az4"));
    assert!(told.targets["app/cart-sorrel"].depends_on.is_empty(), "a hidden dependency was told");
    assert_eq!(told.targets["address/ec2"].host, None);
    assert_eq!(told.vantages["orange-par-1"].resolver.as_deref(), Some("1.1.1.1"));
}

#[test]
fn worlds_of_every_size_hold_the_standard_targets_and_contradict_nothing() {
    let standard = World::standard();
    for (agents, targets) in [(6, 240), (24, 20), (28, 20), (48, 240), (200, 500), (48, 1000)] {
        let world = World::sized(agents, targets, 7);
        assert_eq!(world.contradictions(), Vec::<String>::new(), "{agents} agents, {targets} targets");
        assert_eq!(world.agents.len(), agents);
        assert_eq!(world.targets.len(), targets.max(standard.targets.len()));
        let held = world.targets.iter().map(|target| &target.id).take(standard.targets.len());
        assert!(held.eq(standard.targets.iter().map(|target| &target.id)));
    }
}

#[test]
fn a_fleet_of_six_sees_from_four_networks_outside_the_clouds() {
    let agents = World::sized(6, 240, 1).agents;
    assert_eq!(agents.iter().filter(|agent| agent.hosted_on.is_none()).count(), 4);
}

#[test]
fn large_worlds_have_three_independent_targets_in_each_main_region() {
    for seed in 0..5 {
        let world = World::sized(48, 240, seed);
        for (cloud, region) in [("aws", "us-east-1"), ("aws", "sa-east-1"), ("azure", "eastus"), ("azure", "westus2")] {
            let direct = world.targets.iter().filter(|target| target.hosted_on == cloud && target.cdn.is_none());
            let owners = direct.filter(|target| target.region.as_deref() == Some(region)).map(|t| t.owner.as_str());
            assert!(owners.collect::<HashSet<_>>().len() >= 3, "seed {seed}: {cloud}/{region}");
        }
        let cdns: HashSet<_> = world.targets.iter().filter_map(|target| target.cdn.as_deref()).collect();
        assert_eq!(cdns.len(), 5, "{cdns:?}");
    }
}

#[test]
fn the_seed_decides_hosting_details_and_nothing_else() {
    let (one, two) = (World::sized(200, 500, 1), World::sized(200, 500, 2));
    let regions = |world: &World| world.targets.iter().filter(|target| target.region.is_some()).count();
    assert_ne!(format!("{:?}", one.targets), format!("{:?}", two.targets));
    assert_eq!(format!("{:?}", one.targets), format!("{:?}", World::sized(200, 500, 1).targets));
    assert!(regions(&one).abs_diff(regions(&two)) < 40);
    let resolvers = |world: &World| world.agents.iter().filter(|agent| agent.resolver.is_some()).count();
    assert_eq!(resolvers(&one), resolvers(&two));
}
