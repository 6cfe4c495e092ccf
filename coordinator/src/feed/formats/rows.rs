//! The matrix by rows: one for each region, or service that has none, and which incidents touch it.

use std::collections::BTreeMap;

use faultline_attribution::{CellChange, CellState, Change, ElementKind, Verdict};

use super::Picture;

/// The providers that verdicts are about. They are there also before anything was seen of them.
pub(super) const PROVIDERS: [&str; 2] = ["aws", "azure"];

/// One region, or service that has none, of one provider.
#[derive(Clone, Debug)]
pub(super) struct Row<'a> {
    pub(super) provider: &'a str,
    pub(super) region: &'a str,
    /// In the order of layers.
    pub(super) cells: Vec<&'a CellChange>,
}

impl Picture<'_> {
    /// All rows, by provider and region.
    pub(super) fn rows(&self) -> Vec<Row<'_>> {
        let mut rows: BTreeMap<(&str, &str), Vec<&CellChange>> = BTreeMap::new();
        for cell in self.board.cells() {
            rows.entry((&cell.provider, &cell.region)).or_default().push(cell);
        }
        rows.into_iter().map(|((provider, region), cells)| Row { provider, region, cells }).collect()
    }
}

impl Row<'_> {
    /// The worst of its cells. Rule: no data is worse than ok, so that a row that is half unseen is not ok.
    pub(super) fn worst(&self) -> CellState {
        self.cells.iter().map(|cell| cell.state).max_by_key(|state| severity(*state)).unwrap_or(CellState::NoData)
    }

    /// Whether the incident accuses what this row stands for.
    pub(super) fn is_touched_by(&self, change: &Change) -> bool {
        if !accuses(change, self.provider) {
            return false;
        }
        let is_whole_network =
            change.element_kind == Some(ElementKind::Network) && change.element.split('/').count() == 2;
        let is_of_row = |name: &str| {
            let rest = name.strip_prefix(self.provider).and_then(|rest| rest.strip_prefix('/'));
            let rest = rest.and_then(|rest| rest.strip_prefix(self.region));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        is_whole_network || is_of_row(&change.element) || change.regions.iter().any(|region| is_of_row(region))
    }
}

/// Whether the incident goes on and its verdict is this provider.
pub(super) fn accuses(change: &Change, provider: &str) -> bool {
    let accused = match change.verdict {
        Verdict::Aws => "aws",
        Verdict::Azure => "azure",
        Verdict::Neither | Verdict::Undetermined => return false,
    };
    change.state.is_open() && accused == provider
}

/// How much a state deserves a look.
pub(super) const fn severity(state: CellState) -> u8 {
    match state {
        CellState::Ok => 0,
        CellState::NoData => 1,
        CellState::Degraded => 2,
        CellState::Failing => 3,
    }
}

#[cfg(test)]
mod tests {
    use faultline_attribution::{Layer, State};

    use super::*;
    use crate::feed::formats::examples::{self, NOW, cell, change};

    #[test]
    fn an_incident_touches_the_rows_of_its_culprit_alone() {
        let board = examples::board(examples::cells());
        let picture = Picture { board: &board, now: NOW };
        let touched = |element: &str, kind, regions: &[&str]| -> Vec<String> {
            let regions = regions.iter().map(|region| (*region).to_owned()).collect();
            let change = Change { element: element.into(), element_kind: Some(kind), regions, ..change(1) };
            let rows = picture.rows();
            rows.iter().filter(|row| row.is_touched_by(&change)).map(|row| row.region.to_owned()).collect()
        };
        assert_eq!(touched("azure/front-door", ElementKind::Cdn, &[]), ["front-door"]);
        assert_eq!(touched("azure/front-door/eu", ElementKind::CdnSite, &[]), ["front-door"]);
        assert_eq!(touched("azure/eastus/blob", ElementKind::Service, &["azure/eastus"]), ["eastus"]);
        assert_eq!(touched("azure/east", ElementKind::Region, &["azure/east"]), [""; 0], "a prefix is not the region");
        assert_eq!(touched("azure/*/blob", ElementKind::ServiceEverywhere, &[]), [""; 0]);
        assert_eq!(touched("azure/network", ElementKind::Network, &[]), ["eastus", "front-door", "westeurope"]);
        assert_eq!(touched("azure/network/eu", ElementKind::Network, &[]), [""; 0]);
    }

    #[test]
    fn what_ended_or_is_only_suspected_touches_nothing() {
        let board = examples::board(examples::cells());
        let picture = Picture { board: &board, now: NOW };
        let resolved = Change { state: State::Resolved, ..change(1) };
        for change in [resolved, examples::suspicion(1)] {
            assert!(!picture.rows().iter().any(|row| row.is_touched_by(&change)));
        }
    }

    #[test]
    fn a_row_that_is_half_unseen_is_not_ok() {
        let [seen, unseen] = [(Layer::Dns, CellState::Ok), (Layer::Tls, CellState::NoData)]
            .map(|(layer, state)| cell("aws", "us-east-1", layer, state));
        let board = examples::board(vec![seen, unseen]);
        assert_eq!(Picture { board: &board, now: NOW }.rows()[0].worst(), CellState::NoData);
    }
}
