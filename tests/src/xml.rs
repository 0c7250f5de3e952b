//! Just enough XML reading for S3's answers: the text of elements by name, in document order.
//! No attributes, no namespaces, no nesting of an element in itself.

/// The unescaped text of every `<tag>…</tag>` in `xml`.
pub fn all(xml: &str, tag: &str) -> Vec<String> {
    blocks(xml, tag).into_iter().map(unescape).collect()
}

/// The unescaped text of the first `<tag>`.
pub fn first(xml: &str, tag: &str) -> Option<String> {
    blocks(xml, tag).first().map(|text| unescape(text))
}

/// The raw inside of every `<tag>…</tag>` (or `""` for `<tag/>`).
pub fn blocks<'x>(xml: &'x str, tag: &str) -> Vec<&'x str> {
    let (open, close, empty) = (format!("<{tag}"), format!("</{tag}>"), "/>");
    let mut found = Vec::new();
    let mut rest = xml;
    while let Some(at) = rest.find(&open) {
        let after = &rest[at + open.len()..];
        let Some(end_of_open) = after.find('>') else { break };
        let attributes = &after[..=end_of_open];
        if !attributes.starts_with(['>', ' ', '/', '\n']) {
            rest = after;
            continue;
        }
        if attributes.ends_with(empty) {
            found.push("");
            rest = &after[end_of_open + 1..];
            continue;
        }
        let inside = &after[end_of_open + 1..];
        let Some(end) = inside.find(&close) else { break };
        found.push(&inside[..end]);
        rest = &inside[end + close.len()..];
    }
    found
}

/// Escapes text for an element's inside.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\r' | '\n' | '\t' => out.push_str(&format!("&#{};", u32::from(c))),
            _ => out.push(c),
        }
    }
    out
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        let Some(end) = rest[at..].find(';') else { break };
        let entity = &rest[at + 1..at + end];
        let number = entity
            .strip_prefix("#x")
            .map(|hex| u32::from_str_radix(hex, 16))
            .or_else(|| entity.strip_prefix('#').map(|decimal| decimal.parse::<u32>()));
        match (entity, number) {
            ("lt", _) => out.push('<'),
            ("gt", _) => out.push('>'),
            ("amp", _) => out.push('&'),
            ("quot", _) => out.push('"'),
            ("apos", _) => out.push('\''),
            (_, Some(Ok(code))) => out.extend(char::from_u32(code)),
            _ => out.push_str(&rest[at..=at + end]),
        }
        rest = &rest[at + end + 1..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::{all, blocks, escape, first};

    #[test]
    fn elements() {
        let xml = r#"<?xml version="1.0"?><L xmlns="u"><Keys/><Key>a&amp;b</Key><Key>&#x41;&#10;</Key><Key></Key><KeyCount>2</KeyCount></L>"#;
        assert_eq!(all(xml, "Key"), ["a&b", "A\n", ""]);
        assert_eq!(first(xml, "KeyCount").as_deref(), Some("2"));
        assert_eq!(first(xml, "Keys").as_deref(), Some(""));
        assert_eq!(first(xml, "Nothing"), None);
        assert_eq!(blocks("<A><B>1</B></A><A><B>2</B></A>", "A"), ["<B>1</B>", "<B>2</B>"]);
    }

    #[test]
    fn escaping_comes_back() {
        for text in ["", "a<b>&\"c", "l\ni\rn\te", "žluť 😀"] {
            assert_eq!(first(&format!("<K>{}</K>", escape(text)), "K").as_deref(), Some(text));
        }
    }
}
