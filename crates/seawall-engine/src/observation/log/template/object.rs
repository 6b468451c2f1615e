//! Format strings that are JSON objects, as GoAccess has them: each text in one is the format of the value at its place in a line.

use super::compile::goaccess_pieces;
use super::json::{self, Value};
use super::{Piece, Reason, TemplateError, Values};

/// What is looked for in a value of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    /// A text or a number that is read piece by piece.
    Scalar(Vec<Piece>),
    /// Members, by their names.
    Object(Vec<(Vec<u8>, Node)>),
    /// Elements, by their places.
    List(Vec<Node>),
}

impl Node {
    /// Compiles a format string that begins with a brace.
    pub(super) fn compile(format: &str) -> Result<Self, TemplateError> {
        // As a configuration in which it stands between quotes has it.
        let format = if format.starts_with("{\\\"") { format.replace("\\\"", "\"") } else { format.to_owned() };
        match json::value(format.as_bytes()) {
            Some((value, rest)) if rest.trim_ascii().is_empty() => Self::of(value, &format),
            _ => Err(TemplateError::NotJson),
        }
    }

    fn of(value: Value<'_>, format: &str) -> Result<Self, TemplateError> {
        match value {
            Value::Text(text) => {
                let text = str::from_utf8(text).map_err(|_| TemplateError::NotJson)?;
                let column = format.find(text).map_or(0, |at| format[..at].chars().count());
                goaccess_pieces(text, column).map(Self::Scalar)
            }
            // A number is nobody's format.
            Value::Bare(_) => Ok(Self::Scalar(Vec::new())),
            Value::Object(object) => {
                let mut nodes = Ok(Vec::new());
                json::members(object, |key, value| {
                    if let Ok(found) = &mut nodes {
                        match Self::of(value, format) {
                            Ok(node) => found.push((key.to_vec(), node)),
                            Err(error) => nodes = Err(error),
                        }
                    }
                })
                .ok_or(TemplateError::NotJson)?;
                nodes.map(Self::Object)
            }
            Value::List(list) => {
                let mut nodes = Ok(Vec::new());
                json::elements(list, |value| {
                    if let Ok(found) = &mut nodes {
                        match Self::of(value, format) {
                            Ok(node) => found.push(node),
                            Err(error) => nodes = Err(error),
                        }
                    }
                })
                .ok_or(TemplateError::NotJson)?;
                nodes.map(Self::List)
            }
        }
    }

    /// Every piece of every value.
    pub(super) fn pieces(&self) -> Vec<&Piece> {
        match self {
            Self::Scalar(pieces) => pieces.iter().collect(),
            Self::Object(nodes) => nodes.iter().flat_map(|(_, node)| node.pieces()).collect(),
            Self::List(nodes) => nodes.iter().flat_map(Self::pieces).collect(),
        }
    }

    /// Takes what a line says.
    pub(super) fn read_line<'a>(&self, line: &'a [u8], values: &mut Values<'a>) -> Result<(), Reason> {
        match json::value(line) {
            Some((object @ Value::Object(_), _)) => self.read(object, values),
            _ => Err(Reason::NoTimestamp),
        }
    }

    /// Takes what a value says. One of another kind than is looked for says nothing.
    fn read<'a>(&self, value: Value<'a>, values: &mut Values<'a>) -> Result<(), Reason> {
        let mut result = Ok(());
        match (self, value) {
            (Self::Object(nodes), Value::Object(object)) => {
                json::members(object, |key, value| {
                    let node = nodes.iter().find(|(name, _)| name == key);
                    if let (Some((_, node)), Ok(())) = (node, result) {
                        result = node.read(value, values);
                    }
                })
                .ok_or(Reason::NoTimestamp)?;
            }
            (Self::List(nodes), Value::List(list)) => {
                let mut nodes = nodes.iter();
                json::elements(list, |value| {
                    if let (Some(node), Ok(())) = (nodes.next(), result) {
                        result = node.read(value, values);
                    }
                })
                .ok_or(Reason::NoTimestamp)?;
            }
            (Self::Scalar(pieces), value) => {
                result = match (pieces.as_slice(), value.scalar()) {
                    ([Piece::Field(field)], Some(text)) => values.take(*field, text),
                    // What is written otherwise than the format says is not known, which is no reason to refuse all of the line.
                    (pieces, Some(text)) => match values.take_pieces(pieces, text) {
                        Err(Reason::TooFewFields) => Ok(()),
                        other => other,
                    },
                    (_, None) => Ok(()),
                };
            }
            _ => {}
        }
        result
    }
}
