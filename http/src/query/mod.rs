//! AWS's query API: a form in, an operation on identities, XML out.
//!
//! The gateway reads the form of a `POST /` that is signed for `iam` or `sts`, and calls [`serve`]. In path order: `form`
//! takes the form apart, `operations` is the table, a file for each group of operations plans what is to be done, `answer`
//! writes what is told, `error` what is refused.
//! I1. Every operation is judged on the ARN of what its form names before anything is said of it, or of what is missing.
//! I2. Handlers are pure: they read one model, or say how the next is made; the store carries that out.
//! I3. The secret of an access key is told once, in the answer that tells of its making.

mod form;
pub mod operations;
mod answer;
mod users;
mod groups;
mod keys;
mod grants;
mod policies;
mod account;
mod simulate;
mod absent;
pub(crate) mod sts;
mod error;
mod fuzz;

use std::borrow::Cow;

use bytes::Bytes;
use http::Response;
use nilas_catalog::access::{Access, Resource};

use crate::auth::Service;
use crate::identity::model::{Change, Fault, Model, Moment, User};
use crate::render::body::ResponseBody;
use crate::render::xml::Xml;
pub(crate) use error::QueryError;
pub(crate) use form::Form;
pub use fuzz::fuzz_query;
pub(crate) use operations::{Group, Operation};

/// The namespace of IAM's answers.
pub(crate) const IAM_NAMESPACE: &str = "https://iam.amazonaws.com/doc/2010-05-08/";
/// The namespace of STS's answers.
pub(crate) const STS_NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";
/// The version that IAM's clients name.
const IAM_VERSION: &str = "2010-05-08";
/// The version that STS's clients name.
const STS_VERSION: &str = "2011-06-15";

/// Who asks, and the one to ask what they may do.
#[derive(Clone, Copy)]
pub(crate) struct Asker<'a> {
    /// The rule for the sender.
    pub(crate) access: &'a dyn Access,
    /// Its ARN, for what is refused.
    pub(crate) arn: &'a str,
    /// The user that the sender is, or whose session it is; nobody for the root key.
    pub(crate) user: Option<&'a User>,
    /// The root key's id, where the sender is its holder or a session of that.
    pub(crate) root_key: Option<&'a str>,
    /// The region that clients are told.
    pub(crate) region: &'a str,
}

/// What an operation comes to.
pub(crate) enum Plan {
    /// It only tells: the inside of its result.
    Tell(Bytes),
    /// It makes the next model, and tells of it once that is durable and in force.
    Change(Box<Next>),
}

/// Makes the next model, and the inside of the result.
pub(crate) type Next = dyn FnOnce(&Model, &Moment<'_>) -> Result<Change<Bytes>, Fault> + Send;

impl Plan {
    fn change(
        next: impl FnOnce(&Model, &Moment<'_>) -> Result<Change<Bytes>, Fault> + Send + 'static,
    ) -> Result<Plan, QueryError> {
        Ok(Plan::Change(Box::new(next)))
    }

    /// A change that tells nothing.
    fn done<T>(
        next: impl FnOnce(&Model, &Moment<'_>) -> Result<Change<T>, Fault> + Send + 'static,
    ) -> Result<Plan, QueryError> {
        Plan::change(move |model, moment| Ok(next(model, moment)?.map(|_| Bytes::new())))
    }

    fn tell(write: impl FnOnce(&mut Xml)) -> Result<Plan, QueryError> {
        Ok(Plan::Tell(Xml::fragment(write)))
    }
}

/// One request: what its handler looks at.
struct Ask<'a> {
    operation: Operation,
    form: &'a Form,
    model: &'a Model,
    asker: Asker<'a>,
}

/// Finds the operation that a form asks for.
pub(crate) fn find(form: &Form) -> Result<Operation, QueryError> {
    let action = form.get("Action").ok_or(QueryError::MissingAction)?;
    let version = form.get("Version");
    let invalid = |operation: Option<Operation>| {
        let version = version.unwrap_or(operation.map_or(IAM_VERSION, Operation::version));
        QueryError::InvalidAction { action: action.to_owned(), version: version.to_owned() }
    };
    let operation = Operation::find(action).ok_or_else(|| invalid(None))?;
    if version.is_none_or(|version| version == operation.version()) {
        Ok(operation)
    } else {
        Err(invalid(Some(operation)))
    }
}

/// The tags that a form sets, and the keys of those that it removes, without a value: as far as its operation reads them.
pub(crate) fn tags_of(operation: Operation, form: &Form) -> Vec<(String, Option<String>)> {
    match operation {
        Operation::CreateUser
        | Operation::TagUser
        | Operation::CreatePolicy
        | Operation::TagPolicy
        | Operation::AssumeRole => form
            .structures("Tags", ["Key", "Value"])
            .map(|[key, value]| {
                (key.unwrap_or_default().to_owned(), Some(value.unwrap_or_default().to_owned()))
            })
            .collect(),
        Operation::UntagUser | Operation::UntagPolicy => {
            form.list("TagKeys").map(|key| (key.to_owned(), None)).collect()
        }
        _ => Vec::new(),
    }
}

/// Judges an operation of IAM and says what it comes to. Pure.
pub(crate) fn plan(
    operation: Operation,
    form: &Form,
    model: &Model,
    asker: Asker<'_>,
) -> Result<Plan, QueryError> {
    let ask = Ask { operation, form, model, asker };
    match operation.row().group {
        Group::Users => users::plan(&ask),
        Group::Groups => groups::plan(&ask),
        Group::Keys => keys::plan(&ask),
        Group::Grants => grants::plan(&ask),
        Group::Policies => policies::plan(&ask),
        Group::Account => account::plan(&ask),
        Group::Simulation => simulate::plan(&ask),
        Group::Empty => absent::empty(&ask),
        Group::Absent => absent::absent(&ask),
        // They need more than a model: `sts::answer` carries them out.
        Group::Sts => Err(QueryError::InvalidAction {
            action: operation.facts().name.to_owned(),
            version: operation.version().to_owned(),
        }),
    }
}

/// The answer to an operation: what it tells, in its own elements.
pub(crate) fn render(
    operation: Operation,
    outcome: Result<Bytes, QueryError>,
    request_id: &str,
) -> Response<ResponseBody> {
    let namespace = operation.namespace();
    let told = match outcome {
        Ok(told) => told,
        Err(error) => return error.render(namespace, request_id),
    };
    let row = operation.row();
    let mut xml = Xml::within(namespace, row.response, told.len() + 512);
    if !row.result.is_empty() {
        xml.open(row.result);
        xml.inside(&told);
        xml.close(row.result);
    }
    xml.open("ResponseMetadata");
    xml.text("RequestId", request_id);
    xml.close("ResponseMetadata");
    error::respond(xml.finish(), request_id)
}

impl Operation {
    /// The namespace of its answers.
    pub(crate) fn namespace(self) -> &'static str {
        if self.service() == Service::Sts { STS_NAMESPACE } else { IAM_NAMESPACE }
    }

    /// The service that a request for it is signed for.
    pub(crate) fn service(self) -> Service {
        if self.facts().action.starts_with("sts:") { Service::Sts } else { Service::Iam }
    }

    /// The version of its API.
    fn version(self) -> &'static str {
        if self.service() == Service::Sts { STS_VERSION } else { IAM_VERSION }
    }
}

impl<'a> Ask<'a> {
    /// Refuses what the sender may not do to what `arn` names.
    fn may(&self, arn: &str) -> Result<(), QueryError> {
        self.may_with(arn, &[])
    }

    /// The same, where policies may ask for facts of the form.
    fn may_with(&self, arn: &str, facts: &[(&'static str, &str)]) -> Result<(), QueryError> {
        self.may_do(self.operation.facts().action, arn, facts)
    }

    /// The same of an action that is needed beside the operation's own.
    fn may_do(
        &self,
        action: &'static str,
        arn: &str,
        facts: &[(&'static str, &str)],
    ) -> Result<(), QueryError> {
        if self.asker.access.allows_with(action, Resource::Identity(arn), facts) {
            return Ok(());
        }
        Err(QueryError::AccessDenied { who: self.asker.arn.to_owned(), action, arn: arn.to_owned() })
    }

    /// Refuses what the sender may not do to the account as a whole.
    fn may_all(&self) -> Result<(), QueryError> {
        let action = self.operation.facts().action;
        if self.asker.access.allows(action, Resource::Service) {
            return Ok(());
        }
        let arn = Resource::Service.to_string();
        Err(QueryError::AccessDenied { who: self.asker.arn.to_owned(), action, arn })
    }

    fn arn(&self, rest: &str) -> String {
        format!("arn:aws:iam::{}:{rest}", self.model.account())
    }

    /// The ARN of a user, whether it is there or not.
    fn user_arn(&self, name: &str) -> String {
        match self.model.user(name) {
            Some(user) => self.model.user_arn(user),
            None => self.arn(&format!("user/{name}")),
        }
    }

    /// The ARN of a group, whether it is there or not.
    fn group_arn(&self, name: &str) -> String {
        match self.model.group(name) {
            Some(group) => self.model.group_arn(group),
            None => self.arn(&format!("group/{name}")),
        }
    }

    /// The user whom the form names; the sender's own where it names none, and nobody where that is the root key. A web identity
    /// is no user and has to name one.
    fn user_name(&self) -> Result<Option<Cow<'a, str>>, QueryError> {
        match (self.form.get("UserName"), self.asker.user) {
            (Some(name), _) => Ok(Some(Cow::Borrowed(name))),
            (None, Some(user)) => Ok(Some(Cow::Borrowed(&user.name))),
            (None, None) if self.asker.root_key.is_some() => Ok(None),
            (None, None) => Err(QueryError::NoUser),
        }
    }

    /// The user whom the form names, after it was judged.
    fn judged_user(&self) -> Result<&'a str, QueryError> {
        let name = self.form.need("UserName")?;
        self.may(&self.user_arn(name))?;
        Ok(name)
    }

    /// The group that the form names, after it was judged.
    fn judged_group(&self) -> Result<&'a str, QueryError> {
        let name = self.form.need("GroupName")?;
        self.may(&self.group_arn(name))?;
        Ok(name)
    }

    /// The policy that the form names, after it was judged.
    fn judged_policy(&self) -> Result<&'a str, QueryError> {
        let arn = self.form.need("PolicyArn")?;
        self.may(arn)?;
        Ok(arn)
    }

    /// The path that a list is restricted to.
    fn path_prefix(&self) -> &'a str {
        self.form.get("PathPrefix").unwrap_or("/")
    }
}

#[cfg(test)]
mod tests;
