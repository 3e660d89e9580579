// Asking the server. Every error is a `Problem` with one sentence and a hint; a token that is no longer right (the
// server was started anew) is fetched once more, without anybody noticing.

/** What went wrong, in the server's words. */
export class Problem extends Error {
  constructor({ detail = "", hint = "", code = "", status = 0 }) {
    super(detail);
    Object.assign(this, { hint, code, status });
  }
}

const meta = (name) => document.querySelector(`meta[name="${name}"]`);

/** `full` or `read-only`. */
export const mode = () => meta("mode").content;

/** The address of a file of the page. */
export const file = (path) => `${meta("static").content}/${path}`;

/** GET; the JSON of the answer. */
export const get = (path) => ask(path, {});

/** POST of JSON; the JSON of the answer. */
export async function post(path, body) {
  try {
    return await ask(path, sending(body));
  } catch (problem) {
    if (problem.status !== 403 || !(await renewed())) throw problem;
    return ask(path, sending(body));
  }
}

const sending = (body) => ({
  method: "POST",
  headers: { "content-type": "application/json", "x-tenfold-csrf": meta("csrf").content },
  body: JSON.stringify(body),
});

async function ask(path, options) {
  let answer;
  try {
    answer = await fetch(path, { credentials: "same-origin", cache: "no-store", ...options });
  } catch {
    throw new Problem({ code: "TF-PAGE-OFFLINE" });
  }
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Problem({ ...body, status: answer.status });
  return body;
}

/** Fetches the page's token anew; whether it is another one. */
async function renewed() {
  const answer = await fetch("/", { credentials: "same-origin", cache: "no-store" }).catch(() => null);
  if (!answer?.ok) return false;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const next = page.querySelector('meta[name="csrf"]')?.content ?? "";
  const other = next !== "" && next !== meta("csrf").content;
  if (other) meta("csrf").content = next;
  return other;
}
