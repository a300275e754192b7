//! What can go wrong between a file of pairs and a file of examples.

use std::io;
use std::path::PathBuf;

use tamis_eval::Place;

/// Any failure of this crate. Every message names the place and, where there is one, the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file of pairs could not be read, or a line of it is no text.
    #[error(transparent)]
    Read(#[from] tamis_eval::Error),
    /// A line is not the JSON object it should be.
    #[error("{place}: expected an object with \"text\" and \"query\" or \"title\", but {problem}")]
    Json {
        /// Where.
        place: Place,
        /// What the JSON reader found.
        problem: String,
    },
    /// A pair lacks a side: a field is empty or holds white space only.
    #[error("{place}: the field {field:?} is empty; a pair needs a query and a text")]
    EmptyField {
        /// Where.
        place: Place,
        /// The field.
        field: &'static str,
    },
    /// More pairs than 32-bit ordinals can count.
    #[error("more than {limit} pairs; mine the files one by one")]
    TooManyPairs {
        /// The limit.
        limit: u32,
    },
    /// An option of the mining is out of range.
    #[error("mining option {option} is {value}, but must be {allowed}")]
    BadOption {
        /// The option.
        option: &'static str,
        /// What it is.
        value: String,
        /// What it may be.
        allowed: &'static str,
    },
    /// A line of a file of rows or scores is not what it should be.
    #[error("{place}: expected {expected}, but {problem}")]
    TrainingLine {
        /// Where.
        place: Place,
        /// What it should be.
        expected: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// A score is of a query or document that no collection has.
    #[error("{place}: no {what} {id:?} in the collections that are trained on")]
    UnknownId {
        /// Where.
        place: Place,
        /// Whether it is of a query or a document.
        what: &'static str,
        /// The id.
        id: String,
    },
    /// The files have no row.
    #[error("there is no row to train on in {}", crate::data::listed(files))]
    NoRows {
        /// The files.
        files: Vec<PathBuf>,
    },
    /// An epoch does not fill a batch.
    #[error(
        "{num_rows} rows{} do not fill a batch of {batch_size}; give more data or set batch.size",
        if *scored_only { " with teacher scores" } else { "" }
    )]
    TooFewRows {
        /// Rows that take part.
        num_rows: u64,
        /// Rows of a batch.
        batch_size: usize,
        /// Whether only rows with stored teacher scores take part.
        scored_only: bool,
    },
    /// There are not enough passages to draw negatives from.
    #[error("{num_passages} passages are too few to draw negatives from: {needed} are needed")]
    TooFewPassages {
        /// Distinct passages.
        num_passages: usize,
        /// How many it takes.
        needed: usize,
    },
    /// A value of a recipe is out of range.
    #[error("{option} is {value}, but must be {allowed}")]
    RecipeOption {
        /// Where it stands: the names of table and field.
        option: String,
        /// What it is.
        value: String,
        /// What it may be.
        allowed: &'static str,
    },
    /// A recipe is no TOML, or has an unknown field, or one of another type.
    #[error("{origin}: {problem}")]
    Recipe {
        /// Its file or name.
        origin: String,
        /// What is wrong, with line and column.
        problem: String,
    },
    /// There is no recipe of a name.
    #[error("there is no preset {name:?}{}; `tamis train --list` names all", near.as_ref().map_or(String::new(), |near| format!(", but {near:?}")))]
    UnknownPreset {
        /// The name.
        name: String,
        /// The nearest one.
        near: Option<String>,
    },
    /// A field cannot be set.
    #[error("--set {assignment}: {problem}")]
    Assignment {
        /// What was asked for.
        assignment: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The place of a run is taken.
    #[error("{}: exists and is not empty; choose another place, or go on with --resume", path.display())]
    RunExists {
        /// The place.
        path: PathBuf,
    },
    /// There is no run to go on with.
    #[error("{}: holds no training run to go on with", path.display())]
    NoRun {
        /// The place.
        path: PathBuf,
    },
    /// What a run kept to go on from cannot be used.
    #[error("cannot go on from {}: {problem}", path.display())]
    Checkpoint {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The data is other data than the run was started with.
    #[error("{}: the data has changed since the run was started; start a new one", path.display())]
    DataChanged {
        /// The run's checkpoint.
        path: PathBuf,
    },
    /// A run to be compared has no figures.
    #[error("{name}: no evaluation in its log, so there is nothing to compare; train with --dev")]
    NeverEvaluated {
        /// The run.
        name: String,
    },
    /// An option of the lift is out of range.
    #[error("lift option {option} is {value}, but must be {allowed}")]
    LiftOption {
        /// The option.
        option: &'static str,
        /// What it is.
        value: String,
        /// What it may be.
        allowed: &'static str,
    },
    /// A line of the texts for a lift is not the JSON object it should be.
    #[error("{place}: expected {expected}, but {problem}")]
    LiftLine {
        /// Where.
        place: Place,
        /// What it should be.
        expected: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// There is nothing to lift with.
    #[error("there are no {of} to lift with")]
    NoTexts {
        /// What is missing.
        of: &'static str,
    },
    /// No pair is of the source that is held out.
    #[error("no pair is of the source {source_name:?}: sources are the field \"src\" of the lines")]
    NoPairs {
        /// The source.
        source_name: String,
    },
    /// The place of a collection is taken.
    #[error("{}: exists; choose another place or remove it", path.display())]
    CollectionExists {
        /// The place.
        path: PathBuf,
    },
    /// The dense encoder puts queries and their words in unrelated places.
    #[error(
        "the dense vectors of {num_queries} queries do not point along those of their words (scale {scale}): \
         the encoder is no sentence encoder, or the queries have none of the background texts' stems"
    )]
    LiftScale {
        /// The best scale, which is not above 0.
        scale: f64,
        /// Queries with a stem of the table.
        num_queries: usize,
    },
    /// The place of the model is taken by something else.
    #[error("{}: exists and is no lifted model; choose another place or remove it", path.display())]
    OutputExists {
        /// The place.
        path: PathBuf,
    },
    /// A file of the dense encoder could not be copied.
    #[error("cannot copy {}: {source}", path.display())]
    Copy {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The encoder failed.
    #[error(transparent)]
    Encode(#[from] tamis_encoder::Error),
    /// An encoder gave fewer or more vectors than it got texts.
    #[error("the encoder {encoder} gave {found} vectors for {expected} texts")]
    EncodedCount {
        /// The encoder's name.
        encoder: String,
        /// The texts.
        expected: usize,
        /// The vectors.
        found: usize,
    },
    /// An encoder gave a weight that no vector holds.
    #[error("the encoder {encoder} gave a vector that is none: {source}")]
    Vector {
        /// The encoder's name.
        encoder: String,
        /// What is wrong with it.
        source: tamis_core::VectorError,
    },
    /// The passages have more distinct terms than fit.
    #[error(transparent)]
    Vocabulary(#[from] tamis_core::VocabularyError),
    /// The index over the passages could not be built.
    #[error(transparent)]
    Index(#[from] tamis_index::Error),
    /// A query could not be searched.
    #[error("query {query:?}: {source}")]
    Search {
        /// The query.
        query: String,
        /// Why not.
        source: tamis_query::Error,
    },
    /// The examples could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}
