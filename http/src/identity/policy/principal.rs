//! Who a statement of a bucket's policy speaks of.
//!
//! `document` compiles Principal and NotPrincipal, `set` asks whether a sender is meant. Source: IAM User Guide, "AWS JSON
//! policy elements: Principal". I1. A sender who showed nothing is meant by `*` alone. I2. Services and federated users
//! are understood and are nobody here.

use super::set::PrincipalNames;

/// The principals of a statement.
#[derive(Debug, Default)]
pub(super) struct Principals {
    /// NotPrincipal: all but these.
    is_negated: bool,
    everybody: bool,
    /// Whether one of them is known by what somebody else says of them.
    federated: bool,
    /// Of users: what a bucket's policy is kept with in place of their ARNs.
    user_ids: Vec<Box<str>>,
    arns: Vec<Box<str>>,
    accounts: Vec<Box<str>>,
    canonical_ids: Vec<Box<str>>,
}

/// The kinds of names of principals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PrincipalType {
    Aws,
    CanonicalUser,
    Federated,
    Service,
}

impl PrincipalType {
    /// Finds the kind of a member's name.
    pub(super) fn of_name(name: &str) -> Option<PrincipalType> {
        Some(match name {
            "AWS" => PrincipalType::Aws,
            "CanonicalUser" => PrincipalType::CanonicalUser,
            "Federated" => PrincipalType::Federated,
            "Service" => PrincipalType::Service,
            _ => return None,
        })
    }
}

impl Principals {
    /// None yet; or, negated, everybody.
    pub(super) fn new(is_negated: bool) -> Principals {
        Principals { is_negated, ..Principals::default() }
    }

    /// Everybody, whether they showed something or not.
    pub(super) fn add_everybody(&mut self) {
        self.everybody = true;
    }

    /// Adds one by a name of a kind. The error says what is wrong with it.
    pub(super) fn add(&mut self, kind: PrincipalType, name: &str) -> Result<(), String> {
        match kind {
            PrincipalType::Aws if name == "*" => self.everybody = true,
            PrincipalType::Aws if is_account(name) => self.accounts.push(name.into()),
            PrincipalType::Aws if is_user_id(name) => self.user_ids.push(name.into()),
            PrincipalType::Aws => match account_of_arn(name) {
                Some((account, "root")) => self.accounts.push(account.into()),
                Some(_) => self.arns.push(name.into()),
                None => {
                    return Err(format!(
                        "{name:?} is neither *, an account's 12 digits, the id of a user, nor the ARN of a user, role or session"
                    ));
                }
            },
            PrincipalType::CanonicalUser => {
                if name.len() != 64 || !name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                    return Err(format!("{name:?} is not a canonical id of 64 hexadecimal digits"));
                }
                self.canonical_ids.push(name.to_ascii_lowercase().into());
            }
            PrincipalType::Federated | PrincipalType::Service if name.is_empty() => {
                return Err("it is empty".to_owned());
            }
            PrincipalType::Federated => self.federated = true,
            PrincipalType::Service => {}
        }
        Ok(())
    }

    /// Whether the sender is meant by a statement that allows (`grants`) or denies. An account to which something is allowed
    /// leaves it to its users' own policies who may have it, so that of its users root alone is meant.
    pub(super) fn mean(&self, sender: &PrincipalNames<'_>, grants: bool) -> bool {
        // Beside users whom NotPrincipal spares, their account stands for its root: else it would spare everybody.
        let names_users =
            !self.arns.is_empty() || !self.user_ids.is_empty() || !self.canonical_ids.is_empty();
        let leaves_to_account = if self.is_negated { names_users } else { grants };
        self.name(sender, leaves_to_account) != self.is_negated
    }

    fn name(&self, sender: &PrincipalNames<'_>, leaves_to_account: bool) -> bool {
        if self.everybody {
            return true;
        }
        if sender.anonymous {
            return false;
        }
        self.arns.iter().any(|arn| sender.arns.contains(&&**arn))
            || self.user_ids.iter().any(|id| **id == *sender.user_id)
            || self
                .accounts
                .iter()
                .any(|account| **account == *sender.account && (!leaves_to_account || sender.is_root()))
            || self.canonical_ids.iter().any(|id| sender.canonical_id.eq_ignore_ascii_case(id))
    }

    /// Whether it means senders who are not fixed here: everybody, whomever another vouches for, or all but some.
    pub(super) fn is_open(&self) -> bool {
        self.everybody || self.federated || self.is_negated
    }
}

/// Whether it looks like the id of a user: `AIDA` and letters and digits.
fn is_user_id(text: &str) -> bool {
    let is_id = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
    text.starts_with("AIDA") && (16..=128).contains(&text.len()) && text.bytes().all(is_id)
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The account of a principal's ARN and what follows it.
fn account_of_arn(arn: &str) -> Option<(&str, &str)> {
    let (service, rest) = match arn.strip_prefix("arn:aws:iam::") {
        Some(rest) => ("iam", rest),
        None => ("sts", arn.strip_prefix("arn:aws:sts::")?),
    };
    let (account, name) = rest.split_once(':')?;
    let is_name = |kind: &str, parts: usize| {
        name.strip_prefix(kind).is_some_and(|name| {
            name.split('/').count() >= parts && name.split('/').all(|part| !part.is_empty())
        })
    };
    let is_principal = match service {
        "iam" => name == "root" || is_name("user/", 1) || is_name("role/", 1),
        _ => is_name("assumed-role/", 2) || is_name("federated-user/", 1),
    };
    (is_account(account) && is_principal && !name.contains(['*', '?'])).then_some((account, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let check = |kind: PrincipalType, name: &str, want: bool| {
            assert_eq!(Principals::default().add(kind, name).is_ok(), want, "{name}");
        };
        let aws = PrincipalType::Aws;
        check(aws, "*", true);
        check(aws, "111122223333", true);
        check(aws, "11112222333", false);
        check(aws, "arn:aws:iam::111122223333:root", true);
        check(aws, "arn:aws:iam::111122223333:user/alice", true);
        check(aws, "arn:aws:iam::111122223333:user/team/alice", true);
        check(aws, "arn:aws:iam::111122223333:user/", false);
        check(aws, "arn:aws:iam::111122223333:user/*", false);
        check(aws, "arn:aws:iam::111122223333:*", false);
        check(aws, "arn:aws:iam::111122223333:group/g", false);
        check(aws, "arn:aws:iam::*:user/alice", false);
        check(aws, "arn:aws:iam:us-east-1:111122223333:user/alice", false);
        check(aws, "arn:aws:sts::111122223333:assumed-role/r/s", true);
        check(aws, "arn:aws:sts::111122223333:assumed-role/r", false);
        check(aws, "arn:aws:iam::111122223333:assumed-role/r/s", false);
        check(aws, "arn:aws:s3:::b", false);
        check(aws, "alice", false);
        check(aws, "AIDAP6AMFNSC7IODKQJBU", true);
        check(aws, "AROAP6AMFNSC7IODKQJBU", false);
        check(aws, "AIDAP6AMFNSC7IODKQ*", false);
        check(aws, "", false);
        check(PrincipalType::CanonicalUser, &"aF".repeat(32), true);
        check(PrincipalType::CanonicalUser, &"a".repeat(63), false);
        check(PrincipalType::CanonicalUser, "*", false);
        check(PrincipalType::Service, "cloudtrail.amazonaws.com", true);
        check(PrincipalType::Federated, "accounts.google.com", true);
        check(PrincipalType::Federated, "", false);
    }
}
