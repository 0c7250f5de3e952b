"""boto3 and the AWS command line against IAM's query API: every operation, the sequences of Terraform's AWS provider, rights
of the people made, and refusals with AWS's codes.

What is made here is deleted here: the server is shared with other suites.
"""
import json
import os
import subprocess
import sys
import tempfile

import boto3
from botocore.config import Config

import nilas
from nilas import refused
from steps import Steps, eq

COMMAND_SECONDS_MAX = 120
CANNED = "arn:aws:iam::aws:policy/readonly"


def iam(access_key=nilas.ACCESS_KEY, secret_key=nilas.SECRET_KEY):
    return client_of("iam", access_key, secret_key)


def client_of(service, access_key, secret_key):
    return boto3.client(
        service,
        endpoint_url=nilas.ENDPOINT,
        region_name=nilas.S3_REGION,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        config=Config(retries={"total_max_attempts": 1}),
    )


root = iam()
account = root.get_user()["User"]["Arn"].split(":")[4]


def allow(action, resource="*"):
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": action, "Resource": resource}]})


def arn(rest):
    return f"arn:aws:iam::{account}:{rest}"


def gone(run):
    return refused(run, "NoSuchEntity")


def refused_to(user, run):
    error = refused(run, "AccessDenied")
    assert f"user/{user}" in error.response["Error"]["Message"], error
    eq(error.response["ResponseMetadata"]["HTTPStatusCode"], 403)


def users():
    name = nilas.unique("alice")
    made = root.create_user(UserName=name, Path="/team/", Tags=[{"Key": "cost", "Value": "a b+c/é"}])["User"]
    eq(made["Arn"], arn(f"user/team/{name}"))
    assert made["UserId"].startswith("AIDA"), made
    eq(root.get_user(UserName=name)["User"], made)
    refused(lambda: root.create_user(UserName=name.upper()), "EntityAlreadyExists")
    root.tag_user(UserName=name, Tags=[{"Key": "x", "Value": "y"}])
    root.untag_user(UserName=name, TagKeys=["cost"])
    eq(root.list_user_tags(UserName=name)["Tags"], [{"Key": "x", "Value": "y"}])
    root.update_user(UserName=name, NewUserName=name + "2", NewPath="/")
    gone(lambda: root.get_user(UserName=name))
    again = root.get_user(UserName=name + "2")["User"]
    eq((again["UserId"], again["Path"]), (made["UserId"], "/"))
    root.delete_user(UserName=name + "2")
    gone(lambda: root.delete_user(UserName=name + "2"))
    refused(lambda: root.create_user(UserName="a b"), "ValidationError")


def pages():
    prefix = f"/{nilas.unique('pages')}/"
    names = [f"{nilas.unique('page')}-{nth}" for nth in range(7)]
    for name in names:
        root.create_user(UserName=name, Path=prefix)
    paginator = root.get_paginator("list_users")
    pages = list(paginator.paginate(PathPrefix=prefix, PaginationConfig={"PageSize": 3}))
    eq([len(page["Users"]) for page in pages], [3, 3, 1])
    eq([user["UserName"] for page in pages for user in page["Users"]], sorted(names))
    for name in names:
        root.delete_user(UserName=name)


def groups():
    group, name = nilas.unique("group"), nilas.unique("member")
    made = root.create_group(GroupName=group)["Group"]
    eq(made["Arn"], arn(f"group/{group}"))
    root.create_user(UserName=name)
    root.add_user_to_group(GroupName=group, UserName=name)
    eq([user["UserName"] for user in root.get_group(GroupName=group)["Users"]], [name])
    eq([one["GroupName"] for one in root.list_groups_for_user(UserName=name)["Groups"]], [group])
    assert group in [one["GroupName"] for one in root.list_groups(MaxItems=1000)["Groups"]]
    refused(lambda: root.delete_group(GroupName=group), "DeleteConflict")
    refused(lambda: root.delete_user(UserName=name), "DeleteConflict")
    root.update_group(GroupName=group, NewGroupName=group + "2", NewPath="/x/")
    root.put_group_policy(GroupName=group + "2", PolicyName="p", PolicyDocument=allow("s3:*"))
    eq(root.get_group_policy(GroupName=group + "2", PolicyName="p")["PolicyDocument"], json.loads(allow("s3:*")))
    eq(root.list_group_policies(GroupName=group + "2")["PolicyNames"], ["p"])
    root.attach_group_policy(GroupName=group + "2", PolicyArn=CANNED)
    eq(root.list_attached_group_policies(GroupName=group + "2")["AttachedPolicies"], [{"PolicyName": "readonly", "PolicyArn": CANNED}])
    root.detach_group_policy(GroupName=group + "2", PolicyArn=CANNED)
    root.delete_group_policy(GroupName=group + "2", PolicyName="p")
    root.remove_user_from_group(GroupName=group + "2", UserName=name)
    root.delete_group(GroupName=group + "2")
    root.delete_user(UserName=name)


def keys():
    name = nilas.unique("keys")
    root.create_user(UserName=name)
    key = root.create_access_key(UserName=name)["AccessKey"]
    eq((len(key["AccessKeyId"]), len(key["SecretAccessKey"]), key["Status"]), (20, 40, "Active"))
    own = iam(key["AccessKeyId"], key["SecretAccessKey"])
    refused_to(name, own.get_user)
    root.put_user_policy(UserName=name, PolicyName="self", PolicyDocument=allow("iam:*", arn("user/${aws:username}")))
    eq(own.get_user()["User"]["UserName"], name)
    second = own.create_access_key()["AccessKey"]
    eq(len(own.list_access_keys()["AccessKeyMetadata"]), 2)
    refused_to(name, lambda: own.create_user(UserName=nilas.unique("other")))
    used = root.get_access_key_last_used(AccessKeyId=key["AccessKeyId"])
    eq((used["UserName"], used["AccessKeyLastUsed"]["ServiceName"]), (name, "iam"))
    root.update_access_key(UserName=name, AccessKeyId=key["AccessKeyId"], Status="Inactive")
    refused(own.get_user, "InvalidClientTokenId")
    other = iam(second["AccessKeyId"], second["SecretAccessKey"])
    eq([one["Status"] for one in other.list_access_keys()["AccessKeyMetadata"]], ["Inactive", "Active"])
    refused(iam(second["AccessKeyId"], "wrong" * 8).get_user, "SignatureDoesNotMatch")
    for one in (key, second):
        root.delete_access_key(UserName=name, AccessKeyId=one["AccessKeyId"])
    refused(other.get_user, "InvalidClientTokenId")
    root.delete_user_policy(UserName=name, PolicyName="self")
    root.delete_user(UserName=name)


def rights():
    """A change is in force with its answer."""
    name, bucket = nilas.unique("rights"), nilas.unique("rights")
    nilas.s3().create_bucket(Bucket=bucket)
    nilas.s3().put_object(Bucket=bucket, Key="k", Body=b"body")
    root.create_user(UserName=name)
    key = root.create_access_key(UserName=name)["AccessKey"]
    s3 = nilas.s3(key["AccessKeyId"], key["SecretAccessKey"])
    get = lambda: s3.get_object(Bucket=bucket, Key="k")["Body"].read()
    refused(get, "AccessDenied")
    for _ in range(5):
        root.attach_user_policy(UserName=name, PolicyArn=CANNED)
        eq(get(), b"body")
        refused(lambda: s3.put_object(Bucket=bucket, Key="k", Body=b""), "AccessDenied")
        root.detach_user_policy(UserName=name, PolicyArn=CANNED)
        refused(get, "AccessDenied")
    root.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
    root.delete_user(UserName=name)
    nilas.s3().delete_object(Bucket=bucket, Key="k")
    nilas.s3().delete_bucket(Bucket=bucket)


def policies():
    name = nilas.unique("policy")
    made = root.create_policy(PolicyName=name, Path="/team/", Description="for people", PolicyDocument=allow("s3:Get*"), Tags=[{"Key": "k", "Value": "v"}])["Policy"]
    eq(made["Arn"], arn(f"policy/team/{name}"))
    policy = root.get_policy(PolicyArn=made["Arn"])["Policy"]
    eq((policy["Description"], policy["DefaultVersionId"], policy["Tags"]), ("for people", "v1", [{"Key": "k", "Value": "v"}]))
    for nth in range(2, 6):
        version = root.create_policy_version(PolicyArn=made["Arn"], PolicyDocument=allow(f"s3:Get{nth}*"), SetAsDefault=nth == 3)["PolicyVersion"]
        eq((version["VersionId"], version["IsDefaultVersion"]), (f"v{nth}", nth == 3))
    refused(lambda: root.create_policy_version(PolicyArn=made["Arn"], PolicyDocument=allow("s3:*")), "LimitExceeded")
    eq([one["VersionId"] for one in root.list_policy_versions(PolicyArn=made["Arn"])["Versions"]], ["v5", "v4", "v3", "v2", "v1"])
    eq(root.get_policy_version(PolicyArn=made["Arn"], VersionId="v3")["PolicyVersion"]["Document"], json.loads(allow("s3:Get3*")))
    refused(lambda: root.delete_policy_version(PolicyArn=made["Arn"], VersionId="v3"), "DeleteConflict")
    root.set_default_policy_version(PolicyArn=made["Arn"], VersionId="v5")
    for nth in range(1, 5):
        root.delete_policy_version(PolicyArn=made["Arn"], VersionId=f"v{nth}")
    root.tag_policy(PolicyArn=made["Arn"], Tags=[{"Key": "k2", "Value": ""}])
    root.untag_policy(PolicyArn=made["Arn"], TagKeys=["k"])
    eq(root.list_policy_tags(PolicyArn=made["Arn"])["Tags"], [{"Key": "k2", "Value": ""}])
    eq([one["PolicyName"] for one in root.list_policies(Scope="Local", PathPrefix="/team/", MaxItems=1000)["Policies"] if one["PolicyName"] == name], [name])
    assert "readonly" in [one["PolicyName"] for one in root.list_policies(Scope="AWS")["Policies"]]
    root.delete_policy(PolicyArn=made["Arn"])
    gone(lambda: root.get_policy(PolicyArn=made["Arn"]))
    error = refused(lambda: root.create_policy(PolicyName=name, PolicyDocument='{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*","Condition":{"StringLikes":{}}}]}'), "MalformedPolicyDocument")
    assert "StringLikes" in error.response["Error"]["Message"], error
    refused(lambda: root.delete_policy(PolicyArn=CANNED), "AccessDenied")


def account_views():
    summary = root.get_account_summary()["SummaryMap"]
    eq(summary["VersionsPerPolicyQuota"], 5)
    name = nilas.unique("details")
    root.create_user(UserName=name)
    root.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=allow("s3:*"))
    pages = root.get_paginator("get_account_authorization_details").paginate(Filter=["User"], PaginationConfig={"PageSize": 2})
    users = {user["UserName"]: user for page in pages for user in page["UserDetailList"]}
    eq(users[name]["UserPolicyList"], [{"PolicyName": "p", "PolicyDocument": json.loads(allow("s3:*"))}])
    root.delete_user_policy(UserName=name, PolicyName="p")
    root.delete_user(UserName=name)
    for call, result in [
        (root.list_roles, "Roles"),
        (root.list_account_aliases, "AccountAliases"),
        (root.list_instance_profiles, "InstanceProfiles"),
        (root.list_virtual_mfa_devices, "VirtualMFADevices"),
        (root.list_server_certificates, "ServerCertificateMetadataList"),
        (root.list_open_id_connect_providers, "OpenIDConnectProviderList"),
        (root.list_saml_providers, "SAMLProviderList"),
    ]:
        eq(call()[result], [], result)
    gone(lambda: root.get_role(RoleName="r"))
    gone(root.get_account_password_policy)
    refused(lambda: root.create_role(RoleName="r", AssumeRolePolicyDocument="{}"), "InvalidAction")


def simulate():
    name = nilas.unique("simulated")
    root.create_user(UserName=name)
    root.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=allow("s3:GetObject", "arn:aws:s3:::b/${aws:username}/*"))
    told = root.simulate_principal_policy(
        PolicySourceArn=arn(f"user/{name}"),
        ActionNames=["s3:GetObject", "s3:PutObject"],
        ResourceArns=[f"arn:aws:s3:::b/{name}/k", "arn:aws:s3:::b/k"],
    )["EvaluationResults"]
    eq([one["EvalDecision"] for one in told], ["allowed", "implicitDeny", "implicitDeny", "implicitDeny"])
    told = root.simulate_custom_policy(
        PolicyInputList=[json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "s3:*", "Resource": "*", "Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}}]})],
        ActionNames=["s3:GetObject"],
        ContextEntries=[{"ContextKeyName": "aws:SourceIp", "ContextKeyValues": ["10.1.2.3"], "ContextKeyType": "ip"}],
    )["EvaluationResults"]
    eq([one["EvalDecision"] for one in told], ["explicitDeny"])
    root.delete_user_policy(UserName=name, PolicyName="p")
    root.delete_user(UserName=name)


# ---- what Terraform's AWS provider sends -------------------------------------------------------


def terraform_user():
    """aws_iam_user with force_destroy, and aws_iam_access_key."""
    name = nilas.unique("tf")
    client_of("sts", nilas.ACCESS_KEY, nilas.SECRET_KEY).get_caller_identity()
    root.create_user(UserName=name, Path="/", Tags=[{"Key": "env", "Value": "ci"}])
    eq(root.get_user(UserName=name)["User"]["Tags"], [{"Key": "env", "Value": "ci"}])
    root.update_user(UserName=name, NewUserName=name, NewPath="/moved/")
    root.untag_user(UserName=name, TagKeys=["env"])
    root.tag_user(UserName=name, Tags=[{"Key": "env", "Value": "prod"}])
    eq(root.get_user(UserName=name)["User"]["Path"], "/moved/")
    key = root.create_access_key(UserName=name)["AccessKey"]
    root.update_access_key(UserName=name, AccessKeyId=key["AccessKeyId"], Status="Inactive")
    found = [one for page in root.get_paginator("list_access_keys").paginate(UserName=name) for one in page["AccessKeyMetadata"]]
    eq([(one["AccessKeyId"], one["Status"]) for one in found], [(key["AccessKeyId"], "Inactive")])
    root.get_access_key_last_used(AccessKeyId=key["AccessKeyId"])
    # Destroyed with everything that it holds.
    eq(root.list_groups_for_user(UserName=name)["Groups"], [])
    for one in root.list_access_keys(UserName=name)["AccessKeyMetadata"]:
        root.delete_access_key(UserName=name, AccessKeyId=one["AccessKeyId"])
    eq(root.list_ssh_public_keys(UserName=name)["SSHPublicKeys"], [])
    eq(root.list_virtual_mfa_devices(AssignmentStatus="Any")["VirtualMFADevices"], [])
    eq(root.list_mfa_devices(UserName=name)["MFADevices"], [])
    gone(lambda: root.deactivate_mfa_device(UserName=name, SerialNumber=arn(f"mfa/{name}")))
    gone(lambda: root.delete_login_profile(UserName=name))
    gone(lambda: root.get_login_profile(UserName=name))
    eq(root.list_signing_certificates(UserName=name)["Certificates"], [])
    eq(root.list_service_specific_credentials(UserName=name)["ServiceSpecificCredentials"], [])
    eq(root.list_user_policies(UserName=name)["PolicyNames"], [])
    eq(root.list_attached_user_policies(UserName=name)["AttachedPolicies"], [])
    root.delete_user(UserName=name)
    gone(lambda: root.get_user(UserName=name))


def terraform_policy():
    """aws_iam_policy, aws_iam_user_policy, aws_iam_user_policy_attachment: made, imported, changed, destroyed."""
    name = nilas.unique("tf")
    root.create_user(UserName=name)
    policy = root.create_policy(PolicyName=name, Path="/", PolicyDocument=allow("s3:GetObject"))["Policy"]["Arn"]
    for nth in range(7):  # the provider makes room for a version by deleting the oldest
        versions = root.list_policy_versions(PolicyArn=policy)["Versions"]
        if len(versions) >= 5:
            oldest = min((one for one in versions if not one["IsDefaultVersion"]), key=lambda one: (one["CreateDate"], int(one["VersionId"][1:])))
            root.delete_policy_version(PolicyArn=policy, VersionId=oldest["VersionId"])
        root.create_policy_version(PolicyArn=policy, PolicyDocument=allow(f"s3:Get{nth}"), SetAsDefault=True)
        default = root.get_policy(PolicyArn=policy)["Policy"]["DefaultVersionId"]
        document = root.get_policy_version(PolicyArn=policy, VersionId=default)["PolicyVersion"]["Document"]
        eq(document, json.loads(allow(f"s3:Get{nth}")))
    root.put_user_policy(UserName=name, PolicyName="inline", PolicyDocument=allow("s3:PutObject"))
    eq(root.get_user_policy(UserName=name, PolicyName="inline")["PolicyDocument"], json.loads(allow("s3:PutObject")))
    root.attach_user_policy(UserName=name, PolicyArn=policy)
    eq(root.list_attached_user_policies(UserName=name)["AttachedPolicies"], [{"PolicyName": name, "PolicyArn": policy}])
    eq(root.get_policy(PolicyArn=policy)["Policy"]["AttachmentCount"], 1)
    eq([one["UserName"] for one in root.list_entities_for_policy(PolicyArn=policy)["PolicyUsers"]], [name])
    refused(lambda: root.delete_policy(PolicyArn=policy), "DeleteConflict")
    root.detach_user_policy(UserName=name, PolicyArn=policy)
    gone(lambda: root.detach_user_policy(UserName=name, PolicyArn=policy))
    root.delete_user_policy(UserName=name, PolicyName="inline")
    gone(lambda: root.get_user_policy(UserName=name, PolicyName="inline"))
    for one in root.list_policy_versions(PolicyArn=policy)["Versions"]:
        if not one["IsDefaultVersion"]:
            root.delete_policy_version(PolicyArn=policy, VersionId=one["VersionId"])
    root.delete_policy(PolicyArn=policy)
    root.delete_user(UserName=name)


def terraform_group():
    """aws_iam_group, aws_iam_group_membership, aws_iam_group_policy, aws_iam_user_group_membership."""
    group, names = nilas.unique("tf"), [nilas.unique("tf") for _ in range(3)]
    root.create_group(GroupName=group, Path="/")
    eq(root.get_group(GroupName=group)["Group"]["GroupName"], group)
    for name in names:
        root.create_user(UserName=name)
        root.add_user_to_group(GroupName=group, UserName=name)
    pages = root.get_paginator("get_group").paginate(GroupName=group, PaginationConfig={"PageSize": 2})
    eq([user["UserName"] for page in pages for user in page["Users"]], sorted(names))
    root.update_group(GroupName=group, NewGroupName=group, NewPath="/p/")
    eq(root.get_group(GroupName=group)["Group"]["Path"], "/p/")
    root.put_group_policy(GroupName=group, PolicyName="g", PolicyDocument=allow("s3:*"))
    root.delete_group_policy(GroupName=group, PolicyName="g")
    for name in names:
        root.remove_user_from_group(GroupName=group, UserName=name)
        gone(lambda: root.remove_user_from_group(GroupName=group, UserName=name))
        root.delete_user(UserName=name)
    root.delete_group(GroupName=group)
    gone(lambda: root.get_group(GroupName=group))


# ---- the command line ---------------------------------------------------------------------------

place = tempfile.mkdtemp(prefix="iam-", dir=nilas.SCRATCH)
environment = {
    **os.environ,
    "AWS_ACCESS_KEY_ID": nilas.ACCESS_KEY,
    "AWS_SECRET_ACCESS_KEY": nilas.SECRET_KEY,
    "AWS_DEFAULT_REGION": nilas.S3_REGION,
    "AWS_ENDPOINT_URL": nilas.ENDPOINT,
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.path.join(place, "config"),
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_MAX_ATTEMPTS": "1",
    "AWS_PAGER": "",
}


def aws(*words, fails=None):
    """Runs one `aws iam` command; answers what it told. `fails`: the command must fail and say this."""
    command = [os.path.join(os.path.dirname(sys.executable), "aws"), "iam", *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=COMMAND_SECONDS_MAX)
    said = f"aws iam {' '.join(words)}: exit {done.returncode}: {done.stderr.strip() or done.stdout.strip()}"
    if fails is not None:
        assert done.returncode != 0 and fails in done.stderr, said
        return {}
    assert done.returncode == 0, said
    return json.loads(done.stdout) if done.stdout.strip() else {}


def command_line():
    name, group, policy = nilas.unique("cli"), nilas.unique("cli"), nilas.unique("cli")
    document = os.path.join(place, "policy.json")
    with open(document, "w") as file:
        file.write(allow("s3:ListAllMyBuckets"))
    eq(aws("create-user", "--user-name", name, "--tags", "Key=a,Value=b")["User"]["UserName"], name)
    key = aws("create-access-key", "--user-name", name)["AccessKey"]
    aws("put-user-policy", "--user-name", name, "--policy-name", "inline", "--policy-document", f"file://{document}")
    eq(nilas.s3(key["AccessKeyId"], key["SecretAccessKey"]).list_buckets()["Buckets"] is not None, True)
    made = aws("create-policy", "--policy-name", policy, "--policy-document", f"file://{document}")["Policy"]["Arn"]
    aws("attach-user-policy", "--user-name", name, "--policy-arn", made)
    aws("create-group", "--group-name", group)
    aws("add-user-to-group", "--group-name", group, "--user-name", name)
    eq(aws("get-group", "--group-name", group)["Users"][0]["UserName"], name)
    eq(aws("get-user-policy", "--user-name", name, "--policy-name", "inline")["PolicyDocument"], json.loads(allow("s3:ListAllMyBuckets")))
    assert name in [user["UserName"] for user in aws("list-users", "--page-size", "2")["Users"]]
    root.remove_user_from_group(GroupName=group, UserName=name)
    aws("delete-group", "--group-name", group)
    root.detach_user_policy(UserName=name, PolicyArn=made)
    aws("delete-policy", "--policy-arn", made)
    root.delete_user_policy(UserName=name, PolicyName="inline")
    aws("delete-access-key", "--user-name", name, "--access-key-id", key["AccessKeyId"])
    aws("delete-user", "--user-name", name)
    aws("get-user", "--user-name", name, fails="NoSuchEntity")


def forms():
    """What no client sends: forms that are broken, too long, in another version."""
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials
    import urllib.error
    import urllib.request

    def post(body):
        request = AWSRequest("POST", nilas.ENDPOINT + "/", data=body, headers={"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"})
        SigV4Auth(Credentials(nilas.ACCESS_KEY, nilas.SECRET_KEY), "iam", nilas.S3_REGION).add_auth(request)
        prepared = urllib.request.Request(request.url, data=body.encode(), headers=dict(request.headers.items()), method="POST")
        try:
            with urllib.request.urlopen(prepared, timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    for body, status, code in [
        ("", 400, "MissingAction"),
        ("Action=GetUser&Version=2011-06-15", 400, "InvalidAction"),
        ("Action=Nothing&Version=2010-05-08", 400, "InvalidAction"),
        ("Action=GetUser&Action=GetUser&Version=2010-05-08", 400, "MalformedInput"),
        ("Action=GetUser&Version=2010-05-08&UserName=%zz", 400, "MalformedInput"),
        ("Action=GetUser&Version=2010-05-08&UserName=" + "x" * 300_000, 413, "RequestEntityTooLarge"),
    ]:
        got, text = post(body)
        assert got == status and f"<Code>{code}</Code>" in text, f"{body[:60]}: {got} {text}"
    got, text = post("Action=ListRoles&Version=2010-05-08")
    assert got == 200 and "<ListRolesResponse" in text and "<RequestId>" in text, text


Steps("iam").run([
    ("users", users),
    ("pages", pages),
    ("groups", groups),
    ("access-keys", keys),
    ("rights-at-once", rights),
    ("policies", policies),
    ("account", account_views),
    ("simulate", simulate),
    ("terraform-user", terraform_user),
    ("terraform-policy", terraform_policy),
    ("terraform-group", terraform_group),
    ("forms", forms),
    ("command-line", command_line),
])
