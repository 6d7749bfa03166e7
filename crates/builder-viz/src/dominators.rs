//! Which node every way from the root to another leads through last: its immediate dominator.
//!
//! The algorithm is that of Cooper, Harvey and Kennedy, "A Simple, Fast Dominance Algorithm"
//! (2001), for nodes that are numbered and all reached from node 0.

/// The immediate dominator of each node; of the root, itself. `successors[n]` are the nodes that n
/// leads to.
pub(crate) fn immediate_dominators(successors: &[Vec<usize>]) -> Vec<usize> {
    let order = postorder(successors);
    let mut place = vec![usize::MAX; successors.len()];
    for (index, node) in order.iter().enumerate() {
        if let Some(place) = place.get_mut(*node) {
            *place = index;
        }
    }
    let mut predecessors = vec![Vec::new(); successors.len()];
    for (from, to) in successors.iter().enumerate() {
        for to in to {
            if let Some(predecessors) = predecessors.get_mut(*to) {
                predecessors.push(from);
            }
        }
    }
    let mut dominators: Vec<Option<usize>> = vec![None; successors.len()];
    if let Some(root) = dominators.first_mut() {
        *root = Some(0);
    }
    let mut changed = true;
    while changed {
        changed = false;
        for node in order.iter().rev().filter(|node| **node != 0) {
            let mut new = None;
            for from in predecessors.get(*node).into_iter().flatten() {
                if dominators.get(*from).copied().flatten().is_none() {
                    continue;
                }
                new = Some(match new {
                    None => *from,
                    Some(other) => meet(&dominators, &place, *from, other),
                });
            }
            if let Some(dominator) = dominators.get_mut(*node)
                && *dominator != new
            {
                *dominator = new;
                changed = true;
            }
        }
    }
    let known = dominators.into_iter();
    known.map(|dominator| dominator.unwrap_or(0)).collect()
}

/// The nearest node that dominates both.
fn meet(dominators: &[Option<usize>], place: &[usize], one: usize, other: usize) -> usize {
    let (mut one, mut other) = (one, other);
    let at = |node: usize| place.get(node).copied().unwrap_or(usize::MAX);
    let up = |node: usize| dominators.get(node).copied().flatten().unwrap_or(0);
    while one != other {
        // Up from the one that is further from the root, which is last in postorder.
        match at(one) < at(other) {
            true => one = up(one),
            false => other = up(other),
        }
    }
    one
}

/// All nodes reached from the root, each after those it leads to, as far as there is no cycle.
fn postorder(successors: &[Vec<usize>]) -> Vec<usize> {
    let mut order = Vec::with_capacity(successors.len());
    let mut seen = vec![false; successors.len()];
    let mut stack = vec![(0, 0)];
    if let Some(seen) = seen.first_mut() {
        *seen = true;
    }
    while let Some((node, next)) = stack.pop() {
        match successors.get(node).and_then(|to| to.get(next)) {
            None => order.push(node),
            Some(&to) => {
                stack.push((node, next + 1));
                if let Some(seen) = seen.get_mut(to).filter(|seen| !**seen) {
                    *seen = true;
                    stack.push((to, 0));
                }
            }
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_one_way_leads_to_is_under_it_and_what_is_shared_is_under_the_root() {
        // 0 → 1 → 3 → 5, 0 → 2 → 4, 1 and 2 → 6, and a cycle 5 → 3.
        let graph = [
            vec![1, 2],
            vec![3, 6],
            vec![4, 6],
            vec![5],
            vec![],
            vec![3],
            vec![],
        ];
        assert_eq!(immediate_dominators(&graph), [0, 0, 0, 1, 2, 3, 0]);
        assert_eq!(immediate_dominators(&[vec![]]), [0]);
        assert!(immediate_dominators(&[]).is_empty());
    }
}
