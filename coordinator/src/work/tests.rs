//! When work goes on, what it touches, and what is kept of it.

use faultline_proto::feed::v1::FeedFilter;

use super::*;
use crate::feed::{examples::front_door, filter::Filter};

fn at(s: u64) -> Timestamp {
    Timestamp::from_micros(1_761_752_640_000_000).after(Duration::from_secs(s))
}

fn work(id: &str, starts_s: u64, ends_s: u64) -> PlannedWork {
    PlannedWork {
        id: id.into(),
        announced_at: at(0),
        starts_at: at(starts_s),
        ends_at: at(ends_s),
        text: "A new carrier".into(),
        link: String::new(),
        elements: Vec::new(),
        cancelled_at: None,
        cancel_reason: String::new(),
    }
}

#[test]
fn a_stage_follows_from_the_time() {
    let planned = work("work-1", 100, 200);
    let stages = [99, 100, 199, 200].map(|s| planned.stage(at(s)));
    assert_eq!(stages, [Stage::Scheduled, Stage::InProgress, Stage::InProgress, Stage::Completed]);
    let off = PlannedWork { cancelled_at: Some(at(150)), ..planned };
    assert_eq!((off.stage(at(120)), off.over_at()), (Stage::Cancelled, at(150)));
}

#[test]
fn what_was_called_off_before_it_began_never_went_on() {
    let planned = work("work-1", 100, 200);
    assert!(planned.lasted_in(at(0), at(100)) && planned.lasted_in(at(199), at(300)));
    assert!(!planned.lasted_in(at(0), at(99)) && !planned.lasted_in(at(200), at(300)));
    let early = PlannedWork { cancelled_at: Some(at(50)), ..planned.clone() };
    assert!(!early.lasted_in(at(0), at(300)));
    let halfway = PlannedWork { cancelled_at: Some(at(150)), ..planned };
    assert!(halfway.lasted_in(at(140), at(300)) && !halfway.lasted_in(at(150), at(300)));
}

#[test]
fn work_is_beside_what_touches_an_element_that_it_names_and_beside_anything_if_it_names_none() {
    let incident = |element: &str| {
        let (onset_at, resolved_at) = (at(10), Some(at(20)));
        Change {
            element: element.into(),
            element_kind: None,
            regions: Vec::new(),
            onset_at,
            resolved_at,
            ..front_door()
        }
    };
    let is_beside = |named: &[&str], element: &str| {
        let elements = named.iter().map(|element| (*element).to_owned()).collect();
        PlannedWork { elements, ..work("work-1", 15, 16) }.is_beside(&incident(element), at(99))
    };
    assert!(is_beside(&[], "azure/front-door"));
    assert!(is_beside(&["azure/front-door", "aws/us-east-1"], "aws/us-east-1/s3"));
    assert!(is_beside(&["aws/us-east-1/s3"], "aws/us-east-1"));
    assert!(is_beside(&["aws/us-east-1"], "as13335~aws/us-east-1"), "either end of a way");
    assert!(!is_beside(&["aws/us-east-1"], "aws/us-west-2"));
    assert!(!work("work-1", 21, 30).is_beside(&incident("aws"), at(99)), "it began later");
}

#[test]
fn a_subscriber_hears_of_work_on_its_elements_and_of_work_that_names_none() {
    let filter = |elements: &[&str]| {
        let elements = elements.iter().map(|element| (*element).to_owned()).collect();
        Filter::of(Some(&FeedFilter { elements, ..FeedFilter::default() })).expect("a filter")
    };
    let named = PlannedWork { elements: vec!["aws/us-east-1".into()], ..work("work-1", 0, 1) };
    assert!(filter(&[]).passes_work(&named) && filter(&["aws"]).passes_work(&named));
    assert!(!filter(&["azure"]).passes_work(&named) && filter(&["azure"]).passes_work(&work("work-1", 0, 1)));
}

#[test]
fn the_board_keeps_what_is_near_and_forgets_what_is_long_over() {
    let mut plan = Plan::default();
    plan.apply(&work("work-1", 0, 10), at(0));
    plan.apply(&work("work-2", 5, 100), at(0));
    assert_eq!((plan.unfinished(at(0)), plan.unfinished(at(10)), plan.unfinished(at(100))), (2, 1, 0));
    let day = RECENT.as_secs();
    assert_eq!(plan.recent(at(10 + day)).count(), 2);
    assert_eq!(plan.recent(at(11 + day)).map(|work| work.id.as_str()).collect::<Vec<_>>(), ["work-2"]);
    let later = 11 + HISTORY.as_secs();
    plan.apply(&work("work-3", later, later + 1), at(later));
    assert_eq!(plan.all().iter().map(|work| work.id.as_str()).collect::<Vec<_>>(), ["work-2", "work-3"]);
    let mut full = Plan::default();
    (0..=KEPT).for_each(|n| full.apply(&work(&format!("work-{n}"), 0, 1000 - n as u64 % 1000), at(0)));
    assert!(full.all().len() == KEPT && full.get("work-999").is_none(), "the one that ended first goes");
}

#[test]
fn two_announced_in_one_second_have_two_names() {
    let mut plan = Plan::default();
    let first = plan.next_id(at(0));
    plan.apply(&work(&first, 0, 1), at(0));
    assert_eq!((first.as_str(), plan.next_id(at(0)).as_str()), ("work-20251029T154400Z-1", "work-20251029T154400Z-2"));
}
