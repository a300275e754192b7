#!/usr/bin/env python3
"""Make a collection of learned-sparse-like vectors: docs.csr and queries.csr.

    generate.py OUT [--documents 100000] [--queries 500] [--seed 7] [--hard]

The statistics follow SPLADE's on short passages: about 124 terms a document and 42 a query out of 30,522,
skewed document frequencies (the ten heaviest terms in 27 to 40 % of all documents), weights
ln(1 + x), and topical clusters, so that a query touches about 1.3 postings for every document and its best
documents stand out. With --hard clusters are small and weak: the best documents barely stand out, and upper
bounds of blocks are loose. The same arguments give the same bytes.

Layout of both files, little endian: int64 rows, columns, entries; int64 offsets (rows + 1); int32 column of
each entry, ascending within a row; float32 value of each entry.
"""

import argparse
import json
from pathlib import Path

import numpy as np

VOCABULARY = 30_522
TOPICS, TOPIC_TERMS = 2_500, 90
CLUSTER_TERMS = 16
CHUNK = 20_000


def zipf(exponent, order):
    """Cumulative probabilities of terms whose frequency falls with their place in `order`."""
    weights = np.empty(VOCABULARY)
    weights[order] = (np.arange(VOCABULARY) + 12.0) ** -exponent
    return np.cumsum(weights / weights.sum())


def draw(random, cumulative, shape):
    """Ordinals drawn from a cumulative distribution."""
    return np.minimum(np.searchsorted(cumulative, random.random(shape)), len(cumulative) - 1)


class World:
    """The topics and clusters that documents and queries are about."""

    def __init__(self, random, num_documents, hard):
        self.random, self.hard = random, hard
        order = random.permutation(VOCABULARY)
        self.common, self.topical, self.rare = zipf(0.89, order), zipf(0.6, order), zipf(0.3, order)
        self.topic_terms = draw(random, self.topical, (TOPICS, TOPIC_TERMS))
        self.topic_strength = np.exp(random.normal(-0.7, 0.6, (TOPICS, TOPIC_TERMS)))
        popularity = random.pareto(1.4, TOPICS) + 0.3
        num_clusters = max(40, num_documents // (6 if hard else 25))
        self.cluster_topic = draw(random, np.cumsum(popularity / popularity.sum()), num_clusters)
        self.cluster_terms = draw(random, self.rare, (num_clusters, CLUSTER_TERMS))
        from_topic = random.integers(0, TOPIC_TERMS, (num_clusters, CLUSTER_TERMS // 2))
        self.cluster_terms[:, ::2] = self.topic_terms[self.cluster_topic[:, None], from_topic]
        strength = (0.5, 0.7) if hard else (1.2, 0.5)
        self.cluster_strength = np.exp(random.normal(*strength, (num_clusters, CLUSTER_TERMS)))
        popularity = random.pareto(1.6, num_clusters) + 0.3
        self.clusters = np.cumsum(popularity / popularity.sum())

    def rows(self, num_rows, parts):
        """Terms and raw strengths of rows about random clusters; `parts` says how each source is used."""
        random = self.random
        cluster = draw(random, self.clusters, num_rows)[:, None]
        topic = self.cluster_topic[cluster]
        terms, strengths = [], []
        for source, count, mean, spread, keep in parts:
            if source == "cluster":
                at = np.arange(CLUSTER_TERMS)[None, :]
                chosen, base = self.cluster_terms[cluster, at], self.cluster_strength[cluster, at]
            elif source == "topic":
                at = random.integers(0, TOPIC_TERMS, (num_rows, count))
                chosen, base = self.topic_terms[topic, at], self.topic_strength[topic, at]
            else:
                chosen, base = draw(random, getattr(self, source), (num_rows, count)), 1.0
            strength = base * np.exp(random.normal(mean, spread, chosen.shape))
            strength[random.random(chosen.shape) >= keep] = 0.0
            terms.append(chosen)
            strengths.append(strength)
        return np.concatenate(terms, axis=1), np.concatenate(strengths, axis=1)

    def documents(self, num_rows):
        spread = 0.85 if self.hard else 0.5
        return self.rows(num_rows, [
            ("cluster", CLUSTER_TERMS, 0.0, spread, 0.62 if self.hard else 0.8),
            ("topic", 68, 0.0, 0.7, 0.8),
            ("common", 70, -1.5, 0.85, 0.85),
            ("topical", 14 if self.hard else 11, 0.5, 0.7, 1.0),
        ])

    def queries(self, num_rows):
        return self.rows(num_rows, [
            ("cluster", CLUSTER_TERMS, 0.1, 0.5, 0.45),
            ("topic", 20, -1.0, 0.75, 0.9),
            ("common", 16, -2.1, 0.9, 1.0),
            ("topical", 2, 0.2, 0.8, 1.0),
        ])


def compact(terms, strengths):
    """Rows as (counts, columns, values): the heaviest of repeated terms, ascending, weight ln(1 + x)."""
    weights = np.log1p(strengths).astype(np.float32)
    row = np.broadcast_to(np.arange(len(terms))[:, None], terms.shape)
    kept = weights > 0.01
    row, term, weight = row[kept], terms[kept], weights[kept]
    order = np.lexsort((-weight, term, row))
    row, term, weight = row[order], term[order], weight[order]
    first = np.ones(len(row), bool)
    first[1:] = (row[1:] != row[:-1]) | (term[1:] != term[:-1])
    counts = np.bincount(row[first], minlength=len(terms))
    return counts, term[first].astype(np.int32), weight[first]


def write(path, make, num_rows):
    """Writes the matrix whose rows `make` gives; returns its parts for the statistics."""
    sizes = [min(CHUNK, num_rows - start) for start in range(0, num_rows, CHUNK)]
    parts = [compact(*make(size)) for size in sizes]
    counts, columns, values = (np.concatenate(part) for part in zip(*parts))
    with open(path, "wb") as out:
        np.array([num_rows, VOCABULARY, len(columns)], "<i8").tofile(out)
        np.concatenate([[0], np.cumsum(counts)]).astype("<i8").tofile(out)
        columns.astype("<i4").tofile(out)
        values.astype("<f4").tofile(out)
    return counts, columns, values


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--hard", action="store_true")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    world = World(np.random.default_rng(options.seed), options.documents, options.hard)
    counts, columns, values = write(options.out / "docs.csr", world.documents, options.documents)
    frequency = np.bincount(columns, minlength=VOCABULARY)
    query_counts, query_columns, _ = write(options.out / "queries.csr", world.queries, options.queries)
    print(json.dumps({
        "documents": options.documents,
        "terms_per_document": round(float(counts.mean()), 1),
        "terms_per_query": round(float(query_counts.mean()), 1),
        "postings_per_query_and_document": round(float(frequency[query_columns].sum() / options.queries / options.documents), 3),
        "share_of_ten_heaviest_terms": (np.sort(frequency)[:-11:-1] / options.documents).round(3).tolist(),
        "largest_weight": round(float(values.max()), 3),
        "mean_weight": round(float(values.mean()), 3),
    }, indent=1))


if __name__ == "__main__":
    main()
