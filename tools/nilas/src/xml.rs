//! Answers of AWS's query API and of S3, as a tree of elements with text. Pure: bytes in, tree or the fault out.
//!
//! `client` parses each answer of these APIs with it. Attributes, comments and prefixes of names mean nothing here.

use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::Event;

use crate::limits::XML_DEPTH_MAX;

/// An element.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Element {
    pub(crate) name: String,
    /// All text directly in it.
    pub(crate) text: String,
    pub(crate) children: Vec<Element>,
}

impl Element {
    /// Parses a whole document; the error says why it is none.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Element, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
        let mut reader = quick_xml::Reader::from_str(text);
        // The one at the bottom holds the document.
        let mut open = vec![Element::default()];
        loop {
            let event = reader.read_event().map_err(|e| e.to_string())?;
            let innermost = open.last_mut().ok_or("it closes more than it opens")?;
            match event {
                Event::Start(start) => {
                    if open.len() > XML_DEPTH_MAX {
                        return Err(format!("elements lie more than {XML_DEPTH_MAX} deep"));
                    }
                    open.push(named(start.local_name().as_ref()));
                }
                Event::Empty(start) => innermost.children.push(named(start.local_name().as_ref())),
                Event::End(_) => {
                    let element = open.pop().ok_or("it closes more than it opens")?;
                    open.last_mut().ok_or("it closes more than it opens")?.children.push(element);
                }
                Event::Text(text) => innermost.text += &text,
                Event::CData(text) => innermost.text += &text,
                Event::GeneralRef(name) => match name.resolve_char_ref().map_err(|e| e.to_string())? {
                    Some(letter) => innermost.text.push(letter),
                    None => {
                        let text =
                            resolve_xml_entity(&name).ok_or_else(|| format!("&{}; is not known", &*name))?;
                        innermost.text += text;
                    }
                },
                Event::Eof => break,
                Event::DocType(_) => return Err("it defines its own entities".to_owned()),
                Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            }
        }
        match (open.len(), open.pop().and_then(|mut outer| outer.children.pop())) {
            (1, Some(document)) => Ok(document),
            _ => Err("it ends in the middle".to_owned()),
        }
    }

    /// The first child of a name.
    pub(crate) fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The text of the first child of a name, empty when there is none.
    pub(crate) fn text_of(&self, name: &str) -> &str {
        self.child(name).map_or("", |child| child.text.trim())
    }

    /// The elements of a list that AWS writes as `<NAME><member>…</member></NAME>`.
    pub(crate) fn members(&self, name: &str) -> impl Iterator<Item = &Element> {
        self.child(name).into_iter().flat_map(|list| &list.children)
    }
}

fn named(name: &str) -> Element {
    Element { name: name.to_owned(), ..Element::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents() {
        let text = "<?xml version=\"1.0\"?>\n<R xmlns=\"u\"><L><member><N>a &amp; b&#x21;</N></member><member/></L>\n<E/></R>";
        let parsed = Element::parse(text.as_bytes()).expect("well formed");
        assert_eq!(parsed.name, "R");
        assert_eq!(parsed.members("L").map(|m| m.text_of("N")).collect::<Vec<_>>(), ["a & b!", ""]);
        assert_eq!(parsed.text_of("E"), "");
        assert_eq!(parsed.members("none").count(), 0);
    }

    #[test]
    fn what_is_no_document() {
        let check = |text: &str| assert!(Element::parse(text.as_bytes()).is_err(), "{text}");
        check("");
        check("ready\n");
        check("<a>");
        check("<a></b>");
        check("</a>");
        check("<a>&nope;</a>");
        check(&("<a>".repeat(100) + &"</a>".repeat(100)));
        assert!(Element::parse(b"<a>\xff</a>").is_err());
    }
}
