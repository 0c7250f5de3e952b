//! The one table of the query API's failures: what went wrong → status, code and message, and the XML of it.
//!
//! Codes and statuses are AWS's published ones, because tools decide by them.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};

use crate::auth::{AuthError, CredentialFault, Denied};
use crate::identity::model::{Entity, Fault, HeldBy};
use crate::limits::QUERY_FORM_BYTES_MAX;
use crate::query::sts::StsFault;
use crate::render::body::ResponseBody;
use crate::render::xml::Xml;

/// Seconds after which a busy store may be asked again.
const RETRY_AFTER_S: u64 = 1;

/// Everything that a query request can be refused with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum QueryError {
    /// The body is no form that can be read.
    MalformedForm,
    /// It is longer than a form may be.
    FormTooLarge,
    /// No `Action`.
    MissingAction,
    /// An operation that is not served, or not in this version.
    InvalidAction { action: String, version: String },
    /// The sender is not known.
    Auth(AuthError),
    /// The sender may not.
    AccessDenied { who: String, action: &'static str, arn: String },
    /// A field that must be there is not.
    Missing { name: &'static str },
    /// A field has not the form that it must have.
    Invalid { name: &'static str, why: String },
    /// A field that the operation does not read, where nothing may go unread.
    Unread { name: String },
    /// A sender who is no user, and names none.
    NoUser,
    /// What is asked for in general but not here.
    InvalidInput { message: Cow<'static, str> },
    /// Something that is never here, by AWS's sentence.
    NoSuchEntity { message: String },
    /// Why the model does not change.
    Fault(Fault),
    /// Why no session is made.
    Sts(StsFault),
    /// The store has not recovered, or is busy, or takes no changes now.
    Unavailable { message: Cow<'static, str> },
}

impl From<Fault> for QueryError {
    fn from(fault: Fault) -> QueryError {
        QueryError::Fault(fault)
    }
}

impl From<AuthError> for QueryError {
    fn from(error: AuthError) -> QueryError {
        QueryError::Auth(error)
    }
}

impl QueryError {
    /// AWS's code and its status.
    pub(crate) fn code(&self) -> (&'static str, StatusCode) {
        match self {
            QueryError::MalformedForm => ("MalformedInput", StatusCode::BAD_REQUEST),
            QueryError::FormTooLarge => ("RequestEntityTooLarge", StatusCode::PAYLOAD_TOO_LARGE),
            QueryError::MissingAction => ("MissingAction", StatusCode::BAD_REQUEST),
            QueryError::InvalidAction { .. } => ("InvalidAction", StatusCode::BAD_REQUEST),
            QueryError::Auth(error) => auth_code(error),
            QueryError::AccessDenied { .. } => ("AccessDenied", StatusCode::FORBIDDEN),
            QueryError::Missing { .. }
            | QueryError::Invalid { .. }
            | QueryError::Unread { .. }
            | QueryError::NoUser => ("ValidationError", StatusCode::BAD_REQUEST),
            QueryError::InvalidInput { .. } => ("InvalidInput", StatusCode::BAD_REQUEST),
            QueryError::NoSuchEntity { .. } => ("NoSuchEntity", StatusCode::NOT_FOUND),
            QueryError::Fault(fault) => fault_code(fault),
            QueryError::Sts(fault) => sts_code(fault),
            QueryError::Unavailable { .. } => ("ServiceUnavailable", StatusCode::SERVICE_UNAVAILABLE),
        }
    }

    pub(crate) fn message(&self) -> Cow<'static, str> {
        Cow::Owned(match self {
            QueryError::MalformedForm => return Cow::Borrowed("The form cannot be read."),
            QueryError::FormTooLarge => format!("The form has more than {QUERY_FORM_BYTES_MAX} bytes."),
            QueryError::MissingAction => {
                return Cow::Borrowed("The request must contain the parameter Action.");
            }
            QueryError::InvalidAction { action, version } => {
                format!("Could not find operation {action} for version {version}")
            }
            QueryError::Auth(error) => return error.message(),
            QueryError::AccessDenied { who, action, arn } => {
                format!("User: {who} is not authorized to perform: {action} on resource: {arn}")
            }
            QueryError::Missing { name } => constraint(name, "Member must not be null"),
            QueryError::Invalid { name, why } => constraint(name, &format!("Member {why}")),
            QueryError::Unread { name } => constraint(name, "Member is not read by this operation"),
            QueryError::NoUser => {
                return Cow::Borrowed("Must specify userName when calling with non-User credentials");
            }
            QueryError::InvalidInput { message } | QueryError::Unavailable { message } => {
                return message.clone();
            }
            QueryError::NoSuchEntity { message } => message.clone(),
            QueryError::Fault(fault) => fault_message(fault),
            QueryError::Sts(fault) => fault.message(),
        })
    }

    /// The answer, in the namespace of its service.
    pub(crate) fn render(&self, namespace: &str, request_id: &str) -> Response<ResponseBody> {
        let (code, status) = self.code();
        let is_ours = status.is_server_error();
        let mut xml = Xml::within(namespace, "ErrorResponse", 512);
        xml.open("Error");
        xml.text("Type", if is_ours { "Receiver" } else { "Sender" });
        xml.text("Code", code);
        xml.text("Message", &self.message());
        xml.close("Error");
        xml.text("RequestId", request_id);
        let mut response = respond(xml.finish(), request_id);
        *response.status_mut() = status;
        let retry_after_s = match self {
            QueryError::Auth(AuthError::Throttled(throttled)) => Some(throttled.retry_after_s),
            _ => is_ours.then_some(RETRY_AFTER_S),
        };
        if let Some(retry_after_s) = retry_after_s {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(retry_after_s));
        }
        response
    }
}

/// An answer of the query API.
pub(super) fn respond(document: Bytes, request_id: &str) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::from(document));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/xml"));
    if let Ok(id) = HeaderValue::try_from(request_id) {
        headers.insert("x-amzn-requestid", id);
    }
    response
}

/// AWS's sentence for a parameter that is not as it must be; parameters begin with a small letter there.
fn constraint(name: &str, why: &str) -> String {
    let mut letters = name.chars();
    let first = letters.next().map(|letter| letter.to_ascii_lowercase());
    let name: String = first.into_iter().chain(letters).collect();
    format!("1 validation error detected: Value at '{name}' failed to satisfy constraint: {why}")
}

/// The query API's code for S3's.
fn auth_code(error: &AuthError) -> (&'static str, StatusCode) {
    match error {
        // AWS takes a scope of another service for a signature that does not fit.
        AuthError::SignatureDoesNotMatch(_)
        | AuthError::AuthorizationHeaderMalformed(CredentialFault::Service { .. })
        | AuthError::RequestTimeTooSkewed { .. }
        | AuthError::XAmzContentSHA256Mismatch { .. } => ("SignatureDoesNotMatch", StatusCode::FORBIDDEN),
        AuthError::InvalidAccessKeyId { .. } | AuthError::InvalidToken { .. } => {
            ("InvalidClientTokenId", StatusCode::FORBIDDEN)
        }
        AuthError::ExpiredToken { .. } => ("ExpiredToken", StatusCode::FORBIDDEN),
        AuthError::Throttled(_) => ("Throttling", StatusCode::BAD_REQUEST),
        AuthError::AccessDenied(Denied::NoCredentials) => {
            ("MissingAuthenticationToken", StatusCode::FORBIDDEN)
        }
        AuthError::AccessDenied(Denied::Expired { .. } | Denied::NotYetValid { .. }) => {
            ("RequestExpired", StatusCode::BAD_REQUEST)
        }
        AuthError::AccessDenied(
            Denied::InvalidDate
            | Denied::V2Parameters
            | Denied::V2Expires { .. }
            | Denied::HeadersNotSigned { .. },
        )
        | AuthError::AuthorizationHeaderMalformed(_)
        | AuthError::AuthorizationQueryParametersError(_)
        | AuthError::InvalidArgument { .. }
        | AuthError::InvalidRequest(_) => ("IncompleteSignature", StatusCode::BAD_REQUEST),
    }
}

/// STS's own codes.
fn sts_code(fault: &StsFault) -> (&'static str, StatusCode) {
    match fault {
        StsFault::PackedPolicyTooLarge { .. } => ("PackedPolicyTooLarge", StatusCode::BAD_REQUEST),
        StsFault::ExpiredToken => ("ExpiredTokenException", StatusCode::BAD_REQUEST),
        StsFault::InvalidIdentityToken(_) => ("InvalidIdentityToken", StatusCode::BAD_REQUEST),
        StsFault::IdpRejectedClaim => ("IDPRejectedClaim", StatusCode::FORBIDDEN),
        StsFault::IdpCommunicationError => ("IDPCommunicationError", StatusCode::BAD_REQUEST),
        StsFault::OfSession(_) => ("AccessDenied", StatusCode::FORBIDDEN),
    }
}

fn fault_code(fault: &Fault) -> (&'static str, StatusCode) {
    match fault {
        Fault::NoSuchEntity { .. } => ("NoSuchEntity", StatusCode::NOT_FOUND),
        Fault::EntityAlreadyExists { .. } => ("EntityAlreadyExists", StatusCode::CONFLICT),
        Fault::DeleteConflict { .. } => ("DeleteConflict", StatusCode::CONFLICT),
        Fault::LimitExceeded { .. } => ("LimitExceeded", StatusCode::CONFLICT),
        Fault::MalformedPolicyDocument(_) => ("MalformedPolicyDocument", StatusCode::BAD_REQUEST),
        Fault::InvalidInput { .. } => ("ValidationError", StatusCode::BAD_REQUEST),
        Fault::UnmodifiableEntity { .. } => ("AccessDenied", StatusCode::FORBIDDEN),
    }
}

fn fault_message(fault: &Fault) -> String {
    match fault {
        Fault::NoSuchEntity { entity, name } => no_such(*entity, name),
        Fault::EntityAlreadyExists { entity: Entity::Policy, name } => {
            format!("A policy called {name} already exists. Duplicate names are not allowed.")
        }
        Fault::EntityAlreadyExists { entity, name } => {
            format!("{} with name {name} already exists.", capital(entity.name()))
        }
        Fault::DeleteConflict { held_by, .. } => held(*held_by).to_owned(),
        Fault::LimitExceeded { limit, max } => exceeded(limit, *max),
        Fault::MalformedPolicyDocument(error) => error.to_string(),
        Fault::InvalidInput { name, why } => constraint(name, &format!("Member {why}")),
        Fault::UnmodifiableEntity { arn } => {
            format!("Policy {arn} belongs to the server and cannot be changed.")
        }
    }
}

fn no_such(entity: Entity, name: &str) -> String {
    match entity {
        Entity::User | Entity::Group => format!("The {} with name {name} cannot be found.", entity.name()),
        Entity::AccessKey => format!("The Access Key with id {name} cannot be found."),
        Entity::Policy => format!("Policy {name} does not exist or is not attachable."),
        Entity::PolicyVersion => format!("Policy version {name} does not exist or is not attachable."),
        Entity::InlinePolicy => format!("The policy with name {name} cannot be found."),
        Entity::Attachment => format!("Policy {name} was not found."),
        Entity::Membership => format!("User {name} is not in the group."),
    }
}

fn held(held_by: HeldBy) -> &'static str {
    match held_by {
        HeldBy::AccessKeys => "Cannot delete entity, must delete access keys first.",
        HeldBy::InlinePolicies => "Cannot delete entity, must delete policies first.",
        HeldBy::AttachedPolicies => "Cannot delete entity, must detach all policies first.",
        HeldBy::Groups => "Cannot delete entity, must remove user from all groups first.",
        HeldBy::Members => "Cannot delete entity, must remove users from group first.",
        HeldBy::Attachments => "Cannot delete a policy attached to entities.",
        HeldBy::Versions => {
            "This policy has more than one version. Before you delete a policy, you must delete the policy's versions. The default version is deleted with the policy."
        }
        HeldBy::Default => "Cannot delete the default version of a policy.",
    }
}

/// AWS's name of a quota where it has one.
fn exceeded(limit: &str, max: usize) -> String {
    let quota = match limit {
        "USERS_MAX" => "UsersPerAccount",
        "GROUPS_MAX" => "GroupsPerAccount",
        "MANAGED_POLICIES_MAX" => "PoliciesPerAccount",
        "USER_GROUPS_MAX" => "GroupsPerUser",
        "USER_KEYS_MAX" => "AccessKeysPerUser",
        "ATTACHED_POLICIES_MAX" => "PoliciesPerEntity",
        "POLICY_VERSIONS_MAX" => {
            return format!(
                "A managed policy can have up to {max} versions. Before you create a new version, you must delete an existing version."
            );
        }
        "IDENTITY_POLICY_BYTES_MAX" | "IDENTITY_POLICY_CHARACTERS_MAX" => "PolicySize",
        "INLINE_POLICIES_BYTES_MAX" => return format!("Maximum policy size of {max} bytes exceeded"),
        "IDENTITY_TAGS_MAX" => "TagsPerEntity",
        other => other,
    };
    format!("Cannot exceed quota for {quota}: {max}")
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|letter| letter.to_ascii_uppercase()).into_iter().chain(letters).collect()
}
