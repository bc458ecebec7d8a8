// Requests to the controller that served this page, and to nobody else. The cookie signs them; no script sees it.

import type { Event, Path, ProblemBody, Site } from "./types";

/** What the controller refused, in its own words. */
export class Problem extends Error {
  readonly status: number;
  readonly body: ProblemBody;

  constructor(status: number, body: ProblemBody) {
    super(body.detail);
    this.status = status;
    this.body = body;
  }
}

/** Called once a request says that nobody is signed in. */
let whenSignedOut: () => void = () => {};

export function onSignedOut(then: () => void): void {
  whenSignedOut = then;
}

export interface Asked {
  method?: "GET" | "POST" | "PUT" | "DELETE";
  json?: unknown;
  /** A document, as it is. */
  text?: string;
  headers?: Record<string, string>;
  signal?: AbortSignal;
}

/** How far this machine's clock is behind the controller's; a second or so, not exact. */
let behindMs = 0;

/** What the controller's clock says. */
export const now = (): number => Date.now() + behindMs;

function setClock(date: string | null) {
  const told = date === null ? Number.NaN : Date.parse(date);
  if (Number.isNaN(told)) return;
  const behind = told + 500 - Date.now();
  // The header has whole seconds: less than that is no difference.
  if (Math.abs(behind - behindMs) > 1_000) behindMs = Math.abs(behind) > 1_500 ? behind : 0;
}

async function send(path: string, asked: Asked): Promise<Response> {
  // Not "./v1": the address bar holds only a fragment besides the page.
  const headers = new Headers({ "hawser-console": "1", ...asked.headers });
  if (asked.json !== undefined) headers.set("content-type", "application/json");
  if (asked.text !== undefined) headers.set("content-type", "application/yaml");
  const body = asked.json !== undefined ? JSON.stringify(asked.json) : asked.text;
  const response = await fetch(path, {
    method: asked.method ?? "GET",
    credentials: "same-origin",
    cache: "no-store",
    redirect: "error",
    headers,
    ...(body !== undefined && { body }),
    ...(asked.signal && { signal: asked.signal }),
  });
  setClock(response.headers.get("date"));
  if (response.ok) return response;
  const problem = new Problem(response.status, await problemOf(response));
  if (response.status === 401) whenSignedOut();
  throw problem;
}

async function problemOf(response: Response): Promise<ProblemBody> {
  try {
    return (await response.json()) as ProblemBody;
  } catch {
    return { code: `HTTP_${response.status}`, detail: `the controller answered ${response.status}`, mend: "try again" };
  }
}

export async function ask<T>(path: string, asked: Asked = {}): Promise<T> {
  const response = await send(`./v1/${path}`, asked);
  return (response.status === 204 ? undefined : await response.json()) as T;
}

export async function askText(path: string): Promise<{ text: string; etag: string }> {
  const response = await send(`./v1/${path}`, {});
  return { text: await response.text(), etag: response.headers.get("etag") ?? "" };
}

/** Every page of a list. */
async function pages<T>(path: string, key: string): Promise<T[]> {
  const all: T[] = [];
  let token = "";
  do {
    const sign = path.includes("?") ? "&" : "?";
    const query = `${path}${sign}page_size=1000&page_token=${encodeURIComponent(token)}`;
    const page = await ask<Record<string, unknown>>(query);
    all.push(...(page[key] as T[]));
    token = page["next_page_token"] as string;
  } while (token !== "");
  return all;
}

export const allSites = () => pages<Site>("sites", "sites");
export const allPaths = () => pages<Path>("paths", "paths");

/** Events as they come, until the signal says stop; throws when the stream breaks. */
export async function follow(last: number | null, signal: AbortSignal, take: (event: Event) => void, open: () => void) {
  const headers: Record<string, string> = last === null ? {} : { "last-event-id": String(last) };
  const response = await send("./v1/events/stream", { headers, signal });
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  if (!reader) return;
  open();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop() ?? "";
    for (const block of blocks) {
      const data = block.split("\n").filter((line) => line.startsWith("data:"));
      if (data.length > 0) take(JSON.parse(data.map((line) => line.slice(5).trimStart()).join("\n")) as Event);
    }
  }
}

export function told(error: unknown): string {
  if (error instanceof Problem) return `${error.body.detail}: ${error.body.mend} (${error.body.code})`;
  return error instanceof Error ? `the controller does not answer: ${error.message}` : String(error);
}
