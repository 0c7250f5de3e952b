//! The forms of names, paths, tags and texts, as IAM has them. A value that has not its form is [`Fault::InvalidInput`].

use crate::identity::model::{Fault, Secret, Tags, ids};
use crate::limits::{
    ACCESS_KEY_CHARS_MAX, DESCRIPTION_CHARS_MAX, IDENTITY_NAME_CHARS_MAX, IDENTITY_PATH_CHARS_MAX,
    IDENTITY_TAGS_MAX, TAG_KEY_CHARS_MAX, TAG_VALUE_CHARS_MAX, USER_NAME_CHARS_MAX,
};

/// Shortest access key and secret that are taken, in bytes: those of the root key.
const ACCESS_KEY_BYTES_MIN: usize = 3;
const SECRET_BYTES_MIN: usize = 8;

fn invalid(name: &'static str, why: impl Into<String>) -> Fault {
    Fault::InvalidInput { name, why: why.into() }
}

/// A user's name.
pub(crate) fn user_name(parameter: &'static str, name: &str) -> Result<(), Fault> {
    named(parameter, name, USER_NAME_CHARS_MAX)
}

/// The name of a group or policy.
pub(crate) fn name(parameter: &'static str, name: &str) -> Result<(), Fault> {
    named(parameter, name, IDENTITY_NAME_CHARS_MAX)
}

fn named(parameter: &'static str, name: &str, chars_max: usize) -> Result<(), Fault> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"_+=,.@-".contains(&b);
    if name.is_empty() || chars_max < name.len() || !name.bytes().all(fits) {
        let why = format!("must have 1 to {chars_max} letters, digits and characters of _+=,.@-");
        return Err(invalid(parameter, why));
    }
    Ok(())
}

/// `/`, or what begins and ends with one.
pub(super) fn path(parameter: &'static str, path: &str) -> Result<(), Fault> {
    let fits =
        path.starts_with('/') && path.ends_with('/') && path.bytes().all(|b| (0x21..0x7F).contains(&b));
    if !fits || IDENTITY_PATH_CHARS_MAX < path.len() || path == "//" {
        let why = format!(
            "must be / or begin and end with it, in at most {IDENTITY_PATH_CHARS_MAX} visible characters"
        );
        return Err(invalid(parameter, why));
    }
    Ok(())
}

/// Tags of one user or policy, all of them.
pub(super) fn tags(tags: &Tags) -> Result<(), Fault> {
    if IDENTITY_TAGS_MAX < tags.len() {
        return Err(Fault::LimitExceeded { limit: "IDENTITY_TAGS_MAX", max: IDENTITY_TAGS_MAX });
    }
    let fits = |c: char| c.is_alphanumeric() || c == ' ' || "_.:/=+-@".contains(c);
    for (key, value) in tags {
        if key.is_empty() || TAG_KEY_CHARS_MAX < key.chars().count() || !key.chars().all(fits) {
            return Err(invalid(
                "Tags.Key",
                format!("must have 1 to {TAG_KEY_CHARS_MAX} letters, digits and _.:/=+-@"),
            ));
        }
        if key.get(..4).is_some_and(|head| head.eq_ignore_ascii_case("aws:")) {
            return Err(invalid("Tags.Key", "must not begin with aws:"));
        }
        if TAG_VALUE_CHARS_MAX < value.chars().count() || !value.chars().all(fits) {
            let why = format!("must have at most {TAG_VALUE_CHARS_MAX} letters, digits and _.:/=+-@");
            return Err(invalid("Tags.Value", why));
        }
    }
    Ok(())
}

/// A text for people.
pub(crate) fn text(parameter: &'static str, text: &str, chars_max: usize) -> Result<(), Fault> {
    if chars_max < text.chars().count() || text.chars().any(char::is_control) {
        return Err(invalid(
            parameter,
            format!("must have at most {chars_max} characters, none of them control"),
        ));
    }
    Ok(())
}

/// A policy's description.
pub(super) fn description(description: &str) -> Result<(), Fault> {
    text("Description", description, DESCRIPTION_CHARS_MAX)
}

/// The id of an access key that is given from outside.
pub(super) fn access_key(id: &str) -> Result<(), Fault> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"_-.".contains(&b);
    if !(ACCESS_KEY_BYTES_MIN..=ACCESS_KEY_CHARS_MAX).contains(&id.len()) || !id.bytes().all(fits) {
        let why =
            format!("must have {ACCESS_KEY_BYTES_MIN} to {ACCESS_KEY_CHARS_MAX} letters, digits and _-.");
        return Err(invalid("AccessKeyId", why));
    }
    if id.starts_with(ids::SESSION_KEY) {
        return Err(invalid("AccessKeyId", format!("must not begin with {}: sessions do", ids::SESSION_KEY)));
    }
    Ok(())
}

/// A secret that is given from outside.
pub(super) fn secret(secret: &Secret) -> Result<(), Fault> {
    let text = secret.expose();
    let fits = (SECRET_BYTES_MIN..=ACCESS_KEY_CHARS_MAX).contains(&text.len());
    if !fits || !text.bytes().all(|b| (0x21..0x7F).contains(&b)) {
        let why = format!("must have {SECRET_BYTES_MIN} to {ACCESS_KEY_CHARS_MAX} visible ASCII characters");
        return Err(invalid("SecretAccessKey", why));
    }
    Ok(())
}
