// Questions about policies made at random, put to our evaluator and to @cloud-copilot/iam-simulate: the same answer. A
// difference that is meant is a row of MEANT, with its reason, and is counted. `policy_e2e.py` starts it and says where the
// program that answers for us is.
import { spawnSync } from "node:child_process";
import { anonymousPrincipal, runSimulation, runUnsafeSimulation } from "@cloud-copilot/iam-simulate";

const COUNT = Number(process.env.COUNT ?? 4000);
const SEED = process.env.SEED === "any" ? Math.floor(Math.random() * 2 ** 32) : Number(process.env.SEED ?? 1);
const SHOWN_MAX = 10;
const ACCOUNT = "111122223333";
const ALICE = `arn:aws:iam::${ACCOUNT}:user/alice`;
const EPOCH = "1781524800";
const BOB = `arn:aws:iam::${ACCOUNT}:user/bob`;

// mulberry32
let state = SEED >>> 0;
function number() {
  state = (state + 0x6d2b79f5) >>> 0;
  let n = state;
  n = Math.imul(n ^ (n >>> 15), n | 1);
  n ^= n + Math.imul(n ^ (n >>> 7), n | 61);
  return ((n ^ (n >>> 14)) >>> 0) / 2 ** 32;
}
const below = (bound) => Math.floor(number() * bound);
const pick = (list) => list[below(list.length)];
const one = (share) => number() < share;
const some = (list, max = 3) => Array.from({ length: 1 + below(max) }, () => pick(list));
const oneOrList = (list, max) => (one(0.5) ? pick(list) : some(list, max));

const ACTIONS = ["*", "s3:*", "s3:Get*", "s3:GetObject", "S3:getobject", "s3:PutObject", "s3:?utObject", "s3:*Object", "s3:List*",
  "s3:ListBucket", "s3:*Tag*", "s3tables:*", "s3tables:GetTable", "s3tables:*Table", "iam:*", "iam:GetUser", "ec2:*", "s3:Delete*"];
const BUCKET_ACTIONS = ACTIONS.filter((action) => action.toLowerCase().startsWith("s3:") || action === "*");
const RESOURCES = ["*", "arn:aws:s3:::*", "arn:aws:s3:::b", "arn:aws:s3:::b/*", "arn:aws:s3:::b/a/*", "arn:aws:s3:::b/a*", "arn:aws:s3:::b*",
  "arn:aws:s3:::*/k", "arn:aws:s3:::b/?/k", "arn:aws:s3:::b/a/k", "arn:aws:s3:::B/*", "arn:aws:s3:::b/*/*", "arn:*:s3:::b/*",
  "arn:aws:s3:::b/${aws:username}/*", "arn:aws:s3:::b/${aws:PrincipalTag/team}/*", "arn:aws:s3:::b/${aws:username, 'guest'}/*",
  "arn:aws:s3:::b/${*}/*", "arn:aws:s3:::b/${?}*", "arn:aws:s3:::b/${$}*", `arn:aws:s3tables:us-east-1:${ACCOUNT}:bucket/w/table/*`,
  `arn:aws:s3tables:us-east-1:${ACCOUNT}:bucket/w`, `arn:aws:iam::${ACCOUNT}:user/*`, `arn:aws:iam::${ACCOUNT}:user/\${aws:username}`,
  "arn:aws:iam::*:user/a*", "arn:aws:s3:::b/é?"];
const ASKED = [["s3:GetObject", "arn:aws:s3:::b/a/k"], ["s3:GetObject", "arn:aws:s3:::b/alice/k"], ["s3:PutObject", "arn:aws:s3:::b/red/k"],
  ["s3:GetObject", "arn:aws:s3:::b/guest/k"], ["s3:PutObject", "arn:aws:s3:::b/k"], ["s3:DeleteObject", "arn:aws:s3:::b/a/x"],
  ["s3:GetObjectTagging", "arn:aws:s3:::b/a/k"], ["s3:GetObject", "arn:aws:s3:::b/$x"], ["s3:GetObject", "arn:aws:s3:::b/éé"],
  ["s3:ListBucket", "arn:aws:s3:::b"], ["s3:ListBucket", "arn:aws:s3:::bb"], ["s3tables:GetTable", `arn:aws:s3tables:us-east-1:${ACCOUNT}:bucket/w/table/0b`],
  ["s3tables:CreateNamespace", `arn:aws:s3tables:us-east-1:${ACCOUNT}:bucket/w`], ["iam:GetUser", ALICE], ["iam:GetUser", BOB],
  ["s3:GetObject", "arn:aws:s3:::c/a/k"], ["s3:GetObject", "arn:aws:s3:::b/a/b/c/k"], ["s3:GetObject", "arn:aws:s3:::b/a:b/k"]];

// For each operator keys of its kind, values that a policy may hold, and values of requests.
const TEXT = { keys: ["s3:prefix", "s3:x-amz-acl", "aws:PrincipalTag/team", "s3:ExistingObjectTag/team"],
  values: ["a", "A", "a/b", "red", "private", "", "é", "${aws:username}", "${aws:PrincipalTag/team}", "${aws:username, 'guest'}", "${$}x", "a.b", "(a|b)", "a+"],
  asked: ["a", "A", "a/b", "red", "RED", "alice", "private", "guest", "é", "É", "$x", "a.b", "aab", "a+"] };
const LIKE = { ...TEXT, values: [...TEXT.values, "*", "a*", "*b", "?", "a?b", "r?d", "*e*", "${aws:username}*", "a${*}", "*${?}", "**"], asked: [...TEXT.asked, "a*", "a?", "x?"] };
const NUMBER = { keys: ["s3:max-keys", "s3:signatureAge"], values: ["0", "1", "10", "10.5", "-1", "1000", 10, 99], asked: ["0", "1", "10", "10.5", "11", "-1", "1000"] };
const DATE = { keys: ["aws:CurrentTime", "aws:TokenIssueTime"], values: ["2026-01-01T00:00:00Z", "2026-06-15T12:00:00Z", "2025-12-31T23:00:00Z", EPOCH],
  asked: ["2026-01-01T00:00:00Z", "2026-06-15T12:00:00Z", "2026-12-31T23:59:59Z", EPOCH] };
const BOOL = { keys: ["aws:SecureTransport", "aws:MultiFactorAuthPresent"], values: ["true", "false", true, false], asked: ["true", "false"] };
const ADDRESS = { keys: ["aws:SourceIp"], values: ["203.0.113.0/24", "203.0.113.7/32", "10.0.0.0/8", "0.0.0.0/0", "192.168.128.0/17", "2001:db8::/32", "2001:db8:1:2::/64", "::/0"],
  asked: ["203.0.113.7", "203.0.114.1", "10.1.2.3", "192.168.200.1", "2001:db8::1", "2001:db8:1:2::9", "2a00::1"] };
const ARN = { keys: ["aws:PrincipalArn"], values: [ALICE, BOB, "arn:aws:iam::*:user/*", `arn:aws:iam::${ACCOUNT}:role/*`, "arn:*:*:*:*:*", `arn:aws:iam::${ACCOUNT}:user/a?ice`, `arn:aws:iam::${ACCOUNT}:user/\${aws:username}`],
  asked: [ALICE, BOB, `arn:aws:iam::${ACCOUNT}:role/r`, "arn:aws:iam::444455556666:user/alice"] };
const BINARY = { keys: ["x:bytes"], values: ["AAEC", "QmluYXJ5"], asked: ["AAEC", "QmluYXJ5"] };
const OPERATORS = [["StringEquals", TEXT], ["StringNotEquals", TEXT], ["StringEqualsIgnoreCase", TEXT], ["StringNotEqualsIgnoreCase", TEXT], ["StringLike", LIKE],
  ["StringNotLike", LIKE], ...["Equals", "NotEquals", "LessThan", "LessThanEquals", "GreaterThan", "GreaterThanEquals"].flatMap((name) => [[`Numeric${name}`, NUMBER], [`Date${name}`, DATE]]),
  ["Bool", BOOL], ["BinaryEquals", BINARY], ["IpAddress", ADDRESS], ["NotIpAddress", ADDRESS], ["ArnEquals", ARN], ["ArnNotEquals", ARN], ["ArnLike", ARN], ["ArnNotLike", ARN]];
const MANY = ["aws:TagKeys", "s3:RequestObjectTagKeys"];

function condition() {
  const block = {};
  for (let n = below(3); n > 0; n--) {
    const [name, kind] = pick(OPERATORS);
    let [operator, keys] = [name, kind.keys];
    if (one(0.1)) [operator, keys] = ["Null", TEXT.keys];
    else {
      if (one(0.25)) operator += "IfExists";
      if (one(0.25)) [operator, keys] = [`${pick(["ForAllValues", "ForAnyValue"])}:${operator}`, kind === TEXT || kind === LIKE ? [...kind.keys, ...MANY] : kind.keys];
      if (one(0.1)) operator = operator.toLowerCase();
    }
    block[operator] = Object.fromEntries([...new Set(some(keys, 2))].map((key) => [one(0.1) ? key.replace(/^[^/]*/, (head) => head.toUpperCase()) : key, oneOrList(operator === "Null" ? ["true", "false"] : kind.values)]));
  }
  return block;
}

const PRINCIPALS = ["*", { AWS: "*" }, { AWS: ALICE }, { AWS: [BOB, ALICE] }, { AWS: BOB }, { AWS: "arn:aws:iam::444455556666:user/alice" }, { Service: "cloudtrail.amazonaws.com" }];

function statement(kind) {
  const effect = one(0.3) ? "Deny" : "Allow";
  const made = { Effect: effect };
  if (kind === "bucket") made[effect === "Deny" && one(0.2) ? "NotPrincipal" : "Principal"] = pick(PRINCIPALS);
  made[one(0.15) ? "NotAction" : "Action"] = oneOrList(kind === "bucket" ? BUCKET_ACTIONS : ACTIONS);
  made[one(0.15) ? "NotResource" : "Resource"] = oneOrList(RESOURCES);
  const when = condition();
  if (Object.keys(when).length > 0) made.Condition = when;
  return made;
}

function policy(kind) {
  const made = { Statement: Array.from({ length: 1 + below(3) }, () => statement(kind)) };
  return one(0.9) ? { Version: "2012-10-17", ...made } : made;
}

function context() {
  const made = {};
  if (one(0.8)) made["aws:username"] = "alice";
  for (const [, kind] of OPERATORS) for (const key of kind.keys) if (one(0.5)) made[key] = pick(kind.asked);
  for (const key of MANY) if (one(0.5)) made[key] = [...new Set(some(["a", "A", "red", "alice", "10", "aab", "2026-01-01T00:00:00Z", "true"], 3))];
  return made;
}

function question() {
  const kind = one(0.25) ? "bucket" : "identity";
  const [action, resource] = pick(kind === "bucket" ? ASKED.filter(([name]) => name.startsWith("s3:")) : ASKED);
  const policies = Array.from({ length: kind === "bucket" ? 1 : 1 + below(2) }, () => policy(kind));
  return { kind, policies, account: ACCOUNT, action, resource, principal: kind === "bucket" && one(0.3) ? null : ALICE, context: context() };
}

// Differences that are meant, each by what the policies of the question hold.
const holds = (asked, operator, value) => asked.policies.some((policy) => policy.Statement.some((statement) =>
  Object.entries(statement.Condition ?? {}).some(([name, keys]) => operator.test(name) && Object.values(keys).flat().some((held) => value(String(held))))));
const MEANT = [
  { why: "AWS's epoch time is in seconds; the simulator compares it with milliseconds",
    fits: (asked) => holds(asked, /date/i, (held) => held === EPOCH) || (asked.context["aws:CurrentTime"] === EPOCH || asked.context["aws:TokenIssueTime"] === EPOCH) && holds(asked, /date/i, () => true) },
  { why: "every IPv4 address lies in 0.0.0.0/0; the simulator shifts 32 bits by 32, which is by none",
    fits: (asked) => holds(asked, /ipaddress/i, (held) => held === "0.0.0.0/0") },
  { why: "without a Version there are no variables; the simulator puts values in all the same",
    fits: (asked) => asked.policies.some((policy) => !policy.Version && JSON.stringify(policy).includes("${")) },
  { why: "a variable without a value makes a statement say nothing; in the simulator a negated operator may hold then",
    fits: (asked) => ["aws:username", "aws:PrincipalTag/team"].some((key) => !(key in asked.context) && holds(asked, /not/i, (held) => held.includes(`\${${key}}`))) },
  { why: "${$} is a dollar sign wherever a variable may stand; the simulator keeps it as it is in operators without wildcards",
    fits: (asked) => holds(asked, /string(not)?equals/i, (held) => held.includes("${$}")) },
];

const ANSWERS = { Allowed: "allow", ExplicitlyDenied: "deny", ImplicitlyDenied: "nothing" };

// Asks the simulator. It takes policies of buckets only with its checks, which leave out keys that AWS does not have for
// the action: they are left out of the question then.
async function theirs(asked) {
  const identityPolicies = asked.policies.map((policy, nth) => ({ name: `p${nth}`, policy }));
  const simulation = { request: { principal: asked.principal ?? anonymousPrincipal, action: asked.action, contextVariables: asked.context,
    resource: { resource: asked.resource, accountId: ACCOUNT } }, identityPolicies, serviceControlPolicies: [], resourceControlPolicies: [] };
  if (asked.kind === "identity") return ANSWERS[runUnsafeSimulation(simulation, {})];
  const said = await runSimulation({ ...simulation, identityPolicies: [], resourcePolicy: asked.policies[0] }, {});
  if (said.resultType !== "single") throw new Error(`${JSON.stringify(said)}: ${JSON.stringify(asked)}`);
  for (const key of said.result.ignoredContextKeys) delete asked.context[key];
  for (const [key, value] of Object.entries(asked.context)) if (Array.isArray(value) && !MANY.includes(key)) asked.context[key] = value[0];
  return ANSWERS[said.overallResult];
}

const asked = Array.from({ length: COUNT }, question);
const expected = [];
for (const one of asked) expected.push(await theirs(one));
const lines = asked.map((one) => JSON.stringify({ ...one, policies: one.policies.map((policy) => JSON.stringify(policy)) }));
const run = spawnSync(process.env.NILAS_DECIDE, { input: `${lines.join("\n")}\n`, encoding: "utf8", maxBuffer: 1 << 28 });
if (run.status !== 0) throw new Error(`${process.env.NILAS_DECIDE}: ${run.status} ${run.error ?? run.stderr}`);
const ours = run.stdout.trimEnd().split("\n");
const seen = { allow: 0, deny: 0, nothing: 0 };
const meant = new Map();
let different = 0;
asked.forEach((one, nth) => {
  const answer = expected[nth];
  seen[answer] += 1;
  if (ours[nth] === answer) return;
  const row = MEANT.find((row) => row.fits(one));
  if (row) {
    meant.set(row.why, (meant.get(row.why) ?? 0) + 1);
    return;
  }
  different++;
  if (different <= SHOWN_MAX) console.log(`FAIL ours ${ours[nth]}, theirs ${answer}: ${JSON.stringify(one)}`);
});
for (const [why, count] of meant) console.log(`meant: ${count}: ${why}`);
console.log(`seed ${SEED}: ${COUNT} questions; theirs: ${seen.allow} allow, ${seen.deny} deny, ${seen.nothing} nothing`);
const says = Object.values(seen).every((count) => count > COUNT / 40) && ours.length === COUNT;
if (!says) console.log("FAIL the questions say little");
console.log(`policy: ${COUNT - different} passed, ${different} failed`);
process.exit(different === 0 && says ? 0 : 1);
