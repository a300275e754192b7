//! Ridge regression towards a start: the rows of W that turn sparse queries into their dense vectors.
//!
//! Conjugate gradients on the normal equations (Hestenes and Stiefel, "Methods of conjugate gradients for solving
//! linear systems", 1952). Each column of W is a system of its own with the same sparse matrix. Columns are solved in
//! blocks of [`LANES`], a block by one thread and always in the same order: the result does not depend on the number of
//! threads, and nothing is reduced across them. A pass over the queries multiplies with the matrix and its transpose at
//! once, so that no product of all queries is held. Memory beyond the inputs: W and its change, and a thread holds four
//! blocks of `4 * LANES * terms` bytes (9 MB for 37,000 terms).

use rayon::prelude::*;
use serde::Serialize;

/// Columns solved together: a vector register or two.
const LANES: usize = 16;

/// A value of each column of a block.
type Row = [f32; LANES];

/// A sum for each column of a block.
type Sums = [f64; LANES];

/// Residuals are small enough at this share of the right-hand side's length: below what 8 bits a weight can show.
const TOLERANCE: f64 = 1e-5;

/// Steps after which a system that does not converge is left as it is.
const MAX_STEPS: usize = 500;

/// Sparse rows over numbered terms: the queries as bags of weighted stems.
#[derive(Clone, Debug, Default)]
pub struct SparseRows {
    starts: Vec<usize>,
    terms: Vec<u32>,
    weights: Vec<f32>,
}

/// How a solution was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct RidgeReport {
    /// The steps of the column that took most.
    pub steps: usize,
    /// The largest residual of a column, as a share of its right-hand side's length.
    pub residual: f64,
}

impl SparseRows {
    /// Appends a row of terms with their weights.
    pub fn push(&mut self, row: impl IntoIterator<Item = (u32, f32)>) {
        if self.starts.is_empty() {
            self.starts.push(0);
        }
        for (term, weight) in row {
            self.terms.push(term);
            self.weights.push(weight);
        }
        self.starts.push(self.terms.len());
    }

    /// Rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The terms of a row with their weights.
    fn row(&self, row: usize) -> impl Iterator<Item = (usize, f32)> + '_ {
        let range = self.starts[row]..self.starts[row + 1];
        let terms = self.terms[range.clone()].iter().map(|&term| term as usize);
        terms.zip(self.weights[range].iter().copied())
    }

    /// `W^T q` of each row q, with `weights` W, `[terms, width]`.
    #[must_use]
    pub fn times(&self, weights: &[f32], width: usize) -> Vec<f32> {
        let product = |row: usize| {
            let mut sum = vec![0.0f32; width];
            for (term, weight) in self.row(row) {
                let w = &weights[term * width..][..width];
                sum.iter_mut().zip(w).for_each(|(sum, w)| *sum += weight * w);
            }
            sum
        };
        (0..self.len()).into_par_iter().flat_map_iter(product).collect()
    }
}

/// W that minimises `sum_q |W^T q - y_q|^2 + lambda |W - start|^2` over the rows q of `queries`, in single precision.
///
/// `start` is `[terms, width]`, `targets` the y, `[queries, width]`; rows of terms that no query has stay as they are.
pub(super) fn solve(
    queries: &SparseRows,
    targets: &[f32],
    start: &[f32],
    width: usize,
    lambda: f64,
) -> (Vec<f32>, RidgeReport) {
    let blocks: Vec<usize> = (0..width).step_by(LANES).collect();
    let solve = |&first: &usize| {
        let system = Block::new(queries, width, first, lambda);
        system.solve(targets, start)
    };
    let solved: Vec<(Vec<Row>, RidgeReport)> = blocks.par_iter().map(solve).collect();
    let mut weights = start.to_vec();
    let mut report = RidgeReport::default();
    for (&first, (change, of_block)) in blocks.iter().zip(&solved) {
        let lanes = LANES.min(width - first);
        for (row, change) in weights.chunks_exact_mut(width).zip(change) {
            let columns = row[first..first + lanes].iter_mut();
            columns.zip(change).for_each(|(w, change)| *w += change);
        }
        report.steps = report.steps.max(of_block.steps);
        report.residual = report.residual.max(of_block.residual);
    }
    (weights, report)
}

/// The columns from `first` on as systems `(A^T A + lambda) x = b`, A being the queries.
struct Block<'a> {
    queries: &'a SparseRows,
    width: usize,
    first: usize,
    lanes: usize,
    lambda: f32,
}

impl<'a> Block<'a> {
    fn new(queries: &'a SparseRows, width: usize, first: usize, lambda: f64) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "rounded to the precision of the systems")]
        let lambda = lambda as f32;
        Self {
            queries,
            width,
            first,
            lanes: LANES.min(width - first),
            lambda,
        }
    }

    /// The columns of this block in row `row` of a matrix, 0 beyond its last.
    fn columns(&self, matrix: &[f32], row: usize) -> Row {
        let mut columns = [0.0; LANES];
        let from = &matrix[row * self.width + self.first..][..self.lanes];
        columns[..self.lanes].copy_from_slice(from);
        columns
    }

    /// The change from `start` in each row, and how it was found.
    fn solve(&self, targets: &[f32], start: &[f32]) -> (Vec<Row>, RidgeReport) {
        let terms = start.len() / self.width;
        let mut residual = self.right_hand_side(targets, start);
        let mut direction = residual.clone();
        let mut change = vec![[0.0; LANES]; terms];
        let mut product = vec![[0.0; LANES]; terms];
        let whole = dot(&residual, &residual);
        let goal = whole.map(|square| square * TOLERANCE * TOLERANCE);
        let mut square = whole;
        let mut steps = 0;
        while steps < MAX_STEPS && square.iter().zip(&goal).any(|(square, goal)| square > goal) {
            self.multiply(&direction, &mut product);
            let curvature = dot(&direction, &product);
            let alpha = ratio(&square, &curvature, &goal);
            add(&mut change, &alpha, &direction);
            add(&mut residual, &alpha.map(|alpha| -alpha), &product);
            let next = dot(&residual, &residual);
            let beta = ratio(&next, &square, &goal);
            for (direction, residual) in direction.iter_mut().zip(&residual) {
                for lane in 0..LANES {
                    direction[lane] = residual[lane] + beta[lane] * direction[lane];
                }
            }
            square = next;
            steps += 1;
        }
        let shares = square.iter().zip(&whole).filter(|(_, whole)| **whole > 0.0);
        let residual = shares
            .map(|(square, whole)| (square / whole).sqrt())
            .fold(0.0, f64::max);
        (change, RidgeReport { steps, residual })
    }

    /// `A^T (y - A start)`.
    fn right_hand_side(&self, targets: &[f32], start: &[f32]) -> Vec<Row> {
        let mut sums = vec![[0.0; LANES]; start.len() / self.width];
        for query in 0..self.queries.len() {
            let mut error = self.columns(targets, query);
            for (term, weight) in self.queries.row(query) {
                let row = self.columns(start, term);
                (0..LANES).for_each(|lane| error[lane] -= weight * row[lane]);
            }
            self.spread(query, &error, &mut sums);
        }
        sums
    }

    /// `(A^T A + lambda) x` into `product`.
    fn multiply(&self, x: &[Row], product: &mut [Row]) {
        for (product, x) in product.iter_mut().zip(x) {
            *product = x.map(|x| self.lambda * x);
        }
        for query in 0..self.queries.len() {
            let mut sum = [0.0; LANES];
            for (term, weight) in self.queries.row(query) {
                let row = &x[term];
                (0..LANES).for_each(|lane| sum[lane] += weight * row[lane]);
            }
            self.spread(query, &sum, product);
        }
    }

    /// Adds the query times `values` to the rows of its terms.
    fn spread(&self, query: usize, values: &Row, rows: &mut [Row]) {
        for (term, weight) in self.queries.row(query) {
            let row = &mut rows[term];
            (0..LANES).for_each(|lane| row[lane] += weight * values[lane]);
        }
    }
}

/// The inner product of each column, in double precision.
fn dot(a: &[Row], b: &[Row]) -> Sums {
    let mut sums = [0.0; LANES];
    for (a, b) in a.iter().zip(b) {
        (0..LANES).for_each(|lane| sums[lane] += f64::from(a[lane]) * f64::from(b[lane]));
    }
    sums
}

/// Adds `factor` times `b` to `a`, column by column.
fn add(a: &mut [Row], factor: &Row, b: &[Row]) {
    for (a, b) in a.iter_mut().zip(b) {
        (0..LANES).for_each(|lane| a[lane] += factor[lane] * b[lane]);
    }
}

/// `a / b` where `b` is above 0 and the column is not at its goal yet, else 0: a solved column stays.
fn ratio(a: &Sums, b: &Sums, goal: &Sums) -> Row {
    let mut ratios = [0.0; LANES];
    for lane in 0..LANES {
        if b[lane] > 0.0 && a[lane] > goal[lane] {
            #[expect(clippy::cast_possible_truncation, reason = "rounded to the precision of the vectors")]
            let ratio = (a[lane] / b[lane]) as f32;
            ratios[lane] = ratio;
        }
    }
    ratios
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that look random, from -1 to 1.
    struct Noise(u64);

    impl Noise {
        fn next(&mut self) -> f32 {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            #[expect(clippy::cast_precision_loss, reason = "24 bits")]
            let value = (self.0 >> 40) as f32;
            value / f32::from(1u16 << 15) / 256.0 - 1.0
        }

        fn take(&mut self, len: usize) -> Vec<f32> {
            (0..len).map(|_| self.next()).collect()
        }
    }

    struct Problem {
        queries: SparseRows,
        targets: Vec<f32>,
        start: Vec<f32>,
        terms: usize,
        width: usize,
    }

    fn problem(queries: usize, terms: usize, width: usize, seed: u64) -> Problem {
        let mut noise = Noise(seed);
        let mut rows = SparseRows::default();
        for query in 0..queries {
            let row = (0..terms).filter(|term| (query * 7 + term * 5) % 4 == 0);
            let row: Vec<(u32, f32)> = row
                .map(|term| (u32::try_from(term).expect("few"), 2.0 + noise.next()))
                .collect();
            rows.push(row);
        }
        Problem {
            queries: rows,
            targets: noise.take(queries * width),
            start: noise.take(terms * width),
            terms,
            width,
        }
    }

    /// Gauss' elimination of `(A^T A + lambda) x = b` in double precision.
    fn direct(problem: &Problem, lambda: f64) -> Vec<f64> {
        let (terms, width) = (problem.terms, problem.width);
        let mut dense = vec![vec![0.0f64; terms]; problem.queries.len()];
        for (query, row) in dense.iter_mut().enumerate() {
            problem
                .queries
                .row(query)
                .for_each(|(term, weight)| row[term] = weight.into());
        }
        let mut system: Vec<Vec<f64>> = (0..terms)
            .map(|i| {
                let gram = (0..terms).map(|j| {
                    let own = if i == j { lambda } else { 0.0 };
                    dense.iter().map(|row| row[i] * row[j]).sum::<f64>() + own
                });
                let right = (0..width).map(|column| {
                    let pulled = dense
                        .iter()
                        .enumerate()
                        .map(|(query, row)| row[i] * f64::from(problem.targets[query * width + column]));
                    pulled.sum::<f64>() + lambda * f64::from(problem.start[i * width + column])
                });
                gram.chain(right).collect()
            })
            .collect();
        for pivot in 0..terms {
            let row = system[pivot].clone();
            for (at, other) in system.iter_mut().enumerate().filter(|(at, _)| *at != pivot) {
                let factor = other[pivot] / row[pivot];
                other.iter_mut().zip(&row).for_each(|(x, y)| *x -= factor * y);
                assert!(at < terms);
            }
        }
        let rows = system.iter().enumerate();
        rows.flat_map(|(at, row)| row[terms..].iter().map(move |x| x / row[at]))
            .collect()
    }

    #[test]
    fn the_solution_is_that_of_elimination() {
        for (queries, terms, width, lambda) in [(30, 9, 5, 2.0), (5, 12, 33, 0.5), (1, 3, 1, 10.0), (40, 20, 16, 100.0)]
        {
            let problem = problem(queries, terms, width, 3);
            let (found, report) = solve(&problem.queries, &problem.targets, &problem.start, width, lambda);
            assert!(report.residual <= TOLERANCE && report.steps > 0, "{report:?}");
            for (found, expected) in found.iter().zip(direct(&problem, lambda)) {
                assert!((f64::from(*found) - expected).abs() < 1e-3, "{found}, {expected}");
            }
        }
    }

    #[test]
    fn threads_change_no_bit() {
        let problem = problem(200, 50, 70, 9);
        let of = |threads| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .expect("threads");
            pool.install(|| solve(&problem.queries, &problem.targets, &problem.start, 70, 1.0))
        };
        let (weights, report) = of(1);
        for threads in [2, 5] {
            let (other, also) = of(threads);
            assert!(weights.iter().zip(&other).all(|(a, b)| a.to_bits() == b.to_bits()));
            assert_eq!(report, also);
        }
    }

    #[test]
    fn a_large_lambda_keeps_the_start_and_unused_terms_stay() {
        let mut problem = problem(20, 6, 3, 5);
        let (found, _) = solve(&problem.queries, &problem.targets, &problem.start, 3, 1e9);
        assert!(found.iter().zip(&problem.start).all(|(a, b)| (a - b).abs() < 1e-5));
        problem.start.extend([0.5, -0.25, 2.0]);
        let (found, _) = solve(&problem.queries, &problem.targets, &problem.start, 3, 1.0);
        assert_eq!(found[18..], [0.5, -0.25, 2.0]);
        assert_ne!(found[..18], problem.start[..18]);
    }

    #[test]
    fn products_are_sums_of_rows() {
        let mut rows = SparseRows::default();
        rows.push([(0, 2.0), (2, 1.0)]);
        rows.push([]);
        assert_eq!(rows.times(&[1.0, 10.0, 5.0, 5.0, 0.5, 0.25], 2), [2.5, 20.25, 0.0, 0.0]);
        assert_eq!(rows.len(), 2);
    }
}
