// The AWS SDK for JavaScript against the S3 API: put, get, listings, multipart, copies, presigned URLs. `js_e2e.py` starts it
// and says where the server is. A step is an async function; it prints PASS or FAIL with its time, and a closing line.
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import * as s3 from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";

const MIB = 1024 * 1024;
const SECONDS_MAX = 60;
const bucket = `js-${randomBytes(5).toString("hex")}`;

function client(more = {}) {
  return new s3.S3Client({
    endpoint: process.env.ENDPOINT,
    region: "us-east-1",
    credentials: { accessKeyId: process.env.ACCESS_KEY, secretAccessKey: process.env.SECRET_KEY },
    forcePathStyle: true,
    maxAttempts: 1, // so that every answer of the server is seen
    ...more,
  });
}

const one = client();
const send = (Command, input, by = one) => by.send(new Command({ Bucket: bucket, ...input }));
const bytesOf = async (answer) => Buffer.from(await answer.Body.transformToByteArray());
const read = async (Key) => bytesOf(await send(s3.GetObjectCommand, { Key }));
const md5 = (bytes) => createHash("md5").update(bytes).digest("hex");

async function presigned(Command, input, request = {}, by = one, options = {}) {
  const url = await getSignedUrl(by, new Command({ Bucket: bucket, ...input }), { expiresIn: 60, ...options });
  const answer = await fetch(url, { ...request, signal: AbortSignal.timeout(SECONDS_MAX * 1000) });
  return { url, answer, bytes: Buffer.from(await answer.arrayBuffer()) };
}

const steps = {
  async "make-bucket"() {
    await send(s3.CreateBucketCommand, {});
    await send(s3.HeadBucketCommand, {});
  },

  async "put-get"() {
    for (const size of [0, 1, 128 * 1024, MIB + 1]) {
      const body = randomBytes(size);
      const put = await send(s3.PutObjectCommand, { Key: `size ${size}+ü`, Body: body, Metadata: { k: "v" }, ContentType: "text/x" });
      assert.equal(put.ETag, `"${md5(body)}"`);
      const got = await send(s3.GetObjectCommand, { Key: `size ${size}+ü`, ChecksumMode: "ENABLED" });
      assert.deepEqual([got.ContentType, got.Metadata], ["text/x", { k: "v" }]);
      assert.ok((await bytesOf(got)).equals(body), `${size} bytes`);
    }
    const part = await bytesOf(await send(s3.GetObjectCommand, { Key: `size ${MIB + 1}+ü`, Range: "bytes=10-19" }));
    assert.equal(part.length, 10);
  },

  async "put-stream"() {
    const body = randomBytes(3 * MIB);
    const pieces = Readable.from([body.subarray(0, MIB), body.subarray(MIB)]);
    await send(s3.PutObjectCommand, { Key: "stream", Body: pieces, ContentLength: body.length });
    assert.ok((await read("stream")).equals(body));
  },

  async checksums() {
    for (const ChecksumAlgorithm of ["CRC32", "CRC32C", "SHA1", "SHA256", "CRC64NVME"]) {
      const body = randomBytes(100_000);
      const put = await send(s3.PutObjectCommand, { Key: ChecksumAlgorithm, Body: body, ChecksumAlgorithm });
      const head = await send(s3.HeadObjectCommand, { Key: ChecksumAlgorithm, ChecksumMode: "ENABLED" });
      assert.ok(put[`Checksum${ChecksumAlgorithm}`], ChecksumAlgorithm);
      assert.equal(head[`Checksum${ChecksumAlgorithm}`], put[`Checksum${ChecksumAlgorithm}`]);
    }
  },

  async refusals() {
    await assert.rejects(send(s3.GetObjectCommand, { Key: "none" }), { name: "NoSuchKey" });
    await assert.rejects(send(s3.GetObjectCommand, { Bucket: `${bucket}-none`, Key: "k" }), { name: "NoSuchBucket" });
    await assert.rejects(send(s3.PutObjectCommand, { Key: "stream", Body: "x", IfNoneMatch: "*" }), { name: "PreconditionFailed" });
    const bad = client({ credentials: { accessKeyId: process.env.ACCESS_KEY, secretAccessKey: "wrong" } });
    await assert.rejects(send(s3.GetObjectCommand, { Key: "stream" }, bad), { name: "SignatureDoesNotMatch" });
  },

  async multipart() {
    const body = randomBytes(17 * MIB);
    const upload = new Upload({ client: one, params: { Bucket: bucket, Key: "parts", Body: Readable.from([body]) }, partSize: 5 * MIB, queueSize: 3 });
    const done = await upload.done();
    assert.match(done.ETag, /-4"$/);
    assert.ok((await read("parts")).equals(body));
    const { UploadId } = await send(s3.CreateMultipartUploadCommand, { Key: "aborted" });
    await send(s3.UploadPartCommand, { Key: "aborted", UploadId, PartNumber: 1, Body: "x" });
    await send(s3.AbortMultipartUploadCommand, { Key: "aborted", UploadId });
    await assert.rejects(send(s3.ListPartsCommand, { Key: "aborted", UploadId }), { name: "NoSuchUpload" });
  },

  async copy() {
    await send(s3.CopyObjectCommand, { Key: "copy", CopySource: `${bucket}/${encodeURIComponent("size 1+ü")}` });
    assert.ok((await read("copy")).equals(await read("size 1+ü")));
  },

  async listings() {
    for (const folder of ["a", "b"]) {
      for (let n = 0; n < 5; n++) await send(s3.PutObjectCommand, { Key: `list/${folder}/${n}`, Body: "x" });
    }
    const keys = [];
    for await (const page of s3.paginateListObjectsV2({ client: one, pageSize: 3 }, { Bucket: bucket, Prefix: "list/" })) {
      keys.push(...page.Contents.map((entry) => entry.Key));
    }
    assert.equal(keys.length, 10);
    const folders = await send(s3.ListObjectsV2Command, { Prefix: "list/", Delimiter: "/" });
    assert.deepEqual(folders.CommonPrefixes.map((entry) => entry.Prefix), ["list/a/", "list/b/"]);
  },

  // The presigner puts the checksum of an empty body into the query, as it knows no other: it says nothing about what is sent.
  async "presigned-put"() {
    const body = randomBytes(50_000);
    const put = await presigned(s3.PutObjectCommand, { Key: "signed", Metadata: { who: "js" }, ContentType: "text/x" },
      { method: "PUT", body, headers: { "content-type": "text/x" } });
    assert.equal(put.answer.status, 200, put.bytes.toString());
    assert.ok((await read("signed")).equals(body));
    const head = await send(s3.HeadObjectCommand, { Key: "signed" });
    assert.deepEqual([head.Metadata, head.ContentType], [{ who: "js" }, "text/x"]);
    const empty = await presigned(s3.PutObjectCommand, { Key: "signed-empty" }, { method: "PUT", body: "" });
    assert.equal(empty.answer.status, 200, empty.bytes.toString());
  },

  async "presigned-put-other-checksums"() {
    const body = randomBytes(1000);
    for (const ChecksumAlgorithm of ["SHA256", "CRC32C", "CRC64NVME"]) {
      const put = await presigned(s3.PutObjectCommand, { Key: `signed-${ChecksumAlgorithm}`, ChecksumAlgorithm }, { method: "PUT", body });
      assert.equal(put.answer.status, 200, put.bytes.toString());
      assert.ok((await read(`signed-${ChecksumAlgorithm}`)).equals(body));
    }
    const plain = await presigned(s3.PutObjectCommand, { Key: "signed-plain" }, { method: "PUT", body }, client({ requestChecksumCalculation: "WHEN_REQUIRED" }));
    assert.equal(plain.answer.status, 200, plain.bytes.toString());
    assert.ok(!plain.url.includes("checksum"), plain.url);
  },

  async "presigned-part"() {
    const body = randomBytes(5 * MIB);
    const { UploadId } = await send(s3.CreateMultipartUploadCommand, { Key: "signed-parts" });
    const part = await presigned(s3.UploadPartCommand, { Key: "signed-parts", UploadId, PartNumber: 1 }, { method: "PUT", body });
    assert.equal(part.answer.status, 200, part.bytes.toString());
    const Parts = [{ PartNumber: 1, ETag: part.answer.headers.get("etag") }];
    await send(s3.CompleteMultipartUploadCommand, { Key: "signed-parts", UploadId, MultipartUpload: { Parts } });
    assert.ok((await read("signed-parts")).equals(body));
  },

  async "presigned-get"() {
    const got = await presigned(s3.GetObjectCommand, { Key: "signed", ResponseContentType: "text/y" });
    assert.deepEqual([got.answer.status, got.answer.headers.get("content-type")], [200, "text/y"]);
    assert.ok(got.bytes.equals(await read("signed")));
    const changed = await fetch(got.url.replace("/signed?", "/parts?"));
    assert.equal(changed.status, 403);
  },

  async remove() {
    for await (const page of s3.paginateListObjectsV2({ client: one }, { Bucket: bucket })) {
      const Objects = page.Contents.map(({ Key }) => ({ Key }));
      const done = await send(s3.DeleteObjectsCommand, { Delete: { Objects } });
      assert.equal(done.Deleted.length, Objects.length);
    }
    await send(s3.DeleteBucketCommand, {});
  },
};

const wanted = (process.env.STEPS ?? "").split(",").filter(Boolean);
const started = performance.now();
let passed = 0;
let failed = 0;
for (const [title, run] of Object.entries(steps)) {
  if (wanted.length && !wanted.some((word) => title.includes(word))) continue;
  const begun = performance.now();
  const seconds = () => ((performance.now() - begun) / 1000).toFixed(1);
  try {
    await run();
    passed += 1;
    console.log(`PASS ${title} (${seconds()} s)`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL ${title} (${seconds()} s) | ${error.name}: ${String(error.message).replace(/\s+/g, " ").slice(0, 600)}`);
    if (process.env.TRACE) console.error(error);
  }
}
console.log(`js: ${passed} passed, ${failed} failed (${((performance.now() - started) / 1000).toFixed(0)} s)`);
process.exit(failed === 0 && passed > 0 ? 0 : 1);
