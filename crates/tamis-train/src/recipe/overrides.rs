//! Assignments from the command line, laid over a recipe.

use toml::{Table, Value};

use super::Recipe;
use crate::error::Error;

/// Lays assignments over a recipe, one after the other.
pub(super) fn apply(recipe: Recipe, assignments: &[String]) -> Result<Recipe, Error> {
    let mut recipe = recipe;
    for assignment in assignments {
        let bad = |problem: String| Error::Assignment {
            assignment: assignment.clone(),
            problem,
        };
        let (path, value) = assignment
            .split_once('=')
            .ok_or_else(|| bad("write TABLE.FIELD=VALUE".to_owned()))?;
        let mut table = Table::try_from(&recipe).expect("a recipe is plain values");
        let path: Vec<&str> = path.trim().split('.').collect();
        set(&mut table, &path, parse(value.trim())).map_err(bad)?;
        recipe = table
            .try_into()
            .map_err(|error: toml::de::Error| bad(error.to_string().trim().to_owned()))?;
    }
    Ok(recipe)
}

/// The value as TOML, else the text.
fn parse(text: &str) -> Value {
    let parsed = toml::from_str::<Table>(&format!("value = {text}")).ok();
    let value = parsed
        .filter(|table| table.len() == 1)
        .and_then(|mut table| table.remove("value"));
    value.unwrap_or_else(|| Value::String(text.to_owned()))
}

fn set(table: &mut Table, path: &[&str], value: Value) -> Result<(), String> {
    let (first, rest) = path.split_first().ok_or("no field is named")?;
    if first.is_empty() {
        return Err("a name is empty".to_owned());
    }
    if rest.is_empty() {
        table.insert((*first).to_owned(), value);
        return Ok(());
    }
    let inner = table
        .entry((*first).to_owned())
        .or_insert_with(|| Value::Table(Table::new()));
    set_inside(inner, first, rest, value)
}

fn set_inside(inner: &mut Value, name: &str, rest: &[&str], value: Value) -> Result<(), String> {
    match inner {
        Value::Table(table) => set(table, rest, value),
        Value::Array(items) => {
            let len = items.len();
            let place = rest[0].parse::<usize>().ok().filter(|place| *place < len);
            let place = place.ok_or_else(|| format!("{name} is a list of {len}: {:?} is no place of it", rest[0]))?;
            match rest.len() {
                1 => items[place] = value,
                _ => set_inside(&mut items[place], rest[0], &rest[1..], value)?,
            }
            Ok(())
        }
        // A choice without further fields, "in_batch" say, becomes a table with the new one.
        other => {
            *other = Value::Table(Table::new());
            set_inside(other, name, rest, value)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(assignments: &[&str]) -> Result<Recipe, Error> {
        let assignments: Vec<String> = assignments.iter().map(|one| (*one).to_owned()).collect();
        Recipe::preset("splade-max")?.with(&assignments)
    }

    #[test]
    fn fields_of_every_kind_are_set() {
        let recipe = with(&[
            "trainer.steps=7",
            "batch.title_share = 0.25",
            "name=mine",
            "data.files=[\"a.jsonl\", \"b.tsv\"]",
            "data.files.1=c.tsv",
            "data.source_weights.faq=0.5",
            "teacher.members=[{kind = \"bm25\"}]",
            "teacher.members.0.weight=2.5",
            "evaluation.patience=3",
            "negatives.start=bm25",
            "trainer.learning_rate.peak=1e-5",
        ])
        .expect("known fields");
        assert_eq!(
            (recipe.trainer.steps, recipe.batch.title_share, recipe.name.as_str()),
            (7, 0.25, "mine")
        );
        assert_eq!(recipe.data.files, ["a.jsonl", "c.tsv"].map(std::path::PathBuf::from));
        assert_eq!(recipe.data.source_weights["faq"], 0.5);
        assert_eq!(
            (recipe.teacher.members[0].weight, recipe.evaluation.patience),
            (2.5, Some(3))
        );
        assert_eq!(recipe.trainer.learning_rate.peak, 1e-5);
    }

    #[test]
    fn what_cannot_be_set_is_quoted() {
        let message = |assignment: &str| with(&[assignment]).expect_err("refused").to_string();
        for (assignment, needle) in [
            ("trainer.stops=7", "unknown field `stops`"),
            ("trainer.steps=many", "invalid type"),
            ("steps", "TABLE.FIELD=VALUE"),
            ("data.files.0=x", "a list of 0"),
            ("run.=1", "a name is empty"),
        ] {
            let message = message(assignment);
            assert!(message.contains(needle) && message.contains(assignment), "{message}");
        }
    }

    #[test]
    fn a_recipe_survives_its_own_text() {
        let recipe = with(&["trainer.steps=7", "evaluation.min_gain=0.1"]).expect("known fields");
        assert_eq!(Recipe::parse(&recipe.to_toml(), "own").expect("own text"), recipe);
        let message = Recipe::parse("[run]\nstops = 3\n", "mine.toml")
            .expect_err("unknown")
            .to_string();
        assert!(message.contains("mine.toml") && message.contains("line 2"), "{message}");
    }
}
