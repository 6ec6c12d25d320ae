// The control API as the dashboard calls it. A session's cookie alone opens nothing: the proof goes along in a header.

const PROOF = "microgateway-proof";
const PROOF_FIELD = "X-MicroGateway-Session";

/** An answer that says no. `errors` names fields, as `[{field, message}]`. */
class ApiError extends Error {
  constructor(status, problem) {
    super(problem.detail ?? "The gateway gave no reason.");
    this.status = status;
    this.code = problem.code ?? "";
    this.errors = problem.errors ?? [];
  }
}

/** Told when a call is refused because nobody is signed in. */
export const access = new EventTarget();

export const api = {
  get: (path, query, options) => call("GET", withQuery(path, query), undefined, options),
  post: (path, body) => call("POST", path, body),
  patch: (path, body) => call("PATCH", path, body),
  put: (path, body) => call("PUT", path, body),
  delete: (path, query) => call("DELETE", withQuery(path, query)),
};

/** A GET whose answer is read by the caller as it comes. */
export async function open(path, { query, headers = {}, signal } = {}) {
  const answer = await send("GET", withQuery(path, query), undefined, { headers, signal });
  if (!answer.ok) throw await refusal(answer);
  return answer;
}

/** Every entry of a list, in parts, so that neither side holds its breath; `onPart` is told of what is there so far. */
export async function all(path, onPart = () => {}, query = {}) {
  const items = [];
  for (;;) {
    const part = await api.get(path, { ...query, limit: 500, offset: items.length });
    items.push(...part.items);
    onPart(items, part.total);
    if (items.length >= part.total || part.items.length === 0) return items;
  }
}

export async function signIn(token) {
  const session = await call("POST", "api/session", { token });
  localStorage.setItem(PROOF, session.proof);
}

export async function signOut() {
  await call("DELETE", "api/session");
  localStorage.removeItem(PROOF);
}

/** Whether it is worth asking. */
export function mayBeSignedIn() {
  return localStorage.getItem(PROOF) !== null;
}

async function call(method, path, body, options = {}) {
  const answer = await send(method, path, body, options);
  if (!answer.ok) throw await refusal(answer);
  return answer.status === 204 ? null : answer.json();
}

async function send(method, path, body, { headers = {}, signal } = {}) {
  const fields = { Accept: "application/json", [PROOF_FIELD]: localStorage.getItem(PROOF) ?? "", ...headers };
  if (body !== undefined) fields["Content-Type"] = "application/json";
  try {
    return await fetch(path, { method, headers: fields, body: body === undefined ? undefined : JSON.stringify(body), signal, cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, { code: "unreachable", detail: "The gateway does not answer." });
  }
}

async function refusal(answer) {
  const problem = await answer.json().catch(() => ({ detail: `The gateway answered ${answer.status}.` }));
  if (problem.code === "admin_token_required" && !answer.url.endsWith("/api/session") && mayBeSignedIn()) access.dispatchEvent(new Event("lost"));
  return new ApiError(answer.status, problem);
}

function withQuery(path, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return given.length ? `${path}?${new URLSearchParams(given)}` : path;
}
