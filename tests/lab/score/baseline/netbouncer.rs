//! `netbouncer`: each path succeeds with the product of its components' success, found by coordinate descent on
//! sum (y - prod x)^2 + lambda sum x (1 - x); a component below a threshold is bad.
//!
//! Source: Tan et al., "`NetBouncer`: Active Device and Link Failure Localization in Data Center Networks", NSDI 2019,
//! section 4. Start: the mean success of the component's paths, as in the paper. Order of the descent, which the paper
//! leaves open: components with fewer paths first, so that of two that explain the same, the one with more paths keeps
//! the blame only if its other paths fail too. Only suspects at one layer take part: a product must not count a
//! component twice.

use super::{
    Accused, Peer, Rule, Seen, gated,
    matrix::{Matrix, Reach},
};

/// Its parameters.
#[derive(Clone, Debug)]
pub(super) struct NetBouncer {
    /// Weight of the term that pushes success to 0 or 1.
    lambda: f64,
    /// Loss from which a component is bad.
    bad: f64,
}

impl Default for NetBouncer {
    fn default() -> Self {
        Self { lambda: 1.0, bad: 0.3 }
    }
}

impl NetBouncer {
    pub(super) fn grid() -> Vec<Peer<Self>> {
        let lambdas = [0.1, 0.5, 2.0];
        gated(lambdas.into_iter().flat_map(|lambda| [0.1, 0.2, 0.3].map(|bad| Self { lambda, bad })).collect())
    }

    /// The success of each suspect.
    fn successes(&self, matrix: &Matrix) -> Vec<f64> {
        let paths: Vec<f64> = matrix.tallies().iter().map(|tally| 1.0 - tally.share()).collect();
        let mut successes: Vec<f64> = (0..matrix.len())
            .map(|suspect| {
                let rows = matrix.rows(suspect);
                rows.iter().map(|row| paths[*row]).sum::<f64>() / u32::try_from(rows.len()).map_or(1.0, f64::from)
            })
            .collect();
        let mut order: Vec<usize> = (0..matrix.len()).collect();
        order.retain(|suspect| matrix.reach(*suspect) == Reach::Layer);
        for (success, _) in
            successes.iter_mut().zip(0..).filter(|(_, suspect)| matrix.reach(*suspect) == Reach::Onwards)
        {
            *success = 1.0;
        }
        order.sort_by(|left, right| {
            let widths = matrix.rows(*left).len().cmp(&matrix.rows(*right).len());
            let (left, right) = (matrix.element(*left), matrix.element(*right));
            let priors = left.kind.prior().total_cmp(&right.kind.prior());
            widths.then(priors).then_with(|| left.name.cmp(&right.name))
        });
        let mut products: Vec<Product> = (0..paths.len())
            .map(|row| matrix.members(row).iter().fold(Product::ONE, |product, other| product.times(successes[*other])))
            .collect();
        for _ in 0..MAX_ROUNDS {
            let mut moved = 0.0f64;
            for suspect in &order {
                let before = successes[*suspect];
                let next = self.minimum(matrix.rows(*suspect), &paths, &products, before);
                if next.to_bits() == before.to_bits() {
                    continue;
                }
                for row in matrix.rows(*suspect) {
                    products[*row] = products[*row].without(before).times(next);
                }
                moved = moved.max((next - before).abs());
                successes[*suspect] = next;
            }
            if moved < 1e-3 {
                break;
            }
        }
        successes
    }

    /// Where the objective is smallest for a suspect on these rows, the others standing still.
    fn minimum(&self, rows: &[usize], paths: &[f64], products: &[Product], now: f64) -> f64 {
        let (mut square, mut cross) = (-self.lambda, -self.lambda / 2.0);
        for row in rows {
            let rest = products[*row].without(now).value();
            square += rest * rest;
            cross += rest * paths[*row];
        }
        // The objective is square x^2 - 2 cross x + constant.
        if square > 1e-12 {
            let minimum = (cross / square).clamp(0.0, 1.0);
            return if minimum < NOTHING { 0.0 } else { minimum };
        }
        // At 1 it is square - 2 cross, at 0 it is 0; a tie is no evidence against anybody.
        if square - 2.0 * cross <= 1e-12 { 1.0 } else { 0.0 }
    }
}

/// Success below this is none.
const NOTHING: f64 = 1e-6;

/// A product that a factor can be taken out of, zeros included.
#[derive(Clone, Copy, Debug)]
struct Product {
    zeros: u32,
    rest: f64,
}

impl Product {
    const ONE: Self = Self { zeros: 0, rest: 1.0 };

    fn times(self, factor: f64) -> Self {
        if factor < NOTHING {
            return Self { zeros: self.zeros + 1, ..self };
        }
        Self { rest: self.rest * factor, ..self }
    }

    fn without(self, factor: f64) -> Self {
        if factor < NOTHING {
            return Self { zeros: self.zeros - 1, ..self };
        }
        Self { rest: self.rest / factor, ..self }
    }

    fn value(self) -> f64 {
        if self.zeros == 0 { self.rest } else { 0.0 }
    }
}

/// Rounds of the descent at most.
const MAX_ROUNDS: usize = 50;

impl Rule for NetBouncer {
    type Memory = ();

    fn name(&self) -> &'static str {
        "netbouncer"
    }

    fn accuse(&self, seen: &Seen<'_>, (): &mut ()) -> Vec<Accused> {
        let matrix = seen.matrix();
        let successes = self.successes(matrix);
        let bad: Vec<usize> = (0..matrix.len()).filter(|suspect| 1.0 - successes[*suspect] > self.bad).collect();
        matrix.elements(&bad).into_iter().map(Accused::Component).collect()
    }
}
