//! Operations on what this account never has: roles, certificates, MFA devices, passwords. Lists are empty, and nothing is
//! found by its name, so that tools which look for them go on.

use super::{Ask, Operation, Plan, QueryError};
use crate::query::answer;

/// A list of what is never there. A user whose things are listed must be there itself.
pub(super) fn empty(ask: &Ask<'_>) -> Result<Plan, QueryError> {
    let list = match ask.operation {
        Operation::ListAccountAliases => "AccountAliases",
        Operation::ListRoles => "Roles",
        Operation::ListInstanceProfiles => "InstanceProfiles",
        Operation::ListVirtualMFADevices => "VirtualMFADevices",
        Operation::ListServerCertificates => "ServerCertificateMetadataList",
        Operation::ListOpenIDConnectProviders => "OpenIDConnectProviderList",
        Operation::ListSAMLProviders => "SAMLProviderList",
        Operation::ListMFADevices => of_user(ask, "MFADevices")?,
        Operation::ListSigningCertificates => of_user(ask, "Certificates")?,
        Operation::ListSSHPublicKeys => of_user(ask, "SSHPublicKeys")?,
        _ => of_user(ask, "ServiceSpecificCredentials")?,
    };
    if ask.operation.facts().resource == nilas_catalog::access::ResourceKind::Service {
        ask.may_all()?;
    }
    Plan::tell(|xml| {
        answer::members(xml, list, std::iter::empty::<()>(), |_, ()| ());
        xml.boolean("IsTruncated", false);
    })
}

fn of_user(ask: &Ask<'_>, list: &'static str) -> Result<&'static str, QueryError> {
    match ask.user_name()? {
        Some(name) => {
            ask.may(&ask.user_arn(&name))?;
            ask.model.need_user(&name)?;
        }
        None => ask.may(&ask.arn("root"))?,
    }
    Ok(list)
}

/// Something that is never there, by name.
pub(super) fn absent(ask: &Ask<'_>) -> Result<Plan, QueryError> {
    let form = ask.form;
    let (arn, what) = match ask.operation {
        Operation::GetRole
        | Operation::GetRolePolicy
        | Operation::ListRolePolicies
        | Operation::ListAttachedRolePolicies
        | Operation::ListRoleTags
        | Operation::ListInstanceProfilesForRole
        | Operation::DeleteRole => named(ask, "RoleName", "role", "role")?,
        Operation::GetInstanceProfile => {
            named(ask, "InstanceProfileName", "instance-profile", "instance profile")?
        }
        Operation::GetServerCertificate | Operation::DeleteServerCertificate => {
            named(ask, "ServerCertificateName", "server-certificate", "server certificate")?
        }
        Operation::GetOpenIDConnectProvider => {
            by_arn(form.need("OpenIDConnectProviderArn")?, "OpenIDConnect provider")
        }
        Operation::GetSAMLProvider => by_arn(form.need("SAMLProviderArn")?, "SAML provider"),
        Operation::DeactivateMFADevice | Operation::DeleteVirtualMFADevice => {
            by_arn(form.need("SerialNumber")?, "MFA device")
        }
        Operation::GetAccountPasswordPolicy => {
            ask.may_all()?;
            let message = "The Password Policy with domain name cannot be found.".to_owned();
            return Err(QueryError::NoSuchEntity { message });
        }
        Operation::GetLoginProfile | Operation::UpdateLoginProfile | Operation::DeleteLoginProfile => {
            of(ask, "Login Profile")?
        }
        Operation::GetSSHPublicKey | Operation::DeleteSSHPublicKey => of(ask, "SSH public key")?,
        Operation::DeleteSigningCertificate => of(ask, "signing certificate")?,
        Operation::DeleteServiceSpecificCredential => of(ask, "service specific credential")?,
        _ => of(ask, "permissions boundary")?,
    };
    ask.may(&arn)?;
    Err(QueryError::NoSuchEntity { message: format!("The {what} cannot be found.") })
}

fn named(ask: &Ask<'_>, field: &'static str, kind: &str, what: &str) -> Result<(String, String), QueryError> {
    let name = ask.form.need(field)?;
    Ok((ask.arn(&format!("{kind}/{name}")), format!("{what} with name {name}")))
}

fn by_arn(arn: &str, what: &str) -> (String, String) {
    (arn.to_owned(), format!("{what} {arn}"))
}

/// Of the user whom the form names, or who asks.
fn of(ask: &Ask<'_>, what: &str) -> Result<(String, String), QueryError> {
    Ok(match ask.user_name()? {
        Some(name) => (ask.user_arn(&name), format!("{what} for User {name}")),
        None => (ask.arn("root"), format!("{what} of the root key")),
    })
}
