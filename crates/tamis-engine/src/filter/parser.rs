//! Symbols to a tree, with the types of fields.

use super::lexer::{Kind, Symbol, symbols};
use super::{MAX_FILTER_BYTES, MAX_FILTER_DEPTH, MAX_FILTER_VALUES, Node, Test};
use crate::Error;
use crate::schema::{FieldSchema, FieldType, FieldValue};
use std::ops::Bound;

pub(super) fn bad(position: usize, reason: impl Into<String>) -> Error {
    Error::BadFilter {
        position,
        reason: reason.into(),
        suggestion: None,
    }
}

pub(super) fn parse(text: &str, schema: &FieldSchema) -> Result<Node, Error> {
    if text.len() > MAX_FILTER_BYTES {
        let reason = format!("{} bytes, at most {MAX_FILTER_BYTES} are allowed", text.len());
        return Err(bad(MAX_FILTER_BYTES, reason));
    }
    let mut parser = Parser {
        symbols: symbols(text)?,
        at: 0,
        depth: 0,
        num_values: 0,
        schema,
    };
    let root = parser.any()?;
    let rest = parser.peek();
    match &rest.kind {
        Kind::End => Ok(root),
        other => Err(bad(
            rest.position,
            format!("AND, OR or the end expected, {} found", other.shown()),
        )),
    }
}

struct Parser<'a> {
    symbols: Vec<Symbol>,
    at: usize,
    depth: usize,
    num_values: usize,
    schema: &'a FieldSchema,
}

impl Parser<'_> {
    fn peek(&self) -> &Symbol {
        &self.symbols[self.at.min(self.symbols.len() - 1)]
    }

    fn next(&mut self) -> Symbol {
        let symbol = self.peek().clone();
        self.at += 1;
        symbol
    }

    fn takes_word(&mut self, word: &str) -> bool {
        let is_next = matches!(&self.peek().kind, Kind::Word(next) if next.eq_ignore_ascii_case(word));
        self.at += usize::from(is_next);
        is_next
    }

    fn takes_sign(&mut self, sign: &str) -> bool {
        let is_next = matches!(&self.peek().kind, Kind::Sign(next) if *next == sign);
        self.at += usize::from(is_next);
        is_next
    }

    fn expect_sign(&mut self, sign: &str) -> Result<(), Error> {
        if self.takes_sign(sign) {
            return Ok(());
        }
        let next = self.peek();
        Err(bad(
            next.position,
            format!("`{sign}` expected, {} found", next.kind.shown()),
        ))
    }

    fn any(&mut self) -> Result<Node, Error> {
        let mut nodes = vec![self.all()?];
        while self.takes_word("or") {
            nodes.push(self.all()?);
        }
        Ok(if nodes.len() == 1 {
            nodes.remove(0)
        } else {
            Node::Any(nodes)
        })
    }

    fn all(&mut self) -> Result<Node, Error> {
        let mut nodes = vec![self.factor()?];
        while self.takes_word("and") {
            nodes.push(self.factor()?);
        }
        Ok(if nodes.len() == 1 {
            nodes.remove(0)
        } else {
            Node::All(nodes)
        })
    }

    fn factor(&mut self) -> Result<Node, Error> {
        self.depth += 1;
        if self.depth > MAX_FILTER_DEPTH {
            let reason = format!("more than {MAX_FILTER_DEPTH} levels of brackets and NOT");
            return Err(bad(self.peek().position, reason));
        }
        let node = self.nested()?;
        self.depth -= 1;
        Ok(node)
    }

    fn nested(&mut self) -> Result<Node, Error> {
        if self.takes_word("not") {
            return Ok(Node::Not(Box::new(self.factor()?)));
        }
        if self.takes_sign("(") {
            let node = self.any()?;
            self.expect_sign(")")?;
            return Ok(node);
        }
        if self.takes_word("exists") {
            self.expect_sign("(")?;
            let (field, _) = self.field()?;
            self.expect_sign(")")?;
            self.count_value()?;
            let test = Test::Exists;
            return Ok(Node::Test { field, test });
        }
        let (field, kind) = self.field()?;
        self.test(field, kind)
    }

    fn field(&mut self) -> Result<(String, FieldType), Error> {
        let symbol = self.next();
        let Kind::Word(name) = symbol.kind else {
            return Err(bad(
                symbol.position,
                format!("a field expected, {} found", symbol.kind.shown()),
            ));
        };
        match self.schema.get(&name) {
            Some(kind) => Ok((name, kind)),
            None => Err(Error::BadFilter {
                position: symbol.position,
                reason: format!("unknown field `{}`", name.chars().take(80).collect::<String>()),
                suggestion: self.schema.nearest(&name),
            }),
        }
    }

    fn test(&mut self, field: String, kind: FieldType) -> Result<Node, Error> {
        let symbol = self.next();
        let is_word = |word: &str| matches!(&symbol.kind, Kind::Word(next) if next.eq_ignore_ascii_case(word));
        let mut negated = false;
        let test = if is_word("in") {
            Test::OneOf(self.values(kind)?)
        } else if is_word("not") && self.takes_word("in") {
            negated = true;
            Test::OneOf(self.values(kind)?)
        } else if is_word("between") {
            let low = self.value(kind)?;
            if !self.takes_word("and") {
                let next = self.peek();
                return Err(bad(next.position, format!("AND expected, {} found", next.kind.shown())));
            }
            Test::Range(Bound::Included(low), Bound::Included(self.value(kind)?))
        } else {
            let Kind::Sign(sign @ ("=" | "==" | "!=" | "<" | "<=" | ">" | ">=")) = symbol.kind else {
                return Err(bad(
                    symbol.position,
                    format!("a comparison, IN or BETWEEN expected, {} found", symbol.kind.shown()),
                ));
            };
            negated = sign == "!=";
            let value = self.value(kind)?;
            match sign {
                "<" => Test::Range(Bound::Unbounded, Bound::Excluded(value)),
                "<=" => Test::Range(Bound::Unbounded, Bound::Included(value)),
                ">" => Test::Range(Bound::Excluded(value), Bound::Unbounded),
                ">=" => Test::Range(Bound::Included(value), Bound::Unbounded),
                _ => Test::OneOf(vec![value]),
            }
        };
        let node = Node::Test { field, test };
        Ok(if negated { Node::Not(Box::new(node)) } else { node })
    }

    fn values(&mut self, kind: FieldType) -> Result<Vec<FieldValue>, Error> {
        self.expect_sign("[")?;
        let mut values = vec![self.value(kind)?];
        while self.takes_sign(",") {
            values.push(self.value(kind)?);
        }
        self.expect_sign("]")?;
        Ok(values)
    }

    fn value(&mut self, kind: FieldType) -> Result<FieldValue, Error> {
        self.count_value()?;
        let symbol = self.next();
        let wrong = |found: String| bad(symbol.position, format!("{} expected, {found} found", kind.name()));
        let (text, is_quoted) = match &symbol.kind {
            Kind::Word(text) => (text.as_str(), false),
            Kind::Quoted(text) => (text.as_str(), true),
            other => return Err(wrong(other.shown())),
        };
        let value = match kind {
            FieldType::Keyword => FieldValue::keyword(text).map_err(|reason| bad(symbol.position, reason))?,
            FieldType::Date => FieldValue::date(text).map_err(|reason| bad(symbol.position, reason))?,
            _ if is_quoted => return Err(wrong(symbol.kind.shown())),
            FieldType::Integer => FieldValue::Integer(text.parse().map_err(|_| wrong(symbol.kind.shown()))?),
            FieldType::Float => {
                let number: f64 = text.parse().map_err(|_| wrong(symbol.kind.shown()))?;
                if !number.is_finite() {
                    return Err(wrong(symbol.kind.shown()));
                }
                FieldValue::float(number)
            }
            FieldType::Bool if text.eq_ignore_ascii_case("true") => FieldValue::Bool(true),
            FieldType::Bool if text.eq_ignore_ascii_case("false") => FieldValue::Bool(false),
            FieldType::Bool => return Err(wrong(symbol.kind.shown())),
        };
        Ok(value)
    }

    fn count_value(&mut self) -> Result<(), Error> {
        self.num_values += 1;
        if self.num_values > MAX_FILTER_VALUES {
            return Err(bad(
                self.peek().position,
                format!("more than {MAX_FILTER_VALUES} values"),
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn schema() -> FieldSchema {
        let fields = json!({"year": "integer", "lang": "keyword", "tags": "keyword", "draft": "bool", "price": "float", "day": "date"});
        serde_json::from_value(fields).expect("valid")
    }

    fn refused(text: &str) -> (usize, String, Option<String>) {
        match parse(text, &schema()) {
            Err(Error::BadFilter {
                position,
                reason,
                suggestion,
            }) => (position, reason, suggestion),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn binds_and_before_or() {
        let a = parse("year >= 1990 AND lang = en or NOT draft = true", &schema()).expect("valid");
        let b = parse("((year>=1990) and lang == 'en') OR (not (draft=TRUE))", &schema()).expect("valid");
        assert_eq!(a, b);
        assert!(matches!(a, Node::Any(nodes) if matches!(nodes[0], Node::All(_))));
    }

    #[test]
    fn reads_every_test_and_value() {
        for text in [
            "tags IN [\"a\", b, 'c\\'d']",
            "tags NOT IN [a]",
            "price BETWEEN -1.5 AND 2e3",
            "day > 2024-05-01 AND day <= 2024-05-01T12:00:00+02:00",
            "EXISTS(lang)",
            "year != -3",
            "lang = \"\"",
        ] {
            parse(text, &schema()).unwrap_or_else(|error| panic!("{text}: {error}"));
        }
        let escaped = parse(r#"lang = "a\"b\\""#, &schema()).expect("valid");
        let value = FieldValue::Keyword(r#"a"b\"#.to_owned());
        assert!(matches!(escaped, Node::Test { test: Test::OneOf(values), .. } if values == [value]));
    }

    #[test]
    fn errors_name_place_and_reason() {
        for (text, position, needle) in [
            ("", 0, "a field expected, the end found"),
            ("year", 4, "comparison"),
            ("year >= ", 8, "integer expected"),
            ("year >= 19x", 8, "integer expected"),
            ("year = \"1990\"", 7, "integer expected"),
            ("draft = yes", 8, "bool expected"),
            ("day = tomorrow", 6, "no date"),
            ("price < inf", 8, "float expected"),
            ("lang = en lang = de", 10, "AND, OR or the end expected"),
            ("(lang = en", 10, "`)` expected"),
            ("lang = \"en", 7, "closing"),
            ("lang = \"e\\n\"", 7, "followed"),
            ("tags IN [a b]", 11, "`]` expected"),
            ("tags IN []", 9, "keyword expected"),
            ("lang & en", 5, "`&` is not allowed"),
            ("EXISTS lang", 7, "`(` expected"),
            ("year BETWEEN 1 2", 15, "AND expected"),
        ] {
            let (at, reason, _) = refused(text);
            assert!(at == position && reason.contains(needle), "{text}: {at} {reason}");
        }
        let (at, reason, suggestion) = refused("lang = en AND yeer > 3");
        assert_eq!((at, suggestion.as_deref()), (14, Some("year")));
        assert!(reason.contains("`yeer`"));
    }

    #[test]
    fn size_is_limited() {
        assert!(refused(&format!("{}year = 1", "NOT ".repeat(40))).1.contains("levels"));
        assert!(refused(&format!("{}year = 1", "(".repeat(40))).1.contains("levels"));
        assert!(
            refused(&format!("year IN [{}1]", "1,".repeat(4096)))
                .1
                .contains("values")
        );
        assert!(refused(&"x".repeat(20_000)).1.contains("bytes"));
        let deep = format!("{}year = 1{}", "(".repeat(31), ")".repeat(31));
        assert!(parse(&deep, &schema()).is_ok());
    }

    proptest! {
        #[test]
        fn any_text_gives_a_tree_or_a_place_in_it(text in "([a-z]{0,3}|year|lang|draft|AND|OR|NOT|IN|[0-9]|[\\[\\]()=<>!,'\"\\\\ é]){0,20}") {
            if let Err(Error::BadFilter { position, .. }) = parse(&text, &schema()) {
                prop_assert!(position <= text.len() && text.is_char_boundary(position));
            }
        }
    }
}
