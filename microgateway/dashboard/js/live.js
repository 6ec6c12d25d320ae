// The gateway's stream of events (server-sent, read with fetch: a page's own reader can't send the session's proof).

import { open } from "./api.js";

const BREAK = 2000; // milliseconds before the stream is asked for again

/**
 * Calls `onEvent(name, data, isNews)` until `signal` says that the view is gone; what has happened before the first call is
 * no news. Nobody listens while the page is hidden.
 */
export async function listen(signal, onEvent) {
  let lastId = "0"; // of the events that are kept, all
  let began = null; // by the gateway's clock
  while (!signal.aborted) {
    const current = new AbortController();
    const stop = () => { if (signal.aborted || document.hidden) current.abort(); };
    signal.addEventListener("abort", stop);
    document.addEventListener("visibilitychange", stop);
    try {
      if (!document.hidden) {
        const answer = await open("api/live", { headers: { Accept: "text/event-stream", "Last-Event-ID": lastId }, signal: current.signal });
        began ??= Date.parse(answer.headers.get("date") ?? "") / 1000 || 0;
        await readAll(answer, (name, data, id) => { lastId = id || lastId; onEvent(name, data, data.at >= began); });
      }
    } catch {
      // The stream is gone; the badge tells when nothing comes any more
    }
    signal.removeEventListener("abort", stop);
    document.removeEventListener("visibilitychange", stop);
    await new Promise((resolve) => setTimeout(resolve, BREAK));
  }
}

async function readAll(answer, onEvent) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const events = (text + value).split("\n\n");
    text = events.pop();
    events.forEach((event) => tell(event, onEvent));
  }
}

function tell(event, onEvent) {
  const fields = Object.fromEntries(event.split("\n").map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1).trimStart()]));
  if (fields.event && fields.data) onEvent(fields.event, JSON.parse(fields.data), fields.id);
}
