//! JSON as a policy's reader needs it: members in their order with duplicates still there, texts in place of numbers and
//! truth values, and no nesting without a bound.
//!
//! `document` reads a [`Node`] and knows the place of everything in it. serde_json does the scanning; its own value type
//! would let a second member of the same name win silently.

use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};

use super::document::PolicyError;
use crate::limits::POLICY_NESTING_MAX;

/// One value of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Null,
    /// A text, or `true` or `false` or a number in its own words when the mark is not set.
    Text {
        text: String,
        is_quoted: bool,
    },
    List(Vec<Node>),
    Object(Vec<(String, Node)>),
}

impl Node {
    /// Names its kind for a message.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Node::Null => "null",
            Node::Text { is_quoted: true, .. } => "a text",
            Node::Text { is_quoted: false, text } if text == "true" || text == "false" => "a truth value",
            Node::Text { is_quoted: false, .. } => "a number",
            Node::List(_) => "a list",
            Node::Object(_) => "an object",
        }
    }
}

/// Reads a whole document. An error is placed at `line:column`.
pub(super) fn parse(text: &str) -> Result<Node, PolicyError> {
    let mut reader = serde_json::Deserializer::from_str(text);
    Depth(POLICY_NESTING_MAX).deserialize(&mut reader).and_then(|node| reader.end().map(|()| node)).map_err(
        |error| {
            let place = format!("{}:{}", error.line(), error.column());
            // The message ends with the place, which is given apart.
            let message = error.to_string();
            let why = message.split(" at line ").next().unwrap_or("not JSON");
            PolicyError { at: place, why: format!("not JSON that can be read: {why}") }
        },
    )
}

/// How much deeper a value may go.
struct Depth(usize);

impl<'de> DeserializeSeed<'de> for Depth {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Node, D::Error> {
        reader.deserialize_any(self)
    }
}

/// The one member of what serde_json hands out for a number, which it keeps in the writer's own words.
const NUMBER: &str = "$serde_json::private::Number";

impl<'de> Visitor<'de> for Depth {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Text { text: value.to_string(), is_quoted: false })
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Text { text: value.to_string(), is_quoted: false })
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Text { text: value.to_string(), is_quoted: false })
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Text { text: value.to_string(), is_quoted: false })
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Text { text: value.to_owned(), is_quoted: true })
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Node, E> {
        Ok(Node::Text { text: value, is_quoted: true })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = list.next_element_seed(self.deeper()?)? {
            nodes.push(node);
        }
        Ok(Node::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut members = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            if name == NUMBER && members.is_empty() {
                return Ok(Node::Text { text: map.next_value()?, is_quoted: false });
            }
            members.push((name, map.next_value_seed(self.deeper()?)?));
        }
        Ok(Node::Object(members))
    }
}

impl Depth {
    fn deeper<E: Error>(&self) -> Result<Depth, E> {
        match self.0.checked_sub(1) {
            Some(left) => Ok(Depth(left)),
            None => Err(E::custom(format_args!("nested deeper than {POLICY_NESTING_MAX} levels"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        let check = |text: &str, want: &str| match parse(text) {
            Ok(node) => assert_eq!(node.kind(), want, "{text}"),
            Err(error) => assert_eq!(error.to_string(), want, "{text}"),
        };
        check("null", "null");
        check("\"a\"", "a text");
        check("true", "a truth value");
        check("-1.50", "a number");
        check("123456789012345678901234567890", "a number");
        check("[]", "a list");
        check("{}", "an object");
        check("", "1:0: not JSON that can be read: EOF while parsing a value");
        check("{}\n {}", "2:2: not JSON that can be read: trailing characters");
        check("{\n\"a\":}", "2:5: not JSON that can be read: expected value");
        let deep = format!("{}1{}", "[".repeat(POLICY_NESTING_MAX), "]".repeat(POLICY_NESTING_MAX));
        check(&deep, "a list");
        assert!(parse(&format!("[{deep}]")).is_err());
        assert!(parse(&"[".repeat(100_000)).is_err());
        let Ok(Node::Object(members)) = parse(r#"{"a": 1.50, "a": "x"}"#) else { panic!("two members") };
        assert_eq!(members.len(), 2);
        assert_eq!(members[0].1, Node::Text { text: "1.50".to_owned(), is_quoted: false });
    }
}
