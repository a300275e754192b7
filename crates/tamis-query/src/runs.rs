//! Adding the postings of a batch of blocks.
//!
//! What a list has in one block is a *run* of about eight postings somewhere in memory, so fetching them
//! costs more than adding them. Runs are therefore found first, without a branch on what was fetched,
//! and each is asked for several runs before its turn.

use crate::blocks::{BLOCK_BITS, BlockSet};
use crate::scratch::Space;
use crate::window::Part;
use tamis_index::{Blocks, Postings};
use tamis_kernels::prefetch;

/// How many runs ahead postings are asked for.
const AHEAD: usize = 24;

/// The postings of one part in one block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    part: u16,
    start: u16,
    end: u16,
}

/// Adds the postings that the lists among `parts` have in the blocks of the batch to the sums, but for
/// scattered lists, which are there already. Returns how many.
pub(crate) fn add_batch(space: &mut Space, parts: &[Part<'_>]) -> u64 {
    let Space {
        batch,
        members,
        runs,
        sums,
        ..
    } = space;
    for &block in &*batch {
        members.insert(block);
    }
    runs.clear();
    for (number, part) in (0..).zip(parts) {
        find_runs(part, (batch, members), number, runs);
    }
    let mut num_added = 0;
    for at in 0..runs.len() {
        if let Some(run) = runs.get(at + AHEAD) {
            let (ids, impacts) = postings(parts, run);
            prefetch(ids, 1);
            prefetch(impacts, 1);
        }
        let (ids, impacts) = postings(parts, &runs[at]);
        let weight = u32::from(parts[usize::from(runs[at].part)].weight);
        num_added += ids.len() as u64;
        for (&id, &impact) in ids.iter().zip(impacts) {
            sums[usize::from(id)] += u32::from(impact) * weight;
        }
    }
    members.clear();
    num_added
}

/// The ids and impacts of a run.
fn postings<'a>(parts: &[Part<'a>], run: &Run) -> (&'a [u16], &'a [u8]) {
    let range = usize::from(run.start)..usize::from(run.end);
    match parts[usize::from(run.part)].postings.postings {
        Postings::List { ids, impacts } => (&ids[range.clone()], &impacts[range]),
        Postings::Dense { .. } => (&[], &[]),
    }
}

/// Appends the runs of one part; asks for the blocks of a column.
fn find_runs(part: &Part<'_>, (batch, members): (&[u16], &BlockSet), number: u16, runs: &mut Vec<Run>) {
    match (part.postings.postings, part.postings.blocks) {
        (Postings::Dense { column }, _) => {
            for &block in batch {
                prefetch(&column[usize::from(block) << BLOCK_BITS..], 1);
            }
        }
        (Postings::List { .. }, Blocks::Dense { starts, .. }) => {
            runs.extend(batch.iter().map(|&block| Run {
                part: number,
                start: starts[usize::from(block)],
                end: starts[usize::from(block) + 1],
            }));
        }
        (Postings::List { ids, .. }, Blocks::Sparse { blocks, starts, .. }) => {
            let run = |at: usize| Run {
                part: number,
                start: starts[at],
                end: starts
                    .get(at + 1)
                    .copied()
                    .unwrap_or(u16::try_from(ids.len()).unwrap_or(u16::MAX)),
            };
            if batch.len() * SEARCH_COST < blocks.len() {
                let found = batch.iter().filter_map(|block| blocks.binary_search(block).ok());
                runs.extend(found.map(run));
            } else {
                let found = blocks.iter().enumerate().filter(|&(_, &block)| members.contains(block));
                runs.extend(found.map(|(at, _)| run(at)));
            }
        }
        (Postings::List { .. }, Blocks::None) => {}
    }
}

/// Entries that could be passed over in the time that finding one by binary search takes.
const SEARCH_COST: usize = 16;
