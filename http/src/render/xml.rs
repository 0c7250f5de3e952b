//! XML written straight into a buffer: no tree, no allocation per element.
//!
//! Every S3 answer with a body goes through it. Tags are constants of the caller and are not escaped.

use bytes::{BufMut, Bytes, BytesMut};
use nilas_engine::ETag;

/// The namespace of every S3 answer but errors.
const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";

/// An XML document being written.
pub struct Xml {
    out: BytesMut,
    root: &'static str,
}

impl Xml {
    /// Starts a document in S3's namespace. `bytes` is the expected size.
    pub fn new(root: &'static str, bytes: usize) -> Xml {
        Xml::within(NAMESPACE, root, bytes)
    }

    /// Starts a document in another namespace.
    pub fn within(namespace: &str, root: &'static str, bytes: usize) -> Xml {
        let mut xml = Xml::bare(root, bytes);
        xml.out.truncate(xml.out.len() - 1);
        xml.put(" xmlns=\"");
        xml.put(namespace);
        xml.put("\">");
        xml
    }

    /// Starts a document without namespace, as errors are.
    pub fn bare(root: &'static str, bytes: usize) -> Xml {
        let mut xml = Xml { out: BytesMut::with_capacity(bytes), root };
        xml.put("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        xml.open(root);
        xml
    }

    /// Writes the inside of an element, to be put into a document by [`Xml::inside`].
    pub(crate) fn fragment(write: impl FnOnce(&mut Xml)) -> Bytes {
        let mut xml = Xml { out: BytesMut::new(), root: "" };
        write(&mut xml);
        xml.out.freeze()
    }

    /// Puts in what [`Xml::fragment`] wrote.
    pub(crate) fn inside(&mut self, fragment: &[u8]) {
        self.out.put_slice(fragment);
    }

    /// Closes the root and gives the document.
    pub fn finish(mut self) -> Bytes {
        self.close(self.root);
        self.out.freeze()
    }

    /// `<tag>`.
    pub fn open(&mut self, tag: &str) {
        self.out.put_u8(b'<');
        self.put(tag);
        self.out.put_u8(b'>');
    }

    /// `</tag>`.
    pub fn close(&mut self, tag: &str) {
        self.put("</");
        self.put(tag);
        self.out.put_u8(b'>');
    }

    /// Text of the open element, escaped.
    pub fn value(&mut self, text: &str) {
        self.escaped(text.as_bytes());
    }

    /// `<tag>text</tag>`, escaped.
    pub fn text(&mut self, tag: &str, text: &str) {
        self.bytes(tag, text.as_bytes());
    }

    /// `<tag>text</tag>` of an error's message, in which S3 leaves quotation marks as they are.
    pub fn message(&mut self, tag: &str, text: &str) {
        self.open(tag);
        for (at, piece) in text.split('"').enumerate() {
            if 0 < at {
                self.put("\"");
            }
            self.escaped(piece.as_bytes());
        }
        self.close(tag);
    }

    /// `<tag>text</tag>` of bytes that are known to be UTF-8, escaped.
    pub fn bytes(&mut self, tag: &str, text: &[u8]) {
        self.open(tag);
        self.escaped(text);
        self.close(tag);
    }

    /// `<tag>text</tag>`, percent-encoded when `url` says so, as `encoding-type=url` asks for.
    pub fn key(&mut self, tag: &str, key: &[u8], url: bool) {
        self.open(tag);
        if url {
            self.percent_encoded(key);
        } else {
            self.escaped(key);
        }
        self.close(tag);
    }

    /// `<tag>base/bucket/key</tag>`, the path percent-encoded; without a bucket where `base` has it.
    pub fn address(&mut self, tag: &str, base: &str, bucket: Option<&str>, key: &[u8]) {
        self.open(tag);
        self.escaped(base.as_bytes());
        self.put("/");
        if let Some(bucket) = bucket {
            self.percent_encoded(bucket.as_bytes());
            self.put("/");
        }
        self.percent_encoded(key);
        self.close(tag);
    }

    /// `<tag>12</tag>`.
    pub fn number(&mut self, tag: &str, value: u64) {
        let mut digits = [0_u8; 20];
        let mut at = digits.len();
        let mut rest = value;
        loop {
            at -= 1;
            digits[at] = b'0' + u8::try_from(rest % 10).expect("a digit");
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        self.open(tag);
        self.out.put_slice(&digits[at..]);
        self.close(tag);
    }

    /// `<tag>true</tag>`.
    pub fn boolean(&mut self, tag: &str, value: bool) {
        self.text(tag, if value { "true" } else { "false" });
    }

    /// `<ETag>&quot;…&quot;</ETag>`.
    pub fn etag(&mut self, etag: &ETag) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        self.open("ETag");
        self.put("&quot;");
        for byte in etag.md5 {
            self.out.put_u8(DIGITS[usize::from(byte >> 4)]);
            self.out.put_u8(DIGITS[usize::from(byte & 15)]);
        }
        if 0 < etag.parts {
            self.put("-");
            self.put(&etag.parts.to_string());
        }
        self.put("&quot;");
        self.close("ETag");
    }

    fn put(&mut self, text: &str) {
        self.out.put_slice(text.as_bytes());
    }

    fn escaped(&mut self, text: &[u8]) {
        let mut plain = 0;
        for (at, byte) in text.iter().enumerate() {
            let escape: &str = match byte {
                b'&' => "&amp;",
                b'<' => "&lt;",
                b'>' => "&gt;",
                b'"' => "&quot;",
                b'\r' => "&#13;",
                b'\n' => "&#10;",
                b'\t' => "&#9;",
                0..0x20 | 0x7F => "",
                _ => continue,
            };
            self.out.put_slice(&text[plain..at]);
            plain = at + 1;
            if escape.is_empty() {
                self.put(&format!("&#x{byte:x};"));
            } else {
                self.put(escape);
            }
        }
        self.out.put_slice(&text[plain..]);
    }

    fn percent_encoded(&mut self, text: &[u8]) {
        const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
        let mut plain = 0;
        for (at, byte) in text.iter().enumerate() {
            if matches!(byte, b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' | b'*')
            {
                continue;
            }
            self.out.put_slice(&text[plain..at]);
            plain = at + 1;
            self.out.put_slice(&[b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
        self.out.put_slice(&text[plain..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(fill: impl FnOnce(&mut Xml)) -> String {
        let mut xml = Xml::bare("R", 64);
        fill(&mut xml);
        let text = String::from_utf8(xml.finish().to_vec()).expect("UTF-8");
        let text = text.strip_prefix("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<R>").expect("a prologue");
        text.strip_suffix("</R>").expect("an end").to_owned()
    }

    #[test]
    fn texts() {
        let check =
            |text: &str, want: &str| assert_eq!(body(|xml| xml.text("T", text)), format!("<T>{want}</T>"));
        check("", "");
        check("plain é", "plain é");
        check("<a&\"b\">", "&lt;a&amp;&quot;b&quot;&gt;");
        check("\u{1}a\r\n", "&#x1;a&#13;&#10;");
        let message = |text: &str, want: &str| {
            assert_eq!(body(|xml| xml.message("T", text)), format!("<T>{want}</T>"));
        };
        message("", "");
        message("[\"eq\", \"<a&b>\"]", "[\"eq\", \"&lt;a&amp;b&gt;\"]");
    }

    #[test]
    fn keys() {
        let check = |key: &str, want: &str| {
            assert_eq!(body(|xml| xml.key("K", key.as_bytes(), true)), format!("<K>{want}</K>"));
        };
        check("a b+c/d", "a%20b%2Bc/d");
        check("é&<", "%C3%A9%26%3C");
        check("A-z_0.~*", "A-z_0.~*");
        let location = body(|xml| xml.address("L", "http://h:1", Some("b"), b"a b/\xc3\xa9&"));
        assert_eq!(location, "<L>http://h:1/b/a%20b/%C3%A9%26</L>");
    }

    #[test]
    fn values() {
        assert_eq!(body(|xml| xml.number("N", 0)), "<N>0</N>");
        assert_eq!(body(|xml| xml.number("N", u64::MAX)), "<N>18446744073709551615</N>");
        assert_eq!(body(|xml| xml.boolean("B", true)), "<B>true</B>");
        let etag = ETag { md5: [0x0f; 16], parts: 12 };
        assert_eq!(body(|xml| xml.etag(&etag)), format!("<ETag>&quot;{etag}&quot;</ETag>"));
        let text = Xml::new("R", 0).finish();
        assert!(text.ends_with(b"<R xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"></R>"));
    }
}
