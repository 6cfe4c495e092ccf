//! Which results a subscriber wants. Pure.
//!
//! Rules: all fields must agree, of the values of one any will do, an empty one holds nothing back; a field that says nothing
//! of a result does not hold it back either, so that layers and causes are of failures alone; what touches an element is what
//! it is everywhere ([`overlap`]). A target is known by what the catalog says of it and what healthy probes saw.

use std::collections::BTreeSet;

use faultline_attribution::{Learned, Target, TargetId, elements_of};
use faultline_proto::{
    measure::v1alpha1::{MeasureFilter, Measurement},
    types::v1::{Cause, Layer, Outcome},
};

use super::wire;
use crate::{
    catalog::Catalog,
    feed::{
        LearnedTargets,
        filter::{FilterError, check_element, overlap},
    },
};

/// Values of one field, at most.
const VALUES: usize = 100;

/// Bytes of the name of a vantage group, at most.
const GROUP: usize = 200;

/// What passes.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    asked: MeasureFilter,
    /// Targets that pass; all where nothing was asked of them.
    targets: Option<BTreeSet<String>>,
}

impl Filter {
    /// The filter of a request; an absent one lets everything pass.
    ///
    /// # Errors
    ///
    /// When a value is unset, unknown, too long, or one too many; when a target is none of the catalog's.
    pub fn of(asked: Option<&MeasureFilter>, catalog: &Catalog) -> Result<Self, FilterError> {
        let asked = asked.cloned().unwrap_or_default();
        let fail = |field: String, why: String| FilterError { field: format!("filter.{field}"), why };
        let lengths = [
            ("targets", asked.targets.len()),
            ("elements", asked.elements.len()),
            ("regions", asked.regions.len()),
            ("vantage_groups", asked.vantage_groups.len()),
            ("outcomes", asked.outcomes.len()),
            ("layers", asked.layers.len()),
            ("causes", asked.causes.len()),
        ];
        if let Some((field, _)) = lengths.into_iter().find(|(_, values)| *values > VALUES) {
            return Err(fail(field.into(), format!("more than {VALUES} values")));
        }
        for (place, target) in asked.targets.iter().enumerate() {
            if !catalog.targets.contains_key(&TargetId::from(target.as_str())) {
                let shown: String = target.chars().take(GROUP).collect();
                return Err(fail(format!("targets[{place}]"), format!("{shown:?} is no target of the catalog")));
            }
        }
        for (field, names) in [("elements", &asked.elements), ("regions", &asked.regions)] {
            for (place, name) in names.iter().enumerate() {
                check_element(name).map_err(|why| fail(format!("{field}[{place}]"), why.into()))?;
            }
        }
        for (place, group) in asked.vantage_groups.iter().enumerate() {
            if group.is_empty() || group.len() > GROUP || group.chars().any(char::is_control) {
                return Err(fail(
                    format!("vantage_groups[{place}]"),
                    format!("a group has 1 to {GROUP} bytes of text"),
                ));
            }
        }
        for (what, unknown) in [
            ("outcome", unknown::<Outcome>(&asked.outcomes)),
            ("layer", unknown::<Layer>(&asked.layers)),
            ("cause", unknown::<Cause>(&asked.causes)),
        ] {
            if let Some((place, value)) = unknown {
                return Err(fail(format!("{what}s[{place}]"), format!("{value} is no {what}")));
            }
        }
        Ok(Self { asked, targets: None })
    }

    /// Finds out which targets pass, by what is known of them.
    pub fn look_up(&mut self, catalog: &Catalog, learned: &LearnedTargets) {
        let MeasureFilter { targets, elements, regions, .. } = &self.asked;
        if targets.is_empty() && elements.is_empty() && regions.is_empty() {
            return;
        }
        let passing = catalog.targets.iter().filter(|(id, held)| {
            let seen = as_seen(&held.target, learned.get(*id));
            let region = wire::region(&seen.hosted_on, seen.region.as_deref());
            let touched = elements_of(id, &seen);
            (targets.is_empty() || targets.iter().any(|target| target == id.as_str()))
                && (regions.is_empty() || regions.iter().any(|wanted| is_in(wanted, &region)))
                && (elements.is_empty()
                    || touched.iter().any(|element| elements.iter().any(|wanted| overlap(wanted, &element.name))))
        });
        self.targets = Some(passing.map(|(id, _)| id.to_string()).collect());
    }

    /// Whether a result passes.
    pub fn passes(&self, measured: &Measurement) -> bool {
        let is_wanted = |wanted: &[i32], value: i32| wanted.is_empty() || value == 0 || wanted.contains(&value);
        let MeasureFilter { vantage_groups, outcomes, layers, causes, .. } = &self.asked;
        self.targets.as_ref().is_none_or(|targets| targets.contains(&measured.target))
            && is_wanted(outcomes, measured.outcome)
            && is_wanted(layers, measured.layer)
            && is_wanted(causes, measured.cause)
            && (vantage_groups.is_empty() || vantage_groups.contains(&measured.vantage_group))
    }
}

/// Whether a target of this region lies in the wanted one; one without a region lies in its cloud alone.
fn is_in(wanted: &str, region: &str) -> bool {
    wanted.split('/').count() <= region.split('/').count() && overlap(wanted, region)
}

/// The first value, with its place, that is unset or none of the enum's.
fn unknown<Enum: TryFrom<i32>>(values: &[i32]) -> Option<(usize, i32)> {
    values.iter().copied().enumerate().find(|(_, value)| *value == 0 || Enum::try_from(*value).is_err())
}

/// A target with what healthy probes saw in place of what the catalog leaves open.
fn as_seen(target: &Target, learned: Option<&Learned>) -> Target {
    let mut seen = target.clone();
    let Some(learned) = learned else { return seen };
    for (held, saw) in [
        (&mut seen.cdn, &learned.cdn),
        (&mut seen.dns_operator, &learned.dns_operator),
        (&mut seen.issuer, &learned.issuer),
    ] {
        if saw.is_some() {
            held.clone_from(saw);
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog() -> Catalog {
        let row = |id: &str, rest: &str| {
            format!("[[target]]\nid = \"{id}\"\nprobe = \"https\"\nurl = \"https://{id}.example/\"\n{rest}\n\n")
        };
        let text = row("s3", "hosted_on = \"aws\"\nregion = \"us-east-1\"\nservice = \"s3\"\nowner = \"amazon\"")
            + &row("air", "hosted_on = \"azure\"\ncdn = \"azure/front-door\"\nowner = \"air\"")
            + &row("control", "hosted_on = \"other\"\nowner = \"one\"");
        Catalog::parse("test", &text).expect("catalog")
    }

    fn measured(target: &str, layer: Layer, cause: Cause) -> Measurement {
        Measurement {
            target: target.into(),
            vantage_group: "network-1".into(),
            outcome: if layer == Layer::Unspecified { Outcome::Passed } else { Outcome::Failed } as i32,
            layer: layer as i32,
            cause: cause as i32,
            ..Measurement::default()
        }
    }

    fn passing(asked: &MeasureFilter, learned: &LearnedTargets) -> Vec<&'static str> {
        let catalog = catalog();
        let mut filter = Filter::of(Some(asked), &catalog).expect("a filter");
        filter.look_up(&catalog, learned);
        let passes = |id: &&str| filter.passes(&measured(id, Layer::Connect, Cause::ConnectTimeout));
        ["s3", "air", "control"].into_iter().filter(passes).collect()
    }

    #[test]
    fn an_element_takes_its_parts_what_it_is_part_of_and_what_was_seen_of_a_target() {
        let elements = |name: &str| MeasureFilter { elements: vec![name.into()], ..MeasureFilter::default() };
        let nothing = LearnedTargets::new();
        assert_eq!(passing(&MeasureFilter::default(), &nothing), ["s3", "air", "control"]);
        assert_eq!(passing(&elements("aws/us-east-1"), &nothing), ["s3"]);
        assert_eq!(passing(&elements("aws"), &nothing), ["s3"]);
        assert_eq!(passing(&elements("aws/us-east-1/s3/bucket"), &nothing), ["s3"]);
        assert_eq!(passing(&elements("azure/front-door"), &nothing), ["air"]);
        let saw = Learned { cdn: Some("azure/front-door".into()), ..Learned::default() };
        let learned = LearnedTargets::from([(TargetId::from("control"), saw)]);
        assert_eq!(passing(&elements("azure/front-door"), &learned), ["air", "control"]);
        let region = |name: &str| MeasureFilter { regions: vec![name.into()], ..MeasureFilter::default() };
        assert_eq!(passing(&region("*/us-east-1"), &nothing), ["s3"]);
        assert_eq!(passing(&region("other"), &nothing), ["control"]);
        let both = MeasureFilter { targets: vec!["air".into(), "s3".into()], ..region("aws") };
        assert_eq!(passing(&both, &nothing), ["s3"], "fields are ANDed");
    }

    #[test]
    fn layers_and_causes_hold_no_pass_back_and_outcomes_do() {
        let catalog = catalog();
        let asked = MeasureFilter { layers: vec![Layer::Dns as i32], ..MeasureFilter::default() };
        let filter = Filter::of(Some(&asked), &catalog).expect("a filter");
        let pass = measured("s3", Layer::Unspecified, Cause::Unspecified);
        assert!(filter.passes(&pass));
        assert!(filter.passes(&measured("s3", Layer::Dns, Cause::DnsTimeout)));
        assert!(!filter.passes(&measured("s3", Layer::Connect, Cause::ConnectTimeout)));
        let asked = MeasureFilter { outcomes: vec![Outcome::Failed as i32], ..asked };
        let filter = Filter::of(Some(&asked), &catalog).expect("a filter");
        assert!(!filter.passes(&pass));
        let asked = MeasureFilter { vantage_groups: vec!["network-2".into()], ..MeasureFilter::default() };
        assert!(!Filter::of(Some(&asked), &catalog).expect("a filter").passes(&pass));
    }

    #[test]
    fn a_value_that_means_nothing_is_named() {
        let named = |asked: MeasureFilter| Filter::of(Some(&asked), &catalog()).expect_err("refused").field;
        let asked = MeasureFilter::default;
        assert_eq!(named(MeasureFilter { targets: vec!["s3".into(), "s4".into()], ..asked() }), "filter.targets[1]");
        assert_eq!(named(MeasureFilter { elements: vec!["aws//x".into()], ..asked() }), "filter.elements[0]");
        assert_eq!(named(MeasureFilter { regions: vec![String::new()], ..asked() }), "filter.regions[0]");
        assert_eq!(named(MeasureFilter { outcomes: vec![0], ..asked() }), "filter.outcomes[0]");
        assert_eq!(named(MeasureFilter { layers: vec![1, 9], ..asked() }), "filter.layers[1]");
        assert_eq!(named(MeasureFilter { causes: vec![-1], ..asked() }), "filter.causes[0]");
        assert_eq!(
            named(MeasureFilter { vantage_groups: vec!["\u{1b}".into()], ..asked() }),
            "filter.vantage_groups[0]"
        );
        assert_eq!(named(MeasureFilter { causes: vec![1; 101], ..asked() }), "filter.causes");
    }
}
