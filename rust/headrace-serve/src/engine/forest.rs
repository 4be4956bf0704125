//! Trees, laid out to be walked: which leaf of each tree a row falls into, and the sum of what the leaves say.
//!
//! A tree is a chain of dependent loads, each of which waits for the one before; so a row walks several trees at once,
//! or a tree is walked by several rows at once, step by step together. A lane that has come to its leaf goes round in it
//! until the others have come to theirs.

/// Walks that are under way at once. With fewer the loads are waited for, with more the lanes no longer fit into registers.
const LANES: usize = 8;
/// Steps between two looks whether all lanes have come to a leaf.
const STRIDE: usize = 4;
/// Set in [`Node::question`]: a value that is missing goes the way of those that are not greater.
const MISSING_LOW: u32 = 1 << 31;
/// Set in [`Node::question`]: this is no leaf.
const INNER: u32 = 1 << 30;
const FEATURE: u32 = INNER - 1;

/// A question, or a leaf.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Node {
    /// Values up to this go low. Of a leaf, its number, as bits.
    split: f32,
    /// The feature, and the flags above.
    question: u32,
    /// Where who goes low goes on; who does not, one further. Of a leaf, itself.
    next: u32,
}

/// Sums over trees.
#[derive(Debug, PartialEq)]
pub(super) struct Forest {
    nodes: Vec<Node>,
    /// The roots, shallow trees first, so that lanes which walk together end together.
    roots: Vec<u32>,
    leaves: Vec<Leaf>,
    base: Vec<f64>,
    /// Values of a row.
    pub(super) features: usize,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Leaf {
    weight: f64,
    target: usize,
}

/// A tree ensemble as the operators have it, whichever: nodes by number, children by number, leaves apart.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) roots: Vec<usize>,
    pub(super) inner: Vec<Inner>,
    /// Weight and target.
    pub(super) leaves: Vec<(f64, usize)>,
    pub(super) base: Vec<f64>,
}

#[derive(Debug, Clone)]
pub(super) struct Inner {
    pub(super) feature: usize,
    pub(super) split: f64,
    pub(super) missing_low: bool,
    pub(super) low: Child,
    pub(super) high: Child,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Child {
    Inner(usize),
    Leaf(usize),
}

impl Forest {
    /// Lays out; `None` where something is not a tree.
    pub(super) fn new(parts: &Parts, features: usize) -> Option<Self> {
        let targets = parts.base.len();
        if features == 0 || targets == 0 || parts.leaves.iter().any(|(_, target)| *target >= targets) {
            return None;
        }
        let mut forest =
            Self { nodes: Vec::new(), roots: Vec::new(), leaves: Vec::new(), base: parts.base.clone(), features };
        let mut trees = Vec::with_capacity(parts.roots.len());
        for root in &parts.roots {
            trees.push(forest.tree(parts, *root)?);
        }
        trees.sort_by_key(|(_, depth)| *depth);
        forest.roots = trees.into_iter().map(|(root, _)| root).collect();
        Some(forest)
    }

    /// Appends a tree, level by level; its root and its depth.
    fn tree(&mut self, parts: &Parts, root: usize) -> Option<(u32, usize)> {
        let first = self.nodes.len();
        let number = u32::try_from(first).ok()?;
        let mut level = vec![(Child::Inner(root), first)];
        self.nodes.push(Node::leaf(number, 0));
        let mut depth = 0;
        while !level.is_empty() {
            let mut below = Vec::new();
            for (child, place) in level {
                match child {
                    Child::Leaf(leaf) => {
                        let (weight, target) = *parts.leaves.get(leaf)?;
                        let leaf = u32::try_from(self.leaves.len()).ok()?;
                        self.nodes[place] = Node::leaf(u32::try_from(place).ok()?, leaf);
                        self.leaves.push(Leaf { weight, target });
                    }
                    Child::Inner(inner) => {
                        let inner = parts.inner.get(inner)?;
                        let next = self.nodes.len();
                        // A graph with a circle would never end.
                        if next - first > 2 * parts.inner.len() {
                            return None;
                        }
                        self.nodes[place] = inner.laid_out(u32::try_from(next).ok()?, self.features)?;
                        let filler = Node::leaf(0, 0);
                        self.nodes.extend([filler, filler]);
                        below.extend([(inner.low, next), (inner.high, next + 1)]);
                    }
                }
            }
            depth += usize::from(!below.is_empty());
            level = below;
        }
        Some((number, depth))
    }

    /// Numbers that come out for a row.
    pub(super) fn targets(&self) -> usize {
        self.base.len()
    }

    /// The sums of each row, row after row. `rows` has [`Forest::features`] values a row.
    pub(super) fn scores(&self, rows: &[f32]) -> Vec<f64> {
        let count = rows.len() / self.features;
        let mut scores = self.base.repeat(count);
        let targets = self.base.len();
        let mut blocks = rows.chunks_exact(self.features * LANES);
        let mut sums = scores.chunks_exact_mut(targets * LANES);
        for (block, sums) in blocks.by_ref().zip(sums.by_ref()) {
            self.many_rows(block, sums);
        }
        for (row, sums) in
            blocks.remainder().chunks_exact(self.features).zip(sums.into_remainder().chunks_exact_mut(targets))
        {
            self.one_row(row, sums);
        }
        scores
    }

    /// Rows whose values are the thresholds of their features, the floats beside those, infinities and NaN, in turn.
    pub(super) fn hard_rows(&self, rows: usize) -> Vec<f32> {
        const ALWAYS: [f32; 5] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0];
        let mut values = vec![ALWAYS.to_vec(); self.features];
        for node in self.nodes.iter().filter(|node| node.question & INNER != 0) {
            values[(node.question & FEATURE) as usize].extend([
                node.split,
                node.split.next_up(),
                node.split.next_down(),
            ]);
        }
        // Another stride for each feature, so that values of several do not meet in step.
        let value = |row: usize, (feature, values): (usize, &Vec<f32>)| values[row * (2 * feature + 1) % values.len()];
        (0..rows)
            .flat_map(|row| values.iter().enumerate().map(move |values| value(row, values)).collect::<Vec<_>>())
            .collect()
    }

    /// As many rows as there are lanes, tree by tree.
    fn many_rows(&self, block: &[f32], sums: &mut [f64]) {
        let targets = self.base.len();
        let rows: [&[f32]; LANES] =
            std::array::from_fn(|lane| &block[lane * self.features..(lane + 1) * self.features]);
        for root in &self.roots {
            let leaves = self.walk([*root; LANES], rows);
            for (lane, leaf) in leaves.into_iter().enumerate() {
                sums[lane * targets + leaf.target] += leaf.weight;
            }
        }
    }

    /// One row, as many trees at once as there are lanes.
    fn one_row(&self, row: &[f32], sums: &mut [f64]) {
        let (blocks, rest) = self.roots.as_chunks::<LANES>();
        for roots in blocks {
            for leaf in self.walk(*roots, [row; LANES]) {
                sums[leaf.target] += leaf.weight;
            }
        }
        if let Some(last) = rest.last() {
            let roots: [u32; LANES] = std::array::from_fn(|lane| *rest.get(lane).unwrap_or(last));
            for leaf in &self.walk(roots, [row; LANES])[..rest.len()] {
                sums[leaf.target] += leaf.weight;
            }
        }
    }

    #[inline]
    #[expect(clippy::needless_bitwise_bool, reason = "a jump that is guessed wrongly costs more than both sides")]
    fn walk(&self, mut at: [u32; LANES], rows: [&[f32]; LANES]) -> [Leaf; LANES] {
        let nodes = self.nodes.as_slice();
        loop {
            let mut moved = false;
            for step in 0..STRIDE {
                for lane in 0..LANES {
                    let Node { split, question, next } = nodes[at[lane] as usize];
                    let value = rows[lane][(question & FEATURE) as usize];
                    // Not `value > split`: NaN is not greater, and goes where it is told.
                    let low = (value <= split) | (value.is_nan() & (question & MISSING_LOW != 0));
                    let inner = question & INNER != 0;
                    at[lane] = next + u32::from(inner & !low);
                    moved |= inner & (step == STRIDE - 1);
                }
            }
            if !moved {
                return at.map(|place| self.leaves[nodes[place as usize].split.to_bits() as usize]);
            }
        }
    }
}

impl Node {
    fn leaf(place: u32, leaf: u32) -> Self {
        Self { split: f32::from_bits(leaf), question: 0, next: place }
    }
}

impl Inner {
    fn laid_out(&self, next: u32, features: usize) -> Option<Node> {
        let feature = u32::try_from(self.feature).ok().filter(|feature| *feature < FEATURE)?;
        if self.feature >= features || self.split.is_nan() {
            return None;
        }
        let missing = if self.missing_low { MISSING_LOW } else { 0 };
        Some(Node { split: not_above(self.split), question: feature | INNER | missing, next })
    }
}

/// The greatest float32 that is not above: float32 values are up to the one exactly if they are up to the other.
fn not_above(split: f64) -> f32 {
    #[expect(clippy::cast_possible_truncation, reason = "what rounding has moved up is moved down again")]
    let near = split as f32;
    if f64::from(near) > split { near.next_down() } else { near }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The way down a tree as it is defined, a question at a time.
    fn simple(parts: &Parts, row: &[f32]) -> Vec<f64> {
        let mut sums = parts.base.clone();
        for root in &parts.roots {
            let mut at = Child::Inner(*root);
            while let Child::Inner(number) = at {
                let inner = &parts.inner[number];
                let value = f64::from(row[inner.feature]);
                at = if value <= inner.split || (value.is_nan() && inner.missing_low) { inner.low } else { inner.high };
            }
            let Child::Leaf(leaf) = at else { continue };
            let (weight, target) = parts.leaves[leaf];
            sums[target] += weight;
        }
        sums
    }

    fn values() -> impl Strategy<Value = f32> {
        let few = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0, 1.0, f32::MIN_POSITIVE, 1e-45, 0.1];
        prop_oneof![prop::sample::select(few.to_vec()), -2.0_f32..2.0]
    }

    /// Of thresholds that are float32, between two of them, and beyond all.
    fn splits() -> impl Strategy<Value = f64> {
        let few = [f64::INFINITY, f64::NEG_INFINITY, 1e300, -1e300, 0.1, 1e-320, 0.0, -0.0];
        prop_oneof![
            prop::sample::select(few.to_vec()),
            values().prop_filter("no threshold is NaN", |value| !value.is_nan()).prop_map(f64::from),
            -2.0_f64..2.0
        ]
    }

    const FEATURES: usize = 3;

    /// Trees that grow as chance has it: each question added takes the place of a leaf. Whole weights, whose sums are exact.
    fn forests() -> impl Strategy<Value = Parts> {
        let question = (any::<prop::sample::Index>(), 0..FEATURES, splits(), any::<bool>());
        let tree = prop::collection::vec(question, 1..40);
        (prop::collection::vec(tree, 1..20), 1_usize..4).prop_map(|(trees, targets)| {
            let mut parts = Parts { roots: vec![], inner: vec![], leaves: vec![], base: vec![0.5; targets] };
            for questions in trees {
                let mut ends: Vec<(usize, bool)> = vec![];
                for (index, feature, split, missing_low) in questions {
                    let number = parts.inner.len();
                    if ends.is_empty() {
                        parts.roots.push(number);
                    } else {
                        let (parent, low) = ends.swap_remove(index.index(ends.len()));
                        *(if low { &mut parts.inner[parent].low } else { &mut parts.inner[parent].high }) =
                            Child::Inner(number);
                    }
                    parts.inner.push(Inner { feature, split, missing_low, low: Child::Leaf(0), high: Child::Leaf(0) });
                    ends.extend([(number, true), (number, false)]);
                }
                for (parent, low) in ends {
                    let leaf = parts.leaves.len();
                    #[expect(clippy::cast_precision_loss, reason = "a few hundred leaves")]
                    parts.leaves.push((leaf as f64 - 100.0, leaf % targets));
                    *(if low { &mut parts.inner[parent].low } else { &mut parts.inner[parent].high }) =
                        Child::Leaf(leaf);
                }
            }
            parts
        })
    }

    proptest! {
        #[test]
        fn rows_fall_into_the_leaves_of_the_definition(
            parts in forests(),
            rows in prop::collection::vec(prop::array::uniform3(values()), 0..20),
        ) {
            let forest = Forest::new(&parts, FEATURES).ok_or_else(|| TestCaseError::fail("these are trees"))?;
            let mut rows = rows.concat();
            rows.extend(forest.hard_rows(11));
            let expected: Vec<f64> = rows.chunks(FEATURES).flat_map(|row| simple(&parts, row)).collect();
            prop_assert_eq!(forest.scores(&rows), expected);
        }
    }

    fn question(low: Child, high: Child) -> Inner {
        Inner { feature: 0, split: 0.0, missing_low: false, low, high }
    }

    fn parts(inner: Vec<Inner>) -> Parts {
        Parts { roots: vec![0], inner, leaves: vec![(1.0, 0), (2.0, 0)], base: vec![0.0] }
    }

    #[test]
    fn what_is_no_tree_is_not_taken() {
        let good = question(Child::Leaf(0), Child::Leaf(1));
        assert!(Forest::new(&parts(vec![good.clone()]), 1).is_some());
        let circle = question(Child::Inner(0), Child::Leaf(1));
        let beyond = question(Child::Inner(7), Child::Leaf(1));
        let no_leaf = question(Child::Leaf(0), Child::Leaf(2));
        let feature = Inner { feature: 1, ..good.clone() };
        let threshold = Inner { split: f64::NAN, ..good.clone() };
        for bad in [circle, beyond, no_leaf, feature, threshold] {
            assert_eq!(Forest::new(&parts(vec![bad]), 1), None);
        }
        let target = Parts { leaves: vec![(1.0, 0), (2.0, 1)], ..parts(vec![good]) };
        assert_eq!(Forest::new(&target, 1), None);
    }

    #[test]
    fn thresholds_between_two_floats_go_down() {
        for (split, float) in
            [(0.1_f64, 0.1_f32.next_down()), (1.0, 1.0), (1e300, f32::MAX), (-1e300, f32::NEG_INFINITY)]
        {
            assert_eq!(not_above(split).to_bits(), float.to_bits());
            assert!(f64::from(not_above(split)) <= split);
            assert!(f64::from(not_above(split).next_up()) > split);
        }
    }
}
