//! When work goes on, what it touches, and what is kept of it.

use super::*;

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
fn work_may_touch_what_it_names_and_anything_if_it_names_nothing() {
    let of = |elements: &[&str]| PlannedWork {
        elements: elements.iter().map(|element| (*element).to_owned()).collect(),
        ..work("work-1", 0, 1)
    };
    assert!(of(&[]).may_touch(["azure/front-door"]));
    assert!(of(&["aws/us-east-1"]).may_touch(["azure/front-door", "aws/us-east-1/s3"]));
    assert!(of(&["aws/us-east-1/s3"]).may_touch(["aws"]));
    assert!(!of(&["aws/us-east-1"]).may_touch(["azure/front-door", "aws/us-west-2"]));
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
    assert_eq!(full.all().len(), KEPT);
}

#[test]
fn two_announced_in_one_second_have_two_names() {
    let mut plan = Plan::default();
    let first = plan.next_id(at(0));
    plan.apply(&work(&first, 0, 1), at(0));
    assert_eq!((first.as_str(), plan.next_id(at(0)).as_str()), ("work-20251029T154400Z-1", "work-20251029T154400Z-2"));
}
