//! A report as one HTML file: style and pictures inside, no script, nothing from elsewhere (its own policy forbids it); light and
//! dark as the reader likes, and on paper.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{Block, Document, Section};

/// Nothing may be fetched, whatever somebody managed to write into a name.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

const STYLE: &str = concat!(include_str!("../feed/plot.css"), include_str!("style.css"));

/// The report as HTML.
pub fn write(document: &Document) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="content-security-policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (document.title) " · Faultline report" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    p.kind { "Incident report · Faultline" }
                    h1 { (document.title) }
                    p { (document.standing) " Incident " code { (document.incident) } "." }
                }
                main {
                    section.summary.(document.class) aria-label="In three sentences" {
                        @for sentence in &document.summary { p { (sentence) } }
                    }
                    @for part in &document.sections { (section(part)) }
                }
            }
        }
    };
    page.into_string()
}

fn section(section: &Section) -> Markup {
    html! {
        section {
            h2 { (section.title) }
            @for block in &section.blocks { (one(block)) }
        }
    }
}

fn one(block: &Block) -> Markup {
    match block {
        Block::Text(text) => html! { p { (text) } },
        Block::List(points) => html! { ul { @for point in points { li { (point) } } } },
        Block::Table(table) => {
            html! { div.wide tabindex="0" role="region" aria-label=(table.caption) { (table.markup()) } }
        }
        Block::Picture(figure, _) => html! {
            figure {
                h3 { (figure.title) }
                div.picture tabindex="0" role="region" aria-label=(figure.title) { (figure.svg) }
                figcaption { (figure.says) }
                details {
                    summary { "The same as numbers" }
                    div.wide tabindex="0" role="region" aria-label=(figure.numbers.caption) { (figure.numbers.markup()) }
                }
            }
        },
    }
}
