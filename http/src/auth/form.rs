//! Who signed a form: the signature over its policy, in its own fields.
//!
//! The gateway calls [`verify_form`] when the fields before the file are there. What is signed is the field `policy`; that the
//! form is what the policy says is for `s3::post_policy` to find. Version 4, and version 2 where the operator takes that.
//! I1. Signatures are compared in constant time.

use std::borrow::Cow;

use subtle::ConstantTimeEq as _;

use crate::auth::chunk_signature::ChunkSigner;
use crate::auth::claim::SignedClaim;
use crate::auth::error::{AuthError, CredentialFault, Mismatch, QueryFault, Refused};
use crate::auth::hoisted::Mechanism;
use crate::auth::key_cache::{SigningKeyCache, derive, mac_of, sign};
use crate::auth::sigv2;
use crate::auth::sigv4::{KeyStore, PayloadMode, Service, Verified};
use crate::auth::time::parse_timestamp;

/// Why nobody is known to have signed a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FormProof {
    /// A field that goes with the others is not there.
    Missing(&'static str),
    /// What is there proves nothing.
    Auth(AuthError),
}

impl From<AuthError> for FormProof {
    fn from(error: AuthError) -> FormProof {
        FormProof::Auth(error)
    }
}

/// Verifies the signature of a form whose fields `field` finds by their names in lower case; `None` when it shows none.
pub fn verify_form<'f>(
    field: impl Fn(&str) -> Option<&'f str>,
    keys: &dyn KeyStore,
    cache: &mut SigningKeyCache,
    takes_v2: bool,
    now_ms: u64,
) -> Result<Option<Verified>, FormProof> {
    let need = |name: &'static str| {
        field(&name.to_ascii_lowercase()).filter(|value| !value.is_empty()).ok_or(FormProof::Missing(name))
    };
    let shows = |names: &[&str]| names.iter().any(|name| field(name).is_some());
    let token = field("x-amz-security-token");
    if shows(&["x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature"]) {
        let policy = need("policy")?;
        let (algorithm, credential) = (need("X-Amz-Algorithm")?, need("X-Amz-Credential")?);
        let (date, signature) = (need("X-Amz-Date")?, need("X-Amz-Signature")?);
        let fail = AuthError::AuthorizationQueryParametersError;
        if algorithm != "AWS4-HMAC-SHA256" {
            return Err(fail(QueryFault::Algorithm).into());
        }
        let time_ms = parse_timestamp(date).ok_or_else(|| fail(QueryFault::Date))?;
        let claim = SignedClaim {
            credential: Cow::Borrowed(credential),
            signed_headers: Cow::Borrowed(""),
            signature: Cow::Borrowed(signature),
            timestamp: date.to_owned(),
            time_ms,
            // As in a URL: what is wrong is told in the same words. The policy says how long it lives.
            expires_s: Some(0),
            token: token.map(Cow::Borrowed),
            content_sha256: None,
        };
        return verify_v4(&claim, policy, keys, cache, now_ms).map(Some).map_err(FormProof::Auth);
    }
    if shows(&["signature", "awsaccesskeyid"]) {
        if !takes_v2 {
            return Err(AuthError::InvalidRequest(Refused::SignatureV2).into());
        }
        let policy = need("policy")?;
        let (access_key, signature) = (need("AWSAccessKeyId")?, need("Signature")?);
        let secret =
            keys.secret(access_key, token, now_ms).map_err(|fault| fault.error(access_key, token))?;
        if !bool::from(sigv2::sign(&secret, policy.as_bytes()).as_bytes().ct_eq(signature.as_bytes())) {
            return Err(mismatch(access_key, policy, signature).into());
        }
        return Ok(Some(verified(access_key, "", None, Mechanism::FormV2, token)));
    }
    Ok(None)
}

fn verify_v4(
    claim: &SignedClaim<'_>,
    policy: &str,
    keys: &dyn KeyStore,
    cache: &mut SigningKeyCache,
    now_ms: u64,
) -> Result<Verified, AuthError> {
    let credential = claim.credential()?;
    if credential.service != Service::S3.name() {
        let (service, expected) = (credential.service.to_owned(), Service::S3.name());
        return Err(claim.credential_error(CredentialFault::Service { service, expected }));
    }
    let (access_key, token) = (credential.access_key, claim.token.as_deref());
    let secret = keys.secret(access_key, token, now_ms).map_err(|fault| fault.error(access_key, token))?;
    let known = cache.find(&claim.credential, &secret);
    let fresh = known.is_none();
    let mac =
        known.unwrap_or_else(|| derive(&secret, credential.date, credential.region, credential.service));
    let ours = hex::encode(sign(&mac, policy.as_bytes()));
    if !bool::from(ours.as_bytes().ct_eq(claim.signature.as_bytes())) {
        return Err(mismatch(access_key, policy, &claim.signature));
    }
    if fresh {
        cache.keep(&claim.credential, &secret, &mac);
    }
    Ok(verified(access_key, credential.region, Some(claim.time_ms), Mechanism::FormV4, token))
}

fn mismatch(access_key: &str, policy: &str, signature: &str) -> AuthError {
    AuthError::SignatureDoesNotMatch(Box::new(Mismatch {
        access_key: access_key.to_owned(),
        string_to_sign: policy.to_owned(),
        signature_provided: signature.to_owned(),
        canonical_request: None,
    }))
}

fn verified(
    access_key: &str,
    region: &str,
    signed_ms: Option<u64>,
    mechanism: Mechanism,
    token: Option<&str>,
) -> Verified {
    Verified {
        access_key: access_key.to_owned(),
        service: Service::S3,
        region: region.to_owned(),
        signed_ms,
        payload: PayloadMode::Unsigned,
        mechanism,
        session_token: token.map(str::to_owned),
        // Nothing of a form is signed in chunks.
        chunks: ChunkSigner::new(mac_of(b""), String::new(), String::new(), String::new()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::auth::sigv4::KeyFault;

    struct One;
    impl KeyStore for One {
        fn secret(&self, access_key: &str, token: Option<&str>, _now_ms: u64) -> Result<Arc<str>, KeyFault> {
            match (access_key, token) {
                ("AKIAIOSFODNN7EXAMPLE", None) => Ok("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".into()),
                ("AKIAIOSFODNN7EXAMPLE", Some(_)) => Err(KeyFault::InvalidToken),
                _ => Err(KeyFault::Unknown),
            }
        }
    }

    /// The example of Amazon's "Browser-based upload using HTTP POST (using AWS signature version 4)".
    const POLICY: &str = "eyAiZXhwaXJhdGlvbiI6ICIyMDE1LTEyLTMwVDEyOjAwOjAwLjAwMFoiLA0KICAiY29uZGl0aW9ucyI6IFsNCiAgICB7ImJ1Y2tldCI6ICJzaWd2NGV4YW1wbGVidWNrZXQifSwNCiAgICBbInN0YXJ0cy13aXRoIiwgIiRrZXkiLCAidXNlci91c2VyMS8iXSwNCiAgICB7ImFjbCI6ICJwdWJsaWMtcmVhZCJ9LA0KICAgIHsic3VjY2Vzc19hY3Rpb25fcmVkaXJlY3QiOiAiaHR0cDovL3NpZ3Y0ZXhhbXBsZWJ1Y2tldC5zMy5hbWF6b25hd3MuY29tL3N1Y2Nlc3NmdWxfdXBsb2FkLmh0bWwifSwNCiAgICBbInN0YXJ0cy13aXRoIiwgIiRDb250ZW50LVR5cGUiLCAiaW1hZ2UvIl0sDQogICAgeyJ4LWFtei1tZXRhLXV1aWQiOiAiMTQzNjUxMjM2NTEyNzQifSwNCiAgICB7IngtYW16LXNlcnZlci1zaWRlLWVuY3J5cHRpb24iOiAiQUVTMjU2In0sDQogICAgWyJzdGFydHMtd2l0aCIsICIkeC1hbXotbWV0YS10YWciLCAiIl0sDQoNCiAgICB7IngtYW16LWNyZWRlbnRpYWwiOiAiQUtJQUlPU0ZPRE5ON0VYQU1QTEUvMjAxNTEyMjkvdXMtZWFzdC0xL3MzL2F3czRfcmVxdWVzdCJ9LA0KICAgIHsieC1hbXotYWxnb3JpdGhtIjogIkFXUzQtSE1BQy1TSEEyNTYifSwNCiAgICB7IngtYW16LWRhdGUiOiAiMjAxNTEyMjlUMDAwMDAwWiIgfQ0KICBdDQp9";
    const V4: [(&str, &str); 5] = [
        ("x-amz-credential", "AKIAIOSFODNN7EXAMPLE/20151229/us-east-1/s3/aws4_request"),
        ("x-amz-algorithm", "AWS4-HMAC-SHA256"),
        ("x-amz-date", "20151229T000000Z"),
        ("policy", POLICY),
        ("x-amz-signature", "8afdbf4008c03f22c2cd3cdb72e4afbb1f6a588f3255ac628749a66d7f09699e"),
    ];

    fn ask(fields: &[(&str, &str)], takes_v2: bool) -> Result<Option<Mechanism>, String> {
        let find = |name: &str| fields.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        let found = verify_form(find, &One, &mut SigningKeyCache::new(), takes_v2, 0);
        found.map(|found| found.map(|verified| verified.mechanism)).map_err(|proof| match proof {
            FormProof::Missing(name) => name.to_owned(),
            FormProof::Auth(error) => error.code().to_owned(),
        })
    }

    fn with(name: &str, value: Option<&'static str>) -> Vec<(&'static str, &'static str)> {
        let kept = V4.into_iter().filter(|(known, _)| *known != name);
        kept.chain(value.map(|value| (name.to_owned().leak() as &str, value))).collect()
    }

    #[test]
    fn version_4() {
        assert_eq!(ask(&V4, false), Ok(Some(Mechanism::FormV4)));
        assert_eq!(ask(&[], false), Ok(None));
        assert_eq!(ask(&[("policy", POLICY)], false), Ok(None));
        for (name, shown) in [
            ("policy", "policy"),
            ("x-amz-algorithm", "X-Amz-Algorithm"),
            ("x-amz-credential", "X-Amz-Credential"),
            ("x-amz-date", "X-Amz-Date"),
            ("x-amz-signature", "X-Amz-Signature"),
        ] {
            assert_eq!(ask(&with(name, None), false), Err(shown.to_owned()));
            assert_eq!(ask(&with(name, Some("")), false), Err(shown.to_owned()));
        }
        let check = |name: &str, value: &'static str, code: &str| {
            assert_eq!(ask(&with(name, Some(value)), false), Err(code.to_owned()), "{name} {value}");
        };
        let parameters = "AuthorizationQueryParametersError";
        check("x-amz-algorithm", "AWS4-HMAC-SHA1", parameters);
        check("x-amz-date", "2015-12-29T00:00:00Z", parameters);
        for credential in ["us-east-1/s3/aws4_request", "AK/20151228/us-east-1/s3/aws4_request"] {
            check("x-amz-credential", credential, parameters);
        }
        check("x-amz-credential", "AKIAIOSFODNN7EXAMPLE/20151229/us-east-1/sts/aws4_request", parameters);
        check("x-amz-credential", "AK/20151229/us-east-1/s3/aws4_request", "InvalidAccessKeyId");
        check("policy", "e30=", "SignatureDoesNotMatch");
        let token = [&V4[..], &[("x-amz-security-token", "t")]].concat();
        assert_eq!(ask(&token, false), Err("InvalidToken".to_owned()));
    }

    #[test]
    fn version_2() {
        let signature = sigv2::sign("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", POLICY.as_bytes());
        let form =
            [("policy", POLICY), ("awsaccesskeyid", "AKIAIOSFODNN7EXAMPLE"), ("signature", &signature)];
        assert_eq!(ask(&form, true), Ok(Some(Mechanism::FormV2)));
        assert_eq!(ask(&form, false), Err("InvalidRequest".to_owned()));
        assert_eq!(ask(&form[1..], true), Err("policy".to_owned()));
        assert_eq!(ask(&form[..2], true), Err("Signature".to_owned()));
        assert_eq!(ask(&[form[0], form[2]], true), Err("AWSAccessKeyId".to_owned()));
        let other = [form[0], form[1], ("signature", "c2lnbmF0dXJl")];
        assert_eq!(ask(&other, true), Err("SignatureDoesNotMatch".to_owned()));
    }
}
