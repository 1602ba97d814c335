// Requests to the program that served this page.

const token = new URLSearchParams(location.search).get("token");

export class Problem extends Error {
  constructor(status, { error, field }) {
    super(error);
    this.status = status;
    this.field = field;
  }
}

/** Send a request; throws a Problem with the program's sentence. */
async function send(method, path, body, headers = {}) {
  let response;
  try {
    response = await fetch(path, { method, body, headers: { "X-Token": token, ...headers } });
  } catch {
    throw new Problem(0, { error: "the program does not answer" });
  }
  if (!response.ok) {
    const told = await response.json().catch(() => ({ error: `error ${response.status}` }));
    throw new Problem(response.status, told);
  }
  return response.status === 204 ? null : response.json();
}

export const listPriors = () => send("GET", "/api/priors");
export const openExample = (prior) => send("POST", "/api/example", null, { "X-Prior": prior });
export const listPhotographs = () => send("GET", "/api/photographs");
export const forget = (id) => send("DELETE", `/api/photographs/${id}`);
export const sendMask = (id, png) => send("PUT", `/api/photographs/${id}/mask`, png);
export const startJob = (request) => send("POST", "/api/jobs", JSON.stringify(request));
export const stopJob = (id) => send("DELETE", `/api/jobs/${id}`);

export const openPhotograph = (file, prior) => send("POST", "/api/photographs", file, {
  "X-Name": encodeURIComponent(file.name || "pasted.png"),
  "X-Prior": prior,
});

/** Follow a job: handlers by event; the browser reconnects by itself. */
export function follow(id, handlers) {
  const source = new EventSource(`/api/jobs/${id}/events`);
  for (const [kind, handler] of Object.entries(handlers)) {
    if (kind === "lost") continue;
    source.addEventListener(kind, (event) => {
      if (["done", "failed", "cancelled"].includes(kind)) source.close();
      handler(JSON.parse(event.data));
    });
  }
  source.addEventListener("error", () => {
    if (source.readyState === EventSource.CLOSED) handlers.lost();
    else send("GET", "/api/priors").catch(() => { source.close(); handlers.lost(); });
  });
  return source;
}
