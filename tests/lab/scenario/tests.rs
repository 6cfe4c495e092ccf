//! Scenario files as people write them, right and wrong.

use super::*;

#[test]
fn every_built_in_scenario_reads_and_bears_its_files_name() {
    let scenarios = built_in(&World::standard()).expect("all read");
    let ids: Vec<&str> = scenarios.iter().map(|scenario| scenario.id.as_str()).collect();
    assert_eq!(ids, names());
    assert!(names().contains(&DEFAULT));
}

#[test]
fn only_quiet_has_no_truth_and_no_break() {
    for scenario in built_in(&World::standard()).expect("all read") {
        assert_eq!(scenario.truth.is_empty(), scenario.id == "quiet", "{}", scenario.id);
        assert_eq!(scenario.breaks.is_empty(), scenario.id == "quiet", "{}", scenario.id);
    }
}

#[test]
fn what_is_wrong_is_named_with_file_line_and_value() {
    let rows = [
        ("layr = \"dns\"", "s.toml:7: unknown field `layr`"),
        ("layer = \"dms\"\neffect = \"timeout\"", "s.toml:5: layer = \"dms\" is none of"),
        ("layer = \"dns\"\neffect = \"reset\"", "s.toml:5: effect = \"reset\" is none of layer \"dns\""),
        ("layer = \"http\"\neffect = \"status\"", "s.toml:5: effect = \"status\" needs status"),
        ("layer = \"dns\"\neffect = \"timeout\"\nshare = 1.5", "s.toml:5: share = 1.5"),
        ("layer = \"dns\"\neffect = \"timeout\"\nuntil_s = 5", "s.toml:5: until_s = 5"),
        (
            "layer = \"dns\"\neffect = \"timeout\"\ntargets = { cdn = [\"azure/frontdoor\"] }",
            "s.toml:9: cdn = \"azure/frontdoor\" is nothing",
        ),
        ("layer = \"dns\"\neffect = \"timeout\"\nagents = { isp = [\"rogers\"] }", "s.toml:9: isp = \"rogers\""),
        ("layer = \"dns\"\neffect = \"timeout\"\npath = true", "s.toml:5: path = true"),
        ("layer = 3", "s.toml:7: invalid type"),
    ];
    for (lines, expected) in rows {
        let text = format!("id = \"s\"\ntitle = \"t\"\nstory = \"s\"\nrun_s = 60\n[[break]]\nat_s = 10\n{lines}\n");
        let error = Scenario::parse("s.toml", &text, &World::standard()).expect_err(lines);
        assert!(error.to_string().starts_with(expected), "{error}");
    }
}

#[test]
fn an_unknown_name_lists_those_that_exist() {
    let error = Scenario::find("azure", &World::standard()).expect_err("no such scenario");
    assert!(error.to_string().contains("2025-10-29-azure-front-door, "), "{error}");
}
