//! From arguments to the recipe of a run.

use super::Args;
use crate::exit::{Exit, failure};
use std::path::{Path, PathBuf};
use tamis_encoder::training::TableStart;
use tamis_train::{Recipe, TeacherKind};

/// The recipe to print: the text of the preset itself where nothing is set.
pub fn shown(args: &Args) -> anyhow::Result<String> {
    let name = args.show.as_deref().unwrap_or_default();
    if args.assignments.is_empty() {
        return Ok(tamis_train::preset_text(name)?.to_owned());
    }
    let recipe = Recipe::preset(name)?.with(&args.assignments)?;
    recipe.validate()?;
    Ok(recipe.to_toml())
}

/// The recipe to train after, with what the command line gives.
pub fn recipe(args: &Args) -> anyhow::Result<Recipe> {
    let recipe = match (&args.preset, &args.config) {
        (Some(name), _) => Recipe::preset(name)?,
        (None, Some(path)) => Recipe::open(path)?,
        (None, None) => return Err(failure(Exit::Usage, "train after what? --preset NAME or --config FILE")),
    };
    let mut recipe = recipe.with(&args.assignments)?;
    // Paths are kept as they lead from the root: the run may be resumed from anywhere.
    if let Some(model) = &args.model {
        recipe.model.base = Some(absolute(model)?);
    }
    if let Some(idf) = &args.idf {
        recipe.trainer.model.start.query_table = Some(TableStart::File(absolute(idf)?));
    }
    if !args.data.is_empty() {
        recipe.data.files.clear();
    }
    recipe.data.files.extend(args.data.iter().cloned());
    recipe.data.exclude_sources.extend(args.exclude_source.iter().cloned());
    recipe.evaluation.collections.extend(args.dev.iter().cloned());
    let all = [
        &mut recipe.data.files,
        &mut recipe.data.scores,
        &mut recipe.evaluation.collections,
    ];
    for path in all.into_iter().flatten() {
        *path = absolute(path)?;
    }
    if let Some(cache) = &mut recipe.teacher.cache {
        *cache = std::path::absolute(&*cache)?;
    }
    if let Some(steps) = args.steps {
        recipe.trainer.steps = steps;
    }
    give_teachers(&mut recipe, &args.teacher)?;
    if recipe.data.files.is_empty() {
        return Err(failure(Exit::Usage, "there is nothing to train on: --data PATH..."));
    }
    Ok(recipe)
}

/// Gives the folders of teachers to those that lack one.
fn give_teachers(recipe: &mut Recipe, folders: &[PathBuf]) -> anyhow::Result<()> {
    let mut folders = folders.iter();
    for member in &mut recipe.teacher.members {
        let takes_one = matches!(member.kind, TeacherKind::Dense | TeacherKind::Sparse);
        if takes_one && member.model.is_none() {
            member.model = folders.next().cloned();
        }
        if let Some(model) = &mut member.model {
            *model = absolute(model)?;
        }
    }
    match folders.next() {
        Some(left) => Err(failure(
            Exit::Usage,
            format!("--teacher {}: no teacher of the recipe needs it", left.display()),
        )),
        None => Ok(()),
    }
}

/// The path from the root; it must be there.
fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    match path.canonicalize() {
        Ok(path) => Ok(path),
        Err(error) => Err(failure(Exit::NotFound, format!("{}: {error}", path.display()))),
    }
}
