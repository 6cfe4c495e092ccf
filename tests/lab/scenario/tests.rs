//! Scenario files as people write them, right and wrong.

use super::*;
use crate::net::ShareOf;

#[test]
fn every_built_in_scenario_reads_and_bears_its_files_name() {
    let scenarios = built_in(&World::standard()).expect("all read");
    let ids: Vec<&str> = scenarios.iter().map(|scenario| scenario.id.as_str()).collect();
    assert_eq!(ids, names());
    assert!(names().contains(&DEFAULT));
}

#[test]
fn every_file_of_the_folder_is_built_in() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let files = std::fs::read_dir(folder).expect("folder").map(|entry| entry.expect("entry").path());
    let mut stems: Vec<String> = files
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    stems.sort_unstable();
    let mut known = names();
    known.sort_unstable();
    assert_eq!(stems, known);
}

#[test]
fn every_held_out_scenario_reads_in_the_worlds_of_several_seeds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/held-out");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).expect("folder") {
        let path = entry.expect("entry").path();
        let scenario = Scenario::find(path.to_str().expect("UTF-8"), &World::standard()).expect("reads");
        let id = scenario.id.as_str();
        assert_eq!(Some(id), path.file_stem().and_then(|stem| stem.to_str()));
        assert_eq!(scenario.family, format!("held-out/{id}"));
        assert_eq!(scenario.plays, [Way::Observations], "{id}");
        for seed in 1..=4 {
            let world = scenario.world(seed);
            for broken in &scenario.breaks {
                let fault = &broken.fault;
                assert!(world.targets.iter().any(|target| fault.targets.matches(target)), "{id}, seed {seed}");
                assert!(world.agents.iter().any(|agent| fault.agents.matches(agent)), "{id}, seed {seed}");
            }
        }
        count += 1;
    }
    assert_eq!(count, 24);
}

#[test]
fn a_scenario_without_anything_wrong_accuses_nobody() {
    for scenario in built_in(&World::standard()).expect("all read") {
        let is_quiet = scenario.breaks.is_empty() && scenario.silences.is_empty();
        assert!(!is_quiet || scenario.truth.is_empty(), "{}", scenario.id);
    }
}

#[test]
fn what_is_wrong_is_named_with_file_line_and_value() {
    let rows = [
        ("layr = \"dns\"", "s.toml:7: unknown field `layr`"),
        ("layer = \"dms\"\neffect = \"timeout\"", "s.toml:5: layer = \"dms\" is none of"),
        ("layer = \"dns\"\neffect = \"reset\"", "s.toml:5: effect = \"reset\" is none of layer \"dns\""),
        ("layer = \"http\"\neffect = \"status\"", "s.toml:5: effect = \"status\" needs status"),
        ("layer = \"tls\"\neffect = \"slow\"", "s.toml:5: effect = \"slow\" needs delay_ms"),
        ("layer = \"tls\"\neffect = \"reset\"\ndelay_ms = 5", "s.toml:5: delay_ms goes with"),
        ("layer = \"dns\"\neffect = \"timeout\"\nshare = 1.5", "s.toml:5: share = 1.5"),
        ("layer = \"dns\"\neffect = \"timeout\"\nshare_of = \"some\"", "s.toml:9: unknown variant `some`"),
        ("layer = \"dns\"\neffect = \"timeout\"\nuntil_s = 5", "s.toml:5: until_s = 5"),
        ("layer = \"dns\"\neffect = \"timeout\"\non_s = 5", "s.toml:5: on_s = Some(5) and off_s = None go together"),
        (
            "layer = \"dns\"\neffect = \"timeout\"\ntargets = { cdn = [\"azure/frontdoor\"] }",
            "s.toml:9: cdn = \"azure/frontdoor\" is nothing in the emulated world",
        ),
        ("layer = \"dns\"\neffect = \"timeout\"\nagents = { isp = [\"rogers\"] }", "s.toml:9: isp = \"rogers\""),
        ("layer = \"dns\"\neffect = \"timeout\"\nagents = { asn = [7] }", "s.toml:9: asn = \"7\""),
        (
            "layer = \"dns\"\neffect = \"timeout\"\ntargets = { hosted_on = [\"aws\"], region = [\"westeurope\"] }",
            "s.toml:9: targets, all together with = \"westeurope\" is nothing",
        ),
        ("layer = \"dns\"\neffect = \"timeout\"\npath = true", "s.toml:5: path = true"),
        ("layer = \"connect\"\neffect = \"loss\"", "s.toml:5: no packet of the lab shows effect = \"loss\" at connect"),
        ("layer = 3", "s.toml:7: invalid type"),
    ];
    for (lines, expected) in rows {
        let text = format!("id = \"s\"\ntitle = \"t\"\nstory = \"s\"\nrun_s = 60\n[[break]]\nat_s = 10\n{lines}\n");
        let error = Scenario::parse("s.toml", &text, &World::standard()).expect_err(lines);
        assert!(error.to_string().starts_with(expected), "{error}");
    }
}

#[test]
fn what_is_wrong_beside_breaks_is_named_too() {
    let seen = "plays = [\"observations\"]\n";
    let rows = [
        ("noise = \"loud\"", "", "unknown variant `loud`"),
        ("agents = 5", "", "s.toml:1: agents = 5 is none of"),
        ("targets = 5", "", "s.toml:1: targets = 5 is not"),
        ("plays = []", "", "s.toml:1: plays = []"),
        ("", "[[liars]]\nshare = 0.2\nstrategy = \"mask\"", "s.toml:6: no packet of the lab shows [[liars]]"),
        (seen, "[[liars]]\nstrategy = \"mask\"", "s.toml:7: [[liars]] needs either share or agents"),
        (seen, "[[liars]]\nshare = 0.2\nstrategy = \"hide\"", "s.toml:7: strategy = \"hide\""),
        (seen, "[[liars]]\nshare = 0.2\nstrategy = \"fabricate\"", "s.toml:7: strategy = \"fabricate\" needs"),
        (
            seen,
            "[[liars]]\nshare = 0.2\nstrategy = \"fabricate\"\ntargets = {}\nlayer = \"dns\"\ncause = \"timeout\"",
            "s.toml:7: cause = \"timeout\"",
        ),
        (seen, "[[silence]]\nat_s = 5\nagents = { region = [\"nowhere\"] }", "s.toml:9: region = \"nowhere\""),
        (seen, "[[stale]]\ntargets = { cdn = [\"cdn/fastly\"] }", "s.toml:7: [[stale]] needs a fact"),
        (seen, "[[stale]]\ntargets = { cdn = [\"cdn/fastly\"] }\nmissing = [\"moon\"]", "unknown variant `moon`"),
        ("", "[[truth]]\nverdict = \"aws\"\nkind = \"transit\"", "s.toml:6: kind = \"transit\""),
        ("", "[[truth]]\nverdict = \"aws\"\naccept_kinds = [\"transit\"]", "s.toml:6: accept_kinds"),
        ("", "[[truth]]\nverdict = \"aws\"\nat_s = 99", "s.toml:6: at_s = 99"),
    ];
    for (top, tables, expected) in rows {
        let text = format!("id = \"s\"\ntitle = \"t\"\nstory = \"s\"\nrun_s = 60\n{top}\n{tables}\n");
        let error = Scenario::parse("s.toml", &text, &World::standard()).expect_err(tables);
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn what_is_not_said_is_as_usual_and_truths_take_their_times_from_breaks() {
    let text = "id = \"s\"\ntitle = \"t\"\nstory = \"s\"\nrun_s = 60\n\
                [[break]]\nat_s = 10\nuntil_s = 40\nlayer = \"http\"\neffect = \"timeout\"\non_s = 10\noff_s = 5\n\
                [[break]]\nat_s = 20\nlayer = \"http\"\neffect = \"reset\"\n[[truth]]\nverdict = \"aws\"\n";
    let scenario = Scenario::parse("s.toml", text, &World::standard()).expect("reads");
    let seconds = Duration::from_secs;
    assert_eq!((scenario.family.as_str(), scenario.noise, scenario.agents), ("s", Noise::Typical, 48));
    assert_eq!(scenario.plays, [Way::Packets, Way::Observations]);
    assert_eq!(scenario.breaks[0].fault.share_of, ShareOf::Runs);
    assert_eq!(scenario.time_of(0), (seconds(10), None), "two breaks, one truth: first onset, latest end");
    let beats: Vec<_> = scenario.breaks[0].spells(scenario.run);
    assert_eq!(beats, [(seconds(10), Some(seconds(20))), (seconds(25), Some(seconds(35)))]);
    assert!(scenario.breaks[0].is_on(seconds(19)) && !scenario.breaks[0].is_on(seconds(20)));
    let two = format!("{text}at_s = 15\n[[truth]]\nverdict = \"azure\"\n");
    let scenario = Scenario::parse("s.toml", &two, &World::standard()).expect("reads");
    assert_eq!(scenario.time_of(0), (seconds(15), Some(seconds(40))), "its own onset, the first break's end");
    assert_eq!(scenario.time_of(1), (seconds(20), None));
}

#[test]
fn an_unknown_name_lists_those_that_exist() {
    let error = Scenario::find("azure", &World::standard()).expect_err("no such scenario");
    assert!(error.to_string().contains("2025-10-29-azure-front-door, "), "{error}");
}
