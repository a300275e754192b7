//! The same documents give the same bytes, whatever memory and threads there are.

use crate::collection::{build, check_holds, large};
use tamis_index::{Extras, Index, IndexOptions, ReorderOptions};

fn options(memory_budget_bytes: usize, reorder: bool) -> IndexOptions {
    IndexOptions {
        window_bits: 8,
        reorder: reorder.then(ReorderOptions::default),
        memory_budget_bytes,
        ..IndexOptions::default()
    }
}

#[test]
fn a_tiny_memory_budget_spills_and_gives_the_same_bytes() {
    let documents = large(6000);
    for reorder in [false, true] {
        let (roomy, roomy_report) = build(&documents, &options(256 << 20, reorder), &Extras::default());
        assert_eq!((roomy_report.spilled_runs, roomy_report.spilled_bytes), (0, 0));
        let (tiny, tiny_report) = build(&documents, &options(0, reorder), &Extras::default());
        assert!(tiny_report.spilled_runs > 20, "{tiny_report:?}");
        assert!(tiny == roomy, "reorder {reorder}: bytes differ");
        check_holds(&Index::from_bytes(tiny).expect("own bytes"), &documents);
    }
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let documents = large(6000);
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let build = || build(&documents, &options(256 << 20, true), &Extras::default()).0;
        pool.expect("threads").install(build)
    };
    let (one, four) = (run(1), run(4));
    assert!(one == four, "bytes differ");
}
