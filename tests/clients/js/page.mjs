// The AWS SDK for JavaScript in a page: `browser_e2e.py` bundles this for `browser.html`, which calls it and posts back what it answers.
import * as s3 from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";

const PART = 5 * 1024 * 1024;

export async function use({ endpoint, accessKeyId, secretAccessKey, bucket }) {
  const client = new s3.S3Client({ endpoint, region: "us-east-1", credentials: { accessKeyId, secretAccessKey }, forcePathStyle: true, maxAttempts: 1 });
  const send = (Command, input) => client.send(new Command({ Bucket: bucket, ...input }));
  const text = async (answer) => answer.Body.transformToString();
  const saw = {};

  const put = await send(s3.PutObjectCommand, { Key: "sdk/ü +.txt", Body: "by the SDK", ContentType: "text/x", Metadata: { who: "page" } });
  saw.etag = put.ETag;
  const got = await send(s3.GetObjectCommand, { Key: "sdk/ü +.txt" });
  Object.assign(saw, { text: await text(got), type: got.ContentType });

  const bytes = new Uint8Array(2 * PART + 100).map((_, at) => at % 251);
  const upload = new Upload({ client, params: { Bucket: bucket, Key: "sdk/parts", Body: new Blob([bytes]) }, partSize: PART });
  let progress = 0;
  upload.on("httpUploadProgress", () => progress++);
  saw.parts = (await upload.done()).ETag;
  saw.progress = progress;
  const back = await (await send(s3.GetObjectCommand, { Key: "sdk/parts" })).Body.transformToByteArray();
  saw.same = back.length === bytes.length && back.every((byte, at) => byte === bytes[at]);

  await send(s3.CopyObjectCommand, { Key: "sdk/copy", CopySource: `${bucket}/${encodeURIComponent("sdk/ü +.txt")}` });
  saw.keys = (await send(s3.ListObjectsV2Command, { Prefix: "sdk/" })).Contents.map((entry) => entry.Key);
  const url = await getSignedUrl(client, new s3.PutObjectCommand({ Bucket: bucket, Key: "sdk/signed", ContentType: "text/y" }), { expiresIn: 60 });
  saw.signed = (await fetch(url, { method: "PUT", body: "by a URL", headers: { "content-type": "text/y" } })).status;
  saw.refused = await send(s3.GetObjectCommand, { Key: "sdk/none" }).then(() => "nothing", (error) => error.name);
  const Objects = saw.keys.map((Key) => ({ Key }));
  saw.deleted = (await send(s3.DeleteObjectsCommand, { Delete: { Objects } })).Deleted.length;
  return saw;
}
