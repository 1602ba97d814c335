// Requests to the program that served this page.

let token = new URLSearchParams(location.search).get("token");

/** Use the token of a program that was started again on this port; false if it is not its link. */
export function adoptLink(link) {
  const there = URL.canParse(link) ? new URL(link) : null;
  const given = there?.searchParams.get("token");
  if (!given || there.port !== location.port) return false;
  token = given;
  history.replaceState(null, "", `/?token=${encodeURIComponent(given)}`);
  return true;
}

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
/** The mask that the program read from a file, as a data URL: it must outlive a reload. */
export async function maskAsText(id) {
  const blob = await (await fetch(`/api/photographs/${id}/mask`)).blob();
  return new Promise((resolve) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.readAsDataURL(blob);
  });
}
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
    if (kind === "lost" || kind === "gone") continue;
    source.addEventListener(kind, (event) => {
      if (["done", "failed", "cancelled"].includes(kind)) source.close();
      handler(JSON.parse(event.data));
    });
  }
  source.addEventListener("error", () => {
    const closed = source.readyState === EventSource.CLOSED; // else the browser tries again
    send("GET", "/api/priors").then(
      () => { if (closed) handlers.gone(); },
      () => { source.close(); handlers.lost(); },
    );
  });
  return source;
}
