//! A tree ensemble out of an ONNX operator. What is not read here is computed by ONNX Runtime.

use std::collections::{HashMap, HashSet};

use super::forest::{Child, Inner, Parts};
use super::proto::{Attribute, Constant, Node};

/// Numbers that come out for a row, at most.
const TARGETS: usize = 1 << 16;

impl Parts {
    /// Of `TreeEnsemble`, ai.onnx.ml 5, and of `TreeEnsembleRegressor` before it; `None` of what is not walked here.
    pub(super) fn read(node: &Node) -> Option<Self> {
        match node.op_type.as_str() {
            "TreeEnsemble" => Self::ensemble(&Attributes(node)),
            "TreeEnsembleRegressor" => Self::regressor(&Attributes(node)),
            _ => None,
        }
    }

    fn ensemble(attributes: &Attributes<'_>) -> Option<Self> {
        const SUM: i64 = 1;
        // Only x <= split, which is mode 0.
        let modes = attributes.tensor("nodes_modes")?.bytes()?;
        if attributes.int("aggregate_function").unwrap_or(SUM) != SUM
            || attributes.int("post_transform").unwrap_or(0) != 0
            || modes.iter().any(|mode| *mode != 0)
        {
            return None;
        }
        let targets = usize::try_from(attributes.int("n_targets")?).ok().filter(|targets| *targets <= TARGETS)?;
        let splits = attributes.tensor("nodes_splits")?.reals()?;
        let features = attributes.indices("nodes_featureids")?;
        let low = attributes.indices("nodes_truenodeids")?;
        let low_leaf = attributes.indices("nodes_trueleafs")?;
        let high = attributes.indices("nodes_falsenodeids")?;
        let high_leaf = attributes.indices("nodes_falseleafs")?;
        let missing = attributes.optional("nodes_missing_value_tracks_true", splits.len())?;
        let count = splits.len();
        let lengths =
            [modes.len(), features.len(), low.len(), low_leaf.len(), high.len(), high_leaf.len(), missing.len()];
        if lengths.iter().any(|length| *length != count) {
            return None;
        }
        let child = |number: usize, leaf: usize| if leaf == 0 { Child::Inner(number) } else { Child::Leaf(number) };
        let inner = (0..count)
            .map(|node| Inner {
                feature: features[node],
                split: splits[node],
                missing_low: missing[node] != 0,
                low: child(low[node], low_leaf[node]),
                high: child(high[node], high_leaf[node]),
            })
            .collect();
        let weights = attributes.tensor("leaf_weights")?.reals()?;
        let of = attributes.indices("leaf_targetids")?;
        let roots = attributes.indices("tree_roots")?;
        (weights.len() == of.len()).then(|| Self {
            roots,
            inner,
            leaves: weights.into_iter().zip(of).collect(),
            base: vec![0.0; targets],
        })
    }

    fn regressor(attributes: &Attributes<'_>) -> Option<Self> {
        let absent = |name: &str| attributes.tensor(name).is_none();
        let says =
            |name: &str, value: &[u8]| attributes.text(name).is_none_or(|found| found.is_empty() || found == value);
        if !(says("aggregate_function", b"SUM")
            && says("post_transform", b"NONE")
            && ["nodes_values_as_tensor", "target_weights_as_tensor", "base_values_as_tensor"].into_iter().all(absent))
        {
            return None;
        }
        let targets = usize::try_from(attributes.int("n_targets")?).ok().filter(|targets| *targets <= TARGETS)?;
        let trees = attributes.indices("nodes_treeids")?;
        let numbers = attributes.indices("nodes_nodeids")?;
        let features = attributes.indices("nodes_featureids")?;
        let splits = attributes.floats("nodes_values");
        let modes = attributes.texts("nodes_modes");
        let low = attributes.indices("nodes_truenodeids")?;
        let high = attributes.indices("nodes_falsenodeids")?;
        let count = numbers.len();
        let missing = attributes.optional("nodes_missing_value_tracks_true", count)?;
        let lengths = [trees.len(), features.len(), splits.len(), modes.len(), low.len(), high.len(), missing.len()];
        if lengths.iter().any(|length| *length != count) {
            return None;
        }
        let mut leaves = Vec::new();
        let mut place = HashMap::with_capacity(count);
        let mut inner_count = 0;
        for node in 0..count {
            let child = match modes[node].as_slice() {
                b"LEAF" => {
                    leaves.push(None);
                    Child::Leaf(leaves.len() - 1)
                }
                b"BRANCH_LEQ" => {
                    inner_count += 1;
                    Child::Inner(inner_count - 1)
                }
                _ => return None,
            };
            if place.insert((trees[node], numbers[node]), child).is_some() {
                return None;
            }
        }
        let inner = (0..count)
            .filter(|node| modes[*node] == b"BRANCH_LEQ")
            .map(|node| {
                Some(Inner {
                    feature: features[node],
                    split: f64::from(splits[node]),
                    missing_low: missing[node] != 0,
                    low: *place.get(&(trees[node], low[node]))?,
                    high: *place.get(&(trees[node], high[node]))?,
                })
            })
            .collect::<Option<Vec<_>>>()?;
        let weights = attributes.floats("target_weights");
        let of = [attributes.indices("target_treeids")?, attributes.indices("target_nodeids")?];
        let target = attributes.indices("target_ids")?;
        if of.iter().chain([&target]).any(|list| list.len() != weights.len()) {
            return None;
        }
        for (index, weight) in weights.iter().enumerate() {
            let Child::Leaf(leaf) = *place.get(&(of[0][index], of[1][index]))? else { return None };
            // A leaf that says something about several targets is for ONNX Runtime.
            if leaves[leaf].replace((f64::from(*weight), target[index])).is_some() {
                return None;
            }
        }
        // The first node of a tree is its root.
        let mut roots = Vec::new();
        let mut seen = HashSet::new();
        for node in 0..count {
            if seen.insert(trees[node]) {
                let Child::Inner(root) = place[&(trees[node], numbers[node])] else { return None };
                roots.push(root);
            }
        }
        let base = match attributes.floats("base_values") {
            [] => vec![0.0; targets],
            values if values.len() == targets => values.iter().copied().map(f64::from).collect(),
            _ => return None,
        };
        let leaves = leaves.into_iter().map(|leaf| leaf.unwrap_or((0.0, 0))).collect();
        Some(Self { roots, inner, leaves, base })
    }
}

/// Attributes by name.
struct Attributes<'a>(&'a Node);

impl<'a> Attributes<'a> {
    fn get(&self, name: &str) -> Option<&'a Attribute> {
        self.0.attribute.iter().find(|attribute| attribute.name == name)
    }

    fn int(&self, name: &str) -> Option<i64> {
        Some(self.get(name)?.i)
    }

    fn tensor(&self, name: &str) -> Option<&'a Constant> {
        self.get(name)?.t.as_ref()
    }

    fn text(&self, name: &str) -> Option<&'a [u8]> {
        Some(&self.get(name)?.s)
    }

    fn floats(&self, name: &str) -> &'a [f32] {
        self.get(name).map_or(&[], |attribute| &attribute.floats)
    }

    fn texts(&self, name: &str) -> &'a [Vec<u8>] {
        self.get(name).map_or(&[], |attribute| &attribute.strings)
    }

    /// Whole numbers, none of them negative.
    fn indices(&self, name: &str) -> Option<Vec<usize>> {
        self.get(name)?.ints.iter().map(|value| usize::try_from(*value).ok()).collect()
    }

    /// As many zeros, where there are none.
    fn optional(&self, name: &str, count: usize) -> Option<Vec<usize>> {
        match self.get(name) {
            Some(attribute) if !attribute.ints.is_empty() => self.indices(name),
            _ => Some(vec![0; count]),
        }
    }
}
