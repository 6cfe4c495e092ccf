//! A report as one JSON object: the same facts as fields, and all of the material, so that the other formats can be made of it
//! again. Times are RFC 3339; a field that a reader does not know is to be skipped.

use faultline_attribution::{State, Timestamp, Verdict};
use serde::Serialize;

use super::{Document, Material, story::Story};

#[derive(Serialize)]
struct Object<'a> {
    /// Version of this form.
    v: u32,
    r#type: &'static str,
    incident: &'a str,
    title: &'a str,
    summary: &'a [String],
    state: State,
    verdict: Verdict,
    element: &'a str,
    is_over: bool,
    onset_at: Timestamp,
    onset_uncertainty_s: f64,
    detected_after_s: f64,
    attributed_after_s: Option<f64>,
    /// From the onset until failures had fallen back, or until now.
    lasted_s: f64,
    resolved_after_s: Option<f64>,
    /// The revision whose evidence and alibis the report tells.
    telling_revision: u64,
    #[serde(flatten)]
    material: &'a Material,
}

/// The report as JSON, with a line feed at its end.
pub fn write(document: &Document, material: &Material) -> String {
    let Some(story) = Story::of(material) else { return String::new() };
    let (last, onset) = (story.last, story.onset());
    let since = |at: Timestamp| at.since(onset).as_secs_f64();
    let object = Object {
        v: 1,
        r#type: "report",
        incident: &document.incident,
        title: &document.title,
        summary: &document.summary,
        state: last.state,
        verdict: last.verdict,
        element: &last.element,
        is_over: !story.is_open(),
        onset_at: onset,
        onset_uncertainty_s: last.onset_uncertainty_s,
        detected_after_s: since(last.opened_at),
        attributed_after_s: last.attributed_at.map(since),
        lasted_s: story.lasted().as_secs_f64(),
        resolved_after_s: last.resolved_at.map(since),
        telling_revision: story.telling.revision,
        material,
    };
    serde_json::to_string_pretty(&object).unwrap_or_default() + "\n"
}
