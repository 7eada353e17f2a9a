// Microsoft's JavaScript client: lists a drive by delta, downloads its files, and uploads them by session to another drive.
// What to talk to is in the environment variable TENANT, as JSON; what was found out is printed as JSON.
const { BatchRequestContent, BatchResponseContent, Client, FileUpload, LargeFileUploadTask, PageIterator, ResponseType } = require("@microsoft/microsoft-graph-client");

const tenant = JSON.parse(process.env.TENANT);
const RANGE_BYTES = 16 * 320 * 1024;

async function token() {
  const form = { grant_type: "client_credentials", client_id: tenant.application, client_secret: tenant.secret };
  const body = new URLSearchParams({ ...form, scope: "https://graph.microsoft.com/.default" });
  const answer = await fetch(`${tenant.login}/${tenant.tenant}/oauth2/v2.0/token`, { method: "POST", body });
  return (await answer.json()).access_token;
}

async function main() {
  const shared = await token();
  const client = Client.init({
    baseUrl: `${tenant.graph}/`,
    customHosts: new Set([new URL(tenant.graph).hostname]),
    authProvider: (done) => done(null, shared),
  });

  const items = new Map();
  const first = await client.api(`/drives/${tenant.from}/root/delta`).top(20).get();
  const pages = new PageIterator(client, first, (item) => {
    items.set(item.id, item);
    return true;
  });
  await pages.iterate();
  const path = (item) => {
    const parent = items.get(item.parentReference.id);
    return parent === undefined || parent.root ? item.name : `${path(parent)}/${item.name}`;
  };
  const files = [...items.values()].filter((item) => item.file);

  const below = (item) => `/drives/${tenant.to}/root:/${path(item).split("/").map(encodeURIComponent).join("/")}`;
  // Those above come first in a full listing.
  const folders = [...items.values()].filter((item) => item.folder && !item.root);
  for (const item of folders) {
    const above = path(item).includes("/") ? below(items.get(item.parentReference.id)) + ":" : `/drives/${tenant.to}/root`;
    await client.api(`${above}/children`).post({ name: item.name, folder: {} });
  }

  const batched = await inBatch(client, files.slice(0, 20));
  const hashes = {};
  for (const item of files) {
    const address = `/drives/${tenant.from}/items/${item.id}/content`;
    const content = await client.api(address).responseType(ResponseType.ARRAYBUFFER).get();
    const target = below(item);
    if (content.byteLength === 0) {
      // A session has no room for nothing.
      await client.api(`${target}:/content`).put(Buffer.alloc(0));
      await client.api(target).patch({ fileSystemInfo: times(item) });
    } else {
      const properties = { "@microsoft.graph.conflictBehavior": "replace", fileSystemInfo: times(item) };
      const session = await LargeFileUploadTask.createUploadSession(client, `${target}:/createUploadSession`, {
        item: properties,
      });
      const file = new FileUpload(content, item.name, content.byteLength);
      const task = new LargeFileUploadTask(client, file, session, { rangeSize: RANGE_BYTES });
      hashes[path(item)] = (await patiently(task)).responseBody.file.hashes.quickXorHash === item.file.hashes.quickXorHash;
    }
  }
  for (const item of folders) {
    await client.api(below(item)).patch({ fileSystemInfo: times(item) });
  }
  const delta = await client.api(pages.getDeltaLink()).get();
  let error = null;
  await client.api(`/drives/${tenant.from}/root:/nothing`).get().catch((caught) => (error = caught));
  const report = { files: files.map(path), batched, hashes, changed: delta.value.length };
  console.log(JSON.stringify({ ...report, error: { status: error.statusCode, code: error.code, request: error.requestId } }));
}

// Whether each item, asked for in a batch, is the one that was asked for. What is throttled inside of a batch is left to
// whoever uses the client.
async function inBatch(client, items) {
  const right = [];
  for (let left = items.map((item) => item.id); left.length > 0; ) {
    const asked = left.map((id) => ({
      id,
      // The client takes scheme and host off and leaves the rest: so there must be no version.
      request: new Request(`${tenant.graph}/drives/${tenant.from}/items/${id}`, { method: "GET" }),
    }));
    const answered = await client.api("/$batch").post(await new BatchRequestContent(asked).getContent());
    const refused = answered.responses.filter((answer) => answer.status === 429);
    const responses = new BatchResponseContent(answered);
    left = refused.map((answer) => answer.id);
    for (const { id } of asked.filter(({ id }) => !left.includes(id))) {
      right.push((await responses.getResponseById(id).json()).id === id);
    }
    const seconds = refused.map((answer) => Number(answer.headers["Retry-After"] ?? answer.headers["retry-after"]));
    await new Promise((resolve) => setTimeout(resolve, 1000 * Math.max(0, ...seconds)));
  }
  return right;
}

// Ranges are not sent again by the client itself: whoever uses it has to wait and resume.
async function patiently(task) {
  for (let attempt = 0; ; attempt++) {
    try {
      return await (attempt === 0 ? task.upload() : task.resume());
    } catch (error) {
      const code = error.error?.code ?? error.code;
      if (code !== "activityLimitReached" || attempt === 8) {
        throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, 1100));
    }
  }
}

function times(item) {
  const { createdDateTime, lastModifiedDateTime } = item.fileSystemInfo;
  return { createdDateTime, lastModifiedDateTime };
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
