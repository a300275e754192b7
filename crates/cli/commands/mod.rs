//! One file a command.

mod demo;
mod encode;
mod eval;
mod hold_out;
mod index;
mod inspect;
mod lift;
mod mine;
mod model;
mod run;
mod search;
mod serve;
mod train;

use crate::exit::Exit;
use clap::Subcommand;

/// What `tamis` can do.
#[derive(Subcommand)]
pub enum Command {
    /// Index the built-in collection, answer some queries, evaluate, then serve it
    Demo(demo::Args),
    /// Turn texts into sparse vectors, JSON lines in and out
    Encode(encode::Args),
    /// Build a stand-alone index, or fill a collection for `serve`
    Index(index::Args),
    /// Answer one query
    Search(search::Args),
    /// Answer a file of queries, write a TREC run, measure the search
    Run(run::Args),
    /// Serve collections over HTTP
    Serve(serve::Args),
    /// Evaluate a model on a judged collection, or score runs of any system
    Eval(eval::Args),
    /// Show what is in an index, a collection or a model
    Inspect(inspect::Args),
    /// Look at, check or convert a checkpoint directory
    Model(model::Args),
    /// Mine hard negatives for training pairs with our own search
    Mine(mine::Args),
    /// Make judged collections of sources of training pairs that are held out of training
    HoldOut(hold_out::Args),
    /// Make an inference-free sparse model of a dense sentence encoder, in minutes
    Lift(lift::Args),
    /// Train a sparse encoder by gradients: presets for the published methods, resumable, with curves
    Train(Box<train::Args>),
}

impl Command {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<Exit> {
        match self {
            Self::Demo(args) => demo::run(&args),
            Self::Encode(args) => encode::run(&args),
            Self::Index(args) => index::run(&args),
            Self::Search(args) => search::run(&args),
            Self::Run(args) => run::run(&args),
            Self::Serve(args) => serve::run(&args),
            Self::Eval(args) => eval::run(&args),
            Self::Inspect(args) => inspect::run(&args),
            Self::Model(args) => model::run(&args),
            Self::Mine(args) => mine::run(&args),
            Self::HoldOut(args) => hold_out::run(&args),
            Self::Lift(args) => lift::run(&args),
            Self::Train(args) => train::run(&args),
        }
    }
}
