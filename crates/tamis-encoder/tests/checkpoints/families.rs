//! Published families: vectors agree with the formulas of their authors, documents and queries, alone and batched.
//!
//! The references are written by `tests/make_head_fixtures.py`.

use crate::reference::check;

/// One test a fixture, so that a failure names the family.
macro_rules! families {
    ($($test:ident: $fixture:literal),* $(,)?) => {
        $(
            #[test]
            fn $test() {
                check($fixture);
            }
        )*
    };
}

families! {
    splade_v1_sums: "splade-v1",
    splade_v3_takes_the_largest: "splade-v3",
    splade_doc_asks_with_sets_of_pieces: "splade-doc",
    splade_lexical_does_not_expand_queries: "splade-lexical",
    splade_topk_keeps_32_and_5: "splade-topk",
    efficient_splade_is_a_pair_of_directories: "efficient-splade-doc",
    unicoil_reads_expansions: "unicoil-expanded",
    tildev2_reads_expansions_and_counts_query_pieces: "tildev2",
    deepimpact_weighs_words_where_they_first_occur: "deepimpact",
    deepct_weighs_words: "deepct",
    sparta_scores_input_embeddings: "sparta",
    li_lsr_computes_its_query_table: "li-lsr",
    epic_has_importance_quality_and_masked_logits: "lsr-epic",
    lsr_binary_counts_and_scales: "lsr-binary",
    lsr_mlm_is_shared: "lsr-mlm",
    lsr_clsmlm_reads_the_first_token: "lsr-clsmlm",
    opensearch_v3_takes_the_logarithm_twice: "opensearch-v3",
    sentence_transformers_multiplies_behind_the_pooling: "st-lexical",
}
