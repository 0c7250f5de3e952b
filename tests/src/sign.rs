//! AWS Signature Version 4 as a client computes it: header form, signed chunks, signed trailer; and that of version 2.
//!
//! Pure: the time is an argument. Paths and query strings are given as they go on the wire; the
//! caller has percent-encoded them with [`encode`]. Checked against the examples AWS publishes.

use base64::Engine as _;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// The payload hash of an unsigned body.
pub const UNSIGNED: &str = "UNSIGNED-PAYLOAD";
/// SHA-256 of nothing.
pub const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// One credential in one region and service, with the derived key of the day kept.
#[derive(Clone)]
pub struct Signer {
    /// Access key id.
    pub access: String,
    /// Secret key.
    pub secret: String,
    /// Region of the scope.
    pub region: String,
    /// Service of the scope: `s3` or `s3tables`.
    pub service: String,
    /// Percent-encodes the path a second time, as all services but S3 ask for.
    pub double_encode: bool,
    derived: Option<(String, [u8; 32])>,
}

/// What is signed.
pub struct Subject<'a> {
    /// Method in upper case.
    pub method: &'a str,
    /// Path as sent.
    pub path: &'a str,
    /// Query as sent, sorted, every name with `=`; empty if none.
    pub query: &'a str,
    /// Lower-case names with values, sorted by name.
    pub headers: &'a [(&'a str, &'a str)],
    /// Last line of the canonical request.
    pub payload_hash: &'a str,
    /// `YYYYMMDDTHHMMSSZ`.
    pub amz_date: &'a str,
}

/// A signature and the header that carries it.
pub struct Signature {
    /// Value for `Authorization`.
    pub authorization: String,
    /// The signature alone, hex: the seed of chunk signatures.
    pub signature: String,
}

impl Signer {
    /// A signer for `service` in `us-east-1`.
    pub fn new(access: &str, secret: &str, service: &str) -> Self {
        Signer {
            access: access.to_owned(),
            secret: secret.to_owned(),
            region: "us-east-1".to_owned(),
            service: service.to_owned(),
            double_encode: service != "s3",
            derived: None,
        }
    }

    /// Signs a request.
    pub fn sign(&mut self, subject: &Subject<'_>) -> Signature {
        let mut names = String::with_capacity(64);
        let mut request = String::with_capacity(512);
        let doubled;
        let path = if self.double_encode {
            doubled = encode(subject.path, true);
            &doubled
        } else {
            subject.path
        };
        for part in [subject.method, "\n", path, "\n", subject.query, "\n"] {
            request.push_str(part);
        }
        for (at, (name, value)) in subject.headers.iter().enumerate() {
            if at != 0 {
                names.push(';');
            }
            names.push_str(name);
            for part in [name, ":", value.trim(), "\n"] {
                request.push_str(part);
            }
        }
        for part in ["\n", &names, "\n", subject.payload_hash] {
            request.push_str(part);
        }
        let scope = self.scope(subject.amz_date);
        let signature = self.finish(
            subject.amz_date,
            &["AWS4-HMAC-SHA256", subject.amz_date, &scope, &sha256_hex(request.as_bytes())],
        );
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
            self.access
        );
        Signature { authorization, signature }
    }

    /// The signature of one chunk of a streaming body, after `previous`.
    pub fn sign_chunk(&mut self, amz_date: &str, previous: &str, chunk: &[u8]) -> String {
        let scope = self.scope(amz_date);
        let lines =
            ["AWS4-HMAC-SHA256-PAYLOAD", amz_date, &scope, previous, EMPTY_SHA256, &sha256_hex(chunk)];
        self.finish(amz_date, &lines)
    }

    /// The signature of a trailer given as its canonical lines (`name:value\n`), after `previous`.
    pub fn sign_trailer(&mut self, amz_date: &str, previous: &str, lines: &str) -> String {
        let scope = self.scope(amz_date);
        let parts = ["AWS4-HMAC-SHA256-TRAILER", amz_date, &scope, previous, &sha256_hex(lines.as_bytes())];
        self.finish(amz_date, &parts)
    }

    /// The signature of a form over its policy, which is in base64.
    pub fn sign_policy(&mut self, amz_date: &str, policy: &str) -> String {
        self.finish(amz_date, &[policy])
    }

    /// Date, region, service and terminal of a credential.
    pub fn scope(&self, amz_date: &str) -> String {
        format!("{}/{}/{}/aws4_request", &amz_date[..8], self.region, self.service)
    }

    fn finish(&mut self, amz_date: &str, lines: &[&str]) -> String {
        let day = &amz_date[..8];
        let key = match &self.derived {
            Some((of, key)) if of == day => *key,
            _ => {
                let mut key = hmac(format!("AWS4{}", self.secret).as_bytes(), day.as_bytes());
                for part in [self.region.as_str(), self.service.as_str(), "aws4_request"] {
                    key = hmac(&key, part.as_bytes());
                }
                self.derived = Some((day.to_owned(), key));
                key
            }
        };
        hex::encode(hmac(&key, lines.join("\n").as_bytes()))
    }
}

/// The signature of version 2 over its string to sign.
pub fn sign_v2(secret: &str, string_to_sign: &str) -> String {
    let mut mac =
        Hmac::<sha1::Sha1>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(string_to_sign.as_bytes());
    base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes())
}

/// Hex SHA-256 of `bytes`.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn hmac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(text);
    mac.finalize().into_bytes().into()
}

/// Percent-encodes all but unreserved characters, keeping `/` if asked.
pub fn encode(text: &str, keep_slash: bool) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            b'/' if keep_slash => out.push('/'),
            _ => {
                const HEX: &[u8; 16] = b"0123456789ABCDEF";
                out.push('%');
                out.push(char::from(HEX[usize::from(byte >> 4)]));
                out.push(char::from(HEX[usize::from(byte & 15)]));
            }
        }
    }
    out
}

/// Decodes `%XX`; other bytes stay.
pub fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let pair = bytes.get(at + 1..at + 3).and_then(|pair| std::str::from_utf8(pair).ok());
        match pair.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(byte) if bytes[at] == b'%' => {
                out.push(byte);
                at += 3;
            }
            _ => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Encodes and sorts query pairs into wire and canonical form at once.
pub fn query(pairs: &[(String, String)]) -> String {
    let mut encoded: Vec<(String, String)> =
        pairs.iter().map(|(name, value)| (encode(name, false), encode(value, false))).collect();
    encoded.sort();
    let mut out = String::new();
    for (name, value) in encoded {
        if !out.is_empty() {
            out.push('&');
        }
        out.push_str(&name);
        out.push('=');
        out.push_str(&value);
    }
    out
}

/// `YYYYMMDDTHHMMSSZ` for seconds since 1970.
pub fn amz_date(unix_secs: u64) -> String {
    let (days, rest) = (unix_secs / 86_400, unix_secs % 86_400);
    // Civil date from a day count, in eras of 400 years that begin on 1 March.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}{month:02}{day:02}T{:02}{:02}{:02}Z", rest / 3_600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use super::{EMPTY_SHA256, Signer, Subject, amz_date, decode, encode, query, sha256_hex};

    const DATE: &str = "20130524T000000Z";

    fn signer() -> Signer {
        Signer::new("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "s3")
    }

    fn check(method: &str, path: &str, query: &str, hash: &str, extra: &[(&str, &str)], expected: &str) {
        let mut headers = vec![
            ("host", "examplebucket.s3.amazonaws.com"),
            ("x-amz-content-sha256", hash),
            ("x-amz-date", DATE),
        ];
        headers.extend_from_slice(extra);
        headers.sort();
        let subject = Subject { method, path, query, headers: &headers, payload_hash: hash, amz_date: DATE };
        let signed = signer().sign(&subject);
        assert_eq!(signed.signature, expected);
        assert!(signed.authorization.ends_with(expected));
    }

    #[test]
    fn published_header_examples() {
        check(
            "GET",
            "/test.txt",
            "",
            EMPTY_SHA256,
            &[("range", "bytes=0-9")],
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        );
        check(
            "PUT",
            "/test%24file.text",
            "",
            &sha256_hex(b"Welcome to Amazon S3."),
            &[("date", "Fri, 24 May 2013 00:00:00 GMT"), ("x-amz-storage-class", "REDUCED_REDUNDANCY")],
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        );
        check(
            "GET",
            "/",
            "lifecycle=",
            EMPTY_SHA256,
            &[],
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        );
        check(
            "GET",
            "/",
            "max-keys=2&prefix=J",
            EMPTY_SHA256,
            &[],
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        );
    }

    #[test]
    fn published_chunk_example() {
        let mut signer = signer();
        let headers = [
            ("content-encoding", "aws-chunked"),
            ("content-length", "66824"),
            ("host", "s3.amazonaws.com"),
            ("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"),
            ("x-amz-date", DATE),
            ("x-amz-decoded-content-length", "66560"),
            ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
        ];
        let seed = signer.sign(&Subject {
            method: "PUT",
            path: "/examplebucket/chunkObject.txt",
            query: "",
            headers: &headers,
            payload_hash: "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
            amz_date: DATE,
        });
        assert_eq!(seed.signature, "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9");
        let first = signer.sign_chunk(DATE, &seed.signature, &[b'a'; 65_536]);
        assert_eq!(first, "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648");
        let second = signer.sign_chunk(DATE, &first, &[b'a'; 1_024]);
        assert_eq!(second, "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497");
        let last = signer.sign_chunk(DATE, &second, b"");
        assert_eq!(last, "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9");
    }

    #[test]
    fn dates() {
        assert_eq!(amz_date(0), "19700101T000000Z");
        assert_eq!(amz_date(951_782_400), "20000229T000000Z");
        assert_eq!(amz_date(1_369_353_600), DATE);
        assert_eq!(amz_date(1_767_225_599), "20251231T235959Z");
    }

    #[test]
    fn encoding() {
        assert_eq!(encode("a b/c+d~é", true), "a%20b/c%2Bd~%C3%A9");
        assert_eq!(encode("a/b", false), "a%2Fb");
        assert_eq!(decode("a%20b%2Fc+%zz%"), "a b/c+%zz%");
        let pairs = [("prefix", "a/b"), ("list-type", "2"), ("acl", "")];
        let pairs: Vec<_> = pairs.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
        assert_eq!(query(&pairs), "acl=&list-type=2&prefix=a%2Fb");
    }
}
