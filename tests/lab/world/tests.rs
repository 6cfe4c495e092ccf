//! What must hold of the standard world.

use super::*;

#[test]
fn the_standard_world_is_sound() {
    assert_eq!(World::standard().flaws(), Vec::<String>::new());
}

#[test]
fn most_vantages_are_on_neither_cloud() {
    let world = World::standard();
    let outside = world.agents.iter().filter(|agent| !matches!(agent.hosted_on.as_deref(), Some("aws" | "azure")));
    assert_eq!(world.agents.len(), 18);
    assert_eq!(outside.count(), 14);
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
